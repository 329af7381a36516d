"""Household goods and things met out of doors; none of them occurs in the target images."""

from __future__ import annotations

import itertools
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
    box,
    darker,
    lighter,
    oval,
    smooth,
    varied,
)
from tlaudit.demo.drawing.toys import BRIGHT

if TYPE_CHECKING:
    import numpy as np

METAL: tuple[Colour, ...] = ((216, 176, 84), (176, 180, 188), (190, 126, 82))


def umbrella(pen: Pen, rng: np.random.Generator) -> None:
    """An open umbrella with panels in two colours and a crook."""
    first = any_of(rng, BRIGHT)
    second = lighter(first, 0.55) if rng.random() < 0.5 else any_of(rng, BRIGHT)
    shaft = [(0, -0.3), (0, 0.72), *arc(0.16, 0.72, 0.16, 0.2, 180, 0, 8)]
    pen.line(shaft, 0.1, (66, 46, 40))
    pen.line([(0, -0.75), (0, -1.0)], 0.06, (66, 46, 40))
    dome = [(math.cos(math.pi * step / 20), 0.05 - 0.85 * math.sin(math.pi * step / 20)) for step in range(11)]
    for panel, (left, right) in enumerate(itertools.pairwise((-0.95, -0.58, -0.2, 0.2, 0.58, 0.95))):
        edges = [(left * x, y) for x, y in dome] + [(right * x, y) for x, y in reversed(dome)]
        pen.solid([*edges, ((left + right) / 2, -0.07)], second if panel % 2 else first, 0.03)


def door_key(pen: Pen, rng: np.random.Generator) -> None:
    """An old key: ring, shaft and bit."""
    metal = any_of(rng, METAL)
    dark = darker(metal, 0.5)
    pen.solid(box(-0.2, -0.1, 0.92, 0.1, 0.04), metal, 0.04)
    pen.line([(-0.15, -0.03), (0.85, -0.03)], 0.04, lighter(metal, 0.6))
    for x, reach in ((0.52, rng.uniform(0.34, 0.46)), (0.72, rng.uniform(0.28, 0.4)), (0.88, rng.uniform(0.34, 0.46))):
        pen.solid(box(x - 0.07, 0.06, x + 0.05, reach), metal, 0.035)
    ring = oval(-0.55, 0, 0.34, 0.34)
    pen.line([*ring, ring[0], ring[1]], 0.26, dark)
    pen.line([*ring, ring[0], ring[1]], 0.18, metal)
    pen.line(arc(-0.55, 0, 0.36, 0.36, 180, 290), 0.06, lighter(metal, 0.6))
    pen.solid(box(-0.26, -0.17, -0.14, 0.17, 0.03), metal, 0.035)


def alarm_clock(pen: Pen, rng: np.random.Generator) -> None:
    """Two bells, a face with hands, two feet."""
    case = any_of(rng, BRIGHT)
    for side in (-1, 1):
        pen.line([(side * 0.35, 0.6), (side * 0.56, 0.94)], 0.13, darker(case, 0.5))
        pen.solid(
            [(side * x, y) for x, y in ((0.16, -0.72), (0.72, -0.36), (0.72, -0.68), (0.5, -0.92), (0.24, -0.9))],
            lighter(case, 0.2),
            0.045,
        )
    pen.line([(0, -0.65), (0, -0.95)], 0.08, darker(case, 0.5))
    pen.solid(oval(0, 0.12, 0.76, 0.76), case, 0.05)
    pen.solid(oval(0, 0.12, 0.58, 0.58), WHITE, 0.035)
    for hour in range(12):
        angle = hour * math.pi / 6
        inner = 0.42 if hour % 3 == 0 else 0.48
        cos, sin = math.cos(angle), math.sin(angle)
        pen.line([(inner * cos, 0.12 + inner * sin), (0.53 * cos, 0.12 + 0.53 * sin)], 0.05, BLACK)
    for length, width, angle in ((0.28, 0.08, rng.uniform(0, 6.28)), (0.42, 0.055, rng.uniform(0, 6.28))):
        pen.line([(0, 0.12), (length * math.cos(angle), 0.12 + length * math.sin(angle))], width, BLACK)
    pen.fill(oval(0, 0.12, 0.07, 0.07), (206, 62, 56))


_BULB: tuple[Point, ...] = (
    (-0.24, 0.48), (-0.3, 0.28), (-0.58, -0.05), (-0.62, -0.4), (-0.36, -0.82), (0, -0.93),
    (0.36, -0.82), (0.62, -0.4), (0.58, -0.05), (0.3, 0.28), (0.24, 0.48),
)  # fmt: skip


def light_bulb(pen: Pen, rng: np.random.Generator) -> None:
    """A glowing bulb with filament and thread."""
    glow = any_of(rng, ((255, 236, 150), (252, 248, 214), (255, 214, 120)))
    for size, opacity in ((1.0, 0.12), (0.86, 0.16)):
        pen.fill(oval(0, -0.25, size, size), (255, 244, 190), opacity)
    pen.solid(smooth(_BULB), glow, 0.045)
    pen.fill(smooth([(-0.45, -0.4), (-0.28, -0.68), (-0.2, -0.6), (-0.34, -0.3)]), WHITE, 0.8)
    filament = [(-0.14, 0.42), (-0.2, -0.1), (-0.1, -0.26), (0, -0.12), (0.1, -0.26), (0.2, -0.1), (0.14, 0.42)]
    pen.line(filament, 0.045, (206, 122, 40))
    metal = any_of(rng, ((150, 152, 160), (176, 150, 96)))
    for y in (0.48, 0.62, 0.76):
        pen.solid(box(-0.25, y, 0.25, y + 0.13, 0.05), metal, 0.035)
    pen.fill(oval(0, 0.93, 0.12, 0.07), BLACK)


def pencil(pen: Pen, rng: np.random.Generator) -> None:
    """A hexagonal pencil with a tip and a rubber."""
    paint = any_of(rng, BRIGHT)
    pen.fill(box(-0.66, -0.2, 0.58, -0.07), lighter(paint, 0.35))
    pen.fill(box(-0.66, -0.08, 0.58, 0.08), paint)
    pen.fill(box(-0.66, 0.07, 0.58, 0.2), darker(paint, 0.25))
    pen.solid([(0.58, -0.2), (0.98, 0), (0.58, 0.2)], (236, 202, 154), 0.035)
    pen.fill([(0.84, -0.07), (0.99, 0), (0.84, 0.07)], darker(paint, 0.6))
    pen.solid(box(-0.8, -0.2, -0.64, 0.2), (188, 190, 196), 0.03)
    pen.line([(-0.72, -0.18), (-0.72, 0.18)], 0.035, (112, 114, 120))
    pen.solid(box(-0.99, -0.18, -0.8, 0.18, 0.07), (232, 128, 136), 0.035)
    edge = box(-0.66, -0.2, 0.58, 0.2)
    pen.line([*edge, edge[0]], 0.03, darker(paint, 0.55))


def sailing_boat(pen: Pen, rng: np.random.Generator) -> None:
    """A hull, a mast, two sails and a pennant, on a strip of water."""
    hull = any_of(rng, ((164, 74, 52), (60, 92, 140), (120, 80, 56), (214, 62, 58)))
    cloth = any_of(rng, (WHITE, (246, 214, 150), (228, 120, 92)))
    water = varied(rng, (74, 142, 178))
    pen.line([(0, 0.45), (0, -0.96)], 0.07, (92, 66, 48))
    pen.solid([(0.07, -0.86), (0.07, 0.3), (0.72, 0.3)], cloth, 0.04)
    pen.solid([(-0.07, -0.62), (-0.07, 0.3), (-0.56, 0.3)], lighter(cloth, 0.4), 0.04)
    for y in (-0.2, 0.05):
        pen.line([(0.09, y), (0.12 + (y + 0.86) * 0.5, y)], 0.03, darker(cloth, 0.25))
    pen.fill([(0, -0.98), (0.26, -0.9), (0, -0.82)], any_of(rng, BRIGHT))
    pen.solid([(-0.84, 0.42), (0.9, 0.42), (0.6, 0.82), (-0.58, 0.82)], hull, 0.045)
    pen.line([(-0.76, 0.53), (0.8, 0.53)], 0.06, WHITE)
    crests = [(x / 6, 0.78 + 0.05 * (-1) ** x) for x in range(-6, 7)]
    pen.fill([*crests, (0.9, 0.98), (-0.9, 0.98)], water)
    pen.line(crests, 0.04, lighter(water, 0.6))


def traffic_light(pen: Pen, rng: np.random.Generator) -> None:
    """Three lamps in a dark case, one of them lit."""
    case = any_of(rng, ((58, 62, 66), (76, 86, 70), (222, 178, 62)))
    pen.solid(box(-0.09, 0.7, 0.09, 1.0), (92, 94, 98), 0.03)
    for y in (-0.6, -0.03, 0.54):
        for side in (-1, 1):
            pen.solid([(side * 0.36, y - 0.16), (side * 0.6, y - 0.1), (side * 0.36, y + 0.1)], case, 0.03)
    pen.solid(box(-0.4, -0.95, 0.4, 0.85, 0.14), case, 0.05)
    lit = int(rng.integers(3))
    for lamp, (y, tone) in enumerate(((-0.62, (236, 62, 52)), (-0.05, (250, 190, 50)), (0.52, (86, 204, 96)))):
        shown = tone if lamp == lit else darker(tone, 0.55)
        pen.solid(oval(0, y, 0.235, 0.235), shown, 0.045)
        if lamp == lit:
            pen.fill(oval(0, y, 0.36, 0.36), tone, 0.3)
            pen.fill(oval(-0.07, y - 0.08, 0.09, 0.07), WHITE, 0.85)


def lighthouse(pen: Pen, rng: np.random.Generator) -> None:
    """A banded tower with a lamp on top and a rock at its foot."""
    band = any_of(rng, ((206, 58, 52), (52, 84, 136), (54, 54, 60)))
    pen.solid(smooth([(-0.8, 0.98), (-0.6, 0.72), (0, 0.6), (0.6, 0.74), (0.82, 0.98)]), (126, 120, 114), 0.04)
    rings = 6
    for ring in range(rings):
        top, bottom = -0.45 + ring * 1.25 / rings, -0.45 + (ring + 1) * 1.25 / rings
        narrow, wide = 0.24 + 0.2 * ring / rings, 0.24 + 0.2 * (ring + 1) / rings
        pen.fill([(-narrow, top), (narrow, top), (wide, bottom), (-wide, bottom)], WHITE if ring % 2 else band)
        pen.fill([(narrow * 0.35, top), (narrow, top), (wide, bottom), (wide * 0.35, bottom)], BLACK, 0.15)
    for side in (-1, 1):
        pen.line([(side * 0.24, -0.45), (side * 0.44, 0.8)], 0.04, darker(band, 0.5))
    if rng.random() < 0.7:
        reach = 1 if rng.random() < 0.5 else -1
        pen.fill([(0, -0.6), (reach * 0.98, -0.86), (reach * 0.98, -0.36)], (255, 244, 176), 0.55)
    pen.solid(box(-0.17, -0.74, 0.17, -0.48), (255, 230, 120), 0.04)
    pen.solid(box(-0.34, -0.5, 0.34, -0.41), (60, 58, 64), 0.02)
    pen.solid([(-0.25, -0.73), (0.25, -0.73), (0, -0.99)], band, 0.04)
