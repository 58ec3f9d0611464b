"""Say what a loop is doing, and why it does not get on: also while it is stuck and cannot answer.

  glassloop why PID
  glassloop why FILE       what a program left that ran with GLASSLOOP_RECORD=FILE

One screen: whether the loop is stuck, on which line of whose code and for how long; tasks by state; what
they wait for, the longest first; tasks that wait for each other; insights.

The exit status is 0 if all is well, 1 if the loop is stuck or tasks wait for each other for ever, 3 if it
cannot be looked into.
"""

import argparse
import time
from typing import TYPE_CHECKING

from glassloop.cli._targets import FINE, TROUBLE, Style, add_target, open_target, prepare_stdout, report
from glassloop.glass.errors import ReadError
from glassloop.glass.layout import Phase
from glassloop.glass.page import Page
from glassloop.glass.raw import RECORD, RawRecord
from glassloop.glass.reader import take_snapshot
from glassloop.glass.stacks import Question

if TYPE_CHECKING:
    from glassloop.cli._why_text import Diagnosis

# How long a loop that gets on is asked to record each step, for the insights.
_LOOK_S = 0.1
# How long it may tell of its tasks, once it has begun: of some thousand.
_TELL_S = 0.04


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Give the parser the verb's options."""
    add_target(parser)
    parser.add_argument("--json", action="store_true", help="print all of it as one JSON object")
    parser.add_argument(
        "--all", action="store_true", help="print every place where tasks wait, not only the first"
    )


def main(arguments: argparse.Namespace) -> int:
    """Look at the loops that are meant, print what is found, return the exit status."""
    prepare_stdout()
    try:
        with open_target(arguments.target, writable=True) as pages:
            found = [diagnose(page) for page in pages]
    except ReadError as error:
        return report("why", error)
    from glassloop.cli._why_text import as_json, render

    if arguments.json:
        import json

        print(json.dumps({"loops": [as_json(one) for one in found]}, indent=2))
    else:
        style = Style.of_stdout()
        for number, one in enumerate(found):
            print("\n" * (number > 0) + "\n".join(render(one, style, everything=arguments.all)))
    return TROUBLE if any(one.is_trouble for one in found) else FINE


def diagnose(page: Page) -> "Diagnosis":
    """Return all that can be said of a loop now."""
    first = take_snapshot(page, with_tasks=False)
    number = 0
    question = None
    asked = False
    if first.alive and first.stuck is None and first.phase in (Phase.POLLING, Phase.RUNNING):
        number = first.record_count
        asked = page.ask_for_records(first.clock.to_ticks(time.monotonic_ns() + round(_LOOK_S * 1e9)))
        if asked and first.unfinished:
            question = Question(page)
    began_s = time.monotonic()
    # Only here: while these are imported the loop answers.
    from glassloop.cli._why_text import Diagnosis
    from glassloop.glass.insights import Evidence, find_insights

    answer = question.wait(tell_s=_TELL_S) if question is not None else None
    if asked:
        time.sleep(max(0.0, began_s + _LOOK_S - time.monotonic()))
    snapshot = take_snapshot(page)
    _, data, _ = page.records(number)
    records = tuple(map(RawRecord._make, RECORD.iter_unpack(data)))
    evidence = Evidence(snapshot, records, answer)
    return Diagnosis(evidence, find_insights(evidence), answer, asked=asked)
