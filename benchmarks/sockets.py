"""Sockets of the user's own: echo servers by the loop's sock_* methods, under the network questions' load."""

from functools import partial

from benchmarks.native import Native
from benchmarks.network import measure_echo, rate_figures
from benchmarks.questions import Question, Summary


def questions(native: Native) -> list[Question]:
    """Return the questions of this family."""

    def echo(name: str, title: str, connections: int, size: int, target: float | None) -> Question:
        measure = partial(measure_echo, "echo-sockets", connections, size, 1, native)
        figures = rate_figures(target)
        return Question(
            "sockets", name, title, figures, Summary.MEDIAN, measure, True, native.programs_missing
        )

    return [
        echo("sock_1k_100", "sock_recv and sock_sendall echo, 1 KiB × 100 connections", 100, 1024, 2.5),
        echo("sock_16k_100", "sock_recv and sock_sendall echo, 16 KiB × 100", 100, 16384, None),
        echo("sock_1k_1", "sock_recv and sock_sendall echo, 1 KiB × 1", 1, 1024, None),
    ]
