"""The reading side: a loop's page, read from outside, becomes states, causes, histories and insights."""
