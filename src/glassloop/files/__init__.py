"""Files: Python's own interface to them, awaited. docs/files.md shows how.

- ``opening``: open(), and what it returns.
- ``text_file``: TextFile, over ``binary_file``: BinaryFile, over ``raw_file``: RawFile.
- ``async_file``: what the three have in common.
- ``descriptor``: the open file that they share: its position, what is still to be written, its end.
- ``turns``: one operation at a time, and none left half done.
- ``whole_files``: read_bytes() and its like. ``paths``, ``scanning``, ``copies``: stat(), scandir(), move().
- ``engines``: who does the work: the loop's own engine, or, on other loops, ``thread_engine``.
"""

from glassloop.files.binary_file import BinaryFile
from glassloop.files.copies import copy, copy2, copyfile, copytree, move, rmtree
from glassloop.files.opening import open  # noqa: A004 - it is that, awaited
from glassloop.files.paths import (
    access,
    chmod,
    chown,
    exists,
    is_dir,
    is_file,
    is_symlink,
    lexists,
    link,
    listdir,
    lstat,
    makedirs,
    mkdir,
    readlink,
    remove,
    removedirs,
    rename,
    renames,
    replace,
    rmdir,
    samefile,
    stat,
    statvfs,
    symlink,
    touch,
    truncate,
    unlink,
    utime,
    walk,
)
from glassloop.files.raw_file import RawFile
from glassloop.files.scanning import scandir
from glassloop.files.text_file import TextFile
from glassloop.files.whole_files import read_bytes, read_text, write_bytes, write_text

__all__ = [
    "BinaryFile",
    "RawFile",
    "TextFile",
    "access",
    "chmod",
    "chown",
    "copy",
    "copy2",
    "copyfile",
    "copytree",
    "exists",
    "is_dir",
    "is_file",
    "is_symlink",
    "lexists",
    "link",
    "listdir",
    "lstat",
    "makedirs",
    "mkdir",
    "move",
    "open",
    "read_bytes",
    "read_text",
    "readlink",
    "remove",
    "removedirs",
    "rename",
    "renames",
    "replace",
    "rmdir",
    "rmtree",
    "samefile",
    "scandir",
    "stat",
    "statvfs",
    "symlink",
    "touch",
    "truncate",
    "unlink",
    "utime",
    "walk",
    "write_bytes",
    "write_text",
]
