"""Say what a loop is doing, and why it does not get on: also while it is stuck and cannot answer.

  glassloop why PID
  glassloop why FILE       what a program left that ran with GLASSLOOP_RECORD=FILE

One screen: whether the loop is stuck, on which line of whose code and for how long; tasks by state; what
they wait for, the longest first; tasks that wait for each other; insights.

The exit status is 0 if all is well, 1 if the loop is stuck or tasks wait for each other for ever, 3 if it
cannot be looked into.
"""

import argparse
import json
import time

from glassloop.cli._targets import FINE, TROUBLE, Style, add_target, open_target, prepare_stdout, report
from glassloop.cli._why_text import Diagnosis, as_json, render
from glassloop.glass.answers import Answer
from glassloop.glass.errors import ReadError
from glassloop.glass.insights import Evidence, find_insights
from glassloop.glass.layout import Phase, State
from glassloop.glass.page import Page
from glassloop.glass.raw import RECORD, RawRecord
from glassloop.glass.reader import take_snapshot
from glassloop.glass.stacks import PATIENCE_S, ask

# How long a loop that gets on is asked to record each step, for the insights.
_LOOK_NS = 100_000_000


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
    if arguments.json:
        print(json.dumps({"loops": [as_json(one) for one in found]}, indent=2))
    else:
        style = Style.of_stdout()
        for number, one in enumerate(found):
            print("\n" * (number > 0) + "\n".join(render(one, style, everything=arguments.all)))
    return TROUBLE if any(one.is_trouble for one in found) else FINE


def diagnose(page: Page) -> Diagnosis:
    """Return all that can be said of a loop now."""
    snapshot = take_snapshot(page)
    answer = None
    asked = False
    number = 0
    if snapshot.alive and snapshot.stuck is None and snapshot.phase in (Phase.POLLING, Phase.RUNNING):
        number = snapshot.record_count
        began_s = time.monotonic()
        asked = page.ask_for_records(snapshot.clock.to_ticks(time.monotonic_ns() + _LOOK_NS))
        if any(task.state is State.WAITING for task in snapshot.tasks):
            answer = ask(page, PATIENCE_S)
        if asked:
            time.sleep(max(0.0, began_s + _LOOK_NS / 1e9 - time.monotonic()))
            snapshot = take_snapshot(page)
    _, data, _ = page.records(number)
    records = tuple(RawRecord._make(fields) for fields in RECORD.iter_unpack(data))
    evidence = Evidence(snapshot, records, answer or Answer())
    return Diagnosis(snapshot, find_insights(evidence), answer, asked=asked)
