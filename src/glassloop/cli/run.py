"""Run any asyncio program, unchanged, on glassloop.

  glassloop run [option ...] script.py [argument ...]
  glassloop run [option ...] -m module [argument ...]
  glassloop run [option ...] -c 'code' [argument ...]
  glassloop run [option ...] -      (the program comes from standard input)

Where the program lets asyncio choose its loop (asyncio.run, asyncio.Runner,
asyncio.new_event_loop, unittest.IsolatedAsyncioTestCase, ...), it gets
glassloop's. Where it names another loop, it keeps that one. All else is as
with plain `python`: arguments, `__main__`, tracebacks, exit status, Ctrl-C.

Options for the interpreter go before -m:
  python -X dev -W error -m glassloop run script.py
Put other tools inside: glassloop run -m pdb script.py
Processes that the program starts are plain Python again.

With one of the options below each step is timed and recorded from the start,
which costs some 20 % of a bare task switch. The newest 262144 records are kept;
GLASSLOOP_RECORDS in the environment is another number. What --timeline and
--why-on-exit print goes to standard error, after the program's last line; a
program that ends by a signal or by os._exit() prints neither: use --record.
  glassloop run --record out.rec server.py
  glassloop why out.rec; glassloop trace out.rec -o out.html
A program with several loops records into FILE, FILE.2, ... up to 20; its forked
children into FILE.PID. Where FILE cannot be written, a line says so and the
program runs without.

The exit status is the program's; 2 if the command line is wrong, or if this
Python shuts out the environment by which glassloop reaches the program.
"""

# How it works: this process becomes `python script.py ...` by execv, with a folder at the front of PYTHONPATH
# that holds a `sitecustomize`; that changes asyncio's default and takes the folder away again before the
# program's first line. The alternative, to run the program from here as runpy does, cannot be exact: our
# frames stay below the program's in `traceback.print_stack()`, in asyncio's debug tracebacks, in `warnings`
# and in faulthandler's dumps; `-`, directories, zip files, `__main__`'s attributes, SystemExit and SIGINT
# would all have to be imitated, for each version of Python.

import argparse
import getopt
import json
import os
import sys
from collections.abc import Sequence

HOOK_FOLDER = os.path.join(os.path.dirname(os.path.abspath(__file__)), "_hook")

# CPython's own options (`python --help-all`); a colon follows those that take a value.
_PYTHON_OPTIONS = "bBc:dEhiIJm:OPqRsStuvVW:xX:?"


# How many records the ring holds: 8 MiB of them, which a loop that only switches tasks fills in 40 ms, and
# one that serves requests in seconds.
_RECORDS = "262144"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Give the parser the verb's options; the program's own words never reach it."""
    parser.usage = (
        "glassloop run [-h] [--timeline] [--record FILE] [--why-on-exit] "
        "(script.py | -m module | -c code | -) [argument ...]"
    )
    parser.add_argument("--timeline", action="store_true", help="at the end, draw what each task did when")
    parser.add_argument(
        "--record", metavar="FILE", help="record into a file that outlives the program, also a kill -9"
    )
    parser.add_argument(
        "--why-on-exit",
        action="store_true",
        help="at the end, print what `glassloop why` says: tasks left unfinished, blocks, insights",
    )
    parser.add_argument("program", help=argparse.SUPPRESS)


def main(arguments: argparse.Namespace) -> int:
    """Run the program of parsed arguments: reached where the words did not name one in a usual way."""
    return execute([arguments.program])


def names_a_program(words: Sequence[str]) -> bool:
    """Say whether these words name a program, after options of `glassloop run` itself that are complete."""
    rest = words[_count_own(words) :]
    return bool(rest) and (rest[0] == "-" or rest[0][:2] in ("-m", "-c") or not rest[0].startswith("-"))


def _count_own(words: Sequence[str]) -> int:
    """Return how many of the first words are our own options: what follows them is the program's."""
    count = 0
    while count < len(words):
        if words[count] == "--record" and count + 1 < len(words):
            count += 2
        elif words[count] in ("--timeline", "--why-on-exit") or words[count].startswith("--record="):
            count += 1
        else:
            break
    return count


def execute(words: Sequence[str]) -> int:
    """Become ``python words…`` with glassloop as asyncio's default loop; return only if that cannot be."""
    obstacle = _find_obstacle()
    if obstacle is not None:
        print(f"glassloop run: {obstacle}", file=sys.stderr)
        return 2
    own = _count_own(words)
    if own:
        parser = argparse.ArgumentParser(prog="glassloop run")
        add_arguments(parser)
        _ask_for_records(parser.parse_args([*words[:own], "-"]))
        words = words[own:]
    python_path = os.environ.get("PYTHONPATH")
    os.environ["PYTHONPATH"] = HOOK_FOLDER + (os.pathsep + python_path if python_path else "")
    # exec would lose what a script that calls us has printed but not flushed.
    sys.stdout.flush()
    sys.stderr.flush()
    os.execv(sys.executable, [*sys.orig_argv[:1], *interpreter_options(), *words])


def _ask_for_records(arguments: argparse.Namespace) -> None:
    """Tell the hook and the recorder, which read the environment, what is wanted from the first loop on."""
    wanted = {"GLASSLOOP_PAGE": "full", "GLASSLOOP_RECORDS": os.environ.get("GLASSLOOP_RECORDS", _RECORDS)}
    if arguments.record is not None:
        wanted["GLASSLOOP_RECORD"] = os.path.abspath(arguments.record)
    shows = [
        name for name, asked in (("timeline", arguments.timeline), ("why", arguments.why_on_exit)) if asked
    ]
    before = {name: os.environ.get(name) for name in wanted}
    os.environ.update(wanted)
    os.environ["GLASSLOOP_RUN"] = json.dumps({"shows": shows, "before": before})


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
