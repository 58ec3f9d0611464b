# The C side of own_page.py.
from libc.stdint cimport uint8_t, uint64_t

cdef extern from *:
    void fence "__sync_synchronize"() noexcept nogil

cdef extern from "page_writer.h":
    ctypedef struct SeenTask "GlassloopTask":
        uint64_t id
        uint8_t state
