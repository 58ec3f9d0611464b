"""Whole files at once, by path: the shortest way for the engine, and for whoever writes it."""

import asyncio
import codecs
import io
import os
from typing import TYPE_CHECKING, Any

from glassloop.files.engines import running_engine
from glassloop.files.raw_file import readable_bytes
from glassloop.files.text_file import codec_of

if TYPE_CHECKING:
    from _typeshed import ReadableBuffer, StrOrBytesPath

_TO_WRITE = os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC
_MODE = 0o666  # as io's: less what the umask takes away

# What is decoded without giving way to others: about a millisecond's work.
_ONE_PART = 1 << 20


async def read_bytes(path: "StrOrBytesPath") -> bytes:
    """Return the contents of a file, as ``pathlib.Path.read_bytes`` does."""
    return await running_engine().read_file(path)


async def read_text(
    path: "StrOrBytesPath",
    encoding: str | None = None,
    errors: str | None = None,
    newline: str | None = None,
) -> str:
    """Return the text in a file, as ``pathlib.Path.read_text`` does."""
    codec = codec_of(encoding, errors, newline)
    data = await running_engine().read_file(path)
    if codec.is_stateless and len(data) <= _ONE_PART:
        text = data.decode(codec.encoding, codec.errors)
        if newline is None and "\r" in text:
            text = text.replace("\r\n", "\n").replace("\r", "\n")
        return text
    decoder = codec.make_decoder(codec.errors)
    if newline is None:
        decoder = io.IncrementalNewlineDecoder(decoder, translate=True)
    return await decode_all(decoder, data)


async def decode_all(decoder: codecs.IncrementalDecoder, data: bytes) -> str:
    """Decode data to its end; if they are many, part by part, so that others run meanwhile."""
    if len(data) <= _ONE_PART:
        return decoder.decode(data, final=True)
    parts = []
    for start in range(0, len(data), _ONE_PART):
        parts.append(decoder.decode(data[start : start + _ONE_PART], final=start + _ONE_PART >= len(data)))
        await asyncio.sleep(0)
    return "".join(parts)


async def write_bytes(path: "StrOrBytesPath", data: "ReadableBuffer") -> int:
    """Make a file of these bytes, as ``pathlib.Path.write_bytes`` does, and return how many they are."""
    data = readable_bytes(data)
    await running_engine().write_file(path, data, _TO_WRITE, _MODE)
    return len(data)


async def write_text(
    path: "StrOrBytesPath",
    data: str,
    encoding: str | None = None,
    errors: str | None = None,
    newline: str | None = None,
) -> int:
    """Make a file of this text, as ``pathlib.Path.write_text`` does; return its length in characters."""
    text: Any = data
    if not isinstance(text, str):
        raise TypeError(f"data must be str, not {type(text).__name__}")
    codec = codec_of(encoding, errors, newline)
    ends = os.linesep if newline is None else newline
    if ends not in ("", "\n"):
        text = text.replace("\n", ends)
    if codec.is_stateless:
        encoded = text.encode(codec.encoding, codec.errors)
    else:
        encoded = codec.make_encoder(codec.errors).encode(text, True)
    await running_engine().write_file(path, encoded, _TO_WRITE, _MODE)
    return len(data)
