"""The marker of the stress tests that take gigabytes or many seconds."""

import pytest


def pytest_configure(config: pytest.Config) -> None:
    config.addinivalue_line("markers", "slow: gigabytes or many seconds; not in the sanitizer's run")
