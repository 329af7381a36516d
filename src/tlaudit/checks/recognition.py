"""How well several networks know labelled images, in one pass over them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch

if TYPE_CHECKING:
    from collections.abc import Mapping

    from torch import Tensor

    from tlaudit.checks.base import LabelledImages, Network, Subject
    from tlaudit.results import DataRecord


@dataclass(frozen=True)
class Recognition:
    """What each network says of each image's own class, N images.

    Attributes:
        labels: Class of each image that could be read, ``(N,)`` int64, in the set's order.
        own: For each network the probability of that class, ``(N,)`` float32 in [0, 1].
        right: For each network whether that class was the most probable one, ``(N,)`` bool.
        record: Which images were read.
    """

    labels: Tensor
    own: dict[str, Tensor]
    right: dict[str, Tensor]
    record: DataRecord


def recognise(subject: Subject, data: LabelledImages, networks: Mapping[str, Network], label: str) -> Recognition:
    """Ask several networks about labelled images; every file is decoded once.

    Args:
        subject: Whose execution is used.
        data: Images and their classes, numbered as the networks' outputs are.
        networks: Networks by name.
        label: Shown beside the progress.

    Raises:
        UsageError: If a network cannot work on images of this size.
        DataError: If no image can be read, or a network gives NaN.
    """
    labels: list[Tensor] = []
    own: dict[str, list[Tensor]] = {name: [] for name in networks}
    right: dict[str, list[Tensor]] = {name: [] for name in networks}
    prediction = subject.predict(data.images, networks, label)
    for index, scores in prediction:
        labels.append(data.labels[index])
        for name, probabilities in scores.items():
            host = probabilities.cpu()
            own[name].append(host.gather(1, labels[-1][:, None])[:, 0])
            right[name].append(host.argmax(dim=1) == labels[-1])
    return Recognition(
        labels=torch.cat(labels),
        own={name: torch.cat(parts) for name, parts in own.items()},
        right={name: torch.cat(parts) for name, parts in right.items()},
        record=prediction.record,
    )
