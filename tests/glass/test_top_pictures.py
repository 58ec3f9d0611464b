"""Pictures of `glassloop top`, of a made-up loop. After a wanted change: pytest --snapshot-update, and look.

They are made by the Textual and Rich that requirements/test.txt pins.
"""

import asyncio
import re
from collections.abc import Callable
from typing import Any

import pytest
from syrupy.assertion import SnapshotAssertion
from syrupy.extensions.single_file import SingleFileSnapshotExtension, WriteMode
from textual.pilot import Pilot

from glassloop.glass.layout import Awaited, Cause, Phase, Running, State
from glassloop.glass.model import Snapshot
from glassloop.glass.reader import take_snapshot
from glassloop.top.app import TopApp
from glassloop.top.loop_screen import LoopScreen
from glassloop.top.loops import LoopRow

from .support import START_NS, MakePage, SyntheticPage

MS = 1_000_000


class Picture(SingleFileSnapshotExtension):
    """An SVG in a file of its own."""

    file_extension = "svg"
    _write_mode = WriteMode.TEXT


@pytest.fixture
def snapshot(snapshot: SnapshotAssertion) -> SnapshotAssertion:
    return snapshot.use_extension(Picture)


def fill(page: SyntheticPage) -> None:
    """A web crawler with a queue, a lock, and a function that computes too long."""
    fetch = page.add_site("Crawler.fetch", "/srv/crawler/fetch.py", 41)
    main, parse = (
        page.add_site("main", "/srv/crawler/app.py", 12),
        page.add_site("parse", "/srv/crawler/parse.py", 7),
    )
    sites = {
        name: page.asyncio_site(*name.split(" "))
        for name in (
            "locks Lock.acquire",
            "tasks sleep",
            "queues Queue.get",
            "streams StreamReader._wait_for_data",
        )
    }
    sites["tasks gather"] = page.asyncio_site("tasks", "gather")
    places = list(sites)
    for slot in range(2, 40):
        place = places[slot % 4]
        page.set_task(
            slot,
            slot,
            name=f"fetch https://example.org/{slot}",
            site=sites[place],
            awaited=Awaited.FUTURE,
            deadline_ns=START_NS + 5000 * MS if slot % 4 == 1 else 0,
            coroutine=fetch,
            creator=main,
            parent=1,
            cause=Cause.FUTURE_DONE,
            cause_kind=Running.SOURCE,
            cause_subject=8,
            since_ticks=page.at(25 * slot),
            cpu_ticks=slot * slot * 50_000,
            steps=slot * 3,
            wakeups=slot * 2,
        )
    page.set_task(
        1,
        1,
        name="crawler",
        site=sites["tasks gather"],
        awaited=Awaited.FUTURE,
        coroutine=main,
        steps=1,
        cpu_ticks=MS,
    )
    page.set_task(
        40, 40, name="[b]解析[/b]", state=State.READY, coroutine=parse, since_ticks=page.at(900), parent=1
    )
    page.set_header(command=b"/usr/bin/python3\0-m\0crawler\0--depth\0003", python=b"3.13.0 (main)")
    page.count("step", *[20_000] * 50, *[90_000] * 20, 150_000_000)
    page.count("delay", *[3000] * 60, *[700_000] * 5)
    page.count("batch", *[1] * 40, *[2, 3, 9] * 6)
    stack = b"/usr/lib/python3.13/re/__init__.py\t170\tmatch\n/srv/crawler/parse.py\t19\tparse\n"
    stack += b"/srv/crawler/app.py\t30\tmain\n"
    page.add_block(300, 450, stack, task=40, name="[b]解析[/b]".encode(), ended=1)
    page.set_live(turns=120, steps=310, busy_ticks=400 * MS, idle_ticks=600 * MS, timers=9, fds=6)
    rest(page, 1000)


def rest(page: SyntheticPage, ms: float) -> None:
    page.set_live(
        phase=Phase.POLLING, now_ticks=page.at(ms), now_ns=START_NS + round(ms * MS), poll_ticks=page.at(ms)
    )


def go_on(page: SyntheticPage) -> None:
    """One second later."""
    for number in range(30):
        slot = 2 + number % 3
        page.wake(slot, 1010 + 30 * number, Running.SOURCE, 8 + number % 2)
        page.step(slot, 1012 + 30 * number, 6, State.WAITING, site=4 + number % 2)
        page.call(1009 + 30 * number, 0.4, fd=7 + number % 2)
    for slot in (2, 3, 4):
        page.set_task(
            slot,
            slot,
            name=f"fetch https://example.org/{slot}",
            site=6,
            awaited=Awaited.FUTURE,
            coroutine=1,
            creator=2,
            parent=1,
            since_ticks=page.at(1900),
            cpu_ticks=slot * slot * 50_000 + 60 * MS,
            steps=slot * 3 + 10,
            wakeups=slot * 2 + 10,
            cause=Cause.FUTURE_DONE,
            cause_kind=Running.SOURCE,
            cause_subject=8,
        )
    page.count("delay", *[2000] * 30)
    page.set_live(turns=180, steps=400, busy_ticks=600 * MS, idle_ticks=1400 * MS)
    rest(page, 2000)


def block(page: SyntheticPage) -> None:
    """It is stuck."""
    page.add_block(2000, 5200, b"/srv/crawler/parse.py\t23\tparse\n/srv/crawler/app.py\t30\tmain\n", task=40)
    page.set_live(phase=Phase.RUNNING, running_kind=Running.TASK, running_slot=40, step_ticks=page.at(2000))


@pytest.fixture
def page(make_page: MakePage, monkeypatch: pytest.MonkeyPatch) -> SyntheticPage:
    def alive(*arguments: Any, **more: Any) -> Snapshot:
        return take_snapshot(*arguments, **more)._replace(alive=True, pid=4711)

    monkeypatch.setattr("glassloop.top.look.take_snapshot", alive)
    monkeypatch.setattr("glassloop.top.descriptors.watched", lambda pid: {5: "r", 7: "r", 8: "rw"})
    names = {
        5: "TCP listens on 0.0.0.0:8080",
        7: "TCP 10.0.0.5:40220 ↔ 93.184.215.14:443",
        8: "Unix socket /run/db",
    }
    monkeypatch.setattr("glassloop.top.descriptors.names_of", lambda pid, fds: names)
    rows = [
        LoopRow(
            4711, (0, 1), "MainThread", 0.2, 40, 1, 2300, "waiting", False, "python3 -m crawler --depth 3"
        ),
        LoopRow(815, (0, 2), "worker-1", 1.0, 3, 0, 0, "STUCK 12.4 s", True, "python3 /srv/api/server.py"),
    ]
    monkeypatch.setattr("glassloop.top.loops.LoopFinder.look", lambda finder: (rows, []))
    page = make_page()
    fill(page)
    return page


def picture_of(app: TopApp) -> str:
    """The screen as SVG, without the fonts that it would fetch."""
    return re.sub(r"@font-face \{.*?\}\s*", "", app.export_screenshot(), flags=re.DOTALL)


async def press(pilot: Pilot[None], *keys: str) -> None:
    await pilot.press(*keys)
    await settle(pilot)


async def settle(pilot: Pilot[None]) -> None:
    for _ in range(3):  # a look makes a list: one thread after the other
        await pilot.app.workers.wait_for_complete()
        await pilot.pause()


async def look_again(pilot: Pilot[None], change: Callable[[], None]) -> None:
    change()
    for screen in pilot.app.screen_stack:
        if isinstance(screen, LoopScreen):
            screen.tick()
    await settle(pilot)


SCREENS = {
    "tasks": [],
    "sorted": ["left", "left", "r", "down", "down"],
    "filtered": ["slash", *"lock", "enter"],
    "no-match": ["slash", *"xyz"],
    "blocks": ["2"],
    "times": ["3"],
    "descriptors": ["4"],
    "help": ["question_mark"],
    "task": ["enter"],
    "paused": ["space", "end"],
    "loops": ["l"],
}


@pytest.mark.parametrize("size", [(80, 24), (120, 40)], ids=["80x24", "120x40"])
@pytest.mark.parametrize("name", SCREENS)
def test_screen(page: SyntheticPage, snapshot: SnapshotAssertion, name: str, size: tuple[int, int]) -> None:
    async def draw() -> str:
        app = TopApp(page.open(), interval_s=60)
        async with app.run_test(size=size) as pilot:
            await settle(pilot)
            if name == "task":  # its history is of what comes while it is looked at
                await press(pilot, *SCREENS[name])
                await look_again(pilot, lambda: go_on(page))
            else:
                await look_again(pilot, lambda: go_on(page))
                await press(pilot, *SCREENS[name])
            return picture_of(app)

    assert asyncio.run(draw()) == snapshot


@pytest.mark.parametrize("name", ["tasks", "blocks", "task"])
def test_stuck(page: SyntheticPage, snapshot: SnapshotAssertion, name: str) -> None:
    async def draw() -> str:
        app = TopApp(page.open(), interval_s=60)
        async with app.run_test(size=(80, 24)) as pilot:
            await settle(pilot)
            await look_again(pilot, lambda: go_on(page))
            await look_again(pilot, lambda: block(page))
            await press(pilot, *SCREENS[name])
            return picture_of(app)

    assert asyncio.run(draw()) == snapshot
