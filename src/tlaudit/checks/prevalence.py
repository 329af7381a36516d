"""Which source classes the target images show: one pass over them through the source network."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch

from tlaudit.checks.remembered import Past, answer
from tlaudit.measure.prevalence import prevalence

if TYPE_CHECKING:
    from torch import Tensor

    from tlaudit.checks.base import Subject
    from tlaudit.results import DataRecord

LABEL = "target images"
MOST_RANKS = 10
"""Up to so many most probable classes of an image are counted at once, for later runs (ours)."""


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
    past = Past(subject, subject.target, networks, LABEL)
    # One pass answers for every small k.
    several = past.used and k <= MOST_RANKS
    ranks = range(1, min(MOST_RANKS, subject.pair.source.num_classes) + 1) if several else range(k, k + 1)
    question = past.question("shown classes", networks, ranks=list(ranks))
    found = past.find({"source network": question})
    if found:
        entry = found["source network"]
        return entry.tensors["counts"][k - ranks[0]], past.record(entry)
    counts = torch.zeros(len(ranks), subject.pair.source.num_classes, dtype=torch.int64)

    def count(_: Tensor, scores: dict[str, Tensor]) -> None:
        for row, rank in zip(counts, ranks, strict=True):
            row.add_(prevalence(scores["source"], rank))

    record = subject.predict(subject.target, networks, LABEL).ask(count)
    subject.group.sum_([counts])
    past.keep([(question, answer(counts=counts))], record)
    return counts[k - ranks[0]], record
