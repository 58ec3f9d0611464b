# The C side of peers.py.
from glassloop._sys.socket cimport Address, socklen_t

cdef object peer_shown(Address *address, socklen_t size)
cdef socklen_t peer_packed(object shown, int family, Address *address) noexcept
