"""What does not hold yet: tests that are expected to fail, each with its reason."""

import signal

import pytest

# A shell starts what runs in the background with SIGINT ignored, which children inherit: theirs is to work.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)

# By the beginning of the test's name. An xfail that passes is no failure.
KNOWN_GAPS = {
    "test_a_write_is_sent_at_once": "small writes of a busy loop leave together: decision 0006",
}


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        for name, reason in KNOWN_GAPS.items():
            if item.name.startswith(name):
                item.add_marker(pytest.mark.xfail(reason=reason, strict=False))
