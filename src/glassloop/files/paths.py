"""What one does with paths: the functions of os, awaited, with their names, parameters and errors.

A call that is cancelled is not undone: the kernel has no way back from a rename that has begun.
"""

import functools
import os
import stat as stat_modes
from collections.abc import AsyncGenerator, Callable
from typing import TYPE_CHECKING, Any, AnyStr, TypeVar, overload

from glassloop.files.engines import running_engine

if TYPE_CHECKING:
    from _typeshed import BytesPath, StrOrBytesPath, StrPath

_T = TypeVar("_T")


async def _run(function: Callable[..., _T], *arguments: Any, **options: Any) -> _T:
    call = functools.partial(function, *arguments, **options) if options else function
    return await running_engine().run(call, *(() if options else arguments))


# -- what is there ----------------------------------------------------------------------------------


async def stat(path: "StrOrBytesPath | int", *, follow_symlinks: bool = True) -> os.stat_result:
    """Return what ``os.stat`` returns."""
    return await running_engine().stat(path, follow_symlinks)


async def lstat(path: "StrOrBytesPath") -> os.stat_result:
    """Return what ``os.lstat`` returns: of a symbolic link itself."""
    return await running_engine().stat(path, False)


async def _mode(path: "StrOrBytesPath | int", follow_symlinks: bool) -> int:
    """Return the mode of what is at a path; 0 if nothing is."""
    try:
        return (await running_engine().stat(path, follow_symlinks)).st_mode
    except (OSError, ValueError):
        return 0


async def exists(path: "StrOrBytesPath | int", *, follow_symlinks: bool = True) -> bool:
    """Whether there is anything at a path; a link that leads nowhere is nothing, unless not followed."""
    return await _mode(path, follow_symlinks) != 0


async def lexists(path: "StrOrBytesPath") -> bool:
    """Whether there is anything at a path, if only a symbolic link that leads nowhere."""
    return await _mode(path, False) != 0


async def is_file(path: "StrOrBytesPath | int", *, follow_symlinks: bool = True) -> bool:
    """Whether there is a regular file at a path."""
    return stat_modes.S_ISREG(await _mode(path, follow_symlinks))


async def is_dir(path: "StrOrBytesPath | int", *, follow_symlinks: bool = True) -> bool:
    """Whether there is a directory at a path."""
    return stat_modes.S_ISDIR(await _mode(path, follow_symlinks))


async def is_symlink(path: "StrOrBytesPath") -> bool:
    """Whether there is a symbolic link at a path."""
    return stat_modes.S_ISLNK(await _mode(path, False))


async def samefile(one: "StrOrBytesPath | int", other: "StrOrBytesPath | int") -> bool:
    """Whether two paths lead to the same file."""
    engine = running_engine()
    return os.path.samestat(await engine.stat(one, True), await engine.stat(other, True))


async def access(path: "StrOrBytesPath", mode: int) -> bool:
    """Whether this process may do with a path what ``os.access`` says."""
    return await _run(os.access, path, mode)


async def statvfs(path: "StrOrBytesPath | int") -> os.statvfs_result:
    """Return what ``os.statvfs`` returns: of the file system."""
    return await _run(os.statvfs, path)


async def readlink(path: AnyStr | os.PathLike[AnyStr]) -> AnyStr:
    """Return where a symbolic link leads."""
    return await _run(os.readlink, path)


# -- directories ------------------------------------------------------------------------------------


@overload
async def listdir(path: "StrPath | int | None" = None) -> list[str]: ...
@overload
async def listdir(path: "BytesPath") -> list[bytes]: ...
async def listdir(path: "StrOrBytesPath | int | None" = None) -> Any:
    """Return the names in a directory."""
    return await _run(os.listdir, path)


async def walk(
    top: AnyStr | os.PathLike[AnyStr],
    topdown: bool = True,
    onerror: Callable[[OSError], object] | None = None,
    followlinks: bool = False,
) -> AsyncGenerator[tuple[AnyStr, list[AnyStr], list[AnyStr]], None]:
    """Yield each directory below one, its directories and its files, as ``os.walk`` does."""
    steps = os.walk(top, topdown, onerror, followlinks)
    while (step := await _run(next, steps, None)) is not None:
        yield step


async def mkdir(path: "StrOrBytesPath", mode: int = 0o777, *, dir_fd: int | None = None) -> None:
    """Make a directory."""
    await _run(os.mkdir, path, mode, dir_fd=dir_fd)


async def makedirs(name: "StrOrBytesPath", mode: int = 0o777, exist_ok: bool = False) -> None:
    """Make a directory, and those above it."""
    await _run(os.makedirs, name, mode, exist_ok)


async def rmdir(path: "StrOrBytesPath", *, dir_fd: int | None = None) -> None:
    """Remove an empty directory."""
    await _run(os.rmdir, path, dir_fd=dir_fd)


async def removedirs(name: "StrOrBytesPath") -> None:
    """Remove an empty directory, and those above it that are empty then."""
    await _run(os.removedirs, name)


# -- names of files ---------------------------------------------------------------------------------


async def unlink(path: "StrOrBytesPath", *, dir_fd: int | None = None) -> None:
    """Remove a file."""
    await _run(os.unlink, path, dir_fd=dir_fd)


async def remove(path: "StrOrBytesPath", *, dir_fd: int | None = None) -> None:
    """Remove a file."""
    await _run(os.remove, path, dir_fd=dir_fd)


async def rename(
    src: "StrOrBytesPath",
    dst: "StrOrBytesPath",
    *,
    src_dir_fd: int | None = None,
    dst_dir_fd: int | None = None,
) -> None:
    """Give a file or directory another name."""
    await _run(os.rename, src, dst, src_dir_fd=src_dir_fd, dst_dir_fd=dst_dir_fd)


async def renames(old: "StrOrBytesPath", new: "StrOrBytesPath") -> None:
    """Rename, make the directories that the new name needs, and remove those that are empty then."""
    await _run(os.renames, old, new)


async def replace(
    src: "StrOrBytesPath",
    dst: "StrOrBytesPath",
    *,
    src_dir_fd: int | None = None,
    dst_dir_fd: int | None = None,
) -> None:
    """Give a file another name, in the place of what had it."""
    await _run(os.replace, src, dst, src_dir_fd=src_dir_fd, dst_dir_fd=dst_dir_fd)


async def link(
    src: "StrOrBytesPath",
    dst: "StrOrBytesPath",
    *,
    src_dir_fd: int | None = None,
    dst_dir_fd: int | None = None,
    follow_symlinks: bool = True,
) -> None:
    """Give a file one more name."""
    options = {"src_dir_fd": src_dir_fd, "dst_dir_fd": dst_dir_fd, "follow_symlinks": follow_symlinks}
    await _run(os.link, src, dst, **options)


async def symlink(
    src: "StrOrBytesPath",
    dst: "StrOrBytesPath",
    target_is_directory: bool = False,
    *,
    dir_fd: int | None = None,
) -> None:
    """Make a symbolic link at ``dst`` that leads to ``src``."""
    await _run(os.symlink, src, dst, target_is_directory, dir_fd=dir_fd)


# -- what belongs to a file -----------------------------------------------------------------------------


async def touch(path: "StrOrBytesPath", mode: int = 0o666, exist_ok: bool = True) -> None:
    """Make a file, or set its times to now, as ``pathlib.Path.touch`` does."""
    await _run(_touch, path, mode, exist_ok)


def _touch(path: "StrOrBytesPath", mode: int, exist_ok: bool) -> None:
    if exist_ok:
        try:
            os.utime(path, None)
        except OSError:
            pass  # it is not there yet, or open() says what is wrong
        else:
            return
    os.close(os.open(path, os.O_CREAT | os.O_WRONLY | (0 if exist_ok else os.O_EXCL), mode))


async def truncate(path: "StrOrBytesPath | int", length: int) -> None:
    """Cut a file, or fill it with zeros, to a length."""
    await _run(os.truncate, path, length)


async def chmod(
    path: "StrOrBytesPath | int", mode: int, *, dir_fd: int | None = None, follow_symlinks: bool = True
) -> None:
    """Change who may do what with a file."""
    await _run(os.chmod, path, mode, dir_fd=dir_fd, follow_symlinks=follow_symlinks)


async def chown(
    path: "StrOrBytesPath | int",
    uid: int,
    gid: int,
    *,
    dir_fd: int | None = None,
    follow_symlinks: bool = True,
) -> None:
    """Change to whom a file belongs."""
    await _run(os.chown, path, uid, gid, dir_fd=dir_fd, follow_symlinks=follow_symlinks)


async def utime(
    path: "StrOrBytesPath | int",
    times: tuple[float, float] | None = None,
    *,
    ns: tuple[int, int] | None = None,
    dir_fd: int | None = None,
    follow_symlinks: bool = True,
) -> None:
    """Set the times of a file: in seconds, in nanoseconds, or to now."""
    options: dict[str, Any] = {"dir_fd": dir_fd, "follow_symlinks": follow_symlinks}
    if ns is not None:
        options["ns"] = ns
    await _run(os.utime, path, times, **options)
