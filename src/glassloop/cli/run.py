"""Run any asyncio program, unchanged, on glassloop.

  glassloop run script.py [argument ...]
  glassloop run -m module [argument ...]
  glassloop run -c 'code' [argument ...]
  glassloop run -           (the program comes from standard input)

Where the program lets asyncio choose its loop (asyncio.run, asyncio.Runner,
asyncio.new_event_loop, unittest.IsolatedAsyncioTestCase, ...), it gets
glassloop's. Where it names another loop, it keeps that one. All else is as
with plain `python`: arguments, `__main__`, tracebacks, exit status, Ctrl-C.

Options for the interpreter go before -m:
  python -X dev -W error -m glassloop run script.py
Put other tools inside: glassloop run -m pdb script.py
Processes that the program starts are plain Python again.
"""

# How it works: this process becomes `python script.py ...` by execv, with a folder at the front of PYTHONPATH
# that holds a `sitecustomize`; that changes asyncio's default and takes the folder away again before the
# program's first line. The alternative, to run the program from here as runpy does, cannot be exact: our
# frames stay below the program's in `traceback.print_stack()`, in asyncio's debug tracebacks, in `warnings`
# and in faulthandler's dumps; `-`, directories, zip files, `__main__`'s attributes, SystemExit and SIGINT
# would all have to be imitated, for each version of Python.

import argparse
import getopt
import os
import sys
from collections.abc import Sequence

HOOK_FOLDER = os.path.join(os.path.dirname(os.path.abspath(__file__)), "_hook")

# CPython's own options (`python --help-all`); a colon follows those that take a value.
_PYTHON_OPTIONS = "bBc:dEhiIJm:OPqRsStuvVW:xX:?"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Give the parser the verb's usage line; the program's own words never reach it."""
    parser.usage = "glassloop run [-h] (script.py | -m module | -c code | -) [argument ...]"
    parser.add_argument("program", help=argparse.SUPPRESS)


def main(arguments: argparse.Namespace) -> int:
    """Run the program of parsed arguments: reached where the words did not name one in a usual way."""
    return execute([arguments.program])


def names_a_program(words: Sequence[str]) -> bool:
    """Say whether these words start as a program does, and not with an option of `glassloop run` itself."""
    if not words:
        return False
    return words[0] == "-" or words[0][:2] in ("-m", "-c") or not words[0].startswith("-")


def execute(words: Sequence[str]) -> int:
    """Become ``python words…`` with glassloop as asyncio's default loop; return only if that cannot be."""
    obstacle = _find_obstacle()
    if obstacle is not None:
        print(f"glassloop run: {obstacle}", file=sys.stderr)
        return 2
    python_path = os.environ.get("PYTHONPATH")
    os.environ["PYTHONPATH"] = HOOK_FOLDER + (os.pathsep + python_path if python_path else "")
    # exec would lose what a script that calls us has printed but not flushed.
    sys.stdout.flush()
    sys.stderr.flush()
    os.execv(sys.executable, [*sys.orig_argv[:1], *interpreter_options(), *words])


def interpreter_options() -> list[str]:
    """Return the options that this interpreter was started with, such as ``-X dev``, for the next one."""
    words_before_ours = sys.orig_argv[1 : len(sys.orig_argv) - len(sys.argv) + 1]
    try:
        options, _ = getopt.getopt(words_before_ours, _PYTHON_OPTIONS, ["check-hash-based-pycs="])
    except getopt.GetoptError:  # somebody else's launcher, with words that are not Python's
        return []
    return [word for name, value in options if name not in ("-m", "-c") for word in (name, value) if word]


def _find_obstacle() -> str | None:
    """Return why glassloop could not be handed to the next interpreter, or None if it can."""
    if not sys.executable:
        return "this Python does not know its own executable; use glassloop.run(main()) in the program"
    if sys.flags.ignore_environment or sys.flags.no_site:
        return (
            "Python's options -E, -I and -S shut out the environment or the site module, by which glassloop "
            "reaches the program; leave them away, or use glassloop.run(main()) in the program"
        )
    if os.pathsep in HOOK_FOLDER:
        return f"glassloop is installed in a folder whose name PYTHONPATH cannot hold: {HOOK_FOLDER}"
    return None
