"""Random changes of training images, each drawn from the seed, the epoch and the image alone."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import torch
from torchvision.transforms.v2 import functional

if TYPE_CHECKING:
    from collections.abc import Callable

    from torch import Tensor

ASPECTS = (3 / 4, 4 / 3)
"""Width over height of a random window, from least to greatest."""

_TRIES = 10


@dataclass(frozen=True)
class Augmentation:
    """What is done to the pixels of an image beside mirroring; nothing where all is left out.

    Attributes:
        crop_scale: Least share of the area in a window that is cut out at random and enlarged again, in (0, 1].
        jitter: Brightness, contrast and saturation are multiplied by factors in [1 - jitter, 1 + jitter]; in [0, 1].
    """

    crop_scale: float = 1.0
    jitter: float = 0.0

    def cropped(self, pixels: Tensor, index: Tensor, *, seed: int, epoch: int) -> Tensor:
        """Cut a window out of each image and enlarge it again, as torchvision's ``RandomResizedCrop`` does.

        Args:
            pixels: ``(N, 3, side, side)`` uint8.
            index: Which images these are, ``(N,)`` int64.
            seed: Of the draws.
            epoch: Counted from 0.

        Returns:
            Pixels of the same shape; the same tensor where `crop_scale` is 1.
        """
        if self.crop_scale == 1:
            return pixels

        def changed(image: Tensor, generator: np.random.Generator) -> Tensor:
            top, left, height, width = window(image.shape[-1], self.crop_scale, generator)
            size = list(image.shape[-2:])
            resized: Tensor = functional.resized_crop(image, top, left, height, width, size, antialias=True)
            return resized

        return _each(pixels, index, changed, (seed, epoch, 0))

    def jittered(self, pixels: Tensor, index: Tensor, *, seed: int, epoch: int) -> Tensor:
        """Change brightness, contrast and saturation of each image, in an order drawn anew for each.

        Arguments and result as of `cropped`; as torchvision's ``ColorJitter`` without hue.
        """
        if not self.jitter:
            return pixels
        kinds = (functional.adjust_brightness, functional.adjust_contrast, functional.adjust_saturation)

        def changed(image: Tensor, generator: np.random.Generator) -> Tensor:
            factors = generator.uniform(1 - self.jitter, 1 + self.jitter, len(kinds))
            for kind in generator.permutation(len(kinds)).tolist():
                image = kinds[kind](image, float(factors[kind]))
            return image

        return _each(pixels, index, changed, (seed, epoch, 1))


def window(side: int, scale: float, generator: np.random.Generator) -> tuple[int, int, int, int]:
    """Draw a window of a square picture: area and logarithm of the aspect uniform, tried until it fits.

    Args:
        side: Of the picture, in pixels.
        scale: Least share of the area.
        generator: Where the numbers come from.

    Returns:
        Top, left, height and width in pixels. The whole picture if ten windows did not fit.
    """
    for _ in range(_TRIES):
        area = side * side * generator.uniform(scale, 1)
        aspect = math.exp(generator.uniform(math.log(ASPECTS[0]), math.log(ASPECTS[1])))
        width, height = round(math.sqrt(area * aspect)), round(math.sqrt(area / aspect))
        if 0 < width <= side and 0 < height <= side:
            top, left = generator.integers(side - height + 1), generator.integers(side - width + 1)
            return int(top), int(left), height, width
    return 0, 0, side, side


def _each(
    pixels: Tensor, index: Tensor, change: Callable[[Tensor, np.random.Generator], Tensor], entropy: tuple[int, ...]
) -> Tensor:
    """Change image by image; each has a generator of its own, so that it does not matter what it is read with."""
    changed = torch.empty_like(pixels)
    for row, image, number in zip(changed, pixels, index.tolist(), strict=True):
        row.copy_(change(image, np.random.default_rng([*entropy, number])))
    return changed
