"""Functions that the tests offload; a worker process imports them from here."""

import os
import signal
import threading
import time
from pathlib import Path
from typing import Any

PATIENCE_S = 20.0


def add(one: int, other: int = 0, *, times: int = 1) -> int:
    return (one + other) * times


def where(*_: object) -> tuple[int, str]:
    """The process and the thread that it runs in."""
    return os.getpid(), threading.current_thread().name


def fail(text: str) -> None:
    raise ValueError(text)


class TwoPartsError(Exception):
    """One that pickle cannot bring back: its class wants more than its text."""

    def __init__(self, one: object, other: object) -> None:
        super().__init__("two parts")
        self.parts = one, other


def fail_in_two_parts() -> None:
    raise TwoPartsError(1, 2)


def stop_iteration() -> None:
    raise StopIteration(7)


def make_a_lambda() -> Any:
    return lambda: 0


def die() -> None:
    os.kill(os.getpid(), signal.SIGKILL)


def interrupt() -> None:
    os.kill(os.getpid(), signal.SIGINT)
    time.sleep(PATIENCE_S)


def wait_for(path: str) -> str:
    """Wait until a file is there: how a test holds up a job in another process."""
    deadline_s = time.monotonic() + PATIENCE_S
    while not Path(path).exists():
        if time.monotonic() > deadline_s:
            raise TimeoutError(path)
        time.sleep(0.005)
    return "it is there"


def note_and_wait(began: str, path: str) -> None:
    Path(began).touch()
    wait_for(path)


def touch(path: str) -> None:
    Path(path).touch()
