"""Pages cut short, of another version, or rubbish: a clear error or harmless values, never a crash."""

import contextlib
import os
import random
from pathlib import Path
from typing import Any

import pytest

from glassloop.glass import layout
from glassloop.glass.errors import BadPageError, NoLoopError, ReadError
from glassloop.glass.finder import open_file
from glassloop.glass.history import build_history
from glassloop.glass.insights import Evidence, find_insights
from glassloop.glass.layout import State
from glassloop.glass.page import Page
from glassloop.glass.raw import RECORD, RawRecord
from glassloop.glass.reader import take_snapshot
from glassloop.glass.recording import read_ring
from glassloop.glass.stacks import parse_stacks
from glassloop.glass.timeline_html import to_html
from glassloop.glass.timeline_json import to_json
from glassloop.glass.timeline_perfetto import to_perfetto
from glassloop.glass.timeline_text import draw

from .support import MakePage, SyntheticPage


def test_a_file_that_is_no_page(tmp_path: Path) -> None:
    file = tmp_path / "file"
    for content in (b"", b"x", b"#!/bin/sh\n" * 1000):
        file.write_bytes(content)
        with pytest.raises(BadPageError, match="is no page of a loop"):
            open_file(str(file))


def test_what_is_no_regular_file(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "fifo")
    for path in (tmp_path / "fifo", tmp_path, Path("/dev/null")):
        with pytest.raises(BadPageError, match="no regular file"):
            open_file(str(path))
    with pytest.raises(NoLoopError, match="there is no file"):
        open_file(str(tmp_path / "absent"))


def test_another_version(synthetic: SyntheticPage) -> None:
    synthetic.set_header(version=layout.VERSION + 1)
    with pytest.raises(BadPageError, match=f"version {layout.VERSION + 1}.*reads version {layout.VERSION}"):
        synthetic.open()


@pytest.mark.parametrize(
    "change",
    [
        {"task_capacity": 0},
        {"task_capacity": 2**32 - 1},
        {"task_capacity": 6300},
        {"record_capacity": 63},
        {"record_capacity": 0},
        {"record_capacity": 2**31},
        {"live": 0},
        {"tasks": 2**63},
        {"names": 12},
        {"strings_size": 2**32 - 1},
        {"stacks_size": 0},
        {"block_capacity": 2**20},
        {"site_capacity": 1},
        {"page_size": 4096},
    ],
    ids=str,
)
def test_a_header_that_contradicts_the_layout(synthetic: SyntheticPage, change: dict[str, Any]) -> None:
    synthetic.set_header(**change)
    with pytest.raises(BadPageError, match="damaged"):
        synthetic.open()


def test_a_page_that_is_cut_short(synthetic: SyntheticPage) -> None:
    os.ftruncate(synthetic.fd, layout.page_size(64, 64) - 1)
    with pytest.raises(BadPageError, match="cut short"):
        synthetic.open()


@pytest.mark.parametrize("length", [100, 5000, 20000, 200_000])
def test_a_page_that_is_cut_short_while_it_is_open(synthetic: SyntheticPage, length: int) -> None:
    synthetic.set_task(1, 1)
    with synthetic.open() as page:
        os.ftruncate(synthetic.fd, length)
        with pytest.raises(BadPageError, match="cut short"):
            take_snapshot(page)


@pytest.mark.parametrize(
    "change",
    [{"slots_used": 65}, {"slots_used": 2**32 - 1}, {"sites": 2**31}, {"strings": 2**32 - 1}],
    ids=str,
)
def test_counts_beyond_the_capacity(synthetic: SyntheticPage, change: dict[str, int]) -> None:
    synthetic.set_live(**change)
    with synthetic.open() as page, pytest.raises(BadPageError, match="damaged"):
        take_snapshot(page)


def test_more_await_stacks_than_there_is_room_for(synthetic: SyntheticPage) -> None:
    synthetic.set_live(stacks_length=2**40)
    with synthetic.open() as page, pytest.raises(BadPageError, match="await stacks"):
        page.given_stacks()


def use(page: Page) -> None:
    """Everything that reads a page."""
    snapshot = take_snapshot(page)
    _, data, _ = page.records()
    records = tuple(RawRecord._make(fields) for fields in RECORD.iter_unpack(data))
    for finding in find_insights(Evidence(snapshot, records)):
        assert finding.sentence.isprintable()
    history = build_history(read_ring(page, snapshot))
    for lane in history.lanes:
        last_ns = history.start_ns
        for interval in lane.intervals:
            assert last_ns <= interval.start_ns <= interval.end_ns <= history.end_ns
            assert interval.end_ns > interval.start_ns or interval.state in (State.DONE, State.RUNNING)
            last_ns = interval.end_ns
    assert "\x1b" not in "\n".join(draw(history))
    assert "\x1b" not in to_html(history) and "\x1b" not in to_json(history) and to_perfetto(history)
    parse_stacks(page.read(page.sections["stacks"].offset, 4096))


@pytest.mark.parametrize("seed", range(30))
def test_rubbish_behind_a_good_header(make_page: MakePage, seed: int) -> None:
    """A program writes noise into its page: what comes out may be nonsense, but is printable, and ends."""
    noise = random.Random(seed)
    page = make_page(tasks=128, records=128)
    for name, section in page.sections.items():
        if name not in ("header", "live") and noise.random() < 0.8:
            page.write(name, noise.randbytes(min(section.size, 1 << 16)))
    words = {
        name: noise.choice([0, 1, noise.getrandbits(6), noise.getrandbits(31)])
        for name in page.live
        if name not in ("slots_used", "sites", "strings")
    }
    page.set_live(**words)
    page.set_live(
        slots_used=128, sites=noise.randrange(layout.SITE_CAPACITY), strings=noise.randrange(1 << 16)
    )
    with page.open() as opened, contextlib.suppress(ReadError):
        use(opened)


@pytest.mark.parametrize("seed", range(30))
def test_single_damages_to_a_good_page(make_page: MakePage, seed: int) -> None:
    noise = random.Random(seed)
    page = make_page(tasks=16, records=16)
    for number in range(1, 12):
        page.waits(number, number, "locks", "Lock.acquire")
        page.wake(number, number)
        page.step(number, number + 0.5, 0.2, State.WAITING, site=1)
    page.add_block(1, 200, b"a.py\t1\tf\n")
    for _ in range(20):
        section = page.sections[
            noise.choice(["live", "tasks", "records", "sites", "strings", "blocks", "histograms"])
        ]
        at = noise.randrange(min(section.size, 2048))
        os.pwrite(page.fd, noise.randbytes(noise.choice([1, 4, 8])), section.offset + at)
    with page.open() as opened, contextlib.suppress(ReadError):
        use(opened)
