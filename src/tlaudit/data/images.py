"""Images -> ordered, fingerprinted batches; what cannot be read is counted and named, never silently dropped."""

from __future__ import annotations

import contextlib
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Self

import numpy as np
import torch

from tlaudit.data.account import SHOWN, Account
from tlaudit.data.decoding import EXTENSIONS
from tlaudit.data.folders import printable, spread
from tlaudit.data.items import Items
from tlaudit.data.kinds import listing_of
from tlaudit.data.workers import Batches, decode_all
from tlaudit.distributed import ALONE
from tlaudit.errors import ClassMatchError, DataError, UsageError

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from torch import Tensor

    from tlaudit.data.decoding import Geometry
    from tlaudit.data.folders import Listing
    from tlaudit.data.items import ImageItem
    from tlaudit.data.kept_pixels import KeptPixels
    from tlaudit.distributed import Group
    from tlaudit.results import DataRecord, Preprocessing, SkippedImage


@dataclass(frozen=True)
class ImageSet:
    """The images of a folder, of shards or of a manifest, in an order of their own.

    Attributes:
        root: The folder, shard, pattern of shards or manifest.
        items: The images that are used: of a folder in the order of their names, of shards and manifests in theirs.
        folders: First-level folders that hold images, or classes, sorted, before any limit.
        empty_folders: First-level folders that hold none, sorted.
        available: Images found, before any limit.
        other_files: Files that no image extension names; hidden ones are not counted.
        unread: What could not be listed, or leads back to something read already.
    """

    root: Path
    items: Sequence[ImageItem]
    folders: tuple[str, ...]
    empty_folders: tuple[str, ...]
    available: int
    other_files: int
    unread: tuple[SkippedImage, ...]

    @classmethod
    def scan(cls, root: Path | str, *, labelled: bool, limit: int | None = None, seed: int = 0) -> Self:
        """Find the images below a folder, in tar shards or in a manifest. No image is opened.

        Args:
            root: A folder that holds images, class folders of images, or both; folders below a class folder belong to
                the class. Or a shard, a pattern of shards, a folder of shards, or a manifest (docs/data.md).
            labelled: Whether every image has to have a class.
            limit: Use at most so many images, spread evenly over the classes (images without one count as one), chosen
                at random by the seed within each, in unchanged order.
            seed: Of that choice.

        Raises:
            UsageError: If the root is none of these, a manifest is malformed, or the limit below 1.
            ClassMatchError: If an image of a labelled set has no class.
            DataError: If there is no image, or the root cannot be read.
        """
        root = Path(root)
        if limit is not None and limit < 1:
            raise UsageError(f"the limit of images must be at least 1, got {limit}")
        listing = listing_of(root)
        _require_images(root, listing, labelled=labelled)
        items = listing.items
        filled = set(items.folders())
        return cls(
            root=root,
            items=items if limit is None else items.take(spread(items, limit, seed)),
            folders=tuple(folder for folder in listing.folders if folder in filled),
            empty_folders=tuple(folder for folder in listing.folders if folder not in filled),
            available=len(items),
            other_files=listing.other_files,
            unread=tuple(listing.unread),
        )

    def part(self, numbers: Iterable[int], **changes: object) -> Self:
        """Give the set with some of its images.

        Args:
            numbers: Of the items, in the order wanted.
            **changes: Other attributes that are changed.
        """
        some = self.items.take(numbers) if isinstance(self.items, Items) else tuple(self.items[n] for n in numbers)
        return replace(self, items=some, **changes)  # type: ignore[arg-type]


NO_IMAGES = ImageSet(root=Path(), items=(), folders=(), empty_folders=(), available=0, other_files=0, unread=())
"""A set of images that was not given."""


def _require_images(root: Path, listing: Listing, *, labelled: bool) -> None:
    """Refuse a set without images, and a labelled one of which images have no class."""
    where = printable(str(root))
    if not len(listing.items):
        seen = [f"{listing.other_files} other files"] + [f"{s.file} {s.reason}" for s in listing.unread[:SHOWN]]
        raise DataError(f"{where}: expected images ({', '.join(EXTENSIONS)}), found none; {'; '.join(seen)}")
    if labelled:
        loose = listing.items.take(np.flatnonzero(listing.items.folder_numbers() < 0))
        if len(loose):
            names = [item.name for item in loose[:SHOWN]]
            more = f" and {len(loose) - SHOWN} more" if len(loose) > SHOWN else ""
            have = "has" if len(loose) == 1 else "have"
            raise ClassMatchError(
                f"{where}: expected {listing.wanted}, but {', '.join(names)}{more} {have} none; {listing.advice}"
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
        own: Sequence[int] | None = None,
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
            own: Numbers of the items that this process reads, where they are shared out otherwise than by batches.

        Raises:
            UsageError: If the batch size or the number of workers is out of range.
        """
        if batch_size < 1 or workers < 0:
            raise UsageError(
                f"expected a batch size of at least 1 and 0 or more workers, got {batch_size} and {workers}"
            )
        self._images = images
        self._order = own if own is not None else range(len(images.items)) if order is None else order
        every = range(0, len(self._order), batch_size)
        self._starts = every if own is not None else group.dealt(every)
        self._geometries = tuple(dict.fromkeys(p.geometry for p in preprocessing))
        self._batch_size, self._workers, self._strict, self._group = batch_size, workers, strict, group
        self._decode_all = decode_all if kept is None else kept.decode_all
        self._account = Account(images)
        self._state = "new"

    def __len__(self) -> int:
        """How many batches this process has, counting those in which nothing may be left."""
        return len(self._starts)

    @property
    def total(self) -> int:
        """How many images this process has, counting those that may turn out to be unreadable."""
        return sum(min(self._batch_size, len(self._order) - start) for start in self._starts)

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
        batches = self._batches()
        files = Batches(len(self), lambda: ([self._images.items[n].location for n in own] for own in self._batches()))
        with contextlib.closing(self._decode_all(files, self._geometries, self._batch_size, self._workers)) as work:
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

    def _batches(self) -> Iterator[Sequence[int]]:
        """Numbers of the images of each batch of this process, put together one by one: there may be millions."""
        size = self._batch_size
        return (self._order[at : at + size] for at in self._starts)

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
