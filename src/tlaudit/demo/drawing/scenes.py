"""Whole pictures of both domains, each fixed by its place in the world alone."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from PIL import Image

from tlaudit.demo import world
from tlaudit.demo.drawing import animals, food, things, toys
from tlaudit.demo.drawing.backgrounds import paint_background
from tlaudit.demo.drawing.canvas import Pen, placement

if TYPE_CHECKING:
    from collections.abc import Callable

    Painter = Callable[[Pen, np.random.Generator], None]

OVERSAMPLING = 3
"""Pictures are drawn this many times larger and then reduced, for smooth edges."""

TILT = {"door_key": 180.0, "pencil": 180.0, "dice": 30.0, "tennis_ball": 180.0, "yarn_ball": 30.0, "guitar": 60.0}
"""How far a thing may be turned, in degrees; 20 where nothing is said."""


def painter_of(name: str) -> Painter:
    """Look up the function that draws a source class; it bears the name of the class."""
    for module in (animals, food, things, toys):
        if name in vars(module):
            painter: Painter = vars(module)[name]
            return painter
    raise KeyError(f"no painter draws {name!r}")


def generator(domain: str, split: str, label: str, number: int) -> np.random.Generator:
    """Randomness of one picture: it depends on the picture's place in the world and on nothing else."""
    words = f"{domain}/{split}/{label}/{number}".encode()
    return np.random.default_rng([world.WORLD_SEED, *words])


def draw_source(name: str, split: str, number: int) -> Image.Image:
    """Draw one picture of a source class.

    Args:
        name: A name of `world.SOURCE_NAMES`.
        split: "train" or "held-out"; the splits share no picture.
        number: Which picture of the split.

    Returns:
        RGB picture, `world.IMAGE_SIZE` pixels a side.
    """
    rng = generator("source", split, name, number)
    canvas = _background(rng)
    if name in world.COMPANIONS and rng.random() < 0.5:
        animals = [breed for breeds in world.BREEDS.values() for breed in breeds]
        _place_pair(canvas, rng, animals[int(rng.integers(len(animals)))], name)
    else:
        _place(canvas, rng, name, rng.uniform(0.24, 0.46))
    return _finish(canvas)


def draw_target(label: str, split: str, number: int) -> tuple[Image.Image, str, str | None]:
    """Draw one picture of the target domain: a cat or a dog, sometimes with something to play with.

    Args:
        label: "cat" or "dog".
        split: "train" or "val".
        number: Which picture of the split; breeds and companions take turns.

    Returns:
        The RGB picture, the source class of the animal, and that of the thing beside it, if any.
    """
    rng = generator("target", split, label, number)
    breeds = world.BREEDS[label]
    breed = breeds[number % len(breeds)]
    toy = world.COMPANIONS[number // 3 % 2] if rng.random() < COMPANY else None
    canvas = _background(rng)
    if toy is None:
        _place(canvas, rng, breed, rng.uniform(0.32, 0.5))
    else:
        _place_pair(canvas, rng, breed, toy)
    return _finish(canvas), breed, toy


COMPANY = 0.4


def _background(rng: np.random.Generator) -> Image.Image:
    side = world.IMAGE_SIZE * OVERSAMPLING
    return paint_background(rng, world.IMAGE_SIZE).resize((side, side), Image.Resampling.BICUBIC)


def _place(canvas: Image.Image, rng: np.random.Generator, name: str, half_size: float) -> None:
    slack = max(0.04, 0.52 - half_size)
    centre = (0.5 + rng.uniform(-slack, slack), 0.5 + rng.uniform(-slack, slack))
    _place_at(canvas, rng, name, half_size, centre)


def _place_pair(canvas: Image.Image, rng: np.random.Generator, animal: str, toy: str) -> None:
    """Draw an animal with a toy in front of it, on either side."""
    side = 1 if rng.random() < 0.5 else -1
    size, toy_size = rng.uniform(0.28, 0.4), rng.uniform(0.2, 0.36)
    _place_at(canvas, rng, animal, size, (0.5 - side * rng.uniform(0.12, 0.2), rng.uniform(0.36, 0.48)))
    _place_at(canvas, rng, toy, toy_size, (0.5 + side * rng.uniform(0.18, 0.26), 0.98 - toy_size))


def _place_at(
    canvas: Image.Image, rng: np.random.Generator, name: str, half_size: float, centre: tuple[float, float]
) -> None:
    matrix = placement(rng, half_size, TILT.get(name, 20.0))
    painter_of(name)(Pen(canvas, matrix, centre), rng)


def _finish(canvas: Image.Image) -> Image.Image:
    return canvas.resize((world.IMAGE_SIZE, world.IMAGE_SIZE), Image.Resampling.LANCZOS)
