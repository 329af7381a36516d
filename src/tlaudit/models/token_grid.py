"""Where the image lies in a layer's output: which axes are its rows and columns, which tokens are none of it.

Networks say neither. Convolutional ones give ``(N, C, h, w)``, Swin ``(N, h, w, C)``, vision transformers a row of
tokens ``(N, T, C)`` that may begin with a class token and registers. All of it follows from the shapes, because a grid
keeps the proportions of the image it was made from.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Sequence

    from torch import Tensor

_MOST_PREFIX_TOKENS = 16
"""Class, distillation and register tokens together; more are taken to be no image tokens at all."""


class Grid(NamedTuple):
    """Layout of a layer's output.

    Attributes:
        height: Rows.
        width: Columns.
        prefix: Tokens before the first cell of the grid; 0 where the output has rows and columns of its own.
        channels: Axis of the channels: 1, or the last.
    """

    height: int
    width: int
    prefix: int
    channels: int

    def arranged(self, output: Tensor) -> Tensor:
        """Give the output of a layer as ``(N, C, h, w)``, a view without its prefix tokens."""
        if self.channels == 1:
            return output
        if output.ndim == 3:
            cells = output[:, self.prefix :]
            output = cells.view(len(cells), self.height, self.width, cells.shape[2])
        return output.permute(0, 3, 1, 2)


def infer_grid(shape: Sequence[int], size: tuple[int, int]) -> Grid | None:
    """Work out the layout of a layer's output.

    Four axes: the channels are the second or the last, whichever leaves a grid closer to the image's proportions, the
    second where both do. Three axes: the channels are the last, and of all grids made by square patches that tile the
    image, the one with the fewest tokens before it (at most 16).

    Args:
        shape: Of the output, batch first.
        size: Height and width of the images in pixels.

    Returns:
        The layout, or None where nothing in the shape is a grid of at least two cells.

    Example:
        >>> infer_grid((8, 201, 768), (224, 224))
        Grid(height=14, width=14, prefix=5, channels=2)
    """
    if len(shape) == 4:
        first = Grid(shape[2], shape[3], 0, 1)
        last = Grid(shape[1], shape[2], 0, 3)
        grid = last if _distortion(last, size) < _distortion(first, size) else first
    elif len(shape) == 3:
        found = _token_grid(shape[1], size)
        if found is None:
            return None
        grid = found
    else:
        return None
    return grid if grid.height * grid.width > 1 else None


def _distortion(grid: Grid, size: tuple[int, int]) -> float:
    """Say how far a grid's proportions are from an image's, as the logarithm of their ratio."""
    if not grid.height * grid.width:
        return math.inf
    return abs(math.log(grid.height * size[1] / (grid.width * size[0])))


def _token_grid(tokens: int, size: tuple[int, int]) -> Grid | None:
    common = math.gcd(*size)
    # From small patches to large ones the grids shrink, so the first that fits leaves the fewest tokens over.
    for patch in range(1, common + 1):
        height, width = size[0] // patch, size[1] // patch
        prefix = tokens - height * width
        if common % patch == 0 and 0 <= prefix <= _MOST_PREFIX_TOKENS:
            return Grid(height, width, prefix, 2)
    return None
