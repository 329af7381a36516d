"""Cats with pointed ears and dogs with floppy ones, three breeds each: sitting, or as a portrait."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from tlaudit.demo.drawing.canvas import (
    BLACK,
    WHITE,
    Colour,
    Pen,
    any_of,
    arc,
    box,
    darker,
    lighter,
    mirrored,
    oval,
    smooth,
    varied,
)

if TYPE_CHECKING:
    from collections.abc import Callable

    import numpy as np

    Marks = Callable[[Pen, np.random.Generator, "Coat"], None]

PINK: Colour = (226, 142, 146)
TONGUE: Colour = (228, 108, 118)

_CAT_EAR = ((-0.84, -0.1), (-0.82, -1.1), (-0.16, -0.62))
_CAT_EAR_INSIDE = ((-0.72, -0.35), (-0.73, -0.86), (-0.36, -0.58))
_CAT_SKULL = (
    (-0.92, 0.15), (-0.74, -0.45), (0, -0.72), (0.74, -0.45), (0.92, 0.15), (0.6, 0.64), (0, 0.8), (-0.6, 0.64),
)  # fmt: skip
_DOG_SKULL = (
    (-0.66, -0.1), (-0.54, -0.64), (0, -0.84), (0.54, -0.64), (0.66, -0.1), (0.5, 0.5), (0, 0.86), (-0.5, 0.5),
)  # fmt: skip


@dataclass(frozen=True)
class Coat:
    """The colours of one animal."""

    fur: Colour
    accent: Colour
    ear: Colour
    muzzle: Colour
    chest: Colour
    paw: Colour
    iris: Colour


def striped_cat(pen: Pen, rng: np.random.Generator) -> None:
    """A tabby: orange, grey or brown with dark stripes."""
    fur = any_of(rng, ((232, 158, 84), (172, 168, 166), (176, 134, 98)))
    pale = lighter(fur, 0.6)
    coat = Coat(fur, darker(fur, 0.6), fur, pale, pale, pale, varied(rng, (150, 190, 90)))
    _cat(pen, rng, coat, _tabby_face, _tabby_body)


def siamese_cat(pen: Pen, rng: np.random.Generator) -> None:
    """Cream with a dark mask, ears and paws, and blue eyes."""
    fur = varied(rng, (238, 222, 196))
    dark = any_of(rng, ((92, 66, 56), (78, 70, 74)))
    coat = Coat(fur, dark, dark, dark, lighter(fur, 0.4), dark, varied(rng, (96, 168, 224)))
    _cat(pen, rng, coat, _mask, _plain)


def tuxedo_cat(pen: Pen, rng: np.random.Generator) -> None:
    """Black with a white muzzle, chest and paws, and yellow eyes."""
    fur = any_of(rng, ((52, 50, 56), (72, 62, 60)))
    coat = Coat(fur, WHITE, fur, WHITE, WHITE, WHITE, varied(rng, (226, 202, 70)))
    _cat(pen, rng, coat, _blaze, _plain)


def spotted_dog(pen: Pen, rng: np.random.Generator) -> None:
    """White with dark spots and dark ears."""
    spot = any_of(rng, ((48, 44, 48), (112, 74, 52)))
    fur = varied(rng, WHITE, 0.4)
    coat = Coat(fur, spot, spot, fur, fur, fur, (92, 62, 40))
    _dog(pen, rng, coat, _spots, _spots)


def beagle(pen: Pen, rng: np.random.Generator) -> None:
    """Brown and white with a white blaze, long ears and a dark saddle."""
    fur = any_of(rng, ((190, 118, 62), (164, 98, 54)))
    coat = Coat(fur, WHITE, darker(fur, 0.25), WHITE, WHITE, WHITE, (84, 54, 36))
    _dog(pen, rng, coat, _blaze, _saddle)


def shaggy_dog(pen: Pen, rng: np.random.Generator) -> None:
    """All hair: grey, golden or cream, with a fringe over the eyes."""
    fur = any_of(rng, ((186, 180, 176), (222, 186, 122), (136, 118, 106)))
    coat = Coat(fur, fur, darker(fur, 0.2), lighter(fur, 0.4), lighter(fur, 0.2), fur, (70, 48, 36))
    _dog(pen, rng, coat, _hair, _hair)


def _pose(pen: Pen, rng: np.random.Generator) -> tuple[Pen, Pen | None]:
    """Choose a portrait or a sitting figure: the pen of the head, and that of the body where there is one."""
    if rng.random() < 0.4:
        return pen.moved(0, 0.12, 0.92), None
    lean = rng.uniform(-0.12, 0.12)
    return pen.moved(lean, -0.36, 0.58), pen.moved(0, 0.45, 0.55)


def _body(pen: Pen, rng: np.random.Generator, coat: Coat, marks: Marks) -> None:
    """Draw a seated body: unit box, the head goes on top."""
    pen.shadow(0, 0.92, 1.15, 0.16)
    side = 1 if rng.random() < 0.5 else -1
    tail = [(side * x, y) for x, y in ((0.5, 0.75), (1.0, 0.7), (1.2, 0.3), (1.12 + rng.uniform(-0.1, 0.1), -0.1))]
    pen.line(tail, 0.26, darker(coat.fur, 0.5))
    pen.line(tail, 0.18, coat.fur)
    pen.solid(
        smooth([(-0.45, -0.9), (0.45, -0.9), (0.78, 0.2), (0.72, 0.9), (-0.72, 0.9), (-0.78, 0.2)]), coat.fur, 0.05
    )
    marks(pen, rng, coat)
    pen.fill(smooth([(-0.3, -0.85), (0.3, -0.85), (0.3, 0.1), (0, 0.45), (-0.3, 0.1)]), coat.chest)
    for x in (-0.28, 0.28):
        pen.solid(box(x - 0.17, 0.1, x + 0.17, 0.92, 0.15), coat.fur, 0.04)
        pen.solid(oval(x, 0.85, 0.24, 0.15), coat.paw, 0.04)


def _cat(pen: Pen, rng: np.random.Generator, coat: Coat, face: Marks, body: Marks) -> None:
    """Draw a cat of the given coat."""
    head, torso = _pose(pen, rng)
    if torso:
        _body(torso, rng, coat, body)
    for ear, inside in ((_CAT_EAR, _CAT_EAR_INSIDE), (mirrored(_CAT_EAR), mirrored(_CAT_EAR_INSIDE))):
        head.solid(ear, coat.ear, 0.05)
        head.fill(inside, PINK)
    head.solid(smooth(_CAT_SKULL), coat.fur, 0.05)
    face(head, rng, coat)
    for x in (-0.17, 0.17):
        head.fill(oval(x, 0.4, 0.25, 0.2), coat.muzzle)
    head.solid([(-0.11, 0.2), (0.11, 0.2), (0, 0.33)], PINK, 0.03)
    for x in (-0.13, 0.13):
        head.line(arc(x, 0.38, 0.13, 0.14, 10, 170), 0.035, BLACK)
    _cat_eyes(head, rng, coat)
    whisker = lighter(coat.fur, 0.7) if sum(coat.fur) < 400 else darker(coat.fur, 0.5)
    for side in (-1, 1):
        for droop in (-0.08, 0.06, 0.2):
            head.line([(side * 0.35, 0.36 + droop / 2), (side * 1.12, 0.3 + droop)], 0.022, whisker)


def _cat_eyes(head: Pen, rng: np.random.Generator, coat: Coat) -> None:
    """Draw slanted eyes with slit pupils."""
    slit = rng.uniform(0.06, 0.13)
    for x, tilt in ((-0.4, 0.25), (0.4, -0.25)):
        head.solid(oval(x, -0.03, 0.22, 0.18, tilt), coat.iris, 0.05)
        head.fill(oval(x, -0.03, slit, 0.17), BLACK)
        head.fill(oval(x - 0.06, -0.1, 0.05, 0.05), WHITE)


def _dog(pen: Pen, rng: np.random.Generator, coat: Coat, face: Marks, body: Marks) -> None:
    """Draw a dog of the given coat."""
    head, torso = _pose(pen, rng)
    if torso:
        _body(torso, rng, coat, body)
    head.solid(smooth(_DOG_SKULL), coat.fur, 0.05)
    face(head, rng, coat)
    drop = rng.uniform(0.35, 0.6)
    ear = smooth([(-0.34, -0.78), (-0.72, -0.72), (-0.98, -0.1), (-0.9, drop), (-0.66, drop), (-0.56, -0.2)])
    for outline in (ear, mirrored(ear)):
        head.solid(outline, coat.ear, 0.05)
    head.solid(oval(0, 0.42, 0.4, 0.34), coat.muzzle, 0.03)
    if rng.random() < 0.5:
        head.solid(box(-0.13, 0.6, 0.13, 0.98, 0.12), TONGUE, 0.035)
    for x in (-0.15, 0.15):
        head.line(arc(x, 0.48, 0.15, 0.16, 10, 170), 0.04, BLACK)
    head.fill(oval(0, 0.22, 0.19, 0.13), BLACK)
    head.fill(oval(-0.06, 0.17, 0.06, 0.035), (150, 146, 150))
    for x in (-0.29, 0.29):
        head.solid(oval(x, -0.14, 0.13, 0.14), coat.iris, 0.05)
        head.fill(oval(x, -0.13, 0.08, 0.09), BLACK)
        head.fill(oval(x - 0.04, -0.18, 0.04, 0.04), WHITE)
    if face is _hair:
        head.strokes(rng, (0, -0.5, 0.42, 0.28), coat.fur, 60, 0.3, 0.045)


def _plain(_pen: Pen, _rng: np.random.Generator, _coat: Coat) -> None:
    """No marks."""


def _tabby_face(head: Pen, rng: np.random.Generator, coat: Coat) -> None:
    """Draw stripes on the forehead and the cheeks."""
    width = rng.uniform(0.07, 0.1)
    for x in (-0.26, 0, 0.26):
        head.line([(x * 1.25, -0.56 + abs(x) * 0.3), (x, -0.26)], width, coat.accent)
    for side in (-1, 1):
        for y in (0.06, 0.28, 0.48):
            head.line([(side * (0.86 - y * 0.3), y), (side * 0.58, y + 0.04)], width, coat.accent)


def _tabby_body(body: Pen, rng: np.random.Generator, coat: Coat) -> None:
    """Draw stripes across the flanks."""
    for side in (-1, 1):
        for y in (-0.5, -0.25, 0.0, 0.25, 0.5):
            edge = 0.62 + 0.12 * y
            body.line([(side * edge, y), (side * 0.4, y + rng.uniform(0.08, 0.2))], 0.1, coat.accent)


def _mask(head: Pen, rng: np.random.Generator, coat: Coat) -> None:
    """Draw a dark face that fades at its rim."""
    size = rng.uniform(0.44, 0.54)
    head.fill(oval(0, 0.22, size * 1.25, size * 1.05), coat.accent, 0.45)
    head.fill(oval(0, 0.24, size, size * 0.9), coat.accent, 0.8)


def _blaze(head: Pen, rng: np.random.Generator, coat: Coat) -> None:
    """Draw a white stripe from the forehead down to a white muzzle."""
    width = rng.uniform(0.08, 0.16)
    head.fill(
        smooth(
            [(-width / 2, -0.72), (width / 2, -0.72), (width, 0.0), (0.42, 0.5), (0, 0.72), (-0.42, 0.5), (-width, 0.0)]
        ),
        coat.accent,
    )


def _spots(pen: Pen, rng: np.random.Generator, coat: Coat) -> None:
    """Scatter spots over the fur."""
    for _ in range(int(rng.integers(11, 16))):
        radius = rng.uniform(0.06, 0.14)
        x, y = rng.uniform(-0.5, 0.5), rng.uniform(-0.55, 0.62)
        pen.fill(oval(x, y, radius, radius * rng.uniform(0.7, 1), rng.uniform(0, 3)), coat.accent)


def _saddle(body: Pen, rng: np.random.Generator, _coat: Coat) -> None:
    """Draw a dark back."""
    reach = rng.uniform(0.2, 0.5)
    body.fill(smooth([(-0.5, -0.8), (0.5, -0.8), (0.72, 0.1), (0.6, reach), (-0.6, reach), (-0.72, 0.1)]), (62, 52, 50))


def _hair(pen: Pen, rng: np.random.Generator, coat: Coat) -> None:
    """Cover with long hair that stands out beyond the outline."""
    pen.strokes(rng, (0, 0.05, 0.68, 0.8), coat.fur, 170, 0.26, 0.045)
