"""Where the pages of a process are, and which processes have one: /proc tells both.

A page is a memfd named ``glassloop``, or a file that the program was told to write (GLASSLOOP_RECORD), mapped
shared. The kernel lets the same user, and root, open it through /proc/PID/fd.
"""

import os
import stat
from typing import NamedTuple

from glassloop.glass import layout
from glassloop.glass.errors import (
    BadPageError,
    NoLoopError,
    NoSuchProcessError,
    NotAllowedError,
    ReadError,
)
from glassloop.glass.page import Page

_MEMFD = "/memfd:glassloop"


class Found(NamedTuple):
    """A process with pages, or with what looks like one and cannot be read."""

    pid: int
    pages: tuple[Page, ...]
    errors: tuple[ReadError, ...]


def find_pages(pid: int, *, writable: bool = False) -> list[Page]:
    """Return the pages of a process, one a loop; raise a ReadError that says why there is none."""
    found = _look(pid, writable=writable)
    if found.pages:
        return list(found.pages)
    if found.errors:
        raise found.errors[0]
    raise NoLoopError(
        f"process {pid} has no loop of glassloop's that shows itself: it may run another loop, have none "
        "yet, or have been started with GLASSLOOP_PAGE=0"
    )


def find_all_pages(*, writable: bool = False) -> list[Found]:
    """Return every process of this machine that we may look into and that has a page."""
    found = []
    for entry in sorted(int(name) for name in os.listdir("/proc") if name.isdecimal()):
        try:
            one = _look(entry, writable=writable)
        except ReadError:
            continue  # it ended meanwhile, or is another user's
        if one.pages or one.errors:
            found.append(one)
    return found


def open_file(path: str) -> Page:
    """Return the page that a program wrote into a file (GLASSLOOP_RECORD)."""
    try:
        fd = _open_regular(path, writable=False)
    except FileNotFoundError as error:
        raise NoLoopError(f"there is no file {path!r}") from error
    except PermissionError as error:
        raise NotAllowedError(
            f"{path!r} may not be read by this user: a record is its owner's alone"
        ) from error
    except OSError as error:
        raise BadPageError(f"cannot open {path!r}: {error.strerror}") from error
    if fd is None:
        raise BadPageError(f"{path!r} is no regular file")
    return Page(fd, path)


def writer_of(page: Page) -> int | None:
    """Return the process that still writes the page of a file; None if it is gone, or not ours to see."""
    if page.found_pid is not None:
        return page.found_pid
    mine = os.fstat(page.fd)
    try:
        for name in os.listdir(f"/proc/{page.header.pid}/fd"):
            try:
                status = os.stat(f"/proc/{page.header.pid}/fd/{name}")
            except OSError:
                continue
            if (status.st_dev, status.st_ino) == (mine.st_dev, mine.st_ino):
                return page.header.pid
    except OSError:
        pass
    return None


def _look(pid: int, *, writable: bool = False) -> Found:
    try:
        inodes = _shared_mappings(pid)
    except (FileNotFoundError, ProcessLookupError) as error:
        raise NoSuchProcessError(f"there is no process {pid}") from error
    except PermissionError as error:
        raise _not_allowed(pid) from error
    pages: list[Page] = []
    errors: list[ReadError] = []
    for fd_name, inode in _descriptors(pid) if inodes else []:
        if inode not in inodes:
            continue
        path = f"/proc/{pid}/fd/{fd_name}"
        named = inodes[inode]
        try:
            fd = _open_regular(path, writable=writable)
        except PermissionError:
            errors.append(_not_allowed(pid))
            continue
        except OSError:
            continue  # closed meanwhile
        if fd is None:
            continue
        try:
            page = Page(fd, f"process {pid}, descriptor {fd_name}", pid=pid, writable=writable)
        except BadPageError as error:
            if named:  # another file may be anything
                errors.append(error)
            continue
        if page.header.pid in _own_numbers(pid) and all(not _same(page, other) for other in pages):
            pages.append(page)
        else:
            page.close()  # a parent's, inherited over fork; or a second descriptor of the same
    return Found(pid, tuple(pages), tuple(errors))


def _shared_mappings(pid: int) -> dict[int, bool]:
    """Return the inodes of files that are mapped shared and long enough; True: it is named as a page."""
    found: dict[int, bool] = {}
    with open(f"/proc/{pid}/maps", "rb") as maps:
        for line in maps:
            words = line.split(maxsplit=5)
            if len(words) < 6 or words[1][3:4] != b"s":
                continue
            named = words[5].startswith(_MEMFD.encode())
            if named or not words[5].startswith((b"/dev/", b"/memfd:", b"/SYSV", b"anon_inode:")):
                found[int(words[4])] = found.get(int(words[4]), False) or named
    return found


def _descriptors(pid: int) -> list[tuple[str, int]]:
    found = []
    try:
        names = os.listdir(f"/proc/{pid}/fd")
    except PermissionError as error:
        raise _not_allowed(pid) from error
    except OSError as error:
        raise NoSuchProcessError(f"process {pid} has ended") from error
    for name in sorted(names, key=int):
        try:
            status = os.stat(f"/proc/{pid}/fd/{name}")
        except OSError:
            continue
        if stat.S_ISREG(status.st_mode) and status.st_size >= layout.HEADER.size:
            found.append((name, status.st_ino))
    return found


def _open_regular(path: str, *, writable: bool) -> int | None:
    """Open a regular file, and nothing that could keep us waiting; None for anything else."""
    if not stat.S_ISREG(os.stat(path).st_mode):
        return None
    fd = os.open(path, (os.O_RDWR if writable else os.O_RDONLY) | os.O_CLOEXEC | os.O_NONBLOCK)
    if not stat.S_ISREG(os.fstat(fd).st_mode):
        os.close(fd)
        return None
    return fd


def _own_numbers(pid: int) -> set[int]:
    """Return the process's number as it sees it itself, which differs in a container, and as we do."""
    numbers = {pid}
    try:
        with open(f"/proc/{pid}/status", "rb") as status:
            for line in status:
                if line.startswith(b"NSpid:"):
                    numbers.update(int(word) for word in line.split()[1:])
    except OSError:
        pass
    return numbers


def _same(page: Page, other: Page) -> bool:
    one, two = os.fstat(page.fd), os.fstat(other.fd)
    return (one.st_dev, one.st_ino) == (two.st_dev, two.st_ino)


def _not_allowed(pid: int) -> NotAllowedError:
    try:
        uid = os.stat(f"/proc/{pid}").st_uid
    except OSError:
        return NotAllowedError(f"the kernel does not let this user look into process {pid}")
    owner = f"user {uid}"
    if uid == os.geteuid():
        return NotAllowedError(
            f"the kernel does not let us look into process {pid}, though it is this user's: it has more "
            "rights than we, or has shut itself off (prctl PR_SET_DUMPABLE)"
        )
    return NotAllowedError(
        f"process {pid} belongs to {owner}; this is user {os.geteuid()}: "
        "only the same user, and root, may look into it"
    )
