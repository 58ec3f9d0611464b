# The C side of instruments.py.

# The moments that an instrument may hear of, in the order of HOOKS in instruments.py.
cdef enum Hook:
    BEFORE_RUN = 0
    AFTER_RUN = 1
    TASK_SPAWNED = 2
    TASK_SCHEDULED = 3
    BEFORE_TASK_STEP = 4
    AFTER_TASK_STEP = 5
    TASK_EXITED = 6
    BEFORE_IO_WAIT = 7
    AFTER_IO_WAIT = 8


cdef class Instruments:
    cdef dict installed     # by id(): what was installed is the object itself, whatever it is equal to
    cdef list methods       # for each hook a tuple of (instrument, method), replaced as a whole
    cdef bint of_tasks      # some instrument wants to hear of tasks
    cdef int add(self, instrument, dict methods) except -1
    cdef int remove(self, instrument) except -1
    # Call a hook's methods. What they raise is the loop's exception handler's.
    cdef int tell(self, loop, Hook hook, argument=*) noexcept
