"""What the reading side's tests share: a synthetic page that goes away with its test."""

import os
from collections.abc import Iterator

import pytest

from .support import MakePage, SyntheticPage


@pytest.fixture
def make_page(monkeypatch: pytest.MonkeyPatch) -> Iterator[MakePage]:
    """Make synthetic pages whose writer counts as gone."""
    made: list[int] = []

    def make(tasks: int = 64, records: int = 64) -> SyntheticPage:
        fd = os.memfd_create("synthetic", os.MFD_CLOEXEC)
        made.append(fd)
        return SyntheticPage(fd, tasks, records)

    monkeypatch.setattr("glassloop.glass.finder.writer_of", lambda page: page.found_pid)
    yield make
    for fd in made:
        os.close(fd)


@pytest.fixture
def synthetic(make_page: MakePage) -> SyntheticPage:
    return make_page()
