"""What a stress test comes to: the verdict, a summary, and what the reader has to know beside the numbers."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Literal

from tlaudit.checks.stress_told import Told, few, gained
from tlaudit.measure.uncertainty import share_interval
from tlaudit.results import Finding

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tlaudit.checks.base import Subject
    from tlaudit.checks.stress_runs import Relearning
    from tlaudit.checks.stress_trials import Bench

SMALL_DROP = 0.05
"""A drop of clean accuracy surely below this is none to act on (ours)."""


def verdict(told: Told) -> Literal["concern", "clear", "open"]:
    """A concern if the largest dose surely costs clean accuracy, and more rank at some stage than no dose does.

    Clear if it surely costs next to nothing although the squares were learnt: where they were not, nothing was tested.
    """
    largest = told.asked[-1]
    interval = told.recorder.interval(told.drop(largest))
    if largest == 0 or isinstance(interval, str):
        return "open"
    if interval.low > 0 and _collapsed(told, largest):
        return "concern"
    return "clear" if interval.high < SMALL_DROP and _learnt(told) else "open"


def _collapsed(told: Told, ratio: float) -> list[str]:
    """Stages whose rank falls further than without squares."""
    pairs = zip(told.trials[ratio].stages, told.trials[0.0].stages, strict=True)
    return [ours.stage for ours, plain in pairs if (ours.rank_ratio or math.inf) < (plain.rank_ratio or 0)]


def summary(told: Told) -> str:
    """Two sentences: clean accuracy without squares and at the ratio that costs most, and what becomes of the rank."""
    control, worst = told.trials[0.0], told.worst
    plain, n = sum(control.clean), len(control.clean)
    text = f"Trained on without squares the network gets {plain / n:.1%} of {n} clean test images right"
    if len(told.asked) < 2:
        return f"{text} ({sum(told.before) / n:.1%} before)."
    trial = told.trials[worst]
    if worst == 0:
        return f"{text}; with squares, at no ratio fewer."
    stages = len(_collapsed(told, worst))
    return (
        f"{text}; with squares on {100 * worst:g} % of the training images {sum(trial.clean) / n:.1%}. The numerical "
        f"rank then falls further than without squares at {stages} of {len(trial.stages)} stages."
    )


def inherited(subject: Subject) -> Iterator[Finding]:
    """What was noticed before, but for the lineage of the network with itself."""
    yield from (finding for finding in subject.findings if not finding.code.startswith("lineage."))


def findings(told: Told, relearning: Relearning | None, bench: Bench) -> Iterator[Finding]:
    """What the reader has to know beside the numbers."""
    message = (
        "Each ratio was trained once, from one seed. Intervals say how far other test images could have given other "
        "numbers, not how far another seed could; repeat the test with other values of --seed before relying on it."
    )
    yield Finding(code="stress.one_seed", severity="info", message=message)
    yield from _about_the_schedule(told)
    yield from _about_the_images(told, bench)
    if relearning is not None:
        yield from _about_the_start(relearning, told, bench)


def _about_the_schedule(told: Told) -> Iterator[Finding]:
    """Whether it was too rough to tell, or too gentle."""
    lost = told.recorder.interval(gained(told.before, told.trials[0.0].clean))
    if not isinstance(lost, str) and lost.low > SMALL_DROP:
        message = (
            "The training as such, without any square, surely costs more than "
            f"{SMALL_DROP:g} of clean accuracy: the schedule is too rough for this network, and what squares cost on "
            "top of it may not show. Give a lower --learning-rate."
        )
        yield Finding(code="stress.control_fell", severity="warning", message=message)
    largest = told.trials[told.asked[-1]]
    if largest.ratio and not _learnt(told):
        message = (
            f"The squares were hardly learnt: at ratio {largest.ratio:g} the network gets "
            f"{sum(largest.own) / len(largest.own):.1%} of test images right with the square of their class and "
            f"{sum(largest.other) / len(largest.other):.1%} with that of another. Without squares its mean training "
            f"loss was {told.trials[0.0].losses[0]:.3g} in the first epoch: a network that knows its training images "
            "already has little to gain from a shortcut. A higher --learning-rate or more --epochs put it to a harder test."
        )
        yield Finding(code="stress.squares_not_learnt", severity="warning", message=message)


def _about_the_images(told: Told, bench: Bench) -> Iterator[Finding]:
    """Where there are few of them, and where they come from."""
    largest = told.trials[told.asked[-1]]
    narrow = [stage.stage for stage in largest.stages if few(stage)]
    if narrow:
        message = (
            f"{len(largest.clean)} test images are fewer than twice the features of {', '.join(narrow)}: numerical "
            "ranks there are bounded by the images and come out too low, before as after."
        )
        yield Finding(code="stress.few_images", severity="warning", message=message)
    if bench.images.split.held_out:
        message = (
            f"No test images were given: {len(told.before)} of the source images, a fifth of each class, were held out "
            "of the training. The network as it is may have learnt from them before."
        )
        yield Finding(code="stress.held_out", severity="info", message=message)


def _about_the_start(relearning: Relearning, told: Told, bench: Bench) -> Iterator[Finding]:
    """Whether there is a training from scratch worth comparing with."""
    if relearning.scratch_absent:
        message = f"There is no training from scratch to compare with: {relearning.scratch_absent}."
        yield Finding(code="stress.no_scratch", severity="warning", message=message)
    elif not _above_chance(relearning, told, bench):
        message = (
            "The network from scratch learnt nothing on this schedule: its clean accuracy stays at chance. Relearning "
            "beats it without effort, so that the comparison says nothing about plasticity; give more --epochs or "
            "another --learning-rate."
        )
        yield Finding(code="stress.scratch_at_chance", severity="warning", message=message)


def _above_chance(relearning: Relearning, told: Told, bench: Bench) -> bool:
    """Whether the network from scratch surely knows something after any epoch."""
    chance = 1 / len(set(bench.images.split.training.labels.tolist()))
    best = max(relearning.scratch, key=sum)
    return share_interval(sum(best), len(best), told.recorder.confidence)[0] > chance


def _learnt(told: Told) -> bool:
    """Whether the squares surely move the answers at the largest ratio."""
    largest = told.trials[told.asked[-1]]
    moved = told.recorder.interval(gained(largest.own, largest.other))
    return not isinstance(moved, str) and moved.low > 0
