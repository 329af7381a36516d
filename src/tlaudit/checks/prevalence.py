"""Which source classes the target images show: one pass over them through the source network."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch

from tlaudit.measure.prevalence import prevalence

if TYPE_CHECKING:
    from torch import Tensor

    from tlaudit.checks.base import Subject
    from tlaudit.results import DataRecord

LABEL = "target images"


def shown_classes(subject: Subject, k: int) -> tuple[Tensor, DataRecord]:
    """Count the target images that show each source class among the k most probable.

    Args:
        subject: Source network and target images.
        k: How many classes an image counts for.

    Returns:
        Counts, ``(K,)`` int64, and which images were read.

    Raises:
        UsageError: If the network cannot work on images of this size.
        DataError: If no image can be read, or the network gives NaN.
    """
    networks = {"source": subject.network(subject.pair.source.module, "source")}
    counts = torch.zeros(subject.pair.source.num_classes, dtype=torch.int64)

    def count(_: Tensor, scores: dict[str, Tensor]) -> None:
        counts.add_(prevalence(scores["source"], k))

    record = subject.predict(subject.target, networks, LABEL).ask(count)
    subject.group.sum_([counts])
    return counts, record
