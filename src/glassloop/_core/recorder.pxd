# The C side of recorder.py.
from cpython.ref cimport PyObject
from libc.stdint cimport uint32_t

from glassloop._sys.page cimport Writer


cdef class Recorder:
    cdef Writer writer
    cdef PyObject **codes       # a hash table of code objects (owned) ...
    cdef uint32_t *code_sites   # ... and their sites
    cdef dict offsets           # where a string lies
    cdef bint any_named         # since the page was new
    cdef uint32_t names_size    # bytes of the strings that are names of tasks
    cdef uint32_t sites, strings  # how much of either is used: the page says so too, but is not believed
    cdef object __weakref__
    cdef uint32_t site_of(self, PyObject *code) noexcept
    cdef uint32_t site_of_type(self, thing) noexcept
    cdef uint32_t running_site(self, bint of_task) noexcept
    cdef object stacks_left     # an iterator over the tasks whose stacks are still to be written, or None
    cdef object kept_tasks      # of a loop that has stopped while somebody listens: until it goes on, or closes
    cdef size_t stacks_length
    cdef unsigned long long stacks_answered
    cdef int begin(self, int wake_fd) except -1
    cdef int give_stacks(self, loop) except -1
    cdef int watch_again(self) noexcept
    cdef int end(self, loop) except -1
    cdef int record_name(self, uint32_t slot, bint named) noexcept
    cdef int name_task(self, uint32_t slot, name) except -1


# A recorder for a loop of this thread, or None where pages are turned off or cannot be had.
cdef Recorder recorder_open()
cdef int recorder_close(Recorder recorder) except -1
# Log the block that the watchdog saw, now that the step is over.
cdef int report_block(Recorder recorder, double limit_s) except -1
