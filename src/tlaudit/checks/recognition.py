"""How well several networks know labelled images, in one pass over them."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from tlaudit.checks.remembered import Past, answer

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from torch import Tensor

    from tlaudit.cache.entry import Entry
    from tlaudit.checks.asking import Network
    from tlaudit.checks.base import LabelledImages, Subject
    from tlaudit.checks.remembered import Question
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
        index = group.rows(self._index)
        order = index.argsort()
        return Recognition(
            labels=self._classes[index[order]],
            own={name: group.rows(parts)[order] for name, parts in self._own.items()},
            right={name: group.rows(parts)[order] for name, parts in self._right.items()},
            record=record,
        )


def recognise(
    subject: Subject,
    data: LabelledImages,
    networks: Mapping[str, Network],
    label: str,
    order: Sequence[int] | None = None,
) -> Recognition:
    """Ask several networks about labelled images; every file is decoded once, and no network asked that was before.

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
    past = Past(subject, data.images, networks, label, order)
    questions = _questions(past, data, networks)
    known = past.find(questions)
    if networks and len(known) == len(networks):
        return _recalled(known, past.record(next(iter(known.values()))))
    missing = [name for name in networks if name not in known]
    recogniser = Recogniser(data, missing)
    record = subject.predict(data.images, networks, label, order, known).ask(recogniser.add)
    if known and record.fingerprint != past.fingerprint:
        # Files changed while they were read, so that what is known is about others.
        return recognise(replace(subject, cache=None), data, networks, label, order)
    found = recogniser.recognition(record, subject.group)
    past.keep([(questions[name], _kept(found, name)) for name in missing], record)
    if not known:
        return found
    own, right = _recalled(known, record).own | found.own, _recalled(known, record).right | found.right
    return replace(found, own={name: own[name] for name in networks}, right={name: right[name] for name in networks})


def remember(
    subject: Subject,
    data: LabelledImages,
    networks: Mapping[str, Network],
    label: str,
    order: Sequence[int] | None,
    found: Recognition,
) -> None:
    """Leave to later runs of `recognise` what a pass found that looked at more.

    Args:
        subject: As of `recognise`, and the others as well.
        data: Images and their classes.
        networks: Networks by name.
        label: Shown beside the progress.
        order: In which the images came.
        found: To the last bit what `recognise` would have found.
    """
    past = Past(subject, data.images, networks, label, order)
    questions = _questions(past, data, networks)
    past.keep([(questions[name], _kept(found, name)) for name in networks], found.record)


def _questions(past: Past, data: LabelledImages, networks: Mapping[str, Network]) -> dict[str, Question | None]:
    """One for each network, so that the same network is found again beside others."""
    labels = data.digest() if past.used else ""
    return {name: past.question("recognition", (name,), labels=labels) for name in networks}


def _kept(found: Recognition, name: str) -> Entry:
    return answer(labels=found.labels, own=found.own[name], right=found.right[name])


def _recalled(known: Mapping[str, Entry], record: DataRecord) -> Recognition:
    return Recognition(
        labels=next(iter(known.values())).tensors["labels"],
        own={name: entry.tensors["own"] for name, entry in known.items()},
        right={name: entry.tensors["right"] for name, entry in known.items()},
        record=record,
    )
