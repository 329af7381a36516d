"""Pictures of some classes, decoded once and kept, for those who draw from them again and again."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Self

import numpy as np
import torch

from tlaudit.data.folders import printable
from tlaudit.data.images import ImageStream
from tlaudit.errors import DataError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from torch import Tensor

    from tlaudit.data.images import ImageSet
    from tlaudit.results import DataRecord, Preprocessing

MOST = 1000
"""Pictures that are kept, 143 MiB of them at 224 pixels (ours)."""


@dataclass(frozen=True, eq=False)
class PicturePool:
    """Decoded pictures.

    Attributes:
        pixels: ``(M, 3, crop, crop)`` uint8 in channels-last memory.
        labels: Class of each, ``(M,)`` int64.
        available: Pictures of these classes in the set they were taken from.
        record: Which files were read, and which could not be.
    """

    pixels: Tensor
    labels: Tensor
    available: int
    record: DataRecord

    @classmethod
    def load(
        cls,
        images: ImageSet,
        labels: Tensor,
        classes: Sequence[int],
        preprocessing: Preprocessing,
        *,
        seed: int,
        batch_size: int,
        workers: int,
        most: int = MOST,
    ) -> Self:
        """Decode pictures of some classes, as many of each as there is room for.

        Where there are more than `most`, they are taken from the classes in turn, in the order given, and of each class
        in an order drawn by the seed. A file that cannot be used is left out, and none is taken in its place.

        Args:
            images: The set.
            labels: Class of each item, ``(N,)`` int64.
            classes: Wanted ones, each once.
            preprocessing: How pictures become pixels.
            seed: Of the choice, at least 0.
            batch_size: Pictures decoded together.
            workers: Processes that decode.
            most: How many pictures are kept at most.

        Raises:
            DataError: If there is no picture of these classes that can be used.
        """
        chosen = _chosen(labels, classes, most, seed)
        if not chosen:
            raise DataError(
                f"{printable(str(images.root))}: expected images of {len(classes)} source classes, found none"
            )
        subset = images.part(chosen, unread=())
        stream = ImageStream(subset, [preprocessing], batch_size=batch_size, workers=workers)
        read = [(batch.index, batch.pixels[preprocessing.geometry]) for batch in stream]
        pixels = torch.cat([pictures for _, pictures in read]).contiguous(memory_format=torch.channels_last)
        places = torch.cat([index for index, _ in read])
        available = int(torch.isin(labels, torch.tensor(classes)).sum())
        return cls(pixels, labels[torch.tensor(chosen)[places]], available, stream.record())


def _chosen(labels: Tensor, classes: Sequence[int], most: int, seed: int) -> list[int]:
    """Item numbers in rising order."""
    turns: list[tuple[int, int, int]] = []
    for place, index in enumerate(classes):
        own = (labels == index).nonzero()[:, 0].numpy()
        drawn = np.random.default_rng([seed, index]).permutation(own)
        turns += [(turn, place, item) for turn, item in enumerate(drawn.tolist())]
    return sorted(item for _, _, item in sorted(turns)[:most])
