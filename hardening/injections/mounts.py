"""Small file systems in memory, mounted for a test: full ones, ones without room for names, read-only ones."""

from __future__ import annotations

import contextlib
import ctypes
import functools
import os
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

PAGE = 4096
"""What files on such a file system take is counted in pages."""

_READ_ONLY, _REMOUNT, _PRIVATE, _RECURSIVE = 1, 32, 1 << 18, 1 << 14
_NEW_NAMESPACE = 0x00020000
_DETACH = 2


@functools.cache
def allowed() -> bool:
    """Whether this process may mount anything; where it may not, other means of the same effect are used."""
    with tempfile.TemporaryDirectory() as folder:
        try:
            with memory(Path(folder), size=PAGE):
                return True
        except OSError:
            return False


@contextlib.contextmanager
def memory(place: Path, *, size: int, names: int = 0) -> Iterator[None]:
    """Mount a file system of so many bytes, and for so many files if a number is given, on a folder that is there."""
    _mount("tmpfs", place, "tmpfs", 0, _limits(size, names))
    try:
        yield
    finally:
        _call("umount2", os.fsencode(place), _DETACH)


def shrink(place: Path, *, size: int, names: int = 0) -> None:
    """Give such a file system other limits; it takes none that are below what it holds."""
    _mount("tmpfs", place, "tmpfs", _REMOUNT, _limits(size, names))


def close(place: Path) -> None:
    """Make such a file system read-only."""
    _mount("tmpfs", place, "tmpfs", _REMOUNT | _READ_ONLY, "")


def used(place: Path) -> tuple[int, int]:
    """Bytes and files that lie on it, itself among them."""
    status = os.statvfs(place)
    return (status.f_blocks - status.f_bfree) * status.f_frsize, status.f_files - status.f_ffree


def fill(place: Path) -> None:
    """Leave not a byte of room in a folder that is a file system of its own."""
    with contextlib.suppress(OSError), (place / "filling").open("wb", buffering=0) as file:
        while True:
            file.write(bytes(PAGE))


def filled_for_myself(place: Path) -> None:
    """Put a full file system on a folder, for this process and its children alone."""
    _call("unshare", _NEW_NAMESPACE)
    _mount("none", Path("/"), "none", _PRIVATE | _RECURSIVE, "")
    _mount("tmpfs", place, "tmpfs", 0, _limits(PAGE, 0))
    fill(place)


def _limits(size: int, names: int) -> str:
    # A size of 0 would mean half of the memory.
    limits = f"size={max(size, PAGE)}"
    return f"{limits},nr_inodes={names}" if names else limits


def _mount(source: str, place: Path, kind: str, flags: int, options: str) -> None:
    _call("mount", source.encode(), os.fsencode(place), kind.encode(), flags, options.encode())


def _call(name: str, *arguments: object) -> None:
    call = getattr(ctypes.CDLL(None, use_errno=True), name)
    if call(*arguments):
        error = ctypes.get_errno()
        raise OSError(error, f"{name}: {os.strerror(error)}")
