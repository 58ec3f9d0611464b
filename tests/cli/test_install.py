"""install() and the change of asyncio's default behind `glassloop run`: with and without policies."""

import subprocess
import sys

import pytest

from glassloop import _policy

HAS_POLICIES = sys.version_info < (3, 16)

SHOW = """
import asyncio, warnings
async def show():
    print(type(asyncio.get_running_loop()).__module__.partition(".")[0])
"""

NO_POLICIES = """
from glassloop import _policy
_policy.default_policy_class = lambda: None
"""


def run_code(code: str) -> str:
    """Run code that changes the whole process in one of its own, and return what it prints."""
    done = subprocess.run(
        [sys.executable, "-c", SHOW + code], check=False, capture_output=True, text=True, timeout=60
    )
    assert (done.stderr, done.returncode) == ("", 0)
    return done.stdout


@pytest.mark.skipif(not HAS_POLICIES, reason="this Python has no event loop policies")
def test_install_makes_glassloop_the_loop_and_says_once_that_it_is_deprecated() -> None:
    assert (
        run_code(
            "import glassloop\nwith warnings.catch_warnings(record=True) as caught:\n"
            "    warnings.simplefilter('always')\n"
            "    glassloop.install()\nprint([w.category.__name__ for w in caught], caught[0].filename, "
            "'loop_factory=glassloop.new_event_loop' in str(caught[0].message))\n"
            "asyncio.run(show())\nwith asyncio.Runner() as runner:\n    runner.run(show())\n"
            "loop = asyncio.new_event_loop()\nloop.run_until_complete(show())\nloop.close()\n"
        )
        == "['DeprecationWarning'] <string> True\nglassloop\nglassloop\nglassloop\n"
    )


@pytest.mark.skipif(not HAS_POLICIES, reason="this Python has no event loop policies")
def test_install_is_undone_by_asyncio() -> None:
    assert (
        run_code(
            "import glassloop\nwarnings.simplefilter('ignore')\nglassloop.install()\nasyncio.run(show())\n"
            "asyncio.set_event_loop_policy(None)\nasyncio.run(show())\n"
        )
        == "glassloop\nasyncio\n"
    )


@pytest.mark.skipif(not HAS_POLICIES, reason="this Python has no event loop policies")
def test_install_keeps_the_policys_other_manners() -> None:
    """The policy that is set remains a default one: child watchers, and one loop for each thread."""
    assert (
        run_code(
            "import glassloop\nwarnings.simplefilter('ignore')\nglassloop.install()\n"
            "policy = asyncio.get_event_loop_policy()\n"
            "print(isinstance(policy, asyncio.DefaultEventLoopPolicy))\n"
            "print(type(policy).__module__, type(policy).__name__)\n"
        )
        == "True\nglassloop._policy EventLoopPolicy\n"
    )


def test_install_without_policies_says_what_to_do(monkeypatch: pytest.MonkeyPatch) -> None:
    if HAS_POLICIES:
        monkeypatch.setattr(_policy, "default_policy_class", lambda: None)
    with pytest.raises(RuntimeError) as caught:
        _policy.install()
    for way_out in (
        "glassloop.run(main())",
        "loop_factory=glassloop.new_event_loop",
        "glassloop run script.py",
    ):
        assert way_out in str(caught.value)


def test_the_default_can_be_changed_without_policies() -> None:
    """What Python 3.16 does; its Runner asks the same function as the Runner of every Python before it."""
    assert (
        run_code(
            NO_POLICIES + "_policy.make_default()\nfrom asyncio import new_event_loop\nasyncio.run(show())\n"
            "with asyncio.Runner(loop_factory=None) as runner:\n    runner.run(show())\n"
            "loop = new_event_loop()\nloop.run_until_complete(show())\nloop.close()\n"
            "with asyncio.Runner(loop_factory=asyncio.SelectorEventLoop) as runner:\n    runner.run(show())\n"
        )
        == "glassloop\nglassloop\nglassloop\nasyncio\n"
    )


def test_an_asyncio_that_makes_loops_in_an_unknown_way_is_an_error() -> None:
    assert "RuntimeError" in run_code(
        NO_POLICIES + "del asyncio.events.new_event_loop\ntry:\n    _policy.make_default()\n"
        "except RuntimeError as error:\n    print(repr(error))\n"
    )
