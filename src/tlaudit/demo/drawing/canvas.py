"""A pen that draws in an object's own coordinates, wherever the object lies in the picture."""

from __future__ import annotations

import colorsys
import math
from typing import TYPE_CHECKING

import numpy as np
from PIL import ImageDraw

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray
    from PIL import Image

Colour = tuple[int, int, int]
Point = tuple[float, float]

WHITE: Colour = (250, 248, 243)
BLACK: Colour = (34, 32, 36)


def blend(first: Colour, second: Colour, share: float) -> Colour:
    """Mix two colours; `share` in [0, 1] is how much of the second there is."""
    red, green, blue = (round(a + (b - a) * share) for a, b in zip(first, second, strict=True))
    return (red, green, blue)


def darker(colour: Colour, share: float = 0.35) -> Colour:
    """Mix with a warm black."""
    return blend(colour, (30, 18, 24), share)


def lighter(colour: Colour, share: float = 0.35) -> Colour:
    """Mix with a warm white."""
    return blend(colour, (255, 252, 244), share)


def varied(rng: np.random.Generator, colour: Colour, amount: float = 1.0) -> Colour:
    """A neighbour of a colour: hue, saturation and brightness moved a little at random."""
    hue, saturation, value = colorsys.rgb_to_hsv(*(channel / 255 for channel in colour))
    hue = (hue + rng.normal(0, 0.018 * amount)) % 1.0
    saturation = min(max(saturation * rng.uniform(1 - 0.2 * amount, 1 + 0.15 * amount), 0), 1)
    value = min(max(value * rng.uniform(1 - 0.16 * amount, 1 + 0.12 * amount), 0), 1)
    red, green, blue = (round(255 * channel) for channel in colorsys.hsv_to_rgb(hue, saturation, value))
    return (red, green, blue)


def any_of(rng: np.random.Generator, colours: Sequence[Colour]) -> Colour:
    """One of the colours, varied."""
    return varied(rng, colours[int(rng.integers(len(colours)))])


def oval(x: float, y: float, width: float, height: float, turn: float = 0.0, steps: int = 36) -> list[Point]:
    """Outline of an ellipse with half axes `width` and `height`, turned by `turn` radians."""
    cos, sin = math.cos(turn), math.sin(turn)
    points = []
    for step in range(steps):
        angle = 2 * math.pi * step / steps
        dx, dy = width * math.cos(angle), height * math.sin(angle)
        points.append((x + dx * cos - dy * sin, y + dx * sin + dy * cos))
    return points


def box(left: float, top: float, right: float, bottom: float, corner: float = 0.0) -> list[Point]:
    """Outline of a rectangle, with rounded corners of radius `corner`."""
    if corner <= 0:
        return [(left, top), (right, top), (right, bottom), (left, bottom)]
    centres = [(right - corner, bottom - corner), (left + corner, bottom - corner), (left + corner, top + corner)]
    centres.append((right - corner, top + corner))
    points = []
    for quarter, (x, y) in enumerate(centres):
        for step in range(6):
            angle = math.pi / 2 * (quarter + step / 5)
            points.append((x + corner * math.cos(angle), y + corner * math.sin(angle)))
    return points


def arc(x: float, y: float, width: float, height: float, start: float, end: float, steps: int = 18) -> list[Point]:
    """Part of an ellipse between two angles in degrees, clockwise from the right."""
    angles = [math.radians(start + (end - start) * step / steps) for step in range(steps + 1)]
    return [(x + width * math.cos(angle), y + height * math.sin(angle)) for angle in angles]


def smooth(points: Sequence[Point], steps: int = 7) -> list[Point]:
    """A closed curve through the given points (Catmull-Rom)."""
    count = len(points)
    curve = []
    for index in range(count):
        before, first, second, after = (points[(index + offset) % count] for offset in (-1, 0, 1, 2))
        for step in range(steps):
            t = step / steps
            weights = (
                -0.5 * t + t**2 - 0.5 * t**3,
                1 - 2.5 * t**2 + 1.5 * t**3,
                0.5 * t + 2 * t**2 - 1.5 * t**3,
                -0.5 * t**2 + 0.5 * t**3,
            )
            knots = (before, first, second, after)
            x = sum(weight * knot[0] for weight, knot in zip(weights, knots, strict=True))
            y = sum(weight * knot[1] for weight, knot in zip(weights, knots, strict=True))
            curve.append((x, y))
    return curve


def mirrored(points: Sequence[Point]) -> list[Point]:
    """The same outline on the other side of the vertical axis."""
    return [(-x, y) for x, y in points]


def placement(rng: np.random.Generator, half_size: float, tilt: float, flip: bool = True) -> NDArray[np.float64]:
    """A random linear map from object units to picture units: size, tilt, slight stretch, left-right flip.

    Args:
        rng: Source of randomness.
        half_size: Length of one object unit, as a fraction of the picture's side.
        tilt: Largest rotation in degrees, either way.
        flip: Whether the object may be mirrored.

    Returns:
        Matrix of shape ``(2, 2)``.
    """
    angle = math.radians(rng.uniform(-tilt, tilt))
    turn = np.array([[math.cos(angle), -math.sin(angle)], [math.sin(angle), math.cos(angle)]])
    stretch = np.diag([rng.uniform(0.9, 1.1), rng.uniform(0.9, 1.1)])
    shear = np.array([[1.0, rng.uniform(-0.08, 0.08)], [0.0, 1.0]])
    mirror = np.diag([-1.0 if flip and rng.random() < 0.5 else 1.0, 1.0])
    matrix: NDArray[np.float64] = half_size * turn @ shear @ stretch @ mirror
    return matrix


class Pen:
    """Draws shapes given in object units (the object fills -1 to 1, y downwards) onto a picture.

    Args:
        image: The picture, RGB, square; drawn upon in place.
        matrix: Object units to fractions of the picture's side, ``(2, 2)``.
        centre: Where the object's origin lies, as fractions of the picture's side.
    """

    def __init__(self, image: Image.Image, matrix: NDArray[np.float64], centre: Point) -> None:
        self._image = image
        self._draw = ImageDraw.Draw(image, "RGBA")
        self._matrix = matrix
        self._centre = np.array(centre)
        self._unit = math.sqrt(abs(float(np.linalg.det(matrix)))) * image.width

    def moved(self, x: float, y: float, scale: float = 1.0) -> Pen:
        """A pen for a part of the object: its origin lies at ``(x, y)`` and its unit is `scale` times as long."""
        across, down = self._matrix @ np.array([x, y]) + self._centre
        return Pen(self._image, self._matrix * scale, (float(across), float(down)))

    def fill(self, outline: Sequence[Point], colour: Colour, opacity: float = 1.0) -> None:
        """Fill an outline, without an edge."""
        self._draw.polygon(self._pixels(outline), fill=(*colour, round(255 * opacity)))

    def solid(self, outline: Sequence[Point], colour: Colour, edge: float = 0.035) -> None:
        """Fill an outline and draw its edge in a darker tone of the colour."""
        self.fill(outline, colour)
        self.line([*outline, outline[0], outline[1]], edge, darker(colour, 0.5))

    def line(self, points: Sequence[Point], width: float, colour: Colour, opacity: float = 1.0) -> None:
        """Draw a line through the points, `width` in object units."""
        pixels = self._pixels(points)
        breadth = max(1, round(width * self._unit))
        paint = (*colour, round(255 * opacity))
        self._draw.line(pixels, fill=paint, width=breadth, joint="curve")
        if opacity == 1.0 and breadth > 2:
            for x, y in (pixels[0], pixels[-1]):
                radius = (breadth - 1) / 2
                self._draw.ellipse((x - radius, y - radius, x + radius, y + radius), fill=paint)

    def ball(self, x: float, y: float, radius: float, colour: Colour, edge: float = 0.035) -> None:
        """Draw a sphere lit from the upper left."""
        self.solid(oval(x, y, radius, radius), darker(colour, 0.25), edge)
        for step in range(1, 9):
            share = step / 8
            shrunk = radius * (1 - 0.85 * share) * 0.97
            offset = -0.3 * radius * share
            tone = blend(darker(colour, 0.25), lighter(colour, 0.35), share)
            self.fill(oval(x + offset, y + offset, shrunk, shrunk), tone)

    def strokes(
        self,
        rng: np.random.Generator,
        area: tuple[float, float, float, float],
        colour: Colour,
        count: int,
        length: float,
        width: float = 0.02,
    ) -> None:
        """Cover an ellipse with short hairs that point away from its middle.

        Args:
            rng: Source of randomness.
            area: Centre x, y and half axes of the ellipse.
            colour: Colour around which the hairs vary.
            count: How many hairs.
            length: Length of a hair.
            width: Width of a hair.
        """
        x, y, width_area, height_area = area
        for _ in range(count):
            angle, distance = rng.uniform(0, 2 * math.pi), math.sqrt(rng.random())
            start = (x + width_area * distance * math.cos(angle), y + height_area * distance * math.sin(angle))
            lean = angle + rng.normal(0, 0.5)
            end = (start[0] + length * math.cos(lean), start[1] + length * (math.sin(lean) + 0.4))
            tone = lighter(colour, rng.uniform(0, 0.35)) if rng.random() < 0.5 else darker(colour, rng.uniform(0, 0.3))
            self.line([start, end], width, tone)

    def shadow(self, x: float, y: float, width: float, height: float) -> None:
        """Draw a soft shadow on the ground."""
        for step in range(4):
            share = 1 - step / 4
            self.fill(oval(x, y, width * share, height * share), (20, 16, 24), 0.1)

    def _pixels(self, points: Sequence[Point]) -> list[Point]:
        placed = (np.asarray(points, dtype=np.float64) @ self._matrix.T + self._centre) * self._image.width
        return [(float(x), float(y)) for x, y in placed]
