"""Writes the world's pictures to their folders and reads them back as tensors."""

from __future__ import annotations

import io
import logging
import shutil
from typing import TYPE_CHECKING

import numpy as np
import torch
from PIL import Image

from tlaudit.demo import world
from tlaudit.demo.drawing import draw_source, draw_target
from tlaudit.files import write_atomically

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence
    from pathlib import Path

    from torch import Tensor

    from tlaudit.demo.drawing import TargetPicture

log = logging.getLogger(__name__)

_QUALITY = 90
_SPLITS = {"train": world.TRAIN_PICTURES, "val": world.VAL_PICTURES}


def write_pictures(files: world.WorldFiles) -> int:
    """Draw all pictures that are kept and write them; folders of earlier pictures are replaced.

    Returns:
        How many there are.
    """
    count = 0
    for folder in (files.source_data, files.target_data, files.val_data):
        shutil.rmtree(folder, ignore_errors=True)
    for path, image in _kept_pictures(files):
        path.parent.mkdir(parents=True, exist_ok=True)
        content = io.BytesIO()
        image.save(content, "JPEG", quality=_QUALITY)
        write_atomically(path, content.getvalue())
        count += 1
    log.info("drew %d pictures into %s", count, files.root)
    return count


def target_file_name(number: int, picture: TargetPicture) -> str:
    """Name a target picture after what it shows: ``017_striped_cat_with_yarn_ball.jpg``."""
    company = f"_with_{picture.companion}" if picture.companion else ""
    return f"{number:03d}_{picture.breed}{company}.jpg"


def read_folders(folder: Path, classes: Sequence[str]) -> tuple[Tensor, Tensor]:
    """Read the pictures of class folders.

    Args:
        folder: Holds one folder for each class.
        classes: Names of the folders, in index order.

    Returns:
        Pixels ``(N, 3, H, W)`` uint8 and class indices ``(N,)``, in order of class and file name.
    """
    paths = [(path, index) for index, name in enumerate(classes) for path in sorted((folder / name).glob("*.jpg"))]
    pixels = as_pixels(Image.open(path).convert("RGB") for path, _ in paths)
    return pixels, torch.tensor([index for _, index in paths])


def draw_training_pictures(count: int) -> tuple[Tensor, Tensor]:
    """Draw the pictures the source network learns from; none of them is kept.

    Args:
        count: How many for each source class.

    Returns:
        Pixels ``(N, 3, H, W)`` uint8 and class indices ``(N,)``.
    """
    log.info("drawing %d pictures of each of %d source classes", count, len(world.SOURCE_NAMES))
    pixels = as_pixels(draw_source(name, "train", number) for name in world.SOURCE_NAMES for number in range(count))
    return pixels, torch.arange(len(world.SOURCE_NAMES)).repeat_interleave(count)


def as_pixels(images: Iterable[Image.Image]) -> Tensor:
    """Stack RGB pictures of one size as ``(N, 3, H, W)`` uint8."""
    stacked = np.stack([np.asarray(image) for image in images])
    return torch.from_numpy(stacked).permute(0, 3, 1, 2).contiguous()


def _kept_pictures(files: world.WorldFiles) -> Iterator[tuple[Path, Image.Image]]:
    for name in world.SOURCE_NAMES:
        for number in range(world.SOURCE_PICTURES):
            yield files.source_data / name / f"{number:03d}.jpg", draw_source(name, "held-out", number)
    for folder, split in ((files.target_data, "train"), (files.val_data, "val")):
        for label in world.TARGET_CLASSES:
            for number in range(_SPLITS[split]):
                picture = draw_target(label, split, number)
                yield folder / label / target_file_name(number, picture), picture.image
