"""OpenTelemetry's observable instruments: ``pip install glassloop[otel]``.

    import glassloop.otel

    glassloop.otel.instrument()  # once the program has set its meter provider
    glassloop.run(main())

Names and attributes follow the semantic conventions for Node.js's event loop (``nodejs.eventloop.*``), which
has what no convention for Python has yet. ``process.pid`` and ``thread.name`` say which loop is meant.
"""

import os
import threading
from collections.abc import Callable, Iterable, Iterator

try:
    from opentelemetry.metrics import CallbackOptions, MeterProvider, Observation, get_meter
    from opentelemetry.util.types import AttributeValue
except ImportError as error:
    raise ImportError(
        f"glassloop.otel needs opentelemetry-api ({error}): pip install 'glassloop[otel]'", name=error.name
    ) from error

from glassloop import __version__
from glassloop._observer import Observer, Seen
from glassloop.loop import EventLoop
from glassloop.metrics import Distribution

# What one loop tells: values, each with the attributes of its own.
_Values = Iterable[tuple[float, dict[str, AttributeValue]]]
_Read = Callable[[Seen], _Values]


def _one(value: Callable[[Seen], float]) -> _Read:
    return lambda seen: [(value(seen), {})]


def _quantile(share: float, distribution: Callable[[Seen], Distribution]) -> _Read:
    """Read a quantile of what came since the collection before; nothing where nothing came."""

    def read(seen: Seen) -> _Values:
        value = distribution(seen).quantile(share)
        return [] if value is None else [(value, {})]

    return read


def _times(seen: Seen) -> _Values:
    yield seen.now.busy_s, {"glassloop.eventloop.state": "active"}
    yield seen.now.idle_s, {"glassloop.eventloop.state": "idle"}


def _tasks(seen: Seen) -> _Values:
    yield seen.now.tasks_ready, {"glassloop.task.state": "ready"}
    yield seen.now.tasks_running, {"glassloop.task.state": "running"}
    yield seen.now.tasks_waiting, {"glassloop.task.state": "waiting"}


# (name, unit, description, how to read it), by kind.
_COUNTERS: tuple[tuple[str, str, str, _Read], ...] = (
    ("eventloop.time", "s", "Time that the event loop spent in each state.", _times),
    ("eventloop.turns", "{turn}", "Turns of the event loop.", _one(lambda seen: seen.now.turns)),
    ("eventloop.steps", "{step}", "Steps of tasks and callbacks.", _one(lambda seen: seen.now.steps)),
    ("eventloop.blocks", "{block}", "Steps that blocked the event loop.", _one(lambda seen: seen.now.blocks)),
    ("task.created", "{task}", "Tasks made.", _one(lambda seen: seen.now.tasks_made)),
    ("task.finished", "{task}", "Tasks done.", _one(lambda seen: seen.now.tasks_done)),
)
_UP_DOWN_COUNTERS: tuple[tuple[str, str, str, _Read], ...] = (
    ("task.count", "{task}", "Unfinished tasks.", _tasks),
    ("eventloop.ready", "{entry}", "Entries in the ready queue.", _one(lambda seen: seen.now.ready)),
    ("eventloop.timers", "{timer}", "Timers.", _one(lambda seen: seen.now.timers)),
    ("eventloop.fds", "{fd}", "File descriptors watched.", _one(lambda seen: seen.now.fds)),
)
_GAUGES: tuple[tuple[str, str, str, _Read], ...] = (
    (
        "eventloop.utilization",
        "1",
        "Share of its time that the event loop ran, since the collection before.",
        _one(lambda seen: seen.passed.utilization),
    ),
    (
        "eventloop.turn.age",
        "s",
        "How long the turn that runs has lasted; 0 while the event loop waits.",
        _one(lambda seen: seen.now.turn_age_s),
    ),
    (
        "eventloop.block.longest",
        "s",
        "The longest of the last 64 blocks.",
        _one(lambda seen: seen.now.longest_block_s),
    ),
    *(
        (
            f"eventloop.{name}.{quantile}",
            unit,
            f"{text}, since the collection before.",
            _quantile(share, read),
        )
        for name, unit, text, read in (
            ("delay", "s", "Time from READY to RUNNING of tasks", lambda seen: seen.passed.scheduling_delay),
            ("step", "s", "Length of steps and callbacks", lambda seen: seen.passed.step_time),
            ("batch", "{entry}", "Entries that a turn ran", lambda seen: seen.passed.batch),
        )
        for quantile, share in (("p50", 0.5), ("p99", 0.99), ("p999", 0.999))
    ),
)


class _Collection:
    """One look at the loops for all instruments of a collection, which ask one by one.

    An instrument that asks again belongs to the next collection.
    """

    def __init__(self, observer: Observer) -> None:
        self._observer = observer
        self._lock = threading.Lock()
        self._asked: set[str] = set()
        self._seen: list[Seen] = []

    def seen_for(self, name: str) -> list[Seen]:
        with self._lock:
            if not self._asked or name in self._asked:
                self._asked.clear()
                self._seen = self._observer.look()
            self._asked.add(name)
            return self._seen


def instrument(
    meter_provider: MeterProvider | None = None, *, loop: EventLoop | None = None, timing_s: float = 1.0
) -> None:
    """Observe a loop, or every loop that this process has at the time of a collection.

    Call it once for a meter provider, which is the global one if none is given. Each collection has steps
    timed for the next ``timing_s`` seconds; ``math.inf`` times all: see ``EventLoop.metrics``. Quantiles of
    which nothing is known yet are not told. A loop without numbers (``GLASSLOOP_PAGE=0``) is left out, with
    one warning of the logger ``glassloop``.
    """
    meter = get_meter("glassloop", __version__, meter_provider)
    collection = _Collection(Observer(loop, timing_s))
    for create, instruments in (
        (meter.create_observable_counter, _COUNTERS),
        (meter.create_observable_up_down_counter, _UP_DOWN_COUNTERS),
        (meter.create_observable_gauge, _GAUGES),
    ):
        for name, unit, description, read in instruments:
            full_name = f"glassloop.{name}"
            create(full_name, [_callback(collection, full_name, read)], unit, description)


def _callback(
    collection: _Collection, name: str, read: _Read
) -> Callable[[CallbackOptions], Iterable[Observation]]:
    def observe(_: CallbackOptions) -> Iterator[Observation]:
        pid = os.getpid()
        for seen in collection.seen_for(name):
            for value, attributes in read(seen):
                yield Observation(value, {"process.pid": pid, "thread.name": seen.label, **attributes})

    return observe
