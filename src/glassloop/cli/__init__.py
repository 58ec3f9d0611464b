"""glassloop: a drop-in event loop for asyncio.

Run `glassloop VERB --help` for what a verb does.
"""

import argparse
import os
import signal
import sys
from collections.abc import Sequence
from typing import Any

from glassloop import __version__
from glassloop.cli import doctor, ps, run, top, trace, why

# One verb, one module: its docstring is the help text, add_arguments(parser) and main(arguments) the rest.
VERBS: dict[str, Any] = {"run": run, "ps": ps, "why": why, "top": top, "trace": trace, "doctor": doctor}


def make_parser() -> argparse.ArgumentParser:
    """Return the parser of the whole command line."""
    parser = _describe(argparse.ArgumentParser(prog="glassloop"), __doc__)
    parser.add_argument("--version", action="version", version=f"glassloop {__version__}")
    verbs = parser.add_subparsers(dest="verb", metavar="VERB", required=True)
    for name, module in VERBS.items():
        first_line = (module.__doc__ or "").partition("\n")[0]
        verb_parser = _describe(verbs.add_parser(name, help=first_line), module.__doc__)
        module.add_arguments(verb_parser)
    return parser


def main(argv: Sequence[str] | None = None) -> int:
    """Carry out one command line (without the program's name) and return the exit status."""
    words = list(sys.argv[1:] if argv is None else argv)
    if words[:1] == ["run"] and run.names_a_program(words[1:]):
        # Not through argparse: every word from here on belongs to the program, options too.
        return run.execute(words[1:])
    arguments = make_parser().parse_args(words)
    try:
        status: int = VERBS[arguments.verb].main(arguments)
        sys.stdout.flush()
    except BrokenPipeError:
        # The reader has seen enough, as in `glassloop doctor | head`; what is buffered has nowhere to go.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        status = 128 + signal.SIGPIPE
    return status


def _describe(parser: argparse.ArgumentParser, text: str | None) -> argparse.ArgumentParser:
    parser.description = text
    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    return parser
