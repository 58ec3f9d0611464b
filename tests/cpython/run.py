"""Runs CPython's own test_asyncio, from the Python that runs this, on glassloop's loop.

    python tests/cpython/run.py                            the whole suite
    python tests/cpython/run.py test_events -k signal      tests of one module whose id has "signal" in it
    python tests/cpython/run.py --loop asyncio             the control: what fails here without glassloop

It ends with a summary, and with status 1 where a test failed that exclusions.toml does not name, or where
exclusions.toml names tests that are not there.
"""

import argparse
import faulthandler
import fnmatch
import importlib
import os
import pkgutil
import platform
import sys
import unittest
from collections.abc import Iterator
from pathlib import Path


def modules() -> list[str]:
    """The names of this Python's test modules for asyncio; none where the package is not installed."""
    try:
        package = importlib.import_module("test.test_asyncio")
    except ImportError:
        return []
    return sorted(
        module.name for module in pkgutil.iter_modules(package.__path__) if module.name.startswith("test_")
    )


def _cases(tests: unittest.TestSuite) -> Iterator[unittest.TestCase]:
    for test in tests:
        if isinstance(test, unittest.TestSuite):
            yield from _cases(test)
        else:
            yield test


def _load(names: list[str]) -> tuple[list[str], unittest.TestSuite]:
    """The modules of these that are for this platform, and their tests."""
    loaded, suite = [], unittest.TestSuite()
    for name in names:
        try:
            suite.addTest(unittest.defaultTestLoader.loadTestsFromName(f"test.test_asyncio.{name}"))
        except unittest.SkipTest as skip:
            print(f"{name}: skipped, {skip}")
        else:
            loaded.append(name)
    return loaded, suite


def _is_selected(test_id: str, patterns: list[str]) -> bool:
    return not patterns or any(fnmatch.fnmatchcase(test_id, p if "*" in p else f"*{p}*") for p in patterns)


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        "modules", nargs="*", metavar="test_module", help="modules of test.test_asyncio (default: all)"
    )
    parser.add_argument(
        "-k", dest="patterns", action="append", default=[], help="only tests whose id matches"
    )
    parser.add_argument("-v", dest="verbosity", action="count", default=1, help="name each test")
    parser.add_argument("--loop", choices=("glassloop", "asyncio"), default="glassloop")
    parser.add_argument(
        "--tasks", choices=("native", "stock"), help="whose Task (default: native where it is in use)"
    )
    parser.add_argument("--excluded", action="store_true", help="run only what exclusions.toml names")
    parser.add_argument(
        "--timeout", type=float, default=0, help="seconds after which to print all stacks and stop"
    )
    return parser.parse_args()


def main() -> int:
    """Run the tests that were asked for."""
    arguments = _arguments()
    if arguments.timeout:
        faulthandler.dump_traceback_later(arguments.timeout, exit=True)
    if arguments.tasks:
        os.environ["GLASSLOOP_TASKS"] = arguments.tasks
    # Now, for importing glassloop decides on its tasks.
    from tests.cpython import exclusions, swap

    known = modules()
    if not known:
        print(f"test.test_asyncio is not installed (Debian: libpython3.{sys.version_info[1]}-testsuite)")
        return 1
    wanted = arguments.modules or known
    if strangers := set(wanted) - set(known):
        print(f"test.test_asyncio has no {', '.join(sorted(strangers))}")
        return 1

    tasks = "stock"
    if arguments.loop == "glassloop":
        swap.use_glassloop()
        tasks = "native" if swap.has_native_tasks() else "stock"
    if arguments.tasks not in (None, tasks):
        print(f"{arguments.tasks} tasks are not to be had here; `glassloop doctor` says why")
        return 1

    loaded, suite = _load(wanted)
    if tasks == "native" and "test_graph" in loaded:
        swap.keep_stock_types_in("test.test_asyncio.test_graph")
    ids = [exclusions.short_id(case.id()) for case in _cases(suite)]
    excluded = exclusions.load(arguments.loop, tasks)

    def is_excluded(test_id: str) -> bool:
        return any(exclusion.matches(test_id) for exclusion in excluded)

    selected = [test_id for test_id in ids if _is_selected(test_id, arguments.patterns)]
    chosen = {test_id for test_id in selected if is_excluded(test_id) is arguments.excluded}
    # The suite lets go of each test when it has run. Nothing else may hold the tests: what they leave would
    # slow the later ones, many of which call gc.collect().
    suite = unittest.TestSuite(case for case in _cases(suite) if exclusions.short_id(case.id()) in chosen)
    result = unittest.TextTestRunner(verbosity=arguments.verbosity, buffer=True).run(suite)

    stale = [pattern for exclusion in excluded for pattern in exclusion.unused(ids, loaded)]
    for pattern in stale:
        print(f"exclusions.toml: {pattern} matches no test on Python {platform.python_version()}")
    # Of a test with subtests, each that fails is counted by unittest: the test is counted here.
    failed = [getattr(case, "test_case", case).id() for case, _ in result.failures + result.errors]
    bad = len({*failed, *(case.id() for case in result.unexpectedSuccesses)})
    skipped = len(result.skipped)
    print(
        f"test_asyncio of Python {platform.python_version()} on {arguments.loop}, {tasks} tasks: "
        f"{result.testsRun - bad - skipped} passed, {bad} failed, {skipped} skipped, "
        f"{len(selected) - len(chosen)} excluded"
    )
    return 1 if bad or stale else 0


if __name__ == "__main__":
    # This folder's modules are found from the checkout; the tests' own children should not find them at all.
    sys.path[0] = str(Path(__file__).resolve().parents[2])
    sys.exit(main())
