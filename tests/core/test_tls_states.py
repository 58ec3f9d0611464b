"""The states of a TLS connection are a table: whole, the same in C and Python, and written by one method."""

import ast
import re
from pathlib import Path

import pytest

from glassloop._io.tls_states import EVENTS, STATES, TELLING, TOLD, TRANSITIONS

IO = Path(__file__).parents[2] / "src" / "glassloop" / "_io"


@pytest.mark.parametrize(
    ("enum", "names"),
    [("TLSState", STATES), ("TLSEvent", EVENTS), ("Told", TOLD)],
    ids=str,
)
def test_the_enums_agree_with_their_names(enum: str, names: tuple[str, ...]) -> None:
    body = re.search(rf"cdef enum {enum}:\n((?:    .*\n)+)", (IO / "tls_states.pxd").read_text())
    assert body
    values = {name: int(value) for name, value in re.findall(r"(\w+) = (\d+)", body[1])}
    assert values == {name: value for value, name in enumerate(names)}, (
        f"the names in tls_states.py must list {enum} of tls_states.pxd in the order of its values"
    )


def test_every_state_has_its_row_and_can_be_cut_off() -> None:
    assert set(TRANSITIONS) == set(STATES)
    for state, row in TRANSITIONS.items():
        assert set(row) <= set(EVENTS) and set(row.values()) <= set(STATES), state
        assert row["CUT_OFF"] == "CLOSED", f"the transport beneath may be lost in state {state} too"


def test_every_state_is_reached_and_every_event_happens() -> None:
    reached = {"NEW"}
    for _ in STATES:
        reached |= {after for state in reached for after in TRANSITIONS[state].values()}
    assert reached == set(STATES)
    assert {event for row in TRANSITIONS.values() for event in row} == set(EVENTS)


def test_nothing_leads_back() -> None:
    for state, row in TRANSITIONS.items():
        for after in row.values():
            assert STATES.index(after) > STATES.index(state) or state == after == "CLOSED"


def test_a_protocol_is_told_each_thing_once_and_in_order() -> None:
    assert set(TELLING) == set(TOLD)
    for told, what in TELLING.items():
        assert all(TOLD.index(next_) > TOLD.index(told) for next_ in what)
    assert TELLING["NOTHING"] == {"MADE"}, "connection_made() comes before anything else"


@pytest.mark.parametrize(("field", "writer"), [("state", "on"), ("told", "tell")])
def test_one_method_writes_each(field: str, writer: str) -> None:
    writers = set()
    for path in IO.glob("tls_*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.FunctionDef) and re.search(rf"\bself\.{field} = ", ast.unparse(node)):
                writers.add(node.name)
    assert writers == {writer}, (
        f"write a TLS connection's {field} by {writer}() only: it looks into the table"
    )
