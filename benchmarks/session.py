"""One run: asks every question of every loop in turns and keeps every answer."""

import statistics
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from benchmarks import loops
from benchmarks.questions import Better, Effort, Failed, Figure, Question, Summary


@dataclass
class Answers:
    """What one loop gave to one question."""

    samples: dict[str, list[float]] = field(default_factory=dict)  # by figure, one value a round
    failure: str | None = None  # a loop that fails in one round has failed

    def value(self, figure: Figure, summary: Summary) -> float | None:
        """Return the one value of all rounds, or None where there is none."""
        samples = self.samples.get(figure.key)
        if self.failure is not None or not samples:
            return None
        if summary is Summary.MEDIAN:
            return statistics.median(samples)
        return min(samples) if figure.better is Better.LESS else max(samples)


@dataclass
class Asked:
    """A question with the answers to it, by loop."""

    question: Question
    answers: dict[str, Answers] = field(default_factory=dict)
    seconds: float = 0.0

    def value(self, figure: Figure, loop: str) -> float | None:
        """Return the value that a loop gave, or None where it gave none."""
        answers = self.answers.get(loop)
        return None if answers is None else answers.value(figure, self.question.summary)

    def ratio(self, figure: Figure, loop: str, reference: str = loops.REFERENCE) -> float | None:
        """Return how many times better than the reference a loop is."""
        value, base = self.value(figure, loop), self.value(figure, reference)
        if not value or not base:
            return None
        return base / value if figure.better is Better.LESS else value / base


def ask_all(
    questions: Sequence[Question],
    loop_names: Sequence[str],
    effort: Effort,
    rounds: int | None,
    progress: Callable[[str], None],
) -> list[Asked]:
    """Ask the questions one after the other; within each, rounds alternate over the loops.

    What disturbs the machine for some seconds so falls on all loops alike. Each round starts with another.
    """
    results = []
    for number, question in enumerate(questions, 1):
        asked = Asked(question)
        results.append(asked)
        began = time.monotonic()
        if question.unavailable is None:
            names = [name for name in loop_names if name != loops.NODE or question.has_node]
            if question.has_limit:
                names.append(loops.LIMIT)
            asked.answers = {name: Answers() for name in names}
            usual = effort.scheduling_rounds if question.family == "scheduling" else effort.network_rounds
            for turn in range(rounds or usual):
                for index in range(len(names)):
                    name = names[(index + turn) % len(names)]
                    _ask_once(question, name, asked.answers[name], effort)
        asked.seconds = time.monotonic() - began
        progress(f"[{number}/{len(questions)}] {asked.seconds:5.1f} s  {_line(asked)}")
    return results


def _ask_once(question: Question, name: str, answers: Answers, effort: Effort) -> None:
    if answers.failure is not None:
        return
    try:
        measured = question.measure(name, effort)
    except (Failed, OSError) as error:
        answers.failure = str(error)
        return
    for key, value in measured.items():
        answers.samples.setdefault(key, []).append(value)


def _line(asked: Asked) -> str:
    question = asked.question
    if question.unavailable is not None:
        return f"{question.title}: skipped, {question.unavailable}"
    figure = question.figures[0]
    parts = []
    for name in asked.answers:
        value = asked.value(figure, name)
        parts.append(f"{name} fails" if value is None else f"{name} {value:.4g}")
    return f"{question.title} ({figure.unit}): {', '.join(parts)}"
