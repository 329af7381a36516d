"""Pixels kept from one pass over images for a later one, so that each file is decoded once.

What a pass reads of kept files is what it would have decoded: pixels, digests, reasons and Pillow's remarks, bit for
bit. So neither numbers nor records depend on whether anything was kept, or how much of it.
"""

from __future__ import annotations

import contextlib
from collections import Counter
from itertools import islice
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from tlaudit.data.decoding import DecodedBatch, Geometry, decode_batch
from tlaudit.data.workers import Batches, decode_all

if TYPE_CHECKING:
    from collections.abc import Generator, Iterable, Iterator, Sequence

    from tlaudit.data.decoding import FileDigest, Pixels
    from tlaudit.data.workers import Work

BUDGET = 1 << 30
"""Bytes of pixels that are kept; a file that does not fit any more is decoded again by each pass (ours)."""

WORTHWHILE = 0.1
"""A pass makes pixels of another geometry for later ones if at least this share of its files is wanted in it. For
fewer, decoding those files again costs less than resampling them all once more (ours)."""


_NOTHING: frozenset[Geometry] = frozenset()


class _File(NamedTuple):
    """What is known of one file: `rows` holds its pixels ``(crop, crop, 3)``, `reason` why there are none."""

    digest: FileDigest
    remarks: tuple[str, ...]
    rows: dict[Geometry, Pixels]
    reason: str | None
    asked: tuple[Geometry, ...]

    def answers(self, geometries: Sequence[Geometry]) -> bool:
        """Whether a pass that asks for these geometries needs nothing else."""
        # Whether a picture has room to be resized depends on all sizes asked for, and so does the reason.
        return tuple(geometries) == self.asked if self.reason is not None else self.rows.keys() >= set(geometries)


class KeptPixels:
    """Pixels of files that several passes ask for, kept by the first of them within a budget of memory."""

    def __init__(self, budget: int = BUDGET) -> None:
        """Begin empty; nothing is kept unless it is planned.

        Args:
            budget: Most bytes of pixels.
        """
        self._room = budget
        self._later: dict[str, frozenset[Geometry]] = {}
        self._files: dict[str, _File] = {}

    def plan(self, passes: Iterable[tuple[Iterable[str], Iterable[Geometry]]]) -> None:
        """Say which passes there will be: what a later one wants is kept by the first that reads the file.

        Args:
            passes: In their order, locations of files and the geometries they are wanted in. Of each pass only so many
                files are looked at as there is room for: of a million the plan would take more memory than the pixels.
        """
        every = [(files, frozenset(geometries)) for files, geometries in passes]
        sizes = [3 * crop * crop for _, geometries in every for _, crop, _ in geometries]
        most = self._room // min(sizes, default=1)
        met: dict[str, frozenset[Geometry]] = {}
        # There may be millions of files: those that are wanted alike share one set.
        shared: dict[frozenset[Geometry], frozenset[Geometry]] = {}
        for files, wanted in every:
            for file in islice(files, most):
                known = met.get(file)
                if known is None:
                    met[file] = self._later.get(file, _NOTHING)
                else:
                    both = known | wanted
                    met[file] = shared.setdefault(both, both)
        self._later.update((file, wanted) for file, wanted in met.items() if wanted)

    def decode_all(
        self,
        batches: Batches | Sequence[Sequence[str]],
        geometries: Sequence[Geometry],
        batch_size: int,
        workers: int,
    ) -> Generator[Work]:
        """Give batches of files as `tlaudit.data.workers.decode_all` does, those that are kept without decoding.

        Args:
            batches: Locations (`tlaudit.data.locations`), at most ``batch_size`` in each.
            geometries: Resize, crop and interpolation wanted.
            batch_size: Rows of a buffer.
            workers: How many processes to start; 0 for none.

        Yields:
            What became of a batch, and for each geometry its pixels, ``(n, crop, crop, 3)`` uint8, memory of the
            caller's own. Closing the iterator early ends the processes.

        Raises:
            DataError: If a worker process dies.
        """
        if not self._later and not self._files:
            yield from decode_all(batches, geometries, batch_size, workers)
            return
        # Settled before the pass, which keeps more as it goes on; as marks, because there may be millions of files.
        marks = [bytes(self._is_kept(file, geometries) for file in files) for files in batches]
        count = sum(not all(kept) for kept in marks)
        missing = Batches(count, lambda: (files for files in self._missing(batches, marks) if files))
        everything = (*geometries, *self._others(missing, geometries))
        absent_from = zip(batches, self._missing(batches, marks), strict=True)
        with contextlib.closing(decode_all(missing, everything, batch_size, workers)) as work:
            for files, absent in absent_from:
                read = self._read(absent, geometries, everything, *next(work)) if absent else {}
                yield _together([read.get(file) or self._files[file] for file in files], geometries)

    @staticmethod
    def _missing(batches: Batches | Sequence[Sequence[str]], marks: Sequence[bytes]) -> Iterator[list[str]]:
        """Files of each batch that have to be decoded."""
        for files, kept in zip(batches, marks, strict=True):
            yield [file for file, known in zip(files, kept, strict=True) if not known]

    def _is_kept(self, file: str, geometries: Sequence[Geometry]) -> bool:
        known = self._files.get(file)
        return known is not None and known.answers(geometries)

    def _others(self, missing: Batches, geometries: Sequence[Geometry]) -> list[Geometry]:
        """Geometries that later passes want enough of these files in."""
        total, wanted = 0, Counter[Geometry]()
        for files in missing:
            total += len(files)
            wanted.update(geometry for file in files for geometry in self._wanted(file) if geometry not in geometries)
        return sorted(geometry for geometry, count in wanted.items() if count >= WORTHWHILE * total)

    def _wanted(self, file: str) -> frozenset[Geometry]:
        return self._later.get(file, _NOTHING)

    def _read(
        self,
        files: Sequence[str],
        geometries: Sequence[Geometry],
        everything: Sequence[Geometry],
        decoded: DecodedBatch,
        pixels: Sequence[Pixels],
    ) -> dict[str, _File]:
        """Take a decoded batch apart, and keep what is wanted later."""
        rows = {number: row for row, number in enumerate(decoded.kept)}
        reasons = dict(decoded.refused)
        found = {}
        for number, file in enumerate(files):
            if number in rows:
                own = {g: buffer[rows[number]] for g, buffer in zip(everything, pixels, strict=True)}
                remarks = tuple(text for at, text in decoded.remarks if at == number)
                found[file] = _File(decoded.digests[number], remarks, own, None, tuple(geometries))
            elif len(everything) > len(geometries):
                # A size that only a later pass wants may be what it has no room for.
                found[file] = _alone(file, geometries)
            else:
                found[file] = _File(decoded.digests[number], (), {}, reasons[number], tuple(geometries))
            self._keep(file, found[file])
        return found

    def _keep(self, file: str, read: _File) -> None:
        known = self._files.get(file)
        before = known.rows if known is not None else {}
        rows = {g: pixels for g, pixels in read.rows.items() if g in self._wanted(file) and g not in before}
        size = sum(pixels.nbytes for pixels in rows.values())
        refused = read.reason is not None and self._wanted(file) and not before
        if refused or (rows and size <= self._room):
            self._room -= size
            # Copies, because a row of a batch would keep the whole batch in memory.
            copies = {geometry: pixels.copy() for geometry, pixels in rows.items()}
            self._files[file] = read._replace(rows=before | copies)


def _alone(file: str, geometries: Sequence[Geometry]) -> _File:
    """Decode one file in this process."""
    buffers = [np.empty((1, crop, crop, 3), dtype=np.uint8) for _, crop, _ in geometries]
    decoded = decode_batch([file], geometries, buffers)
    rows = {geometry: buffer[0] for geometry, buffer in zip(geometries, buffers, strict=True)} if decoded.kept else {}
    reason = None if decoded.kept else decoded.refused[0][1]
    remarks = tuple(text for _, text in decoded.remarks)
    return _File(decoded.digests[0], remarks, rows, reason, tuple(geometries))


def _together(files: Sequence[_File], geometries: Sequence[Geometry]) -> Work:
    """Put a batch together as if it had just been decoded."""
    kept = [number for number, file in enumerate(files) if file.reason is None]
    decoded = DecodedBatch(
        kept,
        [file.digest for file in files],
        [(number, file.reason) for number, file in enumerate(files) if file.reason is not None],
        [(number, remark) for number, file in enumerate(files) if file.reason is None for remark in file.remarks],
    )
    pixels = []
    for geometry in geometries:
        buffer = np.empty((len(kept), geometry[1], geometry[1], 3), dtype=np.uint8)
        for row, number in enumerate(kept):
            buffer[row] = files[number].rows[geometry]
        pixels.append(buffer)
    return decoded, pixels
