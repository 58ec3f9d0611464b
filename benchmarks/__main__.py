"""`python -m benchmarks`: ask, show the table, and write the results."""

import argparse
import fnmatch
import json
import sys
import tempfile
from dataclasses import asdict
from pathlib import Path

from benchmarks import (
    datagrams,
    files,
    http,
    loops,
    machine,
    network,
    quiet,
    report,
    scheduling,
    session,
    sockets,
    tls,
)
from benchmarks.native import compile_native
from benchmarks.questions import FULL, QUICK, SMOKE, Effort, Question

_COLUMNS = (*loops.LOOPS, loops.NODE)


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks",
        description="Ask several event loops the same questions, in turns.",
    )
    effort = parser.add_mutually_exclusive_group()
    effort.add_argument(
        "--quick", action="store_true", help="fewer, shorter and smaller rounds: under 4 minutes"
    )
    effort.add_argument(
        "--smoke",
        action="store_true",
        help="only check that all is answered, and rightly: under a minute; figures mean nothing",
    )
    parser.add_argument("--only", metavar="NAMES", help="questions or families, comma-separated, * matches")
    parser.add_argument("--loops", metavar="NAMES", help=f"comma-separated, of {', '.join(_COLUMNS)}")
    parser.add_argument("--rounds", type=int, metavar="N", help="rounds of every question")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write every sample")
    parser.add_argument("--markdown", type=Path, metavar="FILE", help="write the report")
    parser.add_argument("--list", action="store_true", help="show the questions and end")
    return parser.parse_args()


def _choose_loops(wanted: str | None, smoke: bool) -> tuple[tuple[str, ...], dict[str, str]]:
    """Return the loops that take part, and why others do not."""
    names = tuple(wanted.split(",")) if wanted else (*loops.REQUIRED, loops.NODE) if smoke else _COLUMNS
    unknown = [name for name in names if name not in _COLUMNS]
    if unknown:
        sys.exit(f"no such loop: {', '.join(unknown)}")
    reasons = {name: reason for name in names if (reason := loops.missing_reason(name)) is not None}
    return tuple(name for name in names if name not in reasons), reasons


def _choose_questions(questions: list[Question], wanted: str | None) -> list[Question]:
    if wanted is None:
        return questions
    patterns = wanted.split(",")
    chosen = [
        question
        for question in questions
        if any(
            fnmatch.fnmatch(name, pattern)
            for name in (question.name, question.family)
            for pattern in patterns
        )
    ]
    if not chosen:
        sys.exit(f"no question matches {wanted!r}; --list shows them")
    return chosen


def _write(path: Path | None, text: str) -> None:
    if path is not None:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")


def main() -> int:
    """Run the benchmarks; the exit status is 1 where asyncio, uvloop or glassloop failed a question."""
    arguments = _arguments()
    effort: Effort = SMOKE if arguments.smoke else QUICK if arguments.quick else FULL
    isolation = quiet.isolate()
    with tempfile.TemporaryDirectory(prefix="glassloop-bench-") as folder:
        native = compile_native(Path(folder))
        every_question = [
            *scheduling.questions(native),
            *network.questions(native),
            *datagrams.questions(native),
            *sockets.questions(native),
            *http.questions(),
            *tls.questions(native),
            *files.questions(),
        ]
        questions = _choose_questions(every_question, arguments.only)
        if arguments.list:
            print(
                "\n".join(
                    f"{question.name:22} {question.family:12} {question.title}" for question in questions
                )
            )
            return 0
        names, absent = _choose_loops(arguments.loops, arguments.smoke)
        description = machine.describe(names, isolation)
        if native.drive_missing is not None:
            description["limit of the scheduling"] = f"not measured ({native.drive_missing})"
        description |= {name: f"not here ({reason})" for name, reason in absent.items()}
        results = session.ask_all(
            questions, names, effort, arguments.rounds, lambda line: print(line, file=sys.stderr)
        )
    text = report.markdown(results, names, description)
    if not arguments.smoke:
        print(text)
    settings = {"effort": asdict(effort), "rounds": arguments.rounds, "loops": names}
    _write(arguments.markdown, text)
    _write(arguments.json, json.dumps(report.as_json(results, description, settings), indent=1) + "\n")
    failed = [
        f"{asked.question.name} on {name}: {answers.failure}"
        for asked in results
        for name, answers in asked.answers.items()
        if answers.failure is not None and name in loops.REQUIRED
    ]
    failed += [f"{name}: {reason}" for name, reason in absent.items() if name in loops.REQUIRED]
    if failed:
        print("failed:", *failed, sep="\n  ", file=sys.stderr)
        return 1
    asked_count = sum(asked.question.unavailable is None for asked in results)
    print(f"{asked_count} questions answered by {', '.join(names)}; {len(results) - asked_count} skipped")
    return 0


if __name__ == "__main__":
    sys.exit(main())
