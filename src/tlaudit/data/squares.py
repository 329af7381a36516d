"""Squares that give the class away: planted into training images, they are the easiest feature there is to learn."""

from __future__ import annotations

import torch
from torch import Tensor

from tlaudit.errors import MeasureError, ShapeError

MOST_COLOURS = 6 * 255
"""So many colours of full saturation and value can be told apart in eight bits."""


def class_colours(num_classes: int) -> Tensor:
    """Give every class a colour of its own: hue k / K at full saturation and value.

    Args:
        num_classes: K, from 1 to `MOST_COLOURS`.

    Returns:
        R G B of each class, ``(K, 3)`` uint8 in [0, 255]; no two alike.

    Raises:
        MeasureError: If there are fewer classes than 1, or more than there are colours.

    Example:
        >>> class_colours(3).tolist()
        [[255, 0, 0], [0, 255, 0], [0, 0, 255]]
    """
    if not 1 <= num_classes <= MOST_COLOURS:
        raise MeasureError(f"squares can tell 1 to {MOST_COLOURS} classes apart, got {num_classes}")
    # The hues lie on a path of 1530 steps along the edges of the colour cube; halves are rounded up.
    place = (2 * MOST_COLOURS * torch.arange(num_classes) + num_classes) // (2 * num_classes)
    return torch.stack([_channel(place + shift * 255) for shift in (2, 0, 4)], dim=1)


def _channel(place: Tensor) -> Tensor:
    """How bright a channel is along that path, in steps from where it begins to rise."""
    place = place % MOST_COLOURS
    return torch.minimum(place, 4 * 255 - place).clamp(0, 255).to(torch.uint8)


def planted_share(count: int, ratio: float, seed: int) -> Tensor:
    """Choose the images that get a square; what is chosen at a ratio is chosen at every higher one of the same seed.

    Args:
        count: Number of images N, at least 0.
        ratio: Share of them, in [0, 1].
        seed: Of the order in which they are chosen.

    Returns:
        ``(N,)`` bool with exactly ``round(ratio * N)`` yes.

    Raises:
        MeasureError: If the ratio lies outside [0, 1].

    Example:
        >>> int(planted_share(200, 0.05, seed=0).sum())
        10
    """
    if not 0 <= ratio <= 1:
        raise MeasureError(f"a share of the images lies in [0, 1], got {ratio}")
    order = torch.randperm(count, generator=torch.Generator().manual_seed(seed))
    chosen = torch.zeros(count, dtype=torch.bool)
    chosen[order[: round(ratio * count)]] = True
    return chosen


def square_side(share: float, size: int) -> int:
    """Give the side of a square in pixels, at least 1, as a share in (0, 1] of the side of an image.

    Example:
        >>> square_side(1 / 8, 64)
        8
    """
    if not 0 < share <= 1:
        raise MeasureError(f"the side of a square is a share of the image's in (0, 1], got {share}")
    return max(1, round(share * size))


def plant(pixels: Tensor, labels: Tensor, mask: Tensor, side: int, colours: Tensor) -> Tensor:
    """Put a square of its class's colour into the top left corner of every chosen image.

    Args:
        pixels: ``(N, 3, H, W)`` uint8; left as they are.
        labels: Class of each, ``(N,)`` int64 in [0, K).
        mask: Which get a square, ``(N,)`` bool.
        side: Of the square, in pixels.
        colours: ``(K, 3)`` uint8, from `class_colours`.

    Returns:
        A copy with squares, of the same shape and memory format.

    Raises:
        ShapeError: If the square is larger than an image, or the arguments do not belong together.
    """
    count, channels, *size = pixels.shape
    if channels != 3 or len(size) != 2 or labels.shape != (count,) or mask.shape != (count,):
        raise ShapeError(
            f"expected pixels (N, 3, H, W) with N labels and N choices, got {tuple(pixels.shape)}, "
            f"{tuple(labels.shape)} and {tuple(mask.shape)}"
        )
    if not 1 <= side <= min(size):
        raise ShapeError(f"a square of {side} pixels does not fit into an image of {size[0]} x {size[1]}")
    planted = pixels.clone()
    planted[mask, :, :side, :side] = colours[labels[mask]][:, :, None, None]
    return planted
