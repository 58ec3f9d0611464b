# The C side of await_stacks.py: none, it is imported when somebody asks.
