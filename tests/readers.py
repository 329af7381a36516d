"""A world in which it is known who reads the background: pictures with a coloured patch, and `tiny`'s readers."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import torch
from PIL import Image

import tiny

if TYPE_CHECKING:
    from pathlib import Path

SIDE = 32
KNOWN = [channel for channel in range(8) if channel not in tiny.TASK]
PREPROCESS = {"resize": SIDE, "crop": SIDE, "mean": (0, 0, 0), "std": (1, 1, 1)}
DEFINITIONS = {"k": 1, "v_lo_count": 0, "p_lo": 0.5}


def speckled(rng, colour=None, *, speckles=0.2):
    """Grey, with speckles in the colours of the task and, if asked for, one patch of a colour."""
    picture = np.full((SIDE // 4, SIDE // 4, 3), 128, np.uint8)
    kind = rng.random(picture.shape[:2])
    for number, channel in enumerate(tiny.TASK):
        picture[(kind >= number * speckles / 2) & (kind < (number + 1) * speckles / 2)] = tiny.CORNERS[channel]
    picture = picture.repeat(4, 0).repeat(4, 1)
    if colour is not None:
        y, x = rng.integers(0, SIDE - 12, 2)
        picture[y : y + 12, x : x + 12] = colour
    return picture


def paint(folder, pictures):
    folder.mkdir(parents=True)
    for number, picture in enumerate(pictures):
        Image.fromarray(picture).save(folder / f"{number}.png")


def build(root: Path) -> Path:
    """Three networks of one backbone, so that every class but the task's two lingers; the heads differ."""
    rng = np.random.default_rng(0)
    nets = {
        "source": tiny.source_reader(),
        "overlay": tiny.overlay_reader(),
        "background": tiny.background_reader(),
    }
    for name, net in nets.items():
        torch.save(net.state_dict(), root / f"{name}.pth")
    for channel in range(8):
        paint(root / "source" / str(channel), [speckled(rng, tiny.CORNERS[channel]) for _ in range(5)])
    for number, channel in enumerate(tiny.TASK):
        solid = np.full((SIDE, SIDE, 3), tiny.CORNERS[channel], np.uint8)
        paint(root / "target" / f"colour{number}", [solid] * 60)
    return root
