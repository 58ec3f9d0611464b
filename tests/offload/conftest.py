"""What the tests of offload() share: worker processes can import their functions."""

import sys
from collections.abc import Iterator
from pathlib import Path

import pytest


@pytest.fixture(autouse=True, scope="session")
def _importable() -> Iterator[None]:
    """Let a worker process import tests.offload.jobs: it is given this path."""
    root = str(Path(__file__).parents[2])
    sys.path.insert(0, root)
    yield
    sys.path.remove(root)
