"""What a network does, item by item, and what changed between two of them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
import torch

from tlaudit.errors import DataError
from tlaudit.measure.prevalence import class_means
from tlaudit.measure.uncertainty import MINIMUM_FOR_BOOTSTRAP
from tlaudit.metrics.repair import AXES, BEFORE, PLAIN
from tlaudit.results import Interval

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from torch import Tensor

    from tlaudit.checks.measured import Recorder
    from tlaudit.records import Cell
    from tlaudit.results import DataRecord, Measurement

_SAMPLE_OF = {"lingering_count": "lingering", "lingering_fraction": "lingering"}
"""Axes that are told from the same values as another one."""
_COMPOSITES = ("flip_rate", "composite_accuracy", "grey_accuracy")
_NOTHING = "nothing could be judged"
_ALL_DEAD = "every map is dead"
_NO_PAIR = "no item has a number with both networks"


@dataclass(frozen=True, eq=False)
class Sample:
    """Values of one axis, item by item, in an order that is the same for all networks that one `Judge` judges.

    Attributes:
        values: ``(N,)`` float64; NaN for an item that has none.
        groups: Source class of each item, ``(N,)`` int64, where items of a class are alike; None where they are not.
    """

    values: Tensor
    groups: Tensor | None = None

    @property
    def known(self) -> Tensor:
        """Which items have a value, ``(N,)`` bool."""
        return ~self.values.isnan()

    def of(self, chosen: Tensor) -> Sample:
        """Give the values of some items, ``(N,)`` bool."""
        return Sample(self.values[chosen], self.groups[chosen] if self.groups is not None else None)


@dataclass(frozen=True, eq=False)
class Judgement:
    """What one network does; where nothing could be judged, the reason stands in place of the values.

    Attributes:
        samples: By axis. ``target_accuracy``: right or not, for each validation image. ``source_top1`` and
            ``source_probability``: right or not and probability of the own class through the hybrid, for each source
            image. ``delta_lp``: right to its probe less right to the source's, for each image those were tested on.
            ``lingering``: yes or no, for each source class; NaN where it is not tested. ``distraction``, ``flip_rate``,
            ``composite_accuracy``, ``grey_accuracy``: for each composite, grouped by class.
        lingering_classes: Source classes that linger, by index, best recognised first.
    """

    samples: Mapping[str, Sample | str]
    lingering_classes: tuple[int, ...]


@dataclass(frozen=True, eq=False)
class Glance:
    """What is known of a network at a glance: its samples ``target_accuracy`` and ``source_top1``, as in `Judgement`.

    Attributes:
        samples: By axis, or why there is none.
    """

    samples: Mapping[str, Sample | str]


@dataclass(frozen=True, eq=False)
class Facts:
    """What all networks share that one `Judge` judges.

    Attributes:
        source: Which source images the source network itself gets right, or why that is not known.
        records: What was read, by kind of images.
        definitions: What lingering means, as it was resolved.
    """

    source: Sample | str
    records: Mapping[str, DataRecord]
    definitions: Mapping[str, Cell]


class Change(NamedTuple):
    """One axis of two networks: before and after a repair, or after plain finetuning and after a repair.

    Attributes:
        axis: One of `AXES`.
        before: Of the network that the other is set against.
        after: Of the network after the repair.
        change: After less before over the items that have a value in both, with a paired bootstrap interval.
    """

    axis: str
    before: Measurement
    after: Measurement
    change: Measurement


def measured(judged: Judgement | Glance, name: str, recorder: Recorder) -> dict[str, Measurement]:
    """Say what a network does, axis by axis.

    Args:
        judged: The network.
        name: Of the method, or ``before``.
        recorder: Knows ``repair.<name>.<axis>``.

    Returns:
        A measurement for each of `AXES`; absent, with the reason, where there are no values.
    """
    return {axis: _measured(axis, _sample(judged, axis), f"repair.{name}.{axis}", recorder) for axis in AXES}


def compare(before: Judgement, after: Judgement, method: str, recorder: Recorder) -> list[Change]:
    """Set what a network does beside what another did before, axis by axis, on the same items.

    Intervals of changes: bootstrap over images; over classes for composites, which of one class are alike; over the
    tested classes for lingering ones.

    Args:
        before: The network before the repair.
        after: The network after it, judged by the same `Judge`.
        method: That made it.
        recorder: Knows ``repair.before.<axis>``, ``repair.<method>.<axis>`` and ``repair.<method>.<axis>_change``.

    Raises:
        DataError: If an image could be read for one of them and not for the other.
    """
    one, other = measured(before, BEFORE, recorder), measured(after, method, recorder)
    return [
        Change(axis, one[axis], other[axis], _changed(axis, before, after, f"repair.{method}.{axis}_change", recorder))
        for axis in AXES
    ]


def versus_plain(
    judged: Mapping[str, Judgement], changes: Mapping[str, Sequence[Change]], method: str, recorder: Recorder
) -> list[Change]:
    """Set what a method gives beside what plain finetuning does, as `compare` does with the network before.

    Args:
        judged: Networks by the method that made them, `PLAIN` and this one among them.
        changes: What `compare` said of the same.
        method: That is set against `PLAIN`.
        recorder: Knows ``repair.<method>.<axis>_versus_plain``.

    Raises:
        DataError: If an image could be read for one of them and not for the other.
    """
    both = judged[PLAIN], judged[method]
    return [
        Change(
            one.axis,
            one.after,
            other.after,
            _changed(one.axis, *both, f"repair.{method}.{one.axis}_versus_plain", recorder),
        )
        for one, other in zip(changes[PLAIN], changes[method], strict=True)
    ]


def kept(judged: Judgement | Glance, facts: Facts, name: str, recorder: Recorder) -> Measurement:
    """Source images got right under the source's head, as a share of those the source network gets right.

    The interval is the percentile bootstrap over images, both networks' answers kept together.

    Args:
        judged: The network.
        facts: What the source network itself does.
        name: Of the method, or ``before``.
        recorder: Knows ``repair.<name>.source_kept``.
    """
    name, ours, own = f"repair.{name}.source_kept", _sample(judged, "source_top1"), facts.source
    if isinstance(ours, str) or isinstance(own, str):
        return recorder.absent(name, ours if isinstance(ours, str) else str(own))
    both = ours.known & own.known
    after, right = ours.values[both].bool(), own.values[both].bool()
    if not right.any():
        return recorder.absent(name, "the source network gets no source image right, so that nothing can be kept")
    outcome: Interval | str = f"interval: {int(right.sum())} images the source network gets right are too few"
    if int(right.sum()) >= MINIMUM_FOR_BOOTSTRAP:
        low, high = kept_interval(after, right, recorder)
        outcome = Interval(low=low, high=high, confidence=recorder.confidence, method="paired percentile bootstrap")
    return recorder.stated(outcome, name, int(after.sum()) / int(right.sum()), int(both.sum()))


def kept_interval(after: Tensor, before: Tensor, recorder: Recorder) -> tuple[float, float]:
    """Interval of the ratio of two shares over the same images.

    An image is one of four kinds, right or wrong by each; a resample draws how many there are of each kind, which is
    the bootstrap itself and not an approximation to it. Resamples without any image in the denominator are left out.

    Args:
        after: Right or not, ``(N,)`` bool, the numerator.
        before: The same of the denominator.
        recorder: Seed, resamples and confidence.

    Returns:
        Lower and upper bound.
    """
    kinds = [int((one & other).sum()) for one in (after, ~after) for other in (before, ~before)]
    generator = np.random.default_rng(recorder.seed)
    both, gained, lost, _ = generator.multinomial(len(after), np.array(kinds) / len(after), recorder.resamples).T
    there = both + lost > 0
    ratios = (both + gained)[there] / (both + lost)[there]
    low, high = np.quantile(ratios, [(1 - recorder.confidence) / 2, (1 + recorder.confidence) / 2])
    return float(low), float(high)


def _sample(judged: Judgement | Glance, axis: str) -> Sample | str:
    """The values of an axis, or why there are none."""
    found = judged.samples.get(_SAMPLE_OF.get(axis, axis), "a sweep's networks are judged by their accuracies only")
    return found if isinstance(found, str) or len(found.values) else _NOTHING


def _measured(axis: str, sample: Sample | str, name: str, recorder: Recorder) -> Measurement:
    if isinstance(sample, str):
        return recorder.absent(name, sample)
    here = sample.of(sample.known)
    hits, n = int(here.values.sum()) if axis != "distraction" else 0, len(here.values)
    if axis == "delta_lp":
        return recorder.mean(name, here.values, if_none=_NOTHING)
    if axis == "distraction":
        return recorder.mean(name, by_class(here), if_none=_ALL_DEAD)
    if axis == "lingering_count":
        return recorder.count(name, hits, n, if_none=_NOTHING)
    if axis in _COMPOSITES:
        return recorder.clustered(name, *_per_class(here), if_none=_NOTHING)
    return recorder.share(name, hits, n, if_none=_NOTHING)


def _changed(axis: str, before: Judgement, after: Judgement, name: str, recorder: Recorder) -> Measurement:
    one, other = _sample(before, axis), _sample(after, axis)
    if isinstance(one, str) or isinstance(other, str):
        return recorder.absent(name, one if isinstance(one, str) else str(other))
    if len(one.values) != len(other.values):
        raise DataError(
            f"{axis}: {len(one.values)} items before and {len(other.values)} after; an image that could be read before "
            "no longer can, or the networks were not judged by the same judge"
        )
    change = Sample(other.values - one.values, one.groups)
    change = change.of(change.known)
    if axis == "distraction":
        return recorder.mean(name, by_class(change), if_none=_NO_PAIR)
    if axis in _COMPOSITES:
        return recorder.clustered(name, *_per_class(change), if_none=_NO_PAIR)
    found = recorder.mean(name, change.values, if_none=_NO_PAIR)
    return _times(found, len(change.values)) if axis == "lingering_count" else found


def _times(measurement: Measurement, n: int) -> Measurement:
    """A mean over n items as their sum."""
    if measurement.value is None:
        return measurement
    interval = measurement.interval
    if interval is not None:
        method = f"{interval.method}, times n"
        interval = interval.model_copy(update={"low": interval.low * n, "high": interval.high * n, "method": method})
    return measurement.model_copy(update={"value": round(measurement.value * n), "interval": interval})


def by_class(sample: Sample) -> Tensor:
    """Mean of each class that has values, ``(C,)``; all items must have one."""
    if sample.groups is None or not len(sample.groups):
        return sample.values
    means, counts = class_means(sample.values, sample.groups, int(sample.groups.max()) + 1)
    return means[counts > 0]


def _per_class(sample: Sample) -> tuple[Tensor, Tensor]:
    """Sum of the values and number of items of each class."""
    groups = sample.groups if sample.groups is not None else torch.arange(len(sample.values))
    if not len(groups):
        return torch.zeros(0), torch.zeros(0)
    trials = torch.bincount(groups)
    hits = torch.zeros(len(trials), dtype=torch.float64).index_add_(0, groups, sample.values)
    return hits, trials
