"""The same composites shown to one network after another."""

from __future__ import annotations

import itertools
from dataclasses import replace
from typing import TYPE_CHECKING

import torch

from tlaudit.checks.composed import composed, shared_out
from tlaudit.checks.explained import LABEL, Explainer
from tlaudit.checks.target_task import target_classes
from tlaudit.errors import DataError, UsageError
from tlaudit.options import DistractionOptions
from tlaudit.repair.judgement import Sample

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping, Sequence

    from torch import Tensor

    from tlaudit.checks.base import Subject
    from tlaudit.checks.explained import Seen
    from tlaudit.models.attribution import Explanation
    from tlaudit.options.repair import JudgeOptions
    from tlaudit.results import DataRecord

AXES = ("distraction", "flip_rate", "composite_accuracy", "grey_accuracy")


class Composites:
    """A fixed set of composites: the same classes, overlays and places for every network that is asked about them.

    Attributes:
        records: What was read the last time.
        options: How they are made and maps compared, as in `tlaudit distraction`.
    """

    def __init__(self, classes: Sequence[int], options: JudgeOptions, unusable: Collection[str]) -> None:
        """Fix the set; nothing is drawn yet.

        Args:
            classes: Source classes of the backgrounds, best recognised first.
            options: How many of them, and how many composites of each.
            unusable: Names of source images known to be unreadable.
        """
        self.options = DistractionOptions(per_class=options.per_class, max_classes=options.classes)
        self._classes, self._unusable = list(classes[: options.classes]), unusable
        self._ids: list[str] | None = None
        self._source: dict[str, Explanation] = {}
        self._labels: tuple[Tensor, str | None] | None = None
        self.records: dict[str, DataRecord] = {}

    def ask(self, subject: Subject, name: str) -> Mapping[str, Sample | str]:
        """Show them to a network.

        Args:
            subject: With that network as the finetuned one.
            name: Of the network, shown beside the progress.

        Returns:
            A sample for each of `AXES`, or why there is none.

        Raises:
            UsageError: If the network cannot work on images of this size.
            DataError: If no image can be read, or the network gives NaN.
        """
        if not self._classes:
            return dict.fromkeys(
                AXES, "no class lingers before the repair, so that there is nothing to be distracted by"
            )
        group = subject.group
        try:
            with group.agreed():
                explainer = Explainer(subject, self.options, occlude=False, remembered=self._source)
                explainer.probe()
        except UsageError as error:
            # What it advises, another layer, is no option of a repair.
            return dict.fromkeys(AXES, str(error).partition(": give ")[0])
        if self._labels is None:
            targets = target_classes(subject)
            self._labels = targets.labels, targets.unknown
        labels, unknown = self._labels
        with group.agreed():
            pool, stream = composed(subject, self._classes, self.options, self._unusable, self._own(subject))
            shown = subject.progress(
                stream, total=len(stream), label=f"{name}: {LABEL}", size=lambda batch: len(batch.composites)
            )
            own: list[Seen] = []
            for batch in shown:
                found = explainer(batch, labels[[composite.target for composite in batch.composites]])
                own += (replace(one, scene=None, maps={}) for one in found)
        if group.size > 1:
            stream.bring_together()
        place = {index: at for at, index in enumerate(self._classes)}
        seen = sorted(itertools.chain(*group.gathered(own)), key=lambda one: place[one.composite.class_index])
        self._same([one.composite.id for one in seen])
        self.records = {"composites": stream.record, "overlays": pool.record}
        return _samples(seen, unknown)

    def _own(self, subject: Subject) -> list[int] | None:
        """Classes of this process; None where it is alone. The same for every network: what is remembered is its."""
        group, batch_size = subject.group, subject.execution.batch_size
        if group.size == 1:
            return None
        rounds = shared_out(
            self._classes, per_class=self.options.per_class, batch_size=batch_size, processes=group.size
        )
        return [index for turn in rounds for index in itertools.chain(*turn[group.rank : group.rank + 1])]

    def _same(self, ids: list[str]) -> None:
        if self._ids is not None and ids != self._ids:
            raise DataError("source images that could be read before no longer can: composites cannot be compared")
        self._ids = ids


def _samples(seen: Sequence[Seen], unknown: str | None) -> dict[str, Sample | str]:
    """The values of all composites, as `tlaudit distraction` defines them."""
    groups = torch.tensor([one.composite.class_index for one in seen])

    def sample(values: Sequence[float | None]) -> Sample:
        numbers = [torch.nan if value is None else float(value) for value in values]
        return Sample(torch.tensor(numbers, dtype=torch.float64), groups)

    found: dict[str, Sample | str] = {"distraction": sample([one.distraction["finetuned"] for one in seen])}
    if unknown is not None:
        return found | dict.fromkeys(AXES[1:], unknown)
    answers = [(one.label, one.answers["finetuned"]) if one.label >= 0 else None for one in seen]
    flipped = [None if a is None else a[1].predicted != a[0] == a[1].on_grey for a in answers]
    right = [None if a is None else a[1].predicted == a[0] for a in answers]
    on_grey = [None if a is None else a[1].on_grey == a[0] for a in answers]
    return found | {axis: sample(values) for axis, values in zip(AXES[1:], (flipped, right, on_grey), strict=True)}
