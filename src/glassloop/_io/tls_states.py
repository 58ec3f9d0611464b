"""The states of a TLS connection: which follows which, on what event. And what its protocol may be told when.

    NEW ─→ HANDSHAKE ─→ OPEN ─→ FLUSHING ─→ SHUTDOWN
     └─────────┴─────────┴─────────┴───────────┴──→ CLOSED

Everything that decides it is in the two tables of this file. ``TLSConnection`` has one method for each
transition, and writes its state nowhere else.
"""

import cython

STATES = ("NEW", "HANDSHAKE", "OPEN", "FLUSHING", "SHUTDOWN", "CLOSED")
EVENTS = ("CONNECTED", "AGREED", "ENDING", "FLUSHED", "CUT_OFF")
TOLD = ("NOTHING", "MADE", "ENDED", "LOST")

TRANSITIONS: dict = {
    "NEW": {"CONNECTED": "HANDSHAKE", "CUT_OFF": "CLOSED"},
    "HANDSHAKE": {"AGREED": "OPEN", "CUT_OFF": "CLOSED"},
    "OPEN": {"ENDING": "FLUSHING", "CUT_OFF": "CLOSED"},
    "FLUSHING": {"FLUSHED": "SHUTDOWN", "CUT_OFF": "CLOSED"},
    "SHUTDOWN": {"CUT_OFF": "CLOSED"},
    "CLOSED": {"CUT_OFF": "CLOSED"},  # the end of the transport beneath comes last, whatever came before
}

# asyncio's order of calls: https://docs.python.org/3/library/asyncio-protocol.html
TELLING: dict = {
    "NOTHING": {"MADE"},
    "MADE": {"ENDED", "LOST"},
    "ENDED": {"LOST"},
    "LOST": set(),
}

_ILLEGAL = 255

# The tables as C reads them: a row for each state, a byte for each event.
_next_states = cython.declare(
    bytes,
    bytes(
        STATES.index(TRANSITIONS[state][event]) if event in TRANSITIONS[state] else _ILLEGAL
        for state in STATES
        for event in EVENTS
    ),
)
_telling = cython.declare(bytes, bytes(what in TELLING[told] for told in TOLD for what in TOLD))
_event_count = cython.declare(cython.int, len(EVENTS))
_told_count = cython.declare(cython.int, len(TOLD))


@cython.cfunc
@cython.exceptval(-1, check=False)
def state_after(state: cython.int, event: cython.int) -> cython.int:
    """The state that follows. RuntimeError where the event cannot happen: our error, not the peer's."""
    found: cython.int = cython.cast(cython.uchar, _next_states[state * _event_count + event])
    if found == _ILLEGAL:
        raise RuntimeError(f"a TLS connection in state {STATES[state]} cannot become {EVENTS[event]}")
    return found


@cython.cfunc
@cython.exceptval(check=False)
def may_tell(told: cython.int, what: cython.int) -> cython.bint:
    """Whether a protocol that was told ``told`` last may now be told ``what``."""
    return cython.cast(cython.uchar, _telling[told * _told_count + what]) != 0
