"""A history as a trace for Perfetto (https://ui.perfetto.dev): a protobuf message, encoded here by hand.

Field numbers are those of perfetto's ``trace_packet.proto``, ``track_descriptor.proto`` and
``track_event.proto``. Each task is a track under the process's; its states are slices; a wake-up is an
instant on the waker's track with a flow to the step that it led to.
"""

from collections.abc import Iterator

from glassloop.glass.history import History, Lane, WakeUp
from glassloop.glass.layout import Running, State

_VARINT, _FIXED64, _BYTES = 0, 1, 2

# Trace
_PACKET = 1
# TracePacket
_TIMESTAMP, _SEQUENCE_ID, _TRACK_EVENT, _SEQUENCE_FLAGS, _TRACK_DESCRIPTOR = 8, 10, 11, 13, 60
_STATE_CLEARED = 1
# TrackDescriptor
_UUID, _NAME, _PROCESS, _PARENT_UUID = 1, 2, 3, 5
# ProcessDescriptor
_PID, _PROCESS_NAME = 1, 6
# TrackEvent
_TYPE, _EVENT_TRACK, _EVENT_NAME, _CATEGORIES, _FLOW, _ENDING_FLOW = 9, 11, 23, 22, 47, 48
_BEGIN, _END, _INSTANT = 1, 2, 3

_PROCESS_TRACK = 1
_CALL_TRACK = 2
_FIRST_TASK_TRACK = 16
_ONE_SEQUENCE = 1


def to_perfetto(history: History) -> bytes:
    """Return the bytes of a ``.pftrace`` file."""
    return b"".join(_field(_PACKET, packet) for packet in _Encoder(history).packets())


def varint(value: int) -> bytes:
    """Return a number as protobuf writes it: seven bits a byte, the lowest first."""
    value &= 2**64 - 1
    parts = bytearray()
    while value > 0x7F:
        parts.append(value & 0x7F | 0x80)
        value >>= 7
    parts.append(value)
    return bytes(parts)


def _number(field: int, value: int) -> bytes:
    return varint(field << 3 | _VARINT) + varint(value)


def _fixed(field: int, value: int) -> bytes:
    return varint(field << 3 | _FIXED64) + (value & 2**64 - 1).to_bytes(8, "little")


def _field(field: int, data: bytes | str) -> bytes:
    encoded = data.encode() if isinstance(data, str) else data
    return varint(field << 3 | _BYTES) + varint(len(encoded)) + encoded


class _Encoder:
    def __init__(self, history: History) -> None:
        self.history = history
        self.tracks = {lane.task_id: _FIRST_TASK_TRACK + number for number, lane in enumerate(history.lanes)}

    def packets(self) -> Iterator[bytes]:
        """Yield the packets: first the tracks, then the events by time."""
        history = self.history
        process = _number(_PID, history.pid) + _field(_PROCESS_NAME, " ".join(history.command))
        yield (
            _field(_TRACK_DESCRIPTOR, _number(_UUID, _PROCESS_TRACK) + _field(_PROCESS, process))
            + _number(_SEQUENCE_ID, _ONE_SEQUENCE)
            + _number(_SEQUENCE_FLAGS, _STATE_CLEARED)
        )
        yield self._track(_CALL_TRACK, "callbacks and I/O")
        for lane in history.lanes:
            name = f"{lane.name} {lane.function}" if lane.function else lane.name
            yield self._track(self.tracks[lane.task_id], name)
        # Of one track's events at one time, the end of a slice comes before the next one's beginning.
        events = sorted(self._events(), key=lambda event: event[0])
        for at_ns, event in events:
            yield (
                _number(_TIMESTAMP, at_ns)
                + _number(_SEQUENCE_ID, _ONE_SEQUENCE)
                + _field(_TRACK_EVENT, event)
            )

    def _track(self, uuid: int, name: str) -> bytes:
        track = _number(_UUID, uuid) + _field(_NAME, name) + _number(_PARENT_UUID, _PROCESS_TRACK)
        return _field(_TRACK_DESCRIPTOR, track) + _number(_SEQUENCE_ID, _ONE_SEQUENCE)

    def _events(self) -> Iterator[tuple[int, bytes]]:
        flow = 0
        for call in self.history.calls:
            name = f"descriptor {call.fd}" if call.fd >= 0 else call.running.name.lower()
            yield call.start_ns, _event(_BEGIN, _CALL_TRACK, name, "call")
            yield call.end_ns, _event(_END, _CALL_TRACK)
        for lane in self.history.lanes:
            track = self.tracks[lane.task_id]
            arrows: dict[int, list[int]] = {}  # by the step to which they lead
            for wakeup in lane.wakeups:
                flow += 1
                step = _step_after(lane, wakeup)
                if step >= 0 and (source := self._source(wakeup)):
                    arrows.setdefault(step, []).append(flow)
                    yield (
                        wakeup.at_ns,
                        _event(_INSTANT, source, f"wakes {lane.name}", "wake") + _fixed(_FLOW, flow),
                    )
            for number, interval in enumerate(lane.intervals):
                if interval.state is State.DONE:
                    continue
                name = interval.state.name
                if interval.state is State.WAITING and interval.site:
                    name = f"WAITING for {self.history.wait_text(interval.site)}"
                ends = b"".join(_fixed(_ENDING_FLOW, one) for one in arrows.get(number, ()))
                yield interval.start_ns, _event(_BEGIN, track, name, interval.state.name.lower()) + ends
                yield interval.end_ns, _event(_END, track)

    def _source(self, wakeup: WakeUp) -> int:
        """Return the track of what woke a task; 0: unknown."""
        if wakeup.by is Running.TASK:
            return self.tracks.get(wakeup.by_id, 0)
        return _CALL_TRACK if wakeup.by in (Running.SOURCE, Running.HANDLE) else 0


def _event(kind: int, track: int, name: str = "", category: str = "") -> bytes:
    event = _number(_TYPE, kind) + _number(_EVENT_TRACK, track)
    if category:
        event += _field(_CATEGORIES, category)
    return event + _field(_EVENT_NAME, name) if name else event


def _step_after(lane: Lane, wakeup: WakeUp) -> int:
    """Return the number of the lane's first RUNNING interval at or after a wake-up; -1: there is none."""
    low, high = 0, len(lane.intervals)
    while low < high:
        middle = (low + high) // 2
        if lane.intervals[middle].start_ns < wakeup.at_ns:
            low = middle + 1
        else:
            high = middle
    while low < len(lane.intervals) and lane.intervals[low].state is not State.RUNNING:
        low += 1
    return low if low < len(lane.intervals) else -1
