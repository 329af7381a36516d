"""Composites: the task is also learnt from pictures that lie on top of what lingers."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

import numpy as np
import torch
from torch.nn import functional

from tlaudit.data.composites import overlay_preprocessing
from tlaudit.repair.base import Bench, Method, Need, Setup, lingering_pictures, nothing_lingers, pictures_left_out
from tlaudit.training.objective import CrossEntropy

if TYPE_CHECKING:
    from torch import Tensor

    from tlaudit.data.training import TrainingBatch


class Composites(Method):
    """Cross-entropy, a share of each batch pasted over source images of lingering classes ("expanding the data").

    *Detrimental Memories in Transfer Learning*, section 5: the network learns that what lingers says nothing about the
    task. The label is the overlay's.
    """

    name = "composites"
    summary = "learns also from pictures pasted over lingering classes"
    needs: ClassVar[frozenset[Need]] = frozenset({"source_data", "lingering"})

    def setup(self, bench: Bench) -> Setup:
        """Decode the backgrounds; see `Method.setup`."""
        options = bench.options.composites
        overlay = overlay_preprocessing(bench.preprocessing, options.overlay_scale).crop
        if not bench.lingering:
            return Setup(bench.start, bench.training, CrossEntropy(), findings=(nothing_lingers(self.name),))
        if not options.share:
            return Setup(bench.start, bench.training, CrossEntropy())
        pool = lingering_pictures(bench)
        pasted = Pasted(pool.pixels, overlay, options.share, bench.seed)
        images = bench.training.changed(pasted)
        return Setup(bench.start, images, CrossEntropy(), findings=pictures_left_out(self.name, pool))


@dataclass(frozen=True, eq=False)
class Pasted:
    """Shows a share of a batch's images small, on top of other pictures.

    Which images are shown so depends on their places in the step's whole batch, background and position on seed, epoch
    and image; so neither processes that share a batch nor a resumption change anything.

    Attributes:
        backgrounds: ``(M, 3, crop, crop)`` uint8.
        overlay: Side of the pasted image, in pixels.
        share: Of the images in a batch, in [0, 1].
        seed: Of background and position, at least 0.
    """

    backgrounds: Tensor
    overlay: int
    share: float
    seed: int

    def __call__(self, batch: TrainingBatch) -> Tensor:
        """Give the batch's pixels, a share of them as composites; the given ones are left as they are."""
        rows = [row for row, place in enumerate(batch.places.tolist()) if self._shows(place)]
        if not rows:
            return batch.pixels
        pixels = batch.pixels.clone()
        small = _scaled(pixels[rows], self.overlay)
        for row, picture in zip(rows, small, strict=True):
            background, x, y = self._drawn(batch.epoch, int(batch.index[row]))
            pixels[row] = self.backgrounds[background]
            pixels[row, :, y : y + self.overlay, x : x + self.overlay] = picture
        return pixels

    def _shows(self, place: int) -> bool:
        """Whether the image at that place is shown as a composite: spread evenly, the right number of every batch."""
        return math.floor((place + 1) * self.share) > math.floor(place * self.share)

    def _drawn(self, epoch: int, item: int) -> tuple[int, int, int]:
        """Number of the background, left column and upper row."""
        free = self.backgrounds.shape[-1] - self.overlay + 1
        # The last word keeps these draws apart from those of the augmentation.
        generator = np.random.default_rng([self.seed, epoch, item, 2])
        background, x, y = (generator.random(3) * (len(self.backgrounds), free, free)).astype(np.int64).tolist()
        return background, x, y


def _scaled(pixels: Tensor, side: int) -> Tensor:
    """Shrink pictures, antialiased: ``(N, 3, side, side)`` uint8."""
    wanted = (side, side)
    shrunk = functional.interpolate(pixels.contiguous().float(), wanted, mode="bilinear", antialias=True)
    return shrunk.round_().clamp_(0, 255).to(torch.uint8)
