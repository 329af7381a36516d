"""Pictures drawn for the tests: noise, so that no resize, crop or turn goes unnoticed."""

from __future__ import annotations

import io
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from PIL import Image

from tlaudit.results import Preprocessing

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

SMALL = Preprocessing(resize=36, crop=32, interpolation="bilinear", mean=(0.5,) * 3, std=(0.25,) * 3, origin="test")


@pytest.fixture
def small() -> Preprocessing:
    """A preprocessing that is quick."""
    return SMALL


@pytest.fixture
def noise() -> Callable[..., Image.Image]:
    """Draw a picture of a size, in a mode."""

    def draw(width: int = 50, height: int = 40, mode: str = "RGB", seed: int = 0) -> Image.Image:
        values = np.random.default_rng(seed).integers(0, 256, (height, width, 4), dtype=np.uint8)
        return Image.fromarray(values[..., :3]).convert(mode) if mode != "RGBA" else Image.fromarray(values)

    return draw


@pytest.fixture
def encode() -> Callable[..., bytes]:
    """Give the bytes of an image file."""

    def write(image: Image.Image, kind: str, **options: Any) -> bytes:
        stream = io.BytesIO()
        image.save(stream, kind, **options)
        return stream.getvalue()

    return write


@pytest.fixture
def photos(tmp_path: Path, noise: Callable[..., Image.Image]) -> Path:
    """A labelled set of 23 pictures of several sizes in three class folders, in a folder of its own."""
    root = tmp_path / "photos"
    for number in range(23):
        folder = root / ("ant", "bee", "cat")[number % 3]
        folder.mkdir(parents=True, exist_ok=True)
        picture = noise(40 + 3 * number, 60 - number, seed=number)
        picture.save(folder / f"{number:02d}.{('jpg', 'png')[number % 2]}")
    return root
