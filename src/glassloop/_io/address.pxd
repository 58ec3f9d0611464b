# The C side of address.py.
from glassloop._sys.socket cimport Address, socklen_t

cdef bytes address_pack(Address *address, socklen_t size)
cdef object address_unpack(bytes packed)
cdef bytes local_address(int fd)
cdef bytes peer_address(int fd)
