"""Things to eat and drink, and what grows in the garden; none of them occurs in the target images."""

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
    box,
    darker,
    lighter,
    oval,
    smooth,
    varied,
)

if TYPE_CHECKING:
    import numpy as np

LEAF: Colour = (92, 150, 70)


def espresso_mug(pen: Pen, rng: np.random.Generator) -> None:
    """A cup of coffee on a saucer, with a band around it."""
    glaze = any_of(rng, (WHITE, (206, 74, 62), (70, 116, 160), (236, 186, 88), (108, 150, 122)))
    band = WHITE if sum(glaze) < 600 else any_of(rng, ((206, 74, 62), (70, 116, 160), (60, 60, 66)))
    pen.shadow(0, 0.82, 0.95, 0.16)
    pen.solid(oval(0, 0.72, 0.85, 0.17), lighter(glaze, 0.3), 0.04)
    handle = arc(0.56, 0.08, 0.32, 0.34, -100, 110)
    pen.line(handle, 0.22, darker(glaze, 0.5))
    pen.line(handle, 0.14, glaze)
    pen.solid([*arc(0, -0.42, 0.62, 0.18, 180, 0), *arc(0, 0.55, 0.42, 0.18, 0, 180)], glaze, 0.045)
    pen.fill([(-0.6, -0.1), (0.6, -0.1), (0.55, 0.14), (-0.55, 0.14)], band)
    pen.fill([(-0.5, -0.3), (-0.38, -0.3), (-0.3, 0.55), (-0.38, 0.55)], WHITE, 0.5)
    pen.solid(oval(0, -0.42, 0.62, 0.2), lighter(glaze, 0.3), 0.04)
    pen.fill(oval(0, -0.4, 0.53, 0.145), (84, 50, 32))
    pen.fill(oval(-0.08, -0.41, 0.3, 0.07), (186, 132, 84))
    for x in (-0.2, 0.12):
        steam = [(x, -0.55), (x + 0.09, -0.68), (x - 0.05, -0.82), (x + 0.06, -0.98)]
        pen.line(steam, 0.05, WHITE, 0.7)


_BERRY: tuple[Point, ...] = (
    (-0.62, -0.42), (0, -0.58), (0.62, -0.42), (0.66, 0.05),
    (0.3, 0.68), (0, 0.95), (-0.3, 0.68), (-0.66, 0.05),
)  # fmt: skip


def strawberry(pen: Pen, rng: np.random.Generator) -> None:
    """A red berry with seeds and a green crown."""
    red = varied(rng, (214, 46, 54))
    pen.solid(smooth(_BERRY), red, 0.05)
    pen.fill(smooth([(-0.52, -0.3), (-0.2, -0.42), (-0.3, 0.1), (-0.36, 0.35), (-0.55, 0.0)]), lighter(red, 0.3), 0.6)
    for row, y in enumerate((-0.26, -0.02, 0.22, 0.46, 0.7)):
        reach = 0.52 * (1 - max(0.0, y) * 0.95)
        for step in range(4 - row // 2):
            x = reach * (2 * (step + 0.5 * (row % 2)) / max(1, 3 - row // 2) - 1)
            if abs(x) < reach + 0.02:
                pen.fill(oval(x, y, 0.045, 0.065), (250, 222, 120))
    leaf = varied(rng, LEAF)
    pen.line([(0, -0.6), (0.06, -0.95)], 0.1, darker(leaf, 0.2))
    for angle in (-160, -125, -90, -55, -20):
        dx, dy = math.cos(math.radians(angle)), math.sin(math.radians(angle))
        pen.solid(
            [(-dy * 0.12, -0.52 + dx * 0.12), (dx * 0.52, -0.45 + dy * 0.22 + 0.12), (dy * 0.12, -0.52 - dx * 0.12)],
            leaf,
            0.03,
        )


_CRUST: tuple[Point, ...] = (
    (-0.8, -0.62), (-0.4, -0.88), (0.4, -0.88), (0.8, -0.62),
    (0.66, -0.48), (0.3, -0.62), (-0.3, -0.62), (-0.66, -0.48),
)  # fmt: skip


def pizza_slice(pen: Pen, rng: np.random.Generator) -> None:
    """A wedge with crust, salami and basil."""
    cheese = varied(rng, (244, 202, 96))
    crust = varied(rng, (200, 136, 72))
    pen.solid([(0, 0.98), (-0.68, -0.6), (-0.35, -0.74), (0.35, -0.74), (0.68, -0.6)], cheese, 0.045)
    pen.fill([(0.04, 0.82), (0.1, -0.6), (0.56, -0.56)], darker(cheese, 0.15), 0.5)
    pen.solid(smooth(_CRUST), crust, 0.045)
    salami = varied(rng, (192, 58, 48))
    for x, y, radius in ((-0.28, -0.28, 0.17), (0.27, -0.2, 0.18), (0.0, 0.28, 0.16)):
        across, down = x + rng.uniform(-0.06, 0.06), y + rng.uniform(-0.06, 0.06)
        pen.solid(oval(across, down, radius, radius), salami, 0.04)
        pen.fill(oval(across - 0.04, down - 0.04, radius * 0.4, radius * 0.4), lighter(salami, 0.25), 0.7)
    for x, y in ((-0.02, -0.08), (-0.12, 0.5), (0.3, -0.45), (-0.4, -0.02)):
        pen.fill(oval(x, y, 0.1, 0.045, rng.uniform(0, 3)), (70, 126, 56))


def mushroom(pen: Pen, rng: np.random.Generator) -> None:
    """A toadstool: white dots on a coloured cap."""
    cap = any_of(rng, ((206, 52, 46), (196, 108, 52), (150, 70, 110)))
    stem = varied(rng, (240, 230, 208), 0.5)
    pen.shadow(0, 0.88, 0.6, 0.13)
    pen.solid(smooth([(-0.2, -0.1), (0.2, -0.1), (0.22, 0.5), (0.34, 0.9), (-0.34, 0.9), (-0.22, 0.5)]), stem, 0.045)
    pen.solid(
        smooth([(-0.3, 0.12), (0, 0.04), (0.3, 0.12), (0.36, 0.3), (0, 0.24), (-0.36, 0.3)]), lighter(stem, 0.4), 0.03
    )
    pen.solid([*arc(0, 0.02, 0.9, 0.92, 180, 360), *arc(0, 0.02, 0.9, 0.2, 0, 180)], cap, 0.05)
    pen.fill([*arc(0, 0.06, 0.8, 0.15, 0, 180), *arc(0, 0.06, 0.8, 0.05, 180, 360)], darker(stem, 0.15))
    for x, y, radius in (
        (-0.5, -0.25, 0.13),
        (-0.1, -0.6, 0.15),
        (0.12, -0.18, 0.16),
        (0.5, -0.42, 0.12),
        (0.7, -0.1, 0.08),
        (-0.72, 0.0, 0.07),
    ):
        size = radius * rng.uniform(0.8, 1.2)
        pen.fill(oval(x, y, size, size * 0.85), WHITE)


def sunflower(pen: Pen, rng: np.random.Generator) -> None:
    """Yellow petals around a dark, seeded disc, on a leafy stem."""
    petal = varied(rng, (246, 190, 38))
    leaf = varied(rng, LEAF)
    stem = [(0, 0.1), (0.05, 0.6), (0.0, 1.0)]
    pen.line(stem, 0.13, darker(leaf, 0.2))
    pen.solid(smooth([(0.05, 0.75), (0.3, 0.55), (0.62, 0.6), (0.35, 0.8)]), leaf, 0.03)
    pen.solid(smooth([(0.0, 0.85), (-0.25, 0.68), (-0.55, 0.75), (-0.3, 0.92)]), leaf, 0.03)
    start = rng.uniform(0, 1)
    for ring, tone in ((0.5, darker(petal, 0.15)), (0.0, petal)):
        for step in range(13):
            angle = 2 * math.pi * (step + ring + start) / 13
            x, y = 0.5 * math.cos(angle), -0.28 + 0.5 * math.sin(angle)
            pen.solid(oval(x, y, 0.25, 0.11, angle, 14), tone, 0.025)
    pen.solid(oval(0, -0.28, 0.34, 0.34), (98, 60, 34), 0.04)
    for step in range(40):
        radius, angle = 0.3 * math.sqrt(step / 40), step * 2.39996
        pen.fill(oval(radius * math.cos(angle), -0.28 + radius * math.sin(angle), 0.028, 0.028), (182, 124, 58))


def cactus(pen: Pen, rng: np.random.Generator) -> None:
    """A ribbed cactus with two arms in a clay pot."""
    green = varied(rng, (78, 146, 88))
    pot = varied(rng, (196, 104, 68))
    pen.shadow(0, 0.94, 0.6, 0.12)
    left, right = rng.uniform(-0.1, 0.15), rng.uniform(-0.2, 0.1)
    for points in (
        [(-0.2, left + 0.2), (-0.58, left + 0.16), (-0.6, left - 0.3)],
        [(0.2, right + 0.25), (0.58, right + 0.2), (0.6, right - 0.28)],
    ):
        pen.line(points, 0.3, darker(green, 0.5))
        pen.line(points, 0.22, green)
    pen.solid(box(-0.27, -0.95, 0.27, 0.6, 0.26), green, 0.045)
    for x in (-0.13, 0.0, 0.13):
        pen.line([(x, -0.85), (x, 0.45)], 0.03, darker(green, 0.3))
    for _ in range(26):
        x, y = rng.uniform(-0.24, 0.24), rng.uniform(-0.85, 0.45)
        pen.line([(x, y), (x + rng.uniform(-0.06, 0.06), y - 0.06)], 0.022, (244, 240, 206))
    if rng.random() < 0.6:
        pen.solid(oval(0, -0.93, 0.14, 0.1), (232, 92, 142), 0.03)
    pen.solid([(-0.42, 0.5), (0.42, 0.5), (0.32, 0.96), (-0.32, 0.96)], pot, 0.045)
    pen.solid(box(-0.5, 0.42, 0.5, 0.58), lighter(pot, 0.15), 0.04)


def ice_cream(pen: Pen, rng: np.random.Generator) -> None:
    """Two scoops in a waffle cone, with a cherry."""
    flavours = ((246, 182, 194), (250, 234, 190), (134, 88, 62), (176, 220, 186))
    waffle = varied(rng, (222, 164, 88))
    pen.solid([(-0.4, 0.12), (0.4, 0.12), (0, 1.0)], waffle, 0.045)
    for step in (-0.2, 0.0, 0.2):
        pen.line([(step - 0.16, 0.16), (step * 0.4 + 0.12, 0.72 - abs(step))], 0.03, darker(waffle, 0.35))
        pen.line([(step + 0.16, 0.16), (step * 0.4 - 0.12, 0.72 - abs(step))], 0.03, darker(waffle, 0.35))
    lower, upper = (any_of(rng, flavours) for _ in range(2))
    pen.ball(0, -0.08, 0.46, lower)
    pen.fill(smooth([(-0.42, 0.1), (0.42, 0.1), (0.3, 0.26), (0.12, 0.18), (-0.08, 0.3), (-0.28, 0.2)]), lower)
    pen.ball(0.02, -0.5, 0.38, upper)
    for _ in range(12):
        x, y = rng.uniform(-0.28, 0.28), rng.uniform(-0.78, -0.3)
        pen.line(
            [(x, y), (x + 0.06, y + rng.uniform(-0.06, 0.06))],
            0.04,
            any_of(rng, ((214, 62, 58), (70, 130, 190), WHITE)),
        )
    pen.line([(0.04, -0.9), (0.16, -1.04)], 0.035, BLACK)
    pen.ball(0.04, -0.88, 0.11, (204, 40, 52), 0.03)
