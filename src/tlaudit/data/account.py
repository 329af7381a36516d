"""What was read of a set of images and what was left out, whoever read it and in whatever order."""

from __future__ import annotations

import hashlib
import logging
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING

import numpy as np

from tlaudit.data.decoding import UNREADABLE, FileDigest, read
from tlaudit.data.folders import printable
from tlaudit.distributed import ALONE
from tlaudit.errors import DataError
from tlaudit.results import DataRecord, SkippedImage

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from tlaudit.data.decoding import DecodedBatch
    from tlaudit.data.images import ImageSet
    from tlaudit.distributed import Group

log = logging.getLogger(__name__)

_PART, _READERS = 64, 4
"""Files that one thread reads and hashes in turn, and how many threads do."""

SHOWN = 10
"""So many skipped files are named in messages; all of them are in the result."""


def some(names: Sequence[str]) -> str:
    """Give the first few names, and how many more there are."""
    more = f" and {len(names) - SHOWN} more" if len(names) > SHOWN else ""
    return ", ".join(names[:SHOWN]) + more


def warn_of(skipped: Sequence[SkippedImage], where: str) -> None:
    """Say which files were left out, the first few by name.

    Args:
        skipped: Files with their reasons, in order.
        where: Where they lie.
    """
    for one in skipped[:SHOWN]:
        log.warning("skipped %s: %s", one.file, one.reason, extra={"about": where})
    if len(skipped) > SHOWN:
        more = len(skipped) - SHOWN
        log.warning("skipped %d more files; the result names them all", more, extra={"about": where})


class Account:
    """What becomes of each image of a set in one pass.

    Attributes:
        skipped: Files, and folders, left out so far, with the reason.
    """

    skipped: list[SkippedImage]

    def __init__(self, images: ImageSet) -> None:
        """Begin with nothing read."""
        self._images = images
        self.skipped = list(images.unread)
        self._digests = _Digests(len(images.items))
        self._decoded = 0

    def put(self, numbers: Sequence[int], decoded: DecodedBatch) -> None:
        """Note what became of some images.

        Args:
            numbers: Of the images in the set.
            decoded: What became of them, in the same order.
        """
        names = [self._images.items[number].name for number in numbers]
        self._decoded += len(decoded.kept)
        self._digests.put(numbers, decoded.digests)
        self.skipped += [SkippedImage(file=names[at], reason=printable(why)) for at, why in decoded.refused]
        for at, remark in decoded.remarks:
            log.info("%s: %s", names[at], printable(remark))

    def bring_together(self, group: Group) -> None:
        """Add what the other processes have read, each image in one of them.

        Raises:
            DataError: If another process has ended.
        """
        unread = len(self._images.unread)
        theirs = group.gathered((self._decoded, self.skipped[unread:]))
        self._decoded = sum(count for count, _ in theirs)
        self.skipped[unread:] = [one for _, skipped in theirs for one in skipped]
        self._digests.bring_together(group)

    def recall(self, decoded: int, skipped: Iterable[SkippedImage]) -> None:
        """Take over what is known of an earlier pass over the very same files.

        Args:
            decoded: Images that could be used.
            skipped: Those that could not, with the reason; without folders that could not be listed.
        """
        self._decoded = decoded
        self.skipped[len(self._images.unread) :] = skipped

    def conclude(self, *, strict: bool) -> None:
        """Say what was skipped, in the order of names, and refuse to go on where too much was.

        Args:
            strict: Whether anything skipped is too much.

        Raises:
            DataError: If no image could be used, or, when strict, any file was skipped.
        """
        self.skipped.sort(key=lambda skipped: skipped.file)
        where = printable(str(self._images.root))
        warn_of(self.skipped, where)
        named = some([f"{skipped.file} ({skipped.reason})" for skipped in self.skipped])
        if self._decoded == 0:
            raise DataError(f"{where}: none of {len(self._images.items)} images can be used: {named}")
        if strict and self.skipped:
            raise DataError(f"{where}: {len(self.skipped)} files cannot be used, and none may be skipped: {named}")

    def fingerprint(self) -> str:
        """Identify the set by names and contents: 64 hexadecimal digits, once all of it has been read."""
        return self._digests.fingerprint(self._images)

    def record(self, fingerprint: str | None = None) -> DataRecord:
        """Say what was read.

        Args:
            fingerprint: Of the set, where it is known already.
        """
        return DataRecord(
            path=printable(str(self._images.root)),
            fingerprint=fingerprint or self.fingerprint(),
            images=self._decoded,
            folders=len(self._images.folders),
            available=self._images.available,
            other_files=self._images.other_files,
            skipped=tuple(self.skipped),
        )


def digest_of(images: ImageSet, digests: Iterable[FileDigest]) -> str:
    """SHA-256 over name, size and SHA-256 of the content of each item, in order: 64 hexadecimal digits.

    Files that cannot be decoded count as they are; one that cannot be read counts as "unreadable".

    Args:
        images: The set.
        digests: Of each of its items.
    """
    result = hashlib.sha256()
    for item, digest in zip(images.items, digests, strict=True):
        # No name holds a line break or a tab: `printable` escapes them.
        result.update(f"{item.name}\t{digest.size}\t{digest.sha256}\n".encode())
    return result.hexdigest()


class _Digests:
    """Size and SHA-256 of the content of each item, whatever the order in which they are read."""

    def __init__(self, count: int) -> None:
        # Compact, because there may be millions; a file that could not be read has the size -1.
        self._sizes = np.full(count, -1, dtype=np.int64)
        self._hashes = np.zeros((count, 32), dtype=np.uint8)

    def put(self, numbers: Sequence[int], digests: Sequence[FileDigest]) -> None:
        for number, digest in zip(numbers, digests, strict=True):
            if digest.size is not None:
                self._sizes[number] = digest.size
                self._hashes[number] = np.frombuffer(bytes.fromhex(digest.sha256), dtype=np.uint8)

    def bring_together(self, group: Group) -> None:
        if group.size == 1:
            return
        own = np.flatnonzero(self._sizes >= 0)
        for numbers, sizes, hashes in group.gathered((own, self._sizes[own], self._hashes[own])):
            self._sizes[numbers], self._hashes[numbers] = sizes, hashes

    def fingerprint(self, images: ImageSet) -> str:
        return digest_of(images, map(self._of, range(len(self._sizes))))

    def _of(self, number: int) -> FileDigest:
        size = int(self._sizes[number])
        return UNREADABLE if size < 0 else FileDigest(size, self._hashes[number].tobytes().hex())


def fingerprint(images: ImageSet, group: Group = ALONE) -> str:
    """Identify a set of images by names and contents, wherever it lies: what a pass over it gives, without decoding.

    Args:
        images: The set.
        group: Processes that share the reading; all of them have to call this.

    Returns:
        64 hexadecimal digits.

    Raises:
        DataError: If another process has ended.
    """
    found = _Digests(len(images.items))
    parts = group.dealt([range(at, min(at + _PART, len(images.items))) for at in range(0, len(images.items), _PART)])

    def digests(part: range) -> list[FileDigest]:
        return [read(images.items[number].location)[0] for number in part]

    # Reading and hashing leave Python's lock to others.
    with group.agreed(), ThreadPoolExecutor(_READERS) as readers:
        for at in range(0, len(parts), _READERS):
            some_parts = parts[at : at + _READERS]
            for part, of_part in zip(some_parts, readers.map(digests, some_parts), strict=True):
                found.put(part, of_part)
    found.bring_together(group)
    return found.fingerprint(images)
