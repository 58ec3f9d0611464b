"""The package as a user installs it."""

import glassloop


def test_version_is_there() -> None:
    assert glassloop.__version__.count(".") == 2


def test_run_returns_what_the_coroutine_returned() -> None:
    async def main() -> int:
        return 42

    assert glassloop.run(main()) == 42
