"""Copies of files and of trees: the functions of shutil, awaited, with their names, parameters and errors.

Each is one job in a thread. When it is cancelled, the job goes on to its end.
"""

import functools
import shutil
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, TypeVar

from glassloop.files.engines import running_engine

if TYPE_CHECKING:
    from _typeshed import StrOrBytesPath, StrPath

    _Path = TypeVar("_Path", bound=StrPath)


async def copyfile(src: "StrOrBytesPath", dst: "_Path", *, follow_symlinks: bool = True) -> "_Path":
    """Copy the contents of a file, and return the second path."""
    return await running_engine().run(
        functools.partial(shutil.copyfile, src, dst, follow_symlinks=follow_symlinks)
    )


async def copy(src: "StrPath", dst: "_Path", *, follow_symlinks: bool = True) -> "_Path | str":
    """Copy a file with its permissions, to a path or into a directory, and return the path of the copy."""
    return await running_engine().run(
        functools.partial(shutil.copy, src, dst, follow_symlinks=follow_symlinks)
    )


async def copy2(src: "StrPath", dst: "_Path", *, follow_symlinks: bool = True) -> "_Path | str":
    """Copy a file with its permissions and times, and return the path of the copy."""
    return await running_engine().run(
        functools.partial(shutil.copy2, src, dst, follow_symlinks=follow_symlinks)
    )


async def copytree(src: "StrPath", dst: "_Path", **options: Any) -> "_Path":
    """Copy a directory with all that is in it; the options are those of ``shutil.copytree``."""
    job: Callable[[], Any] = functools.partial(shutil.copytree, src, dst, **options)
    path: _Path = await running_engine().run(job)
    return path


async def move(src: "StrPath", dst: "StrPath") -> Any:
    """Move a file or directory, also to another file system, and return its new path."""
    return await running_engine().run(shutil.move, src, dst)


async def rmtree(path: "StrOrBytesPath", ignore_errors: bool = False, **options: Any) -> None:
    """Remove a directory with all that is in it; the options are those of ``shutil.rmtree``."""
    job: Callable[[], Any] = functools.partial(shutil.rmtree, path, ignore_errors, **options)
    await running_engine().run(job)
