"""Decoding alone: our worker processes beside a DataLoader with as many, and beside Pillow without anything around it.

All give eight-bit crops of the same files, ours with a digest of each file. A pass includes starting the processes.
"""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

from torch.utils.data import DataLoader
from torchvision.datasets import ImageFolder
from torchvision.transforms import v2

from tlaudit.data.images import ImageSet, ImageStream
from tlaudit.models.preprocess import IMAGENET
from tlaudit.models.runtime import default_workers, resolve_device

from .pictures import decode_alone, draw_photographs
from .rounds import take_turns

if TYPE_CHECKING:
    from .options import Options
    from .rows import Row

BATCH = 64
PEER, PILLOW = "torchvision DataLoader", "Pillow alone"


def measure(options: Options) -> list[Row]:
    images = options.size(768, 48)
    rows = []
    with tempfile.TemporaryDirectory() as folder:
        files = draw_photographs(Path(folder), 2, images)
        for workers in sorted({0, default_workers(resolve_device(options.device))}):
            rounds = take_turns(
                {
                    "ours": lambda workers=workers: ours(Path(folder), workers),
                    PEER: lambda workers=workers: theirs(folder, workers),
                    PILLOW: lambda workers=workers: decode_alone(files, workers),
                },
                rounds=options.size(5, 1),
                warmup=options.size(1, 0),
            )
            what = f"{images} files, workers: {workers}"
            rows.append(rounds.row("decoding", what, "ours", unit="files/s", work=images, peer=PEER, bound=PILLOW))
    return rows


def ours(folder: Path, workers: int) -> None:
    images = ImageSet.scan(folder, labelled=True)
    for _ in ImageStream(images, [IMAGENET], batch_size=BATCH, workers=workers):
        pass


def theirs(folder: str, workers: int) -> None:
    chain = v2.Compose([v2.Resize(256), v2.CenterCrop(224), v2.PILToTensor()])
    for _ in DataLoader(ImageFolder(folder, chain), batch_size=BATCH, num_workers=workers):
        pass
