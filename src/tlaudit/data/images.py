"""Image folders -> ordered, fingerprinted batches; what cannot be read is counted and named, never silently dropped."""

from __future__ import annotations

import contextlib
import os
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Self

import torch

from tlaudit.data.account import SHOWN, Account, some
from tlaudit.data.decoding import EXTENSIONS
from tlaudit.data.folders import Listing, list_images, printable, spread
from tlaudit.data.workers import decode_all
from tlaudit.distributed import ALONE
from tlaudit.errors import ClassMatchError, DataError, UsageError

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from torch import Tensor

    from tlaudit.data.decoding import Geometry
    from tlaudit.data.kept_pixels import KeptPixels
    from tlaudit.distributed import Group
    from tlaudit.results import DataRecord, Preprocessing, SkippedImage


@dataclass(frozen=True, slots=True)
class ImageItem:
    """One image file.

    Attributes:
        path: Where it lies.
        name: Path relative to the root with ``/``; printable, odd characters and bytes escaped.
        folder: First part of ``name``, the class folder; None for an image that lies at the root.
    """

    path: Path
    name: str
    folder: str | None


@dataclass(frozen=True)
class ImageSet:
    """The images of a folder, in the order of their names.

    Attributes:
        root: The folder.
        items: The images that are used.
        folders: First-level folders that hold images, sorted, before any limit.
        empty_folders: First-level folders that hold none, sorted.
        available: Image files found, before any limit.
        other_files: Files that no image extension names; hidden ones are not counted.
        unread: Folders that could not be listed, or that lead back to one read already.
    """

    root: Path
    items: tuple[ImageItem, ...]
    folders: tuple[str, ...]
    empty_folders: tuple[str, ...]
    available: int
    other_files: int
    unread: tuple[SkippedImage, ...]

    @classmethod
    def scan(cls, root: Path | str, *, labelled: bool, limit: int | None = None, seed: int = 0) -> Self:
        """Find the images below a folder. No file is opened.

        Args:
            root: Holds images, class folders of images, or both. Folders below a class folder belong to the class.
            labelled: Whether every image has to lie in a class folder.
            limit: Use at most so many images, spread evenly over the first-level folders (images at the root count as
                one), chosen at random by the seed within each, in unchanged order.
            seed: Of that choice.

        Raises:
            UsageError: If the root is no folder, or the limit below 1.
            ClassMatchError: If an image lies at the root of a labelled set.
            DataError: If there is no image, or the root cannot be listed.
        """
        root = Path(root)
        if limit is not None and limit < 1:
            raise UsageError(f"the limit of images must be at least 1, got {limit}")
        if not root.is_dir():
            got = "a file" if root.exists() else "nothing of that name"
            raise UsageError(f"{printable(str(root))}: expected a folder of images, got {got}")
        try:
            listing = list_images(root)
        except OSError as error:
            raise DataError(f"{printable(str(root))}: cannot be listed: {error.strerror}") from None
        _require_images(root, listing, labelled=labelled)
        files = listing.files if limit is None else spread(listing.files, limit, seed)
        filled = {file.folder for file in listing.files}
        return cls(
            root=root,
            items=tuple(ImageItem(Path(file.location), file.name, file.folder) for file in files),
            folders=tuple(folder for folder in listing.folders if folder in filled),
            empty_folders=tuple(folder for folder in listing.folders if folder not in filled),
            available=len(listing.files),
            other_files=listing.other_files,
            unread=tuple(listing.unread),
        )


NO_IMAGES = ImageSet(root=Path(), items=(), folders=(), empty_folders=(), available=0, other_files=0, unread=())
"""A set of images that was not given."""


def _require_images(root: Path, listing: Listing, *, labelled: bool) -> None:
    """Refuse a folder without images, and a labelled one whose images have no class."""
    where = printable(str(root))
    if not listing.files:
        seen = [f"{listing.other_files} other files"] + [f"{s.file} {s.reason}" for s in listing.unread[:SHOWN]]
        raise DataError(f"{where}: expected images ({', '.join(EXTENSIONS)}), found none; {'; '.join(seen)}")
    loose = [file.name for file in listing.files if file.folder is None]
    if labelled and loose:
        raise ClassMatchError(
            f"{where}: expected a folder for each class with its images in it, but {some(loose)} "
            f"lie{'s' * (len(loose) == 1)} at the top; move images into class folders"
        )


@dataclass(frozen=True, eq=False)
class Batch:
    """Images decoded together.

    Attributes:
        index: Which items of the set these are, ``(N,)`` int64, in the order of the pass. Files that could not be read
            are missing.
        pixels: For each geometry asked for, ``(N, 3, crop, crop)`` uint8 in channels-last memory.
    """

    index: Tensor
    pixels: dict[Geometry, Tensor]


class ImageStream:
    """One pass over a set of images in batches, each file read and decoded exactly once, or taken from what is kept.

    Files are decoded by worker processes while the caller computes; order, pixels and fingerprint depend neither on
    their number nor on the batch size. A file that cannot be used is left out of its batch, and after the pass
    `skipped` names it; a batch with nothing left is not given. Leaving the loop early ends the workers.

    Several processes that share a pass have whole batches of it, each of them in one process; so a batch holds what it
    would hold in one process.
    """

    def __init__(
        self,
        images: ImageSet,
        preprocessing: Sequence[Preprocessing],
        *,
        batch_size: int,
        workers: int,
        strict: bool = False,
        order: Sequence[int] | None = None,
        kept: KeptPixels | None = None,
        group: Group = ALONE,
    ) -> None:
        """Prepare a pass; nothing is read yet.

        Args:
            images: The set.
            preprocessing: Of the networks that will see the images; those that share a geometry share the pixels.
            batch_size: Images in a batch, at least 1.
            workers: Processes that decode; 0 decodes in this one, and so does any number if there is but one batch.
            strict: Whether a file that cannot be used ends the pass: no batch is given from it on, the rest is still
                looked through, and the error names all such files.
            order: A permutation of the items' numbers, in which they are read; theirs where left out. What is said of
                the images afterwards does not depend on it.
            kept: Pixels that an earlier pass kept for this one, and that this one keeps for later ones; each file is
                decoded where left out.
            group: Processes that share the pass. Where there are several, `bring_together` completes it.

        Raises:
            UsageError: If the batch size or the number of workers is out of range.
        """
        if batch_size < 1 or workers < 0:
            raise UsageError(
                f"expected a batch size of at least 1 and 0 or more workers, got {batch_size} and {workers}"
            )
        self._images = images
        self._order = range(len(images.items)) if order is None else order
        self._geometries = tuple(dict.fromkeys(p.geometry for p in preprocessing))
        self._batch_size, self._workers, self._strict, self._group = batch_size, workers, strict, group
        self._decode_all = decode_all if kept is None else kept.decode_all
        self._account = Account(images)
        self._state = "new"

    def __len__(self) -> int:
        """How many batches this process has, counting those in which nothing may be left."""
        return len(self._group.dealt(range(0, len(self._images.items), self._batch_size)))

    @property
    def total(self) -> int:
        """How many images this process has, counting those that may turn out to be unreadable."""
        starts = self._group.dealt(range(0, len(self._images.items), self._batch_size))
        return sum(min(self._batch_size, len(self._images.items) - start) for start in starts)

    def __iter__(self) -> Iterator[Batch]:
        """Run the pass.

        Raises:
            DataError: If a worker process died; in one process alone, if no image could be used, or, when strict, any
                file was skipped.
            RuntimeError: If the pass has been run before.
        """
        if self._state != "new":
            raise RuntimeError("a stream of images is read once; make another one")
        self._state = "running"
        return self._run()

    def _run(self) -> Iterator[Batch]:
        size, items = self._batch_size, self._images.items
        batches = [self._order[at : at + size] for at in self._group.dealt(range(0, len(items), size))]
        files = [[os.fspath(items[index].path) for index in batch] for batch in batches]
        with contextlib.closing(self._decode_all(files, self._geometries, size, self._workers)) as work:
            for batch, (decoded, pixels) in zip(batches, work, strict=True):
                self._account.put(batch, decoded)
                if decoded.kept and not (self._strict and self._account.skipped):
                    # Rows are stored pixel by pixel, so seen in the usual order of axes they are channels-last.
                    tensors = [torch.from_numpy(array).permute(0, 3, 1, 2) for array in pixels]
                    index = torch.tensor([batch[at] for at in decoded.kept])
                    yield Batch(index, dict(zip(self._geometries, tensors, strict=True)))
        self._state = "read"
        if self._group.size == 1:
            self.bring_together()

    def bring_together(self) -> None:
        """Learn what the other processes have read: all of them call it after the pass, which one alone does itself.

        Raises:
            DataError: If no image could be used, another process has ended, or, when strict, any file was skipped.
            RuntimeError: If the pass has not been run to its end.
        """
        if self._state != "read":
            raise RuntimeError("the images have not all been read yet: run the pass to its end first")
        self._account.bring_together(self._group)
        self._state = "complete"
        self._account.conclude(strict=self._strict)

    @property
    def skipped(self) -> tuple[SkippedImage, ...]:
        """Files, and folders, left out so far, with the reason; complete after the pass."""
        return tuple(self._account.skipped)

    def record(self) -> DataRecord:
        """Say what was read.

        Raises:
            RuntimeError: If the pass has not been run to its end, so that the fingerprint is not known.
        """
        if self._state != "complete":
            raise RuntimeError("the images have not all been read yet: run the pass to its end first")
        return self._account.record()
