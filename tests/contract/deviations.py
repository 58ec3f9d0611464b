"""Where glassloop differs from asyncio on purpose: the test, on which Pythons asyncio fails it, and why.

A test named here holds on glassloop and is expected to fail on asyncio's own loop; when it no longer fails
there, the run says so, and the entry goes.
"""

import asyncio
import inspect
import sys
from asyncio import selector_events, sslproto
from typing import NamedTuple


class Deviation(NamedTuple):
    """One test that asyncio fails, and glassloop must pass."""

    asyncio_fails: bool
    reason: str


def _a_refused_run_ends_the_outer_one() -> bool:
    source = inspect.getsource(asyncio.BaseEventLoop.run_forever)
    return "_run_forever_setup" in source and source.index("try:") < source.index("_run_forever_setup")


def _writelines_does_not_look_whether_it_is_closed() -> bool:
    transport = getattr(selector_events, "_SelectorSocketTransport")  # noqa: B009 - it is private to the type checker
    return "writelines" in vars(transport) and "_conn_lost" not in inspect.getsource(transport.writelines)


def _the_shutdown_time_out_ends_too_early() -> bool:
    protocol = getattr(sslproto, "SSLProtocol")  # noqa: B009 - it is private to the type checker
    return "call_later" not in inspect.getsource(protocol._on_shutdown_complete)


DEVIATIONS: dict[str, Deviation] = {
    "test_a_mutable_buffer_changed_after_write_does_not_change_what_is_sent": Deviation(
        asyncio_fails=sys.version_info >= (3, 12),
        reason="asyncio keeps a reference to the unsent rest of a bytearray, so later changes are sent",
    ),
    "test_writelines_after_close_is_dropped": Deviation(
        asyncio_fails=_writelines_does_not_look_whether_it_is_closed(),
        reason="early releases of Python 3.12 and 3.13 raise TypeError in writelines() after close()",
    ),
    "test_a_loop_does_not_run_inside_itself": Deviation(
        asyncio_fails=_a_refused_run_ends_the_outer_one(),
        reason="early releases of Python 3.13 clean up the running loop's state when a nested run is refused",
    ),
    "test_a_loop_does_not_run_inside_another": Deviation(
        asyncio_fails=_a_refused_run_ends_the_outer_one(),
        reason="early releases of Python 3.13 clean up the running loop's state when a nested run is refused",
    ),
    "test_a_big_file_in_memory_arrives_unchanged": Deviation(
        asyncio_fails=sys.version_info >= (3, 12),
        reason="asyncio's sendfile() without the system call reads the next part into a buffer not yet sent",
    ),
    "test_equal_deadlines_run_in_order_of_making": Deviation(
        asyncio_fails=True,
        reason="asyncio keeps timers in a heap without a tie-break, so equal deadlines come out in any order",
    ),
    "test_what_came_before_garbage_is_delivered": Deviation(
        asyncio_fails=True,
        reason="asyncio drops the good records that came in the same segment as a bad one",
    ),
    "test_close_while_the_peer_sends": Deviation(
        asyncio_fails=True,
        reason="asyncio breaks a closing connection where the peer's data was on its way: "
        "APPLICATION_DATA_AFTER_CLOSE_NOTIFY",
    ),
    "test_close_while_reading_is_paused": Deviation(
        asyncio_fails=True,
        reason="the same, for data that waits for resume_reading()",
    ),
    "test_closing_a_paused_connection_whose_peer_has_ended": Deviation(
        asyncio_fails=True,
        reason="asyncio waits for resume_reading(), which a program that has closed never calls",
    ),
    "test_a_peer_that_does_not_read_cannot_delay_the_end": Deviation(
        asyncio_fails=_the_shutdown_time_out_ends_too_early(),
        reason="early releases of 3.13 and before end the shutdown time-out before what is queued is sent",
    ),
}
