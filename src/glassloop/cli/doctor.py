"""Say how well glassloop can work on this machine, and what would make it work better.

Versions, which Task implementation is in use and why, which system calls the
kernel allows, limits such as open files, with advice where a value is poor.

The exit status is 0, or 1 if something is broken.
"""

import argparse
import dataclasses
import json
import os
import sys
import textwrap
from collections.abc import Iterator, Sequence
from itertools import groupby

import glassloop
from glassloop.cli._engine_probes import probe_engine, probe_versions
from glassloop.cli._findings import Finding, State
from glassloop.cli._kernel_probes import probe_kernel
from glassloop.cli._limit_probes import probe_limits, probe_network, probe_processor

_COLOURS = {State.OK: "32", State.NOTE: "36", State.POOR: "33", State.BROKEN: "31;1"}
_NAME_WIDTH = 20
_INDENT = " " * 8


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Give the parser the verb's options."""
    parser.add_argument("--json", action="store_true", help="print the findings as one JSON object")


def main(arguments: argparse.Namespace) -> int:
    """Examine the machine, print the findings, return the exit status."""
    findings = [
        *probe_versions(),
        *probe_engine(),
        *probe_kernel(),
        *probe_limits(),
        *probe_processor(),
        *probe_network(),
    ]
    if arguments.json:
        print(json.dumps(as_json(findings), indent=2))
    else:
        in_colour = sys.stdout.isatty() and "NO_COLOR" not in os.environ
        print("\n".join(render(findings, in_colour=in_colour)))
    return 1 if any(finding.state is State.BROKEN for finding in findings) else 0


def as_json(findings: Sequence[Finding]) -> dict[str, object]:
    """Return the findings as what ``--json`` prints."""
    return {
        "glassloop": glassloop.__version__,
        "ok": all(finding.state is not State.BROKEN for finding in findings),
        "findings": [dataclasses.asdict(finding) for finding in findings],
    }


def render(findings: Sequence[Finding], *, in_colour: bool) -> Iterator[str]:
    """Yield the lines that a person reads."""
    for section, members in groupby(findings, key=lambda finding: finding.section):
        yield section
        for finding in members:
            mark = f"{finding.state:<6}"
            if in_colour:
                mark = f"\033[{_COLOURS[finding.state]}m{mark}\033[0m"
            yield f"  {mark}{finding.name:<{_NAME_WIDTH}}{finding.value}"
            if finding.advice:
                yield textwrap.fill(finding.advice, 100, initial_indent=_INDENT, subsequent_indent=_INDENT)
        yield ""
    yield _summarize(findings)


def _summarize(findings: Sequence[Finding]) -> str:
    broken = sum(finding.state is State.BROKEN for finding in findings)
    poor = sum(finding.state is State.POOR for finding in findings)
    if broken:
        return f"{_things(broken)} broken: glassloop does not work here."
    if poor:
        return f"glassloop works here; {_things(poor)} poor."
    return "All is well."


def _things(count: int) -> str:
    return "1 thing is" if count == 1 else f"{count} things are"
