"""The command line: one file a verb."""


def main() -> int:
    raise NotImplementedError
