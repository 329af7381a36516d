"""Files of others, read whole: not without end, and not waited for where nobody writes."""

from __future__ import annotations

import errno
import os
import stat
import time
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path

PATIENCE = 5.0
"""Seconds that a pipe is waited for to which nobody writes: whoever fills it may start later than who reads it."""

_STEP = 0.05
_CHUNK = 1 << 20
_MIB = 1 << 20


def whole(path: Path, most: int) -> bytes:
    """Read all that a file holds; a pipe that somebody writes to is read to its end, however long that takes.

    Args:
        path: A file, a pipe or a device.
        most: Bytes that are read at the most.

    Returns:
        What stands in it. Of a file that is replaced meanwhile, all of what it was.

    Raises:
        OSError: If it cannot be read, has no end within `most` bytes, or is a pipe that nobody writes to. `strerror`
            says so in words.
    """
    # A pipe without a writer would hold up whoever opens it until one comes.
    flags = os.O_RDONLY | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_BINARY", 0)
    try:
        handle = os.open(path, flags)
    except ValueError:
        raise OSError(errno.EINVAL, "its name holds a NUL character") from None
    try:
        chunks = [_first_of_pipe(handle)] if stat.S_ISFIFO(os.fstat(handle).st_mode) else []
        if hasattr(os, "set_blocking"):
            os.set_blocking(handle, True)
        size = sum(map(len, chunks))
        while chunk := os.read(handle, _CHUNK):
            chunks.append(chunk)
            size += len(chunk)
            if size > most:
                raise OSError(errno.EFBIG, f"it holds more than {most // _MIB} MiB")
    finally:
        os.close(handle)
    return b"".join(chunks)


def is_file(path: Path) -> bool:
    """Whether a path names an ordinary file; what no file can be called is none."""
    try:
        return path.is_file()
    except OSError:
        return False


def _first_of_pipe(handle: int) -> bytes:
    """The first bytes of a pipe, none if there is a writer who has not yet written."""
    until = time.monotonic() + PATIENCE
    while True:
        try:
            chunk = os.read(handle, _CHUNK)
        except BlockingIOError:
            return b""
        if chunk:
            return chunk
        if time.monotonic() >= until:
            raise OSError(errno.EPIPE, "it is a pipe, and nobody writes to it")
        time.sleep(_STEP)
