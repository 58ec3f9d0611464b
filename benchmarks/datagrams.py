"""Datagrams: UDP echo servers. Every peer sends a datagram, checks the answer, and sends the next."""

from functools import partial

from benchmarks.native import Native
from benchmarks.network import measure_echo, rate_figures
from benchmarks.questions import Question, Summary


def questions(native: Native) -> list[Question]:
    """Return the questions of this family."""

    def echo(name: str, title: str, peers: int, size: int, target: float | None) -> Question:
        measure = partial(measure_echo, "echo-datagrams", peers, size, 1, native)
        figures = rate_figures(target)
        return Question(
            "datagrams", name, title, figures, Summary.MEDIAN, measure, True, native.programs_missing
        )

    return [
        echo("udp_64_100", "UDP echo, 64 B × 100 peers", 100, 64, 1.5),
        echo("udp_1k_20", "UDP echo, 1 KiB × 20 peers", 20, 1024, None),
        echo("udp_64_1", "UDP echo, 64 B × 1 peer", 1, 64, None),
    ]
