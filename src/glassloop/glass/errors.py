"""What may be wrong with a page or with the way to it. Messages say what, whose fault, and what to do."""


class ReadError(Exception):
    """A page could not be read."""


class NoSuchProcessError(ReadError):
    """There is no process of this number."""


class NotAllowedError(ReadError):
    """The kernel keeps the page from us: the process or file is another user's."""


class NoLoopError(ReadError):
    """The process is there, and has no loop of glassloop's that shows itself."""


class BadPageError(ReadError):
    """What was found is no page, or a damaged one, or one of another version."""
