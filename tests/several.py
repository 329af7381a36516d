"""Networks and pictures for what several processes do together; one network gets into trouble in one of them."""

from __future__ import annotations

import os
import signal
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from torch import nn

import tiny

SIDE, CLASSES, PER_CLASS = 16, 5, 9
ARCH = f"{Path(__file__)}:Net"
TROUBLED = f"{Path(__file__)}:Troubled"
PREPROCESS = {
    "resize": SIDE,
    "crop": SIDE,
    "mean": (0.5, 0.5, 0.5),
    "std": (0.25, 0.25, 0.25),
    "baseline": {"std": (0.3, 0.3, 0.3)},
}


class Net(nn.Module):
    """No bias before a batch norm: its gradient is 0 but for rounding, which AdamW makes steps of."""

    def __init__(self, num_classes: int) -> None:
        super().__init__()
        self.features = nn.Sequential(
            nn.Conv2d(3, 6, 3, bias=False),
            nn.BatchNorm2d(6),
            nn.ReLU(),
            nn.Conv2d(6, 6, 3, bias=False),
            nn.BatchNorm2d(6),
            nn.ReLU(),
        )
        self.fc = nn.Linear(6, num_classes)

    def forward(self, x):
        return self.fc(self.features(x).mean(dim=(2, 3)))


def paint(folder, classes, per_class, seed):
    rng = np.random.default_rng(seed)
    for index in range(classes):
        (folder / f"c{index}").mkdir(parents=True)
        for number in range(per_class):
            pixels = rng.integers(0, 200, (SIDE + 4, SIDE + 6, 3), dtype=np.uint8)
            pixels[..., index % 3] += 50
            Image.fromarray(pixels).save(folder / f"c{index}" / f"{number}.png")


def build(root):
    """Three small networks, pictures whose numbers no number of processes divides, one that cannot be read."""
    for name, classes, seed in (("source", CLASSES, 1), ("finetuned", 2, 2), ("baseline", 2, 3)):
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            names = [f"c{index}" for index in range(classes)]
            state = tiny.stirred(Net(classes)).state_dict()
        tiny.saved(root / f"{name}.pth", {"state_dict": state, "classes": names})
    paint(root / "images", CLASSES, PER_CLASS, 0)
    paint(root / "target", 2, 7, 1)
    paint(root / "val", 2, 5, 2)
    (root / "images" / "c2" / "4.png").write_bytes(b"no picture")
    return root


class Troubled(Net):
    """Fails in the second of several processes, in the way and at the pass that the environment says.

    The passes of all networks count together, in the environment: each network that is loaded is of a class of its own.
    """

    def forward(self, x):
        how, _, at = os.environ.get("TROUBLE", "").partition(" ")
        if os.environ.get("RANK") == "1" and how:
            passes = int(os.environ.get("TROUBLE_PASSES", 0)) + 1
            os.environ["TROUBLE_PASSES"] = str(passes)
            if passes >= int(at or 1):
                return self._fail(how, x)
        return super().forward(x)

    def _fail(self, how, x):
        if how == "killed":
            os.kill(os.getpid(), signal.SIGKILL)
        if how == "crashed":
            raise KeyError("planted")
        if how == "failed":
            raise RuntimeError("planted")
        if how == "ended":
            raise SystemExit(0)
        return super().forward(x) * torch.nan
