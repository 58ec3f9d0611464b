# The C side of tls_transport.py.
from glassloop._io.tls_connection cimport TLSConnection


cdef class SSLTransport(TLSConnection):
    cdef dict known     # what get_extra_info() was asked for, as it was then

cdef SSLTransport accepted_tls(loop, protocol, tuple options)
