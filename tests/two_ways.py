"""Three small networks and pictures of noise; a second way through the tensors of `tiny.Own`."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from PIL import Image

import tiny

SIDE, CLASSES = 12, 4
STAGES = ("stem", "blocks.0", "blocks.1")
PREPROCESS = {"resize": SIDE, "crop": SIDE, "baseline": {"mean": (0.4, 0.4, 0.4)}}
OTHER = f"{Path(__file__)}:Other"


class Other(tiny.Own):
    """The tensors of `tiny.Own`, and another way through them."""

    def forward(self, x):
        x = self.stem(x)
        for block in self.blocks:
            x = block(x).sigmoid()
        return self.fc(x.mean(dim=(2, 3)))


def build(root, per_class):
    """Write the networks, and so many pictures of each class."""
    for name, classes, seed in (("source", CLASSES, 1), ("finetuned", 2, 2), ("baseline", 3, 3)):
        tiny.saved(root / f"{name}.pth", tiny.own(classes, seed))
    rng = np.random.default_rng(0)
    for index in range(CLASSES):
        (root / "images" / str(index)).mkdir(parents=True)
        for number in range(per_class):
            pixels = rng.integers(0, 256, (SIDE, SIDE, 3), dtype=np.uint8)
            Image.fromarray(pixels).save(root / "images" / str(index) / f"{number}.png")
    return root
