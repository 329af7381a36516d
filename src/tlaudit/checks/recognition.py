"""How well several networks know labelled images, in one pass over them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from torch import Tensor

    from tlaudit.checks.base import LabelledImages, Network, Subject
    from tlaudit.distributed import Group
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


class Recogniser:
    """Gathers, batch by batch and in any order, what networks say of labelled images."""

    def __init__(self, data: LabelledImages, names: Iterable[str]) -> None:
        """Begin with nothing said.

        Args:
            data: Images and their classes, numbered as the networks' outputs are.
            names: Of the networks.
        """
        self._classes = data.labels
        self._index: list[Tensor] = []
        self._own: dict[str, list[Tensor]] = {name: [] for name in names}
        self._right: dict[str, list[Tensor]] = {name: [] for name in self._own}

    def add(self, index: Tensor, scores: Mapping[str, Tensor]) -> None:
        """Take in a batch.

        Args:
            index: Numbers of the images in the set, ``(N,)`` int64.
            scores: Class probabilities ``(N, K)`` float32 of each network.
        """
        self._index.append(index)
        labels = self._classes[index]
        for name, probabilities in scores.items():
            host = probabilities.cpu()
            self._own[name].append(host.gather(1, labels[:, None])[:, 0])
            self._right[name].append(host.argmax(dim=1) == labels)

    def recognition(self, record: DataRecord, group: Group) -> Recognition:
        """Give all of it, in the set's order.

        Args:
            record: Says which images were read.
            group: Processes that have asked about a part of them each; all of them have to call this.
        """
        index = group.rows(torch.cat([torch.empty(0, dtype=torch.int64), *self._index]))
        order = index.argsort()
        return Recognition(
            labels=self._classes[index[order]],
            own={name: group.rows(torch.cat([torch.empty(0), *parts]))[order] for name, parts in self._own.items()},
            right={
                name: group.rows(torch.cat([torch.empty(0, dtype=torch.bool), *parts]))[order]
                for name, parts in self._right.items()
            },
            record=record,
        )


def recognise(
    subject: Subject,
    data: LabelledImages,
    networks: Mapping[str, Network],
    label: str,
    order: Sequence[int] | None = None,
) -> Recognition:
    """Ask several networks about labelled images; every file is decoded once.

    Args:
        subject: Whose execution is used.
        data: Images and their classes, numbered as the networks' outputs are.
        networks: Networks by name.
        label: Shown beside the progress.
        order: In which the images come; theirs where left out. What is found is in the set's order either way.

    Raises:
        UsageError: If a network cannot work on images of this size.
        DataError: If no image can be read, or a network gives NaN.
    """
    recogniser = Recogniser(data, networks)
    record = subject.predict(data.images, networks, label, order).ask(recogniser.add)
    return recogniser.recognition(record, subject.group)
