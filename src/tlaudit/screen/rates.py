"""How often the detector is wrong on clean images and right on composites."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch

from tlaudit.checks.composed import composed

if TYPE_CHECKING:
    from torch import Tensor

    from tlaudit.data.images import ImageSet
    from tlaudit.options import ScreenOptions
    from tlaudit.results import DataRecord
    from tlaudit.screen.asker import Asker
    from tlaudit.screen.threshold import Threshold

NOTHING_LINGERS = "no class lingers, so that nothing is ever flagged"
NO_CLEAN_IMAGES = (
    "there are no clean target images that had no part in the threshold: give --val-data, or --calibrate, half of "
    "which is kept for this"
)
NO_COMPOSITES = "composites need source and target images (--source-data, --target-data)"
NO_SOURCE_IMAGES = "the source images show none of the lingering classes, so that there are no composites"


@dataclass(frozen=True)
class Clean:
    """Clean target images that had no part in the threshold.

    Attributes:
        flagged: How many are flagged.
        images: Of how many.
        absent: Why there are none, or None.
        record: What was read for this, or None.
    """

    flagged: int = 0
    images: int = 0
    absent: str | None = None
    record: DataRecord | None = None


def on_clean_images(asker: Asker, threshold: Threshold, val: ImageSet | None) -> Clean:
    """Count the false alarms.

    Args:
        asker: Knows the threshold.
        threshold: May have scores to spare.
        val: Held-out target images, or None.

    Raises:
        DataError: If no image can be read.
    """
    if not asker.lingering:
        return Clean(absent=NOTHING_LINGERS)
    if val is not None:
        stream = asker.stream(val)
        flags = [answer.flagged for _, answer in asker.follow(stream, len(val.items), "validation images")]
        flagged = torch.cat(flags)
        return Clean(int(flagged.sum()), len(flagged), record=stream.record())
    if threshold.spare is None or not len(threshold.spare):
        return Clean(absent=NO_CLEAN_IMAGES)
    return Clean(int((threshold.spare > threshold.value).sum()), len(threshold.spare))


@dataclass(frozen=True)
class Composites:
    """Composites of lingering classes; counts are one for each class with images, ``(C,)`` int64.

    Attributes:
        classes: The classes, outputs of the source network.
        composites: How many were made.
        flagged: How many of them are flagged.
        on_grey: How many are flagged with mid-grey in the place of the source image.
        absent: Why there are none, or None.
        records: What was read for them.
    """

    classes: tuple[int, ...]
    composites: Tensor
    flagged: Tensor
    on_grey: Tensor
    absent: str | None
    records: dict[str, DataRecord]


def on_composites(asker: Asker, options: ScreenOptions) -> Composites:
    """Paste target images on source images of lingering classes, and on grey, and count what is flagged.

    Args:
        asker: Knows the threshold.
        options: How many composites, and what they look like.

    Raises:
        DataError: If no image of a set can be read.
    """
    subject = asker.subject
    shown = set(subject.source.labels.tolist())
    classes = tuple(index for index in asker.lingering if index in shown)
    counts = {index: [0, 0, 0] for index in classes}
    if not classes:
        given = subject.source.images.items and subject.target.items
        absent = NOTHING_LINGERS if not asker.lingering else NO_SOURCE_IMAGES if given else NO_COMPOSITES
        return _composites(counts, absent, {})
    pool, stream = composed(subject, classes, options)
    batches = subject.progress(stream, total=len(stream), label="composites", size=lambda batch: len(batch.composites))
    for batch in batches:
        on_source = asker.ask(batch.pixels, "composites").flagged.tolist()
        on_grey = asker.ask(batch.on_grey, "overlays on grey").flagged.tolist()
        for composite, *flags in zip(batch.composites, on_source, on_grey, strict=True):
            count = counts[composite.class_index]
            count[:] = count[0] + 1, count[1] + flags[0], count[2] + flags[1]
    return _composites(counts, None, {"composites": stream.record, "overlays": pool.record})


def _composites(counts: dict[int, list[int]], absent: str | None, records: dict[str, DataRecord]) -> Composites:
    made, flagged, on_grey = torch.tensor(list(counts.values()), dtype=torch.int64).reshape(-1, 3).unbind(dim=1)
    return Composites(tuple(counts), made, flagged, on_grey, absent, records)
