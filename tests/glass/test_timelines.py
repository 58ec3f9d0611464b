"""A history as text, JSON, a web page and a Perfetto trace: each read by something else than its writer."""

import html.parser
import json
import re
from collections.abc import Iterator
from typing import Any

import pytest

from glassloop.glass.history import History, build_history
from glassloop.glass.layout import State
from glassloop.glass.recording import read_ring
from glassloop.glass.timeline_html import to_html
from glassloop.glass.timeline_json import describe, to_json
from glassloop.glass.timeline_perfetto import to_perfetto, varint
from glassloop.glass.timeline_text import LEGEND, draw

from .support import EVIL, MS, START_NS, MakePage, SyntheticPage, two_tasks


def story(page: SyntheticPage) -> History:
    """Two tasks: the second is woken by a descriptor and wakes the first, which ends."""
    two_tasks(page)
    with page.open() as opened:
        return build_history(read_ring(opened))


@pytest.fixture
def history(synthetic: SyntheticPage) -> History:
    return story(synthetic)


def test_text(history: History) -> None:
    lines = list(draw(history, width=100))
    assert lines[0].startswith("time →") and lines[0].endswith("1.0s") and lines[-1] == LEGEND
    first, second = lines[1:3]
    assert first.endswith("█ done") and "second" in second and second.endswith("waits for data from a stream")
    cells = re.search(r"[█▒░ ]{20,}", first)
    assert cells is not None
    # Waits until 0.405 s, is ready until 0.8 s, then runs to 0.9 s.
    shown = cells[0].strip()
    assert re.fullmatch(r"█░+▒+█+", shown) and shown.count("▒") == pytest.approx(shown.count("░"), abs=2)
    assert not any("\x1b" in line for line in lines)


def test_text_shows_those_that_ran_most(make_page: MakePage) -> None:
    page = make_page(records=256)
    for number in range(60):
        page.step(number + 1, number, 0.9 if number < 3 else 0.1, State.READY)
    with page.open() as opened:
        lines = list(draw(build_history(read_ring(opened)), most_lanes=3))
    assert [line.split()[0] for line in lines[1:4]] == ["Task-1", "Task-2", "Task-3"]
    assert lines[4] == "and 57 more tasks, which ran less"


def test_text_of_nothing(synthetic: SyntheticPage) -> None:
    with synthetic.open() as opened:
        assert len(list(draw(build_history(read_ring(opened))))) == 2


def test_json(history: History) -> None:
    read = json.loads(to_json(history))
    assert read == describe(history)
    first, second = read["tasks"]
    assert [one["state"] for one in first["intervals"]] == ["running", "waiting", "ready", "running", "done"]
    assert first["intervals"][1] == {
        "state": "waiting",
        "start_ns": 10 * MS,
        "end_ns": 405 * MS,
        "waits_for": "a lock",
    }
    assert first["wakeups"] == [
        {"at_ns": 405 * MS, "cause": "future_done", "by": "task", "task": 2, "descriptor": None}
    ]
    assert second["wakeups"][0]["descriptor"] == 7 and read["calls"][0]["descriptor"] == 7
    assert read["length_ns"] == 1000 * MS


class Parts(html.parser.HTMLParser):
    """What a browser would find in a page."""

    def __init__(self) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.scripts: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))

    def handle_data(self, data: str) -> None:
        if self.tags and self.tags[-1][0] == "script":
            self.scripts.append(data)


def test_the_web_page_needs_nothing_else(history: History) -> None:
    page = to_html(history)
    parts = Parts()
    parts.feed(page)
    assert [tag for tag, _ in parts.tags].count("script") == 1, "a name must not end the script"
    assert not any({"src", "href"} & attributes.keys() for _, attributes in parts.tags)
    assert not re.search(r"https?://|url\(|@import|fetch\(|XMLHttpRequest|WebSocket|innerHTML", page)
    policy = next(attributes for tag, attributes in parts.tags if "http-equiv" in attributes)
    assert policy["content"] is not None and policy["content"].startswith("default-src 'none'")
    data = re.search(r"^const data = (.*);$", page, re.MULTILINE)
    assert data is not None
    read = json.loads(data[1])
    assert [lane["id"] for lane in read["lanes"]] == [1, 2]
    assert read["lanes"][0]["states"][4:7] == [State.WAITING, 10 * MS, 395 * MS]
    assert read["wakes"] == [405 * MS, 1, 0, 2, 1, -1, 400_500_000, -1, 1, 2, 2, 7]


# ---- a reader of protobuf, independent of the writer ----


def fields(data: bytes) -> Iterator[tuple[int, int | bytes]]:
    place = 0

    def number() -> int:
        nonlocal place
        value = shift = 0
        while True:
            byte = data[place]
            place += 1
            value |= (byte & 0x7F) << shift
            shift += 7
            if byte < 0x80:
                return value

    while place < len(data):
        key = number()
        if key & 7 == 0:
            yield key >> 3, number()
        elif key & 7 == 1:
            yield key >> 3, int.from_bytes(data[place : place + 8], "little")
            place += 8
        else:
            assert key & 7 == 2
            length = number()
            yield key >> 3, data[place : place + length]
            place += length


def decode(data: bytes) -> dict[int, list[Any]]:
    found: dict[int, list[Any]] = {}
    for key, value in fields(data):
        found.setdefault(key, []).append(value)
    return found


def test_varint() -> None:
    assert varint(0) == b"\0" and varint(300) == b"\xac\x02" and varint(-1) == b"\xff" * 9 + b"\x01"


def test_perfetto(history: History) -> None:
    packets = [decode(packet) for packet in decode(to_perfetto(history))[1]]
    tracks = {}
    for packet in packets:
        if 60 in packet:
            track = decode(packet[60][0])
            tracks[track[1][0]] = track
    names = {uuid: track[2][0].decode() for uuid, track in tracks.items() if 2 in track}
    assert sorted(names.values()) == sorted(["callbacks and I/O", f"first {EVIL}", "second"])
    process = decode(tracks[1][3][0])
    assert process[1] == [history.pid] and process[6] == [b"python app.py --fast"]

    depth = dict.fromkeys(names, 0)
    slices = []
    starts, ends = set(), set()
    last = 0
    for packet in packets:
        if 11 not in packet:
            continue
        event = decode(packet[11][0])
        track, at = event[11][0], packet[8][0]
        assert at >= last
        last = at
        starts.update(event.get(47, []))
        ends.update(event.get(48, []))
        if event[9] == [1]:
            depth[track] += 1
            slices.append((names[track].partition(" ")[0], event[23][0].decode(), (at - START_NS) / MS))
        elif event[9] == [2]:
            depth[track] -= 1
        assert 0 <= depth[track] <= 1
    assert set(depth.values()) == {0}
    assert ("first", "WAITING for a lock", 10) in slices and ("first", "READY", 405) in slices
    assert ("callbacks", "descriptor 7", 400) in slices
    assert starts == ends and len(starts) == 2


def test_perfetto_s_own_description_reads_it(history: History) -> None:
    perfetto = pytest.importorskip("perfetto.protos.perfetto.trace.perfetto_trace_pb2")
    trace = perfetto.Trace()
    trace.ParseFromString(to_perfetto(history))
    named = [packet.track_descriptor.name for packet in trace.packet if packet.HasField("track_descriptor")]
    assert "second" in named
    events = [packet.track_event for packet in trace.packet if packet.HasField("track_event")]
    assert {event.type for event in events} == {1, 2, 3}
    assert "WAITING for data from a stream" in [event.name for event in events]
