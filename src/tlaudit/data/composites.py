"""Target images pasted over source images, drawn again from a seed whenever they are needed.

What *Detrimental Memories in Transfer Learning* measures distraction on (section 4, fig. 3). Only the overlays, one
batch and the plans of one class are ever in memory, however many composites there are: until its source image is
decoded, a composite is a few numbers. The plans of a class depend on nothing but the seed, the class, its images and
the overlays; so neither the batch size, nor other classes, nor asking for more composites changes any of them.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import accumulate, chain, groupby
from operator import attrgetter
from typing import TYPE_CHECKING, Self

import numpy as np
import torch

from tlaudit.data.folders import printable
from tlaudit.data.images import ImageStream
from tlaudit.distributed import ALONE
from tlaudit.errors import DataError, UsageError

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterable, Iterator, Sequence

    from numpy.typing import NDArray
    from torch import Tensor

    from tlaudit.data.images import Batch, ImageSet
    from tlaudit.data.kept_pixels import KeptPixels
    from tlaudit.distributed import Group
    from tlaudit.results import DataRecord, Preprocessing

GREY = 128
"""Mid-grey of the control pictures, of 255."""


@dataclass(frozen=True, slots=True)
class Composite:
    """The plan of one picture.

    Attributes:
        id: Class index and number, ``"0007-0031"``.
        class_index: Source class of the background.
        number: Number within the class, from 0.
        source: Item number of the background in the set of source images.
        target: Item number of the overlay in the set of target images.
        x: Left column of the overlay, in pixels of the composite.
        y: Upper row of the overlay.
        width: Columns of the overlay.
        height: Rows of the overlay.
    """

    id: str
    class_index: int
    number: int
    source: int
    target: int
    x: int
    y: int
    width: int
    height: int


@dataclass(frozen=True, eq=False)
class CompositeBatch:
    """Composites drawn together, memory of the caller's own.

    Attributes:
        composites: The plans, N of them.
        pixels: Overlay on source image, ``(N, 3, S, S)`` uint8 in channels-last memory, in [0, 255].
        on_grey: The same overlays at the same places on mid-grey, of the same form.
    """

    composites: tuple[Composite, ...]
    pixels: Tensor
    on_grey: Tensor


def background(composites: Sequence[Composite], side: int, margin: float = 0.0) -> Tensor:
    """Pixels that are neither overlay nor within a margin of it: the region b of eq. 4.

    Args:
        composites: N of them.
        side: Pixels of a picture's side.
        margin: Width of the frame around the overlay that does not count, as a share of the side.

    Returns:
        ``(N, side, side)`` bool, at least one pixel of each True.
    """
    frame = round(margin * side)
    boxes = torch.tensor(
        [(c.x - frame, c.x + c.width + frame, c.y - frame, c.y + c.height + frame) for c in composites]
    )
    place = torch.arange(side)
    inside_x = (place >= boxes[:, 0:1]) & (place < boxes[:, 1:2])
    inside_y = (place >= boxes[:, 2:3]) & (place < boxes[:, 3:4])
    return ~(inside_y[:, :, None] & inside_x[:, None, :])


@dataclass(frozen=True, eq=False)
class OverlayPool:
    """The target images that are pasted, scaled and in memory.

    Attributes:
        items: Which items of the set of target images these are, ``(M,)`` int64, rising.
        pixels: What is pasted, ``(M, 3, h, w)`` uint8 in channels-last memory.
        record: Which files were read, and which could not be.
    """

    items: Tensor
    pixels: Tensor
    record: DataRecord

    @classmethod
    def load(
        cls,
        images: ImageSet,
        preprocessing: Preprocessing,
        *,
        scale: float,
        overlays: int,
        seed: int,
        batch_size: int,
        workers: int,
        strict: bool,
        progress: Callable[..., Iterable[Batch]],
        kept: KeptPixels | None = None,
    ) -> Self:
        """Decode the overlays, each file once and resampled once, straight to its small size.

        Args:
            images: The target images.
            preprocessing: How the network that will see the composites is fed.
            scale: Width and height of an overlay as a share of the composite's, in (0, 1).
            overlays: At most so many, at least 1: all images if there are no more, else a uniform sample.
            seed: Of that sample, at least 0.
            batch_size: Images decoded together.
            workers: Processes that decode.
            strict: Whether a file that cannot be used ends the run; else it is left out, and the record names it.
            progress: Follows the batches; called as ``progress(batches, total=, label=, size=)``, `size` of a batch.
            kept: Pixels kept from an earlier pass, or for a later one.

        Raises:
            UsageError: If the scale is out of range or leaves no background, or a number is too small.
            DataError: If no image can be used; when strict, if any cannot.
        """
        chosen = sampled(len(images.items), overlays, seed)
        small = overlay_preprocessing(preprocessing, scale)
        subset = images.part(chosen.tolist(), available=len(chosen))
        stream = ImageStream(subset, [small], batch_size=batch_size, workers=workers, strict=strict, kept=kept)
        rows, pictures = [], []
        for batch in progress(stream, total=len(chosen), label="overlays", size=lambda batch: len(batch.index)):
            rows.append(batch.index)
            pictures.append(batch.pixels[small.geometry])
        pixels = torch.cat(pictures).contiguous(memory_format=torch.channels_last)
        return cls(torch.from_numpy(chosen)[torch.cat(rows)], pixels, stream.record())


def sampled(available: int, wanted: int, seed: int) -> NDArray[np.int64]:
    """Choose the target images that serve as overlays.

    Args:
        available: How many target images there are.
        wanted: At most so many overlays, at least 1.
        seed: Of the choice, at least 0.

    Returns:
        Item numbers, rising.

    Raises:
        UsageError: If no overlay is wanted.
    """
    if wanted < 1:
        raise UsageError(f"expected at least 1 overlay, got {wanted}")
    if available <= wanted:
        return np.arange(available)
    # The last word keeps this draw apart from that of every class, whose seeds end after the second.
    return np.sort(np.random.default_rng([seed, 0, 1]).choice(available, wanted, replace=False))


def overlay_preprocessing(preprocessing: Preprocessing, scale: float) -> Preprocessing:
    """Scale a network's view of a picture down to the size of an overlay.

    Args:
        preprocessing: Of the network that will see the composite.
        scale: Width and height of the overlay as a share of the composite's, in (0, 1).

    Returns:
        The same cut-out of the same picture at ``round(scale * crop)`` pixels, at least 1.

    Raises:
        UsageError: If the scale is out of range, or so large for the crop that nothing is left of the background.
    """
    if not 0 < scale < 1:
        raise UsageError(f"expected an overlay scale between 0 and 1, both excluded, got {scale}")
    crop = max(1, round(scale * preprocessing.crop))
    if crop >= preprocessing.crop:
        raise UsageError(
            f"an overlay scale of {scale} hides all of a picture of {preprocessing.crop} x {preprocessing.crop} "
            "pixels; choose a smaller scale or a larger crop"
        )
    resize = max(crop, round(scale * preprocessing.resize))
    return preprocessing.model_copy(update={"resize": resize, "crop": crop})


class CompositeStream:
    """One pass over the composites of some classes; every source image is decoded exactly once.

    Class after class in the order given, within a class in the order of source images and then of numbers. Batches are
    full but for the last. A source image that turns out to be unreadable takes its composites with it, and the record
    names it; none is drawn in their place, because that would change the others.
    """

    def __init__(
        self,
        source: ImageSet,
        labels: Tensor,
        classes: Sequence[int],
        pool: OverlayPool,
        preprocessing: Preprocessing,
        *,
        per_class: int,
        seed: int,
        batch_size: int,
        workers: int,
        strict: bool,
        unusable: Collection[str] = (),
        kept: KeptPixels | None = None,
        group: Group = ALONE,
        own: Collection[int] | None = None,
    ) -> None:
        """Plan the pass; nothing is read yet.

        Args:
            source: The source images.
            labels: Class index of each of them, ``(N,)`` int64.
            classes: Source classes to draw composites of, each once. One without a usable image has none.
            pool: What is pasted, loaded for the same preprocessing.
            preprocessing: How the network that will see the composites is fed.
            per_class: Composites of a class, at least 1. With more images than that a random choice of them is used,
                with fewer they come round again with other overlays at other places.
            seed: Of every choice, at least 0.
            batch_size: Composites in a batch, and source images decoded together, at least 1.
            workers: Processes that decode.
            strict: Whether a source image that cannot be used ends the pass.
            unusable: Names of source images known to be unreadable, left out of the plan.
            kept: Pixels kept from an earlier pass.
            group: Processes that share the pass. Where there are several, `bring_together` completes it.
            own: Classes whose composites this process draws, each class one process's; all where left out.

        Raises:
            UsageError: If a number is out of range.
            DataError: If none of the classes has a usable image.
        """
        if per_class < 1:
            raise UsageError(f"expected at least 1 composite a class, got {per_class}")
        usable = np.array([item.name not in unusable for item in source.items], dtype=bool)
        of_class = {index: np.flatnonzero((labels.numpy() == index) & usable) for index in classes}
        self._items = {index: items for index, items in of_class.items() if len(items)}
        if not self._items:
            where = printable(str(source.root))
            raise DataError(f"{where}: none of the {len(of_class)} classes asked for has an image that can be used")
        self._pool, self._per_class, self._seed = pool, per_class, seed
        self._geometry, self._side, self._batch_size = preprocessing.geometry, preprocessing.crop, batch_size
        needed = {index: np.sort(self._begin(index)[1][:per_class]).tolist() for index in self._items}
        begin = accumulate((len(items) for items in needed.values()), initial=0)
        self._places = {i: range(at, at + len(items)) for (i, items), at in zip(needed.items(), begin, strict=False)}
        shown = list(chain.from_iterable(needed.values()))
        self._own = [index for index in self._items if own is None or index in own]
        self._stream = ImageStream(
            source.part(shown, available=len(shown)),
            [preprocessing],
            batch_size=batch_size,
            workers=workers,
            strict=strict,
            kept=kept,
            group=group,
            own=None if own is None else list(chain.from_iterable(self._places[index] for index in self._own)),
        )

    def __len__(self) -> int:
        """How many composites are planned, of this process's classes."""
        return len(self._own) * self._per_class

    def __iter__(self) -> Iterator[CompositeBatch]:
        """Run the pass.

        Raises:
            DataError: If no source image could be used, a worker process died, or, when strict, any was skipped.
            RuntimeError: If the pass has been run before.
        """
        return self._run(iter(self._stream))

    def bring_together(self) -> None:
        """Learn what the other processes have read: where there are several, all of them call it after the pass.

        Raises:
            DataError: If no source image could be used, or, when strict, any was skipped.
        """
        self._stream.bring_together()

    @property
    def record(self) -> DataRecord:
        """Which source images were read, and which could not be; complete after the pass.

        Raises:
            RuntimeError: If the pass has not been run to its end.
        """
        return self._stream.record()

    def _begin(self, class_index: int) -> tuple[np.random.Generator, NDArray[np.int64]]:
        """Start the random numbers of a class: first the order in which its composites use its images."""
        generator = np.random.default_rng([self._seed, class_index])
        return generator, generator.permutation(self._items[class_index])

    def _plan(self, class_index: int) -> Iterator[Composite]:
        """All composites of a class, in the order in which their source images are decoded."""
        generator, order = self._begin(class_index)
        count = self._per_class
        sources = order[np.arange(count) % len(order)]
        height, width = self._pool.pixels.shape[2:]
        # One row of numbers in [0, 1) a composite: asking for more of them leaves the first as they were.
        ranges = (len(self._pool.items), self._side - width + 1, self._side - height + 1)
        drawn = (generator.random((count, 3)) * ranges).astype(np.int64)
        targets = self._pool.items.numpy()[drawn[:, 0]]
        places = zip(sources.tolist(), targets.tolist(), drawn[:, 1].tolist(), drawn[:, 2].tolist(), strict=True)
        plans = [
            Composite(f"{class_index:04d}-{number:04d}", class_index, number, source, target, x, y, width, height)
            for number, (source, target, x, y) in enumerate(places)
        ]
        return iter(sorted(plans, key=attrgetter("source", "number")))

    def _run(self, batches: Iterator[Batch]) -> Iterator[CompositeBatch]:
        # Images arrive in the order of the plans; those of an image that does not arrive are passed over.
        groups = chain.from_iterable(map(self._pictures, self._own))
        pending: list[Composite] = []
        pixels = self._canvas()
        for batch in batches:
            for position, picture in zip(batch.index.tolist(), batch.pixels[self._geometry], strict=True):
                for composite in next(group for at, group in groups if at == position):
                    pixels[len(pending)] = picture
                    pending.append(composite)
                    if len(pending) == self._batch_size:
                        yield self._pasted(pending, pixels)
                        pending, pixels = [], self._canvas()
        if pending:
            yield self._pasted(pending, pixels[: len(pending)])

    def _pictures(self, class_index: int) -> Iterator[tuple[int, Iterator[Composite]]]:
        """Place of each source image of a class among all that are read, and the composites that are made of it."""
        of_image = groupby(self._plan(class_index), key=attrgetter("source"))
        return ((at, group) for at, (_, group) in zip(self._places[class_index], of_image, strict=True))

    def _canvas(self) -> Tensor:
        shape = (self._batch_size, 3, self._side, self._side)
        return torch.empty(shape, dtype=torch.uint8, memory_format=torch.channels_last)

    def _pasted(self, composites: list[Composite], pixels: Tensor) -> CompositeBatch:
        """Paste the overlays over pictures already on the canvas, and over grey."""
        on_grey = torch.full_like(pixels, GREY)
        rows = torch.searchsorted(self._pool.items, torch.tensor([composite.target for composite in composites]))
        for number, (composite, row) in enumerate(zip(composites, rows.tolist(), strict=True)):
            down = slice(composite.y, composite.y + composite.height)
            across = slice(composite.x, composite.x + composite.width)
            overlay = self._pool.pixels[row]
            pixels[number, :, down, across] = overlay
            on_grey[number, :, down, across] = overlay
        return CompositeBatch(tuple(composites), pixels, on_grey)
