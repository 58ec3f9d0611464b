"""The first thing in the interpreter that `glassloop run` starts: makes glassloop asyncio's default loop.

Python's ``site`` module imports this before the program. It takes its own folder out of ``sys.path`` and
PYTHONPATH, so that the program and its child processes see neither, and then imports the ``sitecustomize``
that it stood in front of (Debian has one, so do some tools).

What `glassloop run`'s options ask for it finds in GLASSLOOP_RUN, and that goes too. Its function is the first
that atexit is given, and so the last that atexit calls.
"""

import os
import sys


def take_folder_away() -> None:
    """Undo what `glassloop run` did to the module search path, in this process and for its children."""
    folder = os.path.dirname(__file__)
    sys.path[:] = [entry for entry in sys.path if entry != folder]
    sys.path_importer_cache.pop(folder, None)
    first, _, rest = os.environ.get("PYTHONPATH", "").partition(os.pathsep)
    if first == folder:
        if rest:
            os.environ["PYTHONPATH"] = rest
        else:
            del os.environ["PYTHONPATH"]


def make_glassloop_default() -> None:
    """Change asyncio's default loop, or end here: to run on another loop without a word would be a trap."""
    try:
        from glassloop._policy import make_default

        make_default()
        asked = os.environ.pop("GLASSLOOP_RUN", None)
        if asked is not None:
            look_on(asked)
    except Exception as error:  # noqa: BLE001 - whatever it is, the program must not start
        sys.stderr.write(f"glassloop run: glassloop does not work in {sys.executable}: {error!r}\n")
        sys.stderr.flush()
        os._exit(1)  # SystemExit from here would end as a fatal error of the interpreter, with a long dump


def look_on(asked: str) -> None:
    """Do what the options of `glassloop run` ask for, and give the environment back as it was."""
    import json

    wanted = json.loads(asked)
    for name, value in wanted["before"].items():  # the recorder has read what it needs
        if value is None:
            os.environ.pop(name, None)
        else:
            os.environ[name] = value
    if not wanted["shows"]:
        return
    import atexit

    from glassloop._core.recorder import listen

    # All of it now: what is imported at the end may make classes by exec(), and then CPython forgets that
    # Ctrl-C ended the program, and returns 1.
    from glassloop.cli._at_exit import print_reports
    from glassloop.glass.onlooker import Onlooker

    onlooker = Onlooker()
    listen(onlooker)
    atexit.register(print_reports, onlooker, wanted["shows"])


def import_next_sitecustomize() -> None:
    """Import the ``sitecustomize`` that Python would have found without us, if there is one."""
    ours = sys.modules.pop(__name__)
    try:
        __import__(__name__)
    except ImportError as error:
        if error.name != __name__:
            raise
        sys.modules[__name__] = ours  # the import system wants to find what it has just made


take_folder_away()
make_glassloop_default()
import_next_sitecustomize()
