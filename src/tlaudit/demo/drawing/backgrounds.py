"""What lies behind the objects: the same kinds of surroundings in both domains."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np
from PIL import Image

from tlaudit.demo.drawing.canvas import any_of

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import NDArray

    from tlaudit.demo.drawing.canvas import Colour

PALETTE: tuple[Colour, ...] = (
    (196, 214, 224), (226, 208, 178), (178, 200, 168), (214, 184, 188), (158, 172, 196), (232, 226, 212),
    (140, 160, 140), (186, 160, 132), (118, 134, 156), (204, 196, 224), (240, 218, 190), (150, 190, 196),
    (112, 104, 100), (206, 150, 120), (96, 120, 110), (172, 178, 180),
)  # fmt: skip
"""Muted tones of walls, lawns, floors and skies."""


def paint_background(rng: np.random.Generator, size: int) -> Image.Image:
    """Draw one random background.

    Args:
        rng: Source of randomness.
        size: Side of the picture in pixels.

    Returns:
        An RGB picture of `size` by `size` pixels.
    """
    first, second = any_of(rng, PALETTE), any_of(rng, PALETTE)
    kind = _KINDS[int(rng.integers(len(_KINDS)))]
    share = np.clip(kind(rng, size), 0, 1)[..., None]
    picture = np.asarray(first) * (1 - share) + np.asarray(second) * share
    picture = picture + 14 * (_noise(rng, size, int(rng.integers(3, 9))) - 0.5)[..., None]
    picture = picture * (1 + 0.18 * (_ramp(rng, size) - 0.5))[..., None]
    return Image.fromarray(np.clip(picture, 0, 255).astype(np.uint8))


def _grid(size: int) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Coordinates of the pixels in [0, 1], x and y."""
    line = (np.arange(size) + 0.5) / size
    x, y = np.meshgrid(line, line)
    return x, y


def _along(rng: np.random.Generator, size: int, angle: float) -> NDArray[np.float64]:
    """Distance of each pixel along a direction, from an origin somewhere in the picture."""
    x, y = _grid(size)
    return (x - rng.random()) * math.cos(angle) + (y - rng.random()) * math.sin(angle)


def _noise(rng: np.random.Generator, size: int, cells: int) -> NDArray[np.float64]:
    """Smooth noise in [0, 1] with about `cells` blotches a side."""
    coarse = Image.fromarray(rng.random((cells + 1, cells + 1)).astype(np.float32))
    return np.asarray(coarse.resize((size, size), Image.Resampling.BICUBIC), dtype=np.float64)


def _ramp(rng: np.random.Generator, size: int) -> NDArray[np.float64]:
    """From one side to the other, in any direction."""
    return _along(rng, size, rng.uniform(0, 2 * math.pi)) + 0.5


def _glow(rng: np.random.Generator, size: int) -> NDArray[np.float64]:
    """Brighter around one place."""
    x, y = _grid(size)
    distance = np.hypot(x - rng.uniform(0.1, 0.9), y - rng.uniform(0.1, 0.9))
    return np.asarray(distance / rng.uniform(0.6, 1.1))


def _blotches(rng: np.random.Generator, size: int) -> NDArray[np.float64]:
    """Soft patches, coarse and fine."""
    coarse, fine = _noise(rng, size, int(rng.integers(2, 5))), _noise(rng, size, int(rng.integers(8, 16)))
    return (coarse * 0.75 + fine * 0.25 - 0.5) * rng.uniform(1.2, 2.2) + 0.5


def _stripes(rng: np.random.Generator, size: int) -> NDArray[np.float64]:
    """Wallpaper stripes, soft or hard."""
    wave: NDArray[np.float64] = np.sin(_along(rng, size, rng.uniform(0, math.pi)) * 2 * math.pi * rng.uniform(2.5, 9))
    return wave * rng.uniform(0.3, 2.5) * 0.5 + 0.5


def _tiles(rng: np.random.Generator, size: int) -> NDArray[np.float64]:
    """A chequered floor."""
    angle, count = rng.uniform(0, math.pi / 2), 2 * math.pi * rng.uniform(1.5, 4)
    across = np.sin(_along(rng, size, angle) * count)
    down = np.sin(_along(rng, size, angle + math.pi / 2) * count)
    return np.asarray(np.clip(across * down * 6, -0.5, 0.5) * rng.uniform(0.3, 0.9) + 0.5)


def _room(rng: np.random.Generator, size: int) -> NDArray[np.float64]:
    """A wall and a floor, or a sky and a field."""
    _, y = _grid(size)
    edge = rng.uniform(0.45, 0.8) + 0.04 * (_noise(rng, size, 3) - 0.5) * rng.integers(0, 3)
    return np.asarray(np.clip((y - edge) * size / 2, 0, 1))


def _grain(rng: np.random.Generator, size: int) -> NDArray[np.float64]:
    """Grass or wood: noise stretched in one direction."""
    long, short = int(rng.integers(3, 6)), int(rng.integers(20, 40))
    cells = (long, short) if rng.random() < 0.5 else (short, long)
    coarse = Image.fromarray(rng.random(cells).astype(np.float32))
    stretched = np.asarray(coarse.resize((size, size), Image.Resampling.BICUBIC), dtype=np.float64)
    return (stretched - 0.5) * rng.uniform(0.7, 1.3) + 0.5


def _lights(rng: np.random.Generator, size: int) -> NDArray[np.float64]:
    """Round lights out of focus."""
    x, y = _grid(size)
    field = np.full((size, size), 0.1)
    for _ in range(int(rng.integers(5, 14))):
        radius = rng.uniform(0.04, 0.14)
        distance = np.hypot(x - rng.random(), y - rng.random())
        field += rng.uniform(0.3, 0.8) * np.clip((radius - distance) * 40, 0, 1)
    return field


_KINDS: tuple[Callable[[np.random.Generator, int], NDArray[np.float64]], ...] = (
    _ramp, _glow, _blotches, _stripes, _tiles, _room, _grain, _lights,
)  # fmt: skip
