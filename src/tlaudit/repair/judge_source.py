"""What networks know of labelled images, and what a linear probe reads from their features."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch

from tlaudit.checks.asking import asked, refuse_nan
from tlaudit.checks.followed import Follower
from tlaudit.errors import DegenerateError
from tlaudit.measure.probes import linear_probe, paired_change, split
from tlaudit.models.runtime import class_scores
from tlaudit.models.taps import tapped
from tlaudit.repair.judgement import Sample

if TYPE_CHECKING:
    from torch import Tensor

    from tlaudit.checks.asking import Network
    from tlaudit.checks.base import Subject
    from tlaudit.data.images import ImageSet
    from tlaudit.measure.probes import Probe
    from tlaudit.results import DataRecord

MOST_PROBED = 100_000
"""Source images times classes up to which probes are fitted unasked (ours): beyond, they take minutes a network."""


@dataclass(frozen=True, eq=False)
class Known:
    """What a network makes of a set of images, N of them, in the set's order; NaN for those that cannot be read.

    Attributes:
        right: Right or not, ``(N,)`` float64; NaN too where there are no labels.
        own: Probability of the own class, the same.
        features: Pooled features of the stage that was followed, ``(N, D)`` float32, or why there are none.
        record: Which images were read.
    """

    right: Tensor
    own: Tensor
    features: Tensor | str
    record: DataRecord


def look(
    subject: Subject,
    images: ImageSet,
    labels: Tensor | None,
    network: Network,
    *,
    role: str,
    label: str,
    stage: str | None = None,
) -> Known:
    """Run images through a network once, for its answers and the features of one stage.

    Args:
        subject: Whose execution is used.
        images: The images.
        labels: Class of each, numbered as the network's outputs are; None if only features are wanted.
        network: The network.
        role: What it is called in messages.
        label: Shown beside the progress.
        stage: Module path of the stage whose features are kept; None for none.

    Raises:
        UsageError: If the network cannot work on images of this size.
        DataError: If no image can be read, or the network gives NaN.
    """
    right, own = (torch.full((len(images.items),), torch.nan, dtype=torch.float64) for _ in range(2))
    follower = Follower((stage,), "pooled", keep=True) if stage is not None else None
    read: list[Tensor] = []

    def ask(index: Tensor, inputs: dict[str, Tensor]) -> None:
        with subject.execution.inference(), asked(role, network, label):
            pixels = inputs[role]
            if follower is not None:
                logits, _ = follower.look(network.module, pixels, network.halving)
            else:
                logits = network.logits(pixels)
            probabilities = logits.float().softmax(dim=1)
        refuse_nan(probabilities, role, label)
        read.append(index)
        if labels is not None:
            host = probabilities.cpu()
            own[index] = host.gather(1, labels[index][:, None])[:, 0].double()
            right[index] = (host.argmax(dim=1) == labels[index]).double()

    record = subject.predict(images, {role: network}, label).show(ask)
    index = subject.group.rows(read)
    for known in (right, own):
        known[index] = subject.group.rows([known[one] for one in read])
    if follower is not None:
        follower.bring_together(subject.group)
    return Known(right, own, _features(follower, stage, index, len(images.items)), record)


def _features(follower: Follower | None, stage: str | None, read: Tensor, count: int) -> Tensor | str:
    """Features in the set's order."""
    if follower is None:
        return "no features were kept"
    rows = follower.kept()
    if rows is None:
        reason = {**follower.reasons(), **follower.without()}.get(str(stage))
        return f"the last stage, {stage}, cannot be probed: {reason}"
    features = torch.full((count, rows.shape[1]), torch.nan)
    features[read] = rows
    return features


def last_stage(network: Network, stages: tuple[str, ...], subject: Subject) -> str | None:
    """Which of the stages ends last when the network runs; None if none runs."""
    ended: list[str] = []
    side = network.preprocessing.crop
    blank = torch.zeros(2, 3, side, side, device=subject.execution.device)
    with (
        subject.execution.inference(),
        asked("source", network, "stages"),
        tapped(network.module, stages, lambda path, _: ended.append(path)),
    ):
        class_scores(network.module, blank)
    return ended[-1] if ended else None


class Probes:
    """Linear probes on the last features: the source's once, every other network's against it.

    Fitted to half of the images of each folder and tested on the other half, the same for all networks.

    Attributes:
        absent: Why there is no probe, or None.
    """

    def __init__(self, images: ImageSet, features: Tensor | str, seed: int) -> None:
        """Fit the source's probe.

        Args:
            images: Whose first-level folders are the classes.
            features: The source's, ``(N, D)``, NaN for images that cannot be read, or why there are none.
            seed: Of the halves and of the cross-validation.
        """
        self._seed = seed
        self.absent: str | None = None
        try:
            self._begin(images, features)
        except DegenerateError as error:
            self.absent = str(error)

    def _begin(self, images: ImageSet, features: Tensor | str) -> None:
        if isinstance(features, str):
            raise DegenerateError(features)
        folders = [item.folder for item in images.items]
        if None in folders:
            raise DegenerateError("the images lie in no class folders, so that there is nothing for a probe to learn")
        classes = {folder: number for number, folder in enumerate(sorted({str(folder) for folder in folders}))}
        labels = torch.tensor([classes[str(folder)] for folder in folders])
        # In the order in which `tlaudit erosion` goes through images, so that both fit and test on the same ones.
        order = torch.randperm(len(folders), generator=torch.Generator().manual_seed(self._seed))
        self._read = order[~features.isnan().all(dim=1)[order]]
        self._labels = labels[self._read]
        self._fitted = split(self._labels, torch.Generator().manual_seed(self._seed))
        self._source = self._probe(features)

    def _probe(self, features: Tensor) -> Probe:
        rows, fitted, labels = features[self._read], self._fitted, self._labels
        return linear_probe(rows[fitted], labels[fitted], rows[~fitted], labels[~fitted], self._seed)

    def change(self, features: Tensor | str) -> Sample | str:
        """What can be read from a network's features less what can be read from the source's.

        Args:
            features: ``(N, D)`` of the same images, or why there are none.

        Returns:
            For each image that was tested 1, 0 or -1; its mean is ΔLP. Or why it cannot be said.
        """
        if self.absent is not None:
            return self.absent
        if isinstance(features, str):
            return features
        try:
            return Sample(paired_change(self._probe(features), self._source))
        except DegenerateError as error:
            return str(error)


def too_many(images: ImageSet) -> str:
    """Why no probe is fitted to source images unasked; empty if one is."""
    sizes = Counter(item.folder for item in images.items)
    folders = len(sizes)
    # Of single images there is nothing to be fitted, which is said soon and for its own reason.
    if len(images.items) * folders <= MOST_PROBED or max(sizes.values()) < 2:
        return ""
    return (
        f"probes on {len(images.items)} images of {folders} classes would take long; name class folders for them with "
        "--probe-data"
    )
