"""Finding pages in /proc: one's own, a closed one, another user's, somebody else's files."""

import mmap
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from glassloop.glass import finder, layout
from glassloop.glass.errors import BadPageError, NoLoopError, NoSuchProcessError, NotAllowedError, ReadError
from glassloop.glass.page import Page

from .support import SyntheticPage

SIZE = layout.page_size(64, 64)
# A process of its own that has a page: it makes one with the name it is given, and waits.
HOLDER = """
import mmap, os, sys
fd = os.memfd_create(sys.argv[1], os.MFD_CLOEXEC) if sys.argv[1] != "-" else os.open(sys.argv[2], os.O_RDWR)
if sys.argv[1] != "-":
    os.write(fd, open(sys.argv[2], "rb").read())
mapping = mmap.mmap(fd, 0)
print("ready", flush=True)
sys.stdin.read()
"""


class Holder:
    """A process that has a page which the test wrote for it."""

    def __init__(self, name: str, path: Path) -> None:
        self.process = subprocess.Popen(
            [sys.executable, "-c", HOLDER, name, str(path)], stdin=subprocess.PIPE, stdout=subprocess.PIPE
        )
        self.pid = self.process.pid

    def wait_until_ready(self) -> None:
        assert self.process.stdout is not None
        assert self.process.stdout.readline() == b"ready\n"

    def end(self) -> None:
        self.process.kill()
        self.process.communicate()


@pytest.fixture
def page_file(tmp_path: Path) -> Iterator[SyntheticPage]:
    fd = os.open(tmp_path / "page", os.O_RDWR | os.O_CREAT)
    yield SyntheticPage(fd)
    os.close(fd)


@pytest.fixture
def own_page() -> Iterator[SyntheticPage]:
    """A page of the process that runs the tests."""
    fd = os.memfd_create("glassloop", os.MFD_CLOEXEC)
    page = SyntheticPage(fd)
    mapping = mmap.mmap(fd, SIZE)
    yield page
    mapping.close()
    os.close(fd)


def pages_of(pid: int) -> list[Page]:
    pages = finder.find_pages(pid)
    for page in pages:
        page.close()
    return pages


def test_a_page_is_found_by_its_name(own_page: SyntheticPage) -> None:
    own_page.set_header(thread_name=b"this very test")
    names = [page.header.thread_name.rstrip(b"\0") for page in pages_of(os.getpid())]
    assert b"this very test" in names


def test_a_second_descriptor_of_a_page_is_not_a_second_page(own_page: SyntheticPage) -> None:
    before = len(pages_of(os.getpid()))
    second = os.dup(own_page.fd)
    assert len(pages_of(os.getpid())) == before
    os.close(second)


def test_a_page_of_the_parent_s_is_not_the_child_s(own_page: SyntheticPage) -> None:
    own_page.set_header(pid=os.getpid() + 100_000)
    own_page.set_header(thread_name=b"inherited")
    found = finder._look(os.getpid())
    assert b"inherited" not in [page.header.thread_name.rstrip(b"\0") for page in found.pages]
    for page in found.pages:
        page.close()


def test_all_pages_of_the_machine(own_page: SyntheticPage) -> None:
    found = finder.find_all_pages()
    assert os.getpid() in [process.pid for process in found]
    for process in found:
        for page in process.pages:
            page.close()


def test_a_damaged_page_is_told(own_page: SyntheticPage) -> None:
    own_page.set_header(version=77)
    found = finder._look(os.getpid())
    assert any("version 77" in str(error) for error in found.errors)


def test_no_such_process() -> None:
    with pytest.raises(NoSuchProcessError, match="there is no process 4194999"):
        finder.find_pages(4194999)


def test_a_process_without_a_loop(tmp_path: Path) -> None:
    other = tmp_path / "other"
    other.write_bytes(b"x" * SIZE)
    for name in ("other-memory", "-"):
        holder = Holder(name, other)
        try:
            holder.wait_until_ready()
            with pytest.raises(NoLoopError, match="no loop of glassloop's"):
                finder.find_pages(holder.pid)
        finally:
            holder.end()


def test_rubbish_under_the_name_of_a_page(tmp_path: Path) -> None:
    other = tmp_path / "other"
    other.write_bytes(b"x" * SIZE)
    holder = Holder("glassloop", other)
    try:
        holder.wait_until_ready()
        with pytest.raises(BadPageError, match="is no page"):
            finder.find_pages(holder.pid)
    finally:
        holder.end()


def test_a_page_in_a_file_of_another_process(page_file: SyntheticPage, tmp_path: Path) -> None:
    path = tmp_path / "page"
    holder = Holder("-", path)
    try:
        holder.wait_until_ready()
        page_file.set_header(pid=holder.pid)
        (page,) = finder.find_pages(holder.pid)
        assert page.pid == holder.pid and finder.writer_of(page) == holder.pid
        page.close()
        with finder.open_file(str(path)) as page:
            assert finder.writer_of(page) == holder.pid
            holder.end()
            assert finder.writer_of(page) is None
    finally:
        holder.end()


def test_the_kernel_refuses_other_users(
    own_page: SyntheticPage, page_file: SyntheticPage, tmp_path: Path
) -> None:
    if os.geteuid() != 0:
        pytest.skip("only root can become another user")
    os.chmod(tmp_path / "page", 0o600)
    pid = os.getpid()
    read_end, write_end = os.pipe()
    child = os.fork()
    if child == 0:  # nothing of pytest's may run here
        words = []
        os.setgroups([])
        os.setgid(65534)
        os.setuid(65534)
        looks: list[Callable[[], object]] = [
            lambda: finder.find_pages(pid),
            lambda: finder.open_file(str(tmp_path / "page")),
        ]
        for look in looks:
            try:
                words.append(f"found {look()}")
            except ReadError as error:
                words.append(f"{type(error).__name__} {error}")
        os.write(write_end, "\n".join(words).encode())
        os._exit(0)
    os.close(write_end)
    os.waitpid(child, 0)
    by_pid, by_file = os.read(read_end, 10_000).decode().split("\n")
    os.close(read_end)
    assert by_pid.startswith(NotAllowedError.__name__) and "user 0; this is user 65534" in by_pid
    assert by_file.startswith(NotAllowedError.__name__)
