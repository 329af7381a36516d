"""Whole pictures of both domains, each fixed by its place in the world alone."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import numpy as np
from PIL import Image

from tlaudit.demo import world
from tlaudit.demo.drawing import animals, food, things, toys
from tlaudit.demo.drawing.backgrounds import paint_background
from tlaudit.demo.drawing.canvas import Pen, placement

if TYPE_CHECKING:
    from collections.abc import Callable

    Painter = Callable[[Pen, np.random.Generator], None]

_OVERSAMPLING = 3
"""Pictures are drawn this many times larger and then reduced, for smooth edges."""

_TILT = {"door_key": 180.0, "pencil": 180.0, "tennis_ball": 180.0, "guitar": 60.0, "dice": 30.0, "yarn_ball": 30.0}
"""How far a thing may be turned either way, in degrees."""
_USUAL_TILT = 20.0

_COMPANY = 0.4
"""Share of the target pictures in which the animal has something to play with."""


class TargetPicture(NamedTuple):
    """A picture of the target domain and the source classes it shows."""

    image: Image.Image
    breed: str
    companion: str | None


def painter_of(name: str) -> Painter:
    """Look up the function that draws a source class; it bears the name of the class.

    Raises:
        KeyError: If there is none.
    """
    for module in (animals, food, things, toys):
        if name in world.SOURCE_NAMES and name in vars(module):
            painter: Painter = vars(module)[name]
            return painter
    raise KeyError(f"no painter draws {name!r}")


def draw_source(name: str, split: str, number: int) -> Image.Image:
    """Draw one picture of a source class.

    Half of the pictures of the two toys show an animal as well, as photographs of tennis balls tend to show dogs.

    Args:
        name: One of `world.SOURCE_NAMES`.
        split: Any word; splits share no picture.
        number: Which picture of the split.

    Returns:
        RGB picture, `world.IMAGE_SIZE` pixels a side.
    """
    rng = _generator("source", split, name, number)
    canvas = _background(rng)
    if name in world.COMPANIONS and rng.random() < 0.5:
        animals_known = [breed for breeds in world.BREEDS.values() for breed in breeds]
        _place_pair(canvas, rng, animals_known[int(rng.integers(len(animals_known)))], name)
    else:
        _place_alone(canvas, rng, name, rng.uniform(0.24, 0.46))
    return _finish(canvas)


def draw_target(label: str, split: str, number: int) -> TargetPicture:
    """Draw one picture of the target domain: a cat or a dog, sometimes with something to play with.

    Args:
        label: One of `world.TARGET_CLASSES`.
        split: Any word; splits share no picture.
        number: Which picture of the split. Breeds take turns, and so do the toys.

    Returns:
        The RGB picture, `world.IMAGE_SIZE` pixels a side, and which source classes are in it.
    """
    rng = _generator("target", split, label, number)
    breeds = world.BREEDS[label]
    breed = breeds[number % len(breeds)]
    has_company = rng.random() < _COMPANY
    companion = world.COMPANIONS[number // len(breeds) % len(world.COMPANIONS)] if has_company else None
    canvas = _background(rng)
    if companion is None:
        _place_alone(canvas, rng, breed, rng.uniform(0.32, 0.5))
    else:
        _place_pair(canvas, rng, breed, companion)
    return TargetPicture(_finish(canvas), breed, companion)


def _generator(*place: str | int) -> np.random.Generator:
    """Randomness of one picture: it depends on the picture's place in the world and on nothing else."""
    return np.random.default_rng([world.SEED, *"/".join(map(str, place)).encode()])


def _background(rng: np.random.Generator) -> Image.Image:
    side = world.IMAGE_SIZE * _OVERSAMPLING
    return paint_background(rng, world.IMAGE_SIZE).resize((side, side), Image.Resampling.BICUBIC)


def _finish(canvas: Image.Image) -> Image.Image:
    return canvas.resize((world.IMAGE_SIZE, world.IMAGE_SIZE), Image.Resampling.LANCZOS)


def _place_alone(canvas: Image.Image, rng: np.random.Generator, name: str, half_size: float) -> None:
    """Draw one thing anywhere in the picture, at most a little of it outside."""
    slack = max(0.04, 0.52 - half_size)
    _place(canvas, rng, name, half_size, (0.5 + rng.uniform(-slack, slack), 0.5 + rng.uniform(-slack, slack)))


def _place_pair(canvas: Image.Image, rng: np.random.Generator, animal: str, toy: str) -> None:
    """Draw an animal with a toy in front of it, on either side."""
    side = 1 if rng.random() < 0.5 else -1
    size, toy_size = rng.uniform(0.28, 0.4), rng.uniform(0.2, 0.36)
    _place(canvas, rng, animal, size, (0.5 - side * rng.uniform(0.12, 0.2), rng.uniform(0.36, 0.48)))
    _place(canvas, rng, toy, toy_size, (0.5 + side * rng.uniform(0.18, 0.26), 0.98 - toy_size))


def _place(
    canvas: Image.Image, rng: np.random.Generator, name: str, half_size: float, centre: tuple[float, float]
) -> None:
    matrix = placement(rng, half_size, _TILT.get(name, _USUAL_TILT))
    painter_of(name)(Pen(canvas, matrix, centre), rng)
