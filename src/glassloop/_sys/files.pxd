# write(2) and read(2) on pipes and other descriptors that never wait.
from glassloop._sys.socket cimport iovec

cdef extern from *:
    """
    #include <errno.h>
    #include <sys/uio.h>
    #include <unistd.h>
    """
    ssize_t write_data "write"(int fd, const void *data, size_t size) nogil
    ssize_t write_chunks "writev"(int fd, const iovec *chunks, int count) nogil
    ssize_t read_data "read"(int fd, void *data, size_t size) nogil
    int close_file "close"(int fd) nogil
