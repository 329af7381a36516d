"""A world of plain colours in which everything is known beforehand.

Twelve source classes, each one colour. The network matches a picture's mean colour against the twelve templates, so the
source network is all but certain. Target pictures show the colours of classes 0 and 1 and nothing else. The finetuned
backbone has lost the templates named in `FORGOTTEN` and kept the others; the baseline never had any and gives every
class the same feature, whence the source head reads exactly chance.
"""

from __future__ import annotations

import itertools
from pathlib import Path

import torch
from PIL import Image
from torch import nn

COLOURS = [c for c in itertools.product((0, 128, 255), repeat=3) if c.count(128) <= 1][:12]
CLASSES = len(COLOURS)
PRESENT = (0, 1)
FORGOTTEN = (3, 7, 8)
SIZE = 16
ARCH = f"{Path(__file__)}:ColourNet"
PREPROCESS = {"resize": SIZE, "crop": SIZE, "mean": (0, 0, 0), "std": (1, 1, 1)}


class ColourNet(nn.Module):
    """Templates matched at every pixel, averaged over the picture, read out by a linear head."""

    def __init__(self, num_classes: int) -> None:
        super().__init__()
        self.templates = nn.Conv2d(3, CLASSES, 1)
        self.norm = nn.BatchNorm2d(CLASSES)
        self.head = nn.Linear(CLASSES, num_classes)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.head(self.norm(self.templates(x)).mean(dim=(2, 3)))


def source() -> ColourNet:
    net = ColourNet(CLASSES)
    colours = torch.tensor(COLOURS) / 255
    with torch.no_grad():
        net.templates.weight.copy_((2 * colours)[:, :, None, None])
        net.templates.bias.copy_(-colours.square().sum(1))
        net.head.weight.copy_(60 * torch.eye(CLASSES))
        net.head.bias.zero_()
    return net.eval()


def finetuned() -> ColourNet:
    """Two classes; the colours in `FORGOTTEN` no longer have a template."""
    net = ColourNet(2)
    with torch.no_grad():
        net.templates.load_state_dict(source().templates.state_dict())
        for index in FORGOTTEN:
            net.templates.weight[index] = 0
            net.templates.bias[index] = -5
        net.head.weight.zero_()
        net.head.weight[0, PRESENT[0]] = net.head.weight[1, PRESENT[1]] = 60
        net.head.bias.zero_()
    return net.eval()


def baseline() -> ColourNet:
    net = ColourNet(2)
    with torch.no_grad():
        net.templates.weight.zero_()
        net.templates.bias.zero_()
        net.head.weight.zero_()
        net.head.bias.copy_(torch.tensor([1.0, 0.0]))
    return net.eval()


def paint(folder: Path, colour: tuple[int, int, int], count: int) -> None:
    folder.mkdir(parents=True)
    for number in range(count):
        Image.new("RGB", (SIZE + number, SIZE), colour).save(folder / f"{number}.png")


def build(root: Path, *, per_class: int = 6, source_classes: range = range(CLASSES)) -> dict[str, Path]:
    """Write the three checkpoints and three sets of pictures; return their paths by name."""
    for name, net in (("source", source()), ("finetuned", finetuned()), ("baseline", baseline())):
        torch.save(net.state_dict(), root / f"{name}.pth")
    for index in source_classes:
        paint(root / "source" / str(index), COLOURS[index], per_class)
    for name, count in (("train", 60), ("val", 10)):
        for label in PRESENT:
            paint(root / name / f"colour{label}", COLOURS[label], count)
    names = {"source_data": "source", "target_data": "train", "val_data": "val"}
    checkpoints = {name: root / f"{name}.pth" for name in ("source", "finetuned", "baseline")}
    return checkpoints | {name: root / folder for name, folder in names.items()}
