"""glassloop: a drop-in event loop for asyncio.

Run `glassloop VERB --help` for what a verb does.
"""

import argparse
import os
import sys
from collections.abc import Sequence
from importlib import import_module
from typing import Any

from glassloop import __version__

# One verb, one module of this package: its docstring is the help text, add_arguments(parser) and
# main(arguments) the rest.
VERBS = ("run", "ps", "why", "top", "trace", "doctor")


def make_parser(verb: str | None = None) -> argparse.ArgumentParser:
    """Return the parser of the whole command line; where the verb is known, with no more than what it needs.

    A command that is to answer at once imports no other.
    """
    parser = _describe(argparse.ArgumentParser(prog="glassloop"), __doc__)
    parser.add_argument("--version", action="version", version=f"glassloop {__version__}")
    verbs = parser.add_subparsers(dest="verb", metavar="VERB", required=True)
    for name in VERBS if verb is None else (verb,):
        module = _module(name)
        first_line = (module.__doc__ or "").partition("\n")[0]
        verb_parser = _describe(verbs.add_parser(name, help=first_line), module.__doc__)
        module.add_arguments(verb_parser)
    return parser


def main(argv: Sequence[str] | None = None) -> int:
    """Carry out one command line (without the program's name) and return the exit status."""
    words = list(sys.argv[1:] if argv is None else argv)
    verb = words[0] if words and words[0] in VERBS else None
    if verb == "run" and _module(verb).names_a_program(words[1:]):
        # Not through argparse: every word from here on belongs to the program, options too.
        found: int = _module(verb).execute(words[1:])
        return found
    arguments = make_parser(verb).parse_args(words)
    try:
        status: int = _module(arguments.verb).main(arguments)
        sys.stdout.flush()
    except BrokenPipeError:
        # The reader has seen enough, as in `glassloop doctor | head`; what is buffered has nowhere to go.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        status = 128 + 13  # as a shell says of SIGPIPE
    return status


def _module(verb: str) -> Any:
    return import_module(f"glassloop.cli.{verb}")


def _describe(parser: argparse.ArgumentParser, text: str | None) -> argparse.ArgumentParser:
    parser.description = text
    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    return parser
