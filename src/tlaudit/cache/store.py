"""A folder of entries, one file each: written whole, checked when read, the least used ones removed first.

Several runs may share a folder. None waits for another: an entry is never changed, only replaced by one that says the
same, and one that vanishes has to be made again.
"""

from __future__ import annotations

import contextlib
import hashlib
import logging
import os
import re
import stat
from typing import TYPE_CHECKING

from tlaudit.cache.entry import BrokenEntryError, canonical, decoded, encoded
from tlaudit.errors import UsageError
from tlaudit.files import replacing

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from tlaudit.cache.entry import Entry

log = logging.getLogger(__name__)

_OURS = re.compile(r"[0-9a-f]{40}-[0-9a-f]{24}\.safetensors")


class Cache:
    """Entries in a folder, each found by what was asked and by the fingerprint of the images it was asked about."""

    def __init__(self, folder: Path, most: int) -> None:
        """Say where; the folder is made when there is something to write.

        Args:
            folder: Of this user alone: what lies in it is believed where it is whole.
            most: Bytes that all entries together may take.
        """
        self.folder, self._most = folder, most
        self._writable = True

    def asked_before(self, question: Mapping[str, object]) -> bool:
        """Whether there is an answer to this question at all, about whatever images."""
        with contextlib.suppress(OSError):
            return any(self.folder.glob(f"{_digest(canonical(question))}-*.safetensors"))
        return False

    def find(self, question: Mapping[str, object], fingerprint: str) -> Entry | None:
        """Give what is kept, if it is there and whole; what is broken is removed.

        Args:
            question: Everything an answer depends on but the images, made of what JSON knows.
            fingerprint: Of the images.
        """
        key = _key(question, fingerprint)
        path = self._path(question, fingerprint)
        try:
            data = _read(path, self._most)
            if data is None:
                return None
            entry = decoded(data, key)
        except FileNotFoundError:
            return None
        except (OSError, BrokenEntryError) as error:
            reason = error.strerror if isinstance(error, OSError) else error
            log.warning("cache: %s is left out, and what it held is computed again: %s", path, reason)
            _remove(path)
            return None
        with contextlib.suppress(OSError):
            os.utime(path)
        return entry

    def keep(self, question: Mapping[str, object], fingerprint: str, entry: Entry) -> None:
        """Keep an answer, and make room for it; where it cannot be written, that is said once.

        Args:
            question: As of `find`.
            fingerprint: Of the images it is about.
            entry: The answer.
        """
        if not self._writable:
            return
        # Before its bytes are made, which takes as much memory again.
        size = sum(tensor.numel() * tensor.element_size() for tensor in entry.tensors.values())
        data = encoded(_key(question, fingerprint), entry) if size <= self._most else b""
        if max(size, len(data)) > self._most:
            log.info("cache: an entry of %d bytes is larger than all of the cache may be, and not kept", size)
            return
        path = self._path(question, fingerprint)
        try:
            self.folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            with replacing(path) as temporary:
                temporary.write_bytes(data)
        except (OSError, UsageError) as error:
            self._writable = False
            reason = error.strerror if isinstance(error, OSError) else error
            log.warning("nothing is kept for later runs in the cache %s: %s (see --cache-dir)", self.folder, reason)
            return
        self._make_room(path)

    def _path(self, question: Mapping[str, object], fingerprint: str) -> Path:
        return self.folder / f"{_digest(canonical(question))}-{fingerprint[:24]}.safetensors"

    def _make_room(self, newest: Path) -> None:
        """Remove the least used entries until the rest is small enough; others may be doing the same."""
        entries = []
        with contextlib.suppress(OSError), os.scandir(self.folder) as found:
            for file in found:
                # Another run may have removed it just now.
                with contextlib.suppress(OSError):
                    status = file.stat(follow_symlinks=False)
                    if _OURS.fullmatch(file.name):
                        entries.append((file.name == newest.name, status.st_mtime_ns, status.st_size, file.name))
        total = sum(size for _, _, size, _ in entries)
        for _, _, size, name in sorted(entries):
            if total <= self._most:
                return
            _remove(self.folder / name)
            total -= size


def _key(question: Mapping[str, object], fingerprint: str) -> str:
    return canonical({"question": question, "images": fingerprint})


def _digest(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()[:40]


def _read(path: Path, most: int) -> bytes | None:
    """Read a file whole, None if it has more than ``most`` bytes.

    Raises:
        OSError: If it cannot be read.
        BrokenEntryError: If it is no regular file.
    """
    # A pipe would have us wait, and a device has no end.
    descriptor = os.open(path, os.O_RDONLY | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_BINARY", 0))
    try:
        status = os.fstat(descriptor)
        if not stat.S_ISREG(status.st_mode):
            raise BrokenEntryError("it is not a regular file")
        if status.st_size > most:
            return None
        with open(descriptor, "rb", closefd=False) as file:
            return file.read(status.st_size)
    finally:
        os.close(descriptor)


def _remove(path: Path) -> None:
    """Remove a file, or an empty folder that lies in its place."""
    with contextlib.suppress(OSError):
        if path.is_dir() and not path.is_symlink():
            path.rmdir()
        else:
            path.unlink()
