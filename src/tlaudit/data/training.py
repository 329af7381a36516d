"""Labelled images as endless epochs of batches: the same seed gives the same batches, however they are read."""

from __future__ import annotations

import copy
import dataclasses
from collections.abc import Callable
from typing import TYPE_CHECKING, Self

import torch
from torch import Tensor

from tlaudit.data.augmentation import Augmentation
from tlaudit.data.folders import printable
from tlaudit.data.images import Batch, ImageSet, ImageStream
from tlaudit.errors import DataError, ShapeError

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tlaudit.data.kept_pixels import KeptPixels
    from tlaudit.progress import Progress
    from tlaudit.results import DataRecord, Preprocessing

BUDGET = 2 << 30
"""Bytes of pixels that are kept in memory; of a larger set the files are decoded anew in each epoch."""

PLAIN = Augmentation()

_READ_AT_ONCE = 64


@dataclasses.dataclass(frozen=True, eq=False)
class TrainingBatch:
    """What one step learns from.

    Attributes:
        index: Which items of the set these are, ``(N,)`` int64.
        pixels: ``(N, 3, crop, crop)`` uint8, augmented and changed.
        labels: Class of each, ``(N,)`` int64.
        epoch: Number of the epoch, counted from 0.
        places: Of the images in the step's whole batch, ``(N,)`` int64 from 0 on.
    """

    index: Tensor
    pixels: Tensor
    labels: Tensor
    epoch: int
    places: Tensor


Change = Callable[[TrainingBatch], Tensor]
"""Gives other pixels for a batch's, ``(N, 3, crop, crop)`` uint8, after they were augmented."""


class TrainingImages:
    """A labelled set of images that is gone through again and again.

    All files are read once when this is made: what cannot be used is left out of every epoch and named in `record`.
    Pixels that fit the budget are kept; else each epoch reads the files again. The batches are the same either way.

    Attributes:
        change: What is done to the pixels of every batch, or None.
        record: Which images were read.
    """

    def __init__(
        self,
        images: ImageSet,
        labels: Tensor,
        preprocessing: Preprocessing,
        *,
        workers: int,
        strict: bool = False,
        budget: int = BUDGET,
        progress: Progress | None = None,
        kept: KeptPixels | None = None,
    ) -> None:
        """Read the images.

        Args:
            images: The set.
            labels: Class of each item, ``(N,)`` int64.
            preprocessing: How pictures become pixels.
            workers: Processes that decode.
            strict: Whether a file that cannot be used is an error.
            budget: Most bytes of pixels that are kept.
            progress: Shows how far the reading is.
            kept: Pixels kept from an earlier pass.

        Raises:
            ShapeError: If there is not one label for each image.
            DataError: If no image can be used or, when strict, any cannot.
        """
        count, side = len(images.items), preprocessing.crop
        if labels.shape != (count,):
            raise ShapeError(f"expected a label for each of {count} images, got shape {tuple(labels.shape)}")
        self._images, self._labels, self._preprocessing, self._workers = images, labels, preprocessing, workers
        self.change: Change | None = None
        self._usable = torch.zeros(count, dtype=torch.bool)
        fits = count * side * side * 3 <= budget
        self._pixels = torch.empty((count, side, side, 3), dtype=torch.uint8) if fits else None
        stream = ImageStream(
            images, [preprocessing], batch_size=_READ_AT_ONCE, workers=workers, strict=strict, kept=kept
        )
        shown = progress(stream, total=count, label="reading", size=_images_in) if progress else stream
        for batch in shown:
            self._usable[batch.index] = True
            if self._pixels is not None:
                self._pixels[batch.index] = batch.pixels[preprocessing.geometry].permute(0, 2, 3, 1)
        self.record: DataRecord = stream.record()

    def __len__(self) -> int:
        """How many images an epoch has: those that can be used."""
        return int(self._usable.sum())

    @property
    def usable(self) -> Tensor:
        """Which items of the set can be used, ``(N,)`` bool."""
        return self._usable

    def changed(self, change: Change) -> Self:
        """Give the same images with other pixels; what was read is shared, not read again.

        Args:
            change: Called with every batch, after augmentation; it replaces any earlier change.
        """
        other = copy.copy(self)
        other.change = change
        return other

    def sizes(self, batch_size: int) -> list[int]:
        """How many images each batch of an epoch has: as `batch_sizes` says."""
        return batch_sizes(len(self), batch_size)

    def epoch(
        self,
        number: int,
        *,
        seed: int,
        batch_size: int,
        flip: bool,
        augmentation: Augmentation = PLAIN,
        skip: int = 0,
        part: Callable[[int], slice] | None = None,
    ) -> Iterator[TrainingBatch]:
        """Go through all images once, in an order that depends on seed and number alone.

        Args:
            number: Of the epoch, counted from 0.
            seed: Of order, mirroring and augmentation.
            batch_size: Images in a batch, at least 1; see `sizes`.
            flip: Whether each image is mirrored with probability 1/2, drawn anew for every epoch.
            augmentation: What else is done to them.
            skip: So many batches at the beginning are neither read nor given.
            part: Says which rows of a batch of so many images are wanted; only these are read. All where left out.

        Yields:
            The batches.

        Raises:
            DataError: If a file can no longer be read.
        """
        generator = torch.Generator().manual_seed(_mixed(seed, number))
        order = torch.randperm(len(self._usable), generator=generator)
        mirrored = torch.rand(len(self._usable), generator=generator) < (0.5 if flip else 0)
        whole = torch.split(order[self._usable[order]], self.sizes(batch_size))[skip:]
        rows = [part(len(index)) if part else slice(0, len(index)) for index in whole]
        batches = tuple(index[own] for index, own in zip(whole, rows, strict=True))
        for index, own, pixels in zip(batches, rows, self._read(batches), strict=True):
            seen = augmentation.cropped(pixels, index, seed=seed, epoch=number)
            seen = torch.where(mirrored[index][:, None, None, None], seen.flip(3), seen) if flip else seen
            seen = augmentation.jittered(seen, index, seed=seed, epoch=number)
            batch = TrainingBatch(index, seen, self._labels[index], number, torch.arange(own.start, own.stop))
            yield dataclasses.replace(batch, pixels=self.change(batch)) if self.change else batch

    def _read(self, batches: tuple[Tensor, ...]) -> Iterator[Tensor]:
        """Give the pixels of each batch, from memory or from the files."""
        if self._pixels is not None:
            for index in batches:
                yield self._pixels[index].permute(0, 3, 1, 2)
            return
        if not batches:
            return
        size = max(len(index) for index in batches)
        images = self._images.part(torch.cat(batches).numpy(), unread=())
        stream = ImageStream(images, [self._preprocessing], batch_size=size, workers=self._workers)
        waiting: list[Tensor] = []
        batch_sizes = iter([len(index) for index in batches])
        wanted = next(batch_sizes)
        for read in stream:
            if stream.skipped:
                gone = f"{printable(str(self._images.root))}: {stream.skipped[0].file}"
                raise DataError(f"{gone} could be read before and no longer can: {stream.skipped[0].reason}")
            waiting.append(read.pixels[self._preprocessing.geometry])
            while wanted and sum(map(len, waiting)) >= wanted:
                together = torch.cat(waiting)
                yield together[:wanted]
                waiting, wanted = [together[wanted:]], next(batch_sizes, 0)


def batch_sizes(count: int, batch_size: int) -> list[int]:
    """How many images each batch of an epoch over `count` images has.

    All have `batch_size` but the last, which has what is left; a single image that would be left joins the batch
    before it, because a batch norm cannot learn from one image.

    Example:
        >>> batch_sizes(23, 10), batch_sizes(21, 10)
        ([10, 10, 3], [10, 11])
    """
    full, rest = divmod(count, batch_size)
    if rest == 1 and full and batch_size > 1:
        return [batch_size] * (full - 1) + [batch_size + 1]
    return [batch_size] * full + [rest] * (rest > 0)


def _images_in(batch: Batch) -> int:
    return len(batch.index)


def _mixed(seed: int, number: int) -> int:
    """One seed of two numbers, such that neighbours give unrelated ones."""
    return int(torch.randint(2**62, (number + 1,), generator=torch.Generator().manual_seed(seed))[number])
