"""Pebbles, rings, scribbles and scraps that lie about in both domains and are no class of anything."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np

from tlaudit.demo.drawing.backgrounds import PALETTE
from tlaudit.demo.drawing.canvas import Pen, any_of, darker, lighter, oval, smooth
from tlaudit.demo.drawing.toys import BRIGHT

if TYPE_CHECKING:
    from collections.abc import Callable

    from PIL import Image

    from tlaudit.demo.drawing.canvas import Colour


def scatter(canvas: Image.Image, rng: np.random.Generator) -> None:
    """Draw from none to nine small meaningless things all over the picture."""
    for _ in range(int(rng.integers(0, 10))):
        size = rng.uniform(0.04, 0.13)
        angle = rng.uniform(0, 2 * math.pi)
        turn = np.array([[math.cos(angle), -math.sin(angle)], [math.sin(angle), math.cos(angle)]])
        pen = Pen(canvas, size * turn, (rng.random(), rng.random()))
        colour = any_of(rng, PALETTE if rng.random() < 0.5 else BRIGHT)
        _KINDS[int(rng.integers(len(_KINDS)))](pen, rng, colour)


def _pebble(pen: Pen, rng: np.random.Generator, colour: Colour) -> None:
    corners = int(rng.integers(4, 8))
    angles = [2 * math.pi * (corner + rng.uniform(-0.3, 0.3)) / corners for corner in range(corners)]
    radii = rng.uniform(0.6, 1.0, corners)
    outline = [(r * math.cos(a), r * math.sin(a)) for r, a in zip(radii, angles, strict=True)]
    pen.solid(smooth(outline), colour, 0.1)
    pen.fill(oval(-0.2, -0.2, 0.3, 0.2), lighter(colour), 0.5)


def _ring(pen: Pen, rng: np.random.Generator, colour: Colour) -> None:
    outline = oval(0, 0, 0.8, rng.uniform(0.5, 0.8))
    pen.line([*outline, *outline[:2]], 0.42, darker(colour, 0.5))
    pen.line([*outline, *outline[:2]], 0.25, colour)


def _scribble(pen: Pen, rng: np.random.Generator, colour: Colour) -> None:
    turns = int(rng.integers(4, 8))
    points = [(-1 + 2 * turn / turns, rng.uniform(0.3, 0.8) * (-1) ** turn) for turn in range(turns + 1)]
    pen.line(points, rng.uniform(0.12, 0.3), darker(colour, 0.2))


def _scrap(pen: Pen, rng: np.random.Generator, colour: Colour) -> None:
    corners = int(rng.integers(3, 6))
    angles = sorted(rng.uniform(0, 2 * math.pi, corners))
    pen.solid([(math.cos(a), math.sin(a)) for a in angles], colour, 0.1)


def _cross(pen: Pen, rng: np.random.Generator, colour: Colour) -> None:
    for start, end in (((-0.8, 0), (0.8, 0)), ((0, -0.8), (0, 0.8))):
        pen.line([start, end], rng.uniform(0.2, 0.4), darker(colour, 0.3))


_KINDS: tuple[Callable[[Pen, np.random.Generator, Colour], None], ...] = (_pebble, _ring, _scribble, _scrap, _cross)
