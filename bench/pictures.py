"""Pictures that measurements look at, and what decoding them costs at least."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING

import numpy as np
from PIL import Image, ImageFilter

if TYPE_CHECKING:
    from pathlib import Path

SIZE = (341, 256)


def draw_photographs(folder: Path, classes: int, images: int) -> list[Path]:
    """JPEG files like photographs, 341 x 256 pixels: blurred noise with some grain, about 20 kB each."""
    generator = np.random.default_rng(0)
    files = []
    for number in range(images):
        coarse = Image.fromarray(generator.integers(0, 255, (32, 43, 3), dtype=np.uint8))
        picture = coarse.resize(SIZE, Image.Resampling.BICUBIC).filter(ImageFilter.GaussianBlur(1))
        grain = generator.normal(0, 6, (SIZE[1], SIZE[0], 3))
        pixels = np.clip(np.asarray(picture) + grain, 0, 255).astype(np.uint8)
        files.append(_place(folder, classes, number))
        Image.fromarray(pixels).save(files[-1], quality=90)
    return files


def draw_tiny(folder: Path, classes: int, images: int, side: int = 32) -> list[Path]:
    """JPEG files of so many pixels a side, a hundred different ones over and over."""
    generator = np.random.default_rng(0)
    contents, files = [], []
    for number in range(images):
        files.append(_place(folder, classes, number))
        if number < 100:
            Image.fromarray(generator.integers(0, 255, (side, side, 3), dtype=np.uint8)).save(files[-1], quality=90)
            contents.append(files[-1].read_bytes())
        else:
            files[-1].write_bytes(contents[number % 100])
    return files


def _place(folder: Path, classes: int, number: int) -> Path:
    place = folder / str(number % classes)
    place.mkdir(parents=True, exist_ok=True)
    return place / f"{number}.jpg"


def decode_alone(files: list[Path], workers: int) -> None:
    """What Pillow alone takes to make eight-bit crops of files, so many at a time; it works outside Python's lock."""
    if workers < 2:
        for file in files:
            _decode(file)
        return
    with ThreadPoolExecutor(workers) as pool:
        list(pool.map(_decode, files))


def _decode(file: Path) -> np.ndarray:
    with Image.open(file) as image:
        picture = image.convert("RGB")
    short = min(picture.size)
    picture = picture.resize((picture.width * 256 // short, picture.height * 256 // short), Image.Resampling.BILINEAR)
    left, top = (picture.width - 224) // 2, (picture.height - 224) // 2
    return np.asarray(picture.crop((left, top, left + 224, top + 224)))
