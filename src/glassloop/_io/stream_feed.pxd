# The C side of stream_feed.py.
from cpython.ref cimport PyObject


# A reader that is about to be fed. Between feed_begin and feed_end or feed_cancel nothing else may run.
cdef struct Feed:
    PyObject *reader    # owned
    PyObject *buffer    # the reader's: a bytearray, to be made longer by try_resize()
    PyObject *waiter    # the reader's: a pending Future of ours, or None
    Py_ssize_t limit
    Py_ssize_t unfed    # see UNFED


# What feed_receive() returns beside.
cdef enum:
    UNFED = -2      # what was received lies in `spare`, `unfed` bytes: call protocol.data_received() with it
    LOST = -3       # there was no memory for it

# Whether to ask at all: a protocol of another class is never fed.
cdef bint may_be_fed(protocol) noexcept

# 1; or 0 where somebody could tell: call protocol.data_received().
cdef bint feed_begin(protocol, Feed *feed) noexcept
# As recv(2): a count, 0 at the end, or -1 and errno; and it may take more: see above. `spare` must hold more than
# the `room` bytes that are expected.
cdef Py_ssize_t feed_receive(Feed *feed, int fd, Py_ssize_t room, char *spare, Py_ssize_t spare_size) noexcept
# Where it raises, so would data_received().
cdef int feed_end(Feed *feed) except -1
cdef void feed_cancel(Feed *feed) noexcept
