"""Things to play with: two of them lie about in the target images, the others never do."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from tlaudit.demo.drawing.canvas import (
    BLACK,
    WHITE,
    Colour,
    Pen,
    Point,
    any_of,
    arc,
    blend,
    box,
    darker,
    lighter,
    oval,
    smooth,
    varied,
)

if TYPE_CHECKING:
    import numpy as np

BRIGHT: tuple[Colour, ...] = (
    (214, 62, 58), (236, 152, 46), (70, 130, 190), (96, 160, 84), (150, 92, 168), (54, 156, 160), (226, 108, 146),
)  # fmt: skip


def tennis_ball(pen: Pen, rng: np.random.Generator) -> None:
    """Yellow-green felt with a white seam."""
    felt = varied(rng, (198, 220, 62))
    pen.shadow(0.05, 0.8, 0.75, 0.16)
    pen.ball(0, 0, 0.8, felt)
    pen.strokes(rng, (0, 0, 0.74, 0.74), felt, 90, 0.07, 0.025)
    for side in (0, 180):
        x = -0.95 if side == 0 else 0.95
        pen.line(arc(x, x / 10, 0.75, 0.8, side - 46, side + 46), 0.1, WHITE)


def yarn_ball(pen: Pen, rng: np.random.Generator) -> None:
    """A wound ball of wool with a loose end."""
    wool = any_of(rng, BRIGHT)
    pen.shadow(0.05, 0.78, 0.75, 0.16)
    end = [(0.45, 0.6), (0.75, 0.78), (0.95, 0.66), (0.98, 0.9)]
    pen.line(end, 0.1, darker(wool, 0.5))
    pen.line(end, 0.06, wool)
    pen.ball(-0.05, 0, 0.76, wool)
    start = rng.uniform(0, math.pi)
    for bundle, height in enumerate((0.74, 0.56, 0.36)):
        turn = start + bundle * (math.pi / 3 + rng.uniform(-0.2, 0.2))
        pen.solid(oval(-0.05, 0, 0.75, height, turn), varied(rng, wool, 0.5), 0.03)
        for strand in range(1, 5):
            bow = oval(-0.05, 0, 0.73, height * strand / 5, turn)
            pen.line([*bow, bow[0]], 0.04, darker(wool, 0.4) if strand % 2 else lighter(wool, 0.35))


_DICE_FACES: tuple[tuple[Point, Point, Point], ...] = (
    ((0.0, -0.85), (0.78, 0.43), (-0.78, 0.43)),
    ((-0.78, -0.42), (0.78, 0.44), (0.0, 0.88)),
    ((0.0, 0.02), (0.78, -0.44), (0.0, 0.88)),
)
"""A corner and the two edges from it, of the faces that are seen: top, left, right."""
_DIAGONAL, _OTHER_DIAGONAL, _MIDDLE = ((0.25, 0.25), (0.75, 0.75)), ((0.25, 0.75), (0.75, 0.25)), ((0.5, 0.5),)
_PIPS: tuple[tuple[Point, ...], ...] = (
    _MIDDLE,
    _DIAGONAL,
    (*_DIAGONAL, *_MIDDLE),
    (*_DIAGONAL, *_OTHER_DIAGONAL),
    (*_DIAGONAL, *_OTHER_DIAGONAL, *_MIDDLE),
)
"""Where the pips of a one to a five lie on a face, as shares of its edges."""


def dice(pen: Pen, rng: np.random.Generator) -> None:
    """A cube seen from a corner, with pips on three faces."""
    colour = any_of(rng, (WHITE, (214, 62, 58), (64, 96, 168)))
    pip = BLACK if sum(colour) > 600 else WHITE
    pen.shadow(0, 0.72, 0.95, 0.2)
    tones = (lighter(colour, 0.4), colour, darker(colour, 0.2))
    values = rng.permutation(len(_PIPS))[: len(tones)]
    for ((x, y), (right, across), (left, down)), tone, value in zip(_DICE_FACES, tones, values, strict=True):
        pen.solid([(x, y), (x + right, y + across), (x + right + left, y + across + down), (x + left, y + down)], tone)
        for u, v in _PIPS[int(value)]:
            pen.fill(oval(x + right * u + left * v, y + across * u + down * v, 0.105, 0.09), pip)


_GUITAR_BODY: tuple[Point, ...] = (
    (-0.2, -0.22), (0.2, -0.22), (0.42, -0.02), (0.3, 0.22), (0.56, 0.58),
    (0.36, 0.94), (-0.36, 0.94), (-0.56, 0.58), (-0.3, 0.22), (-0.42, -0.02),
)  # fmt: skip


def guitar(pen: Pen, rng: np.random.Generator) -> None:
    """An acoustic guitar with six pegs."""
    wood = any_of(rng, ((206, 138, 70), (164, 84, 48), (226, 176, 104)))
    neck = darker(wood, 0.55)
    pen.solid(box(-0.075, -0.82, 0.075, 0.2), neck, 0.02)
    pen.solid(box(-0.15, -1.0, 0.15, -0.74, 0.05), neck, 0.03)
    for y in (-0.95, -0.87, -0.79):
        for x in (-0.19, 0.19):
            pen.fill(oval(x, y, 0.05, 0.035), (226, 220, 206))
    body = smooth(_GUITAR_BODY)
    pen.solid(body, wood, 0.06)
    pen.fill(smooth([(x * 0.8, 0.36 + (y - 0.36) * 0.84) for x, y in body[::7]]), lighter(wood, 0.25))
    pen.solid(oval(0, 0.24, 0.18, 0.18), (54, 34, 30), 0.05)
    pen.solid(box(-0.24, 0.66, 0.24, 0.76), neck, 0.02)
    for x in (-0.045, 0.0, 0.045):
        pen.line([(x, -0.8), (x * 1.6, 0.7)], 0.014, (244, 238, 222))


def hot_air_balloon(pen: Pen, rng: np.random.Generator) -> None:
    """Striped envelope, ropes and a basket."""
    first, second = any_of(rng, BRIGHT), any_of(rng, ((250, 240, 214), (244, 200, 74)))
    for x in (-0.2, 0.2):
        pen.line([(x * 1.6, 0.4), (x * 0.8, 0.72)], 0.035, (92, 70, 54))
    pen.solid(box(-0.2, 0.7, 0.2, 0.98, 0.05), (176, 120, 66), 0.04)
    pen.line([(-0.2, 0.82), (0.2, 0.82)], 0.03, (116, 76, 44))
    gores = 7
    for gore in range(gores):
        left, right = (math.cos(math.pi * (1 - (gore + step) / gores)) for step in (0, 1))
        tone = first if gore % 2 == 0 else second
        pen.fill(_gore(left, right), blend(tone, darker(tone, 0.5), abs(gore - 2) / 6))
    rim = _gore(-1, 1)
    pen.line([*rim, rim[0]], 0.04, darker(first, 0.5))


def _gore(left: float, right: float) -> list[Point]:
    """Outline of a strip of the balloon's hull, between two shares of its half width."""
    down = [(step / 12, _hull(step / 12)) for step in range(13)]
    edges = [(left * width, -0.98 + 1.45 * y) for y, width in down]
    return edges + [(right * width, -0.98 + 1.45 * y) for y, width in reversed(down)]


def _hull(y: float) -> float:
    """Half width of the hull at the height `y`, 0 at its top and 1 at its mouth: round above, tapered below."""
    dome = math.sqrt(1 - (1 - min(1.0, y / 0.42)) ** 2)
    taper = 1 - 0.7 * math.pow(max(0.0, y - 0.42) / 0.58, 1.4)
    return 0.78 * dome * taper
