"""What a stress test comes to: the verdict, a summary, and what the reader has to know beside the numbers."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

from tlaudit.checks.stress_told import Told, few, gained, surely_above
from tlaudit.models.wording import listed
from tlaudit.results import Finding
from tlaudit.training.together import unmatched

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from tlaudit.checks.base import Subject
    from tlaudit.checks.stress_runs import Relearning
    from tlaudit.checks.stress_trials import Bench

SMALL_DROP = 0.05
"""A drop of clean accuracy surely not above this is none to act on (ours)."""
ENOUGH_TO_CLEAR = 60
"""Of fewer test images none could be lost by chance although 0.05 of all images are: 3 / 0.05 (rule of three)."""


def verdict(told: Told) -> Literal["concern", "clear", "open"]:
    """A concern if squares that were learnt surely cost clean accuracy, and more rank at some stage than no squares do.

    Clear if they surely cost next to nothing at any ratio, on test images enough to tell, although they were learnt:
    where they were not, nothing was tested.
    """
    if _costly(told):
        return "concern"
    if not told.planted or not _learnt(told, told.planted[-1]) or len(told.before) < ENOUGH_TO_CLEAR:
        return "open"
    intervals = [told.recorder.interval(told.drop(ratio)) for ratio in told.planted]
    small = all(not isinstance(one, str) and one.high <= SMALL_DROP for one in intervals)
    return "clear" if small else "open"


def _costly(told: Told) -> list[float]:
    """Ratios at which learnt squares surely cost clean accuracy, and more rank than the control; largest drop first."""
    found = []
    for ratio in told.planted:
        interval = told.recorder.interval(told.drop(ratio))
        if not isinstance(interval, str) and interval.low > 0 and _learnt(told, ratio) and _collapsed(told, ratio):
            found.append(ratio)
    return sorted(found, key=lambda ratio: -float(told.drop(ratio).mean()))


def _collapsed(told: Told, ratio: float) -> list[str]:
    """Stages whose rank falls further than without squares; that of features that vary no more is 0."""
    pairs = zip(told.trials[ratio].stages, told.trials[0.0].stages, strict=True)
    return [
        ours.stage
        for ours, plain in pairs
        if ours.rank_ratio is not None and plain.rank_ratio is not None and ours.rank_ratio < plain.rank_ratio
    ]


def summary(told: Told) -> str:
    """Two sentences: clean accuracy without squares and at the ratio that costs most, and what becomes of the rank.

    Where the verdict is a concern, that is the ratio it rests on.
    """
    control, worst = told.trials[0.0], next(iter(_costly(told)), told.worst)
    plain, n = sum(control.clean), len(control.clean)
    text = f"Trained on without squares the source network gets {plain / n:.1%} of {n} clean test images right"
    if worst is None:
        return f"{text} ({sum(told.before) / n:.1%} before)."
    trial = told.trials[worst]
    if sum(trial.clean) >= plain:
        return f"{text}; with squares, at no ratio fewer."
    stages = len(_collapsed(told, worst))
    return (
        f"{text}; with squares on {100 * worst:g} % of the training images {sum(trial.clean) / n:.1%}. The numerical "
        f"rank then falls further than without squares at {stages} of {len(trial.stages)} stages."
    )


def inherited(subject: Subject) -> Iterator[Finding]:
    """What was noticed before, but for the lineage of the network with itself."""
    yield from (finding for finding in subject.findings if not finding.code.startswith("lineage."))


def drawn_apart(subject: Subject) -> Iterator[Finding]:
    """Say where several processes do not train the network that one would."""
    apart = unmatched(subject.pair.source.module) if subject.group.size > 1 else ()
    if apart:
        message = (
            f"{listed(apart)} draw random numbers of their own in each of {subject.group.size} processes: the trained "
            "networks are not those that a single process makes."
        )
        yield Finding(code="stress.drawn_apart", severity="warning", message=message)


def findings(told: Told, relearning: Relearning | None, bench: Bench) -> Iterator[Finding]:
    """What the reader has to know beside the numbers."""
    message = (
        "Each ratio was trained once, from one seed. Intervals say how far other test images could have given other "
        "numbers, not how far another seed could; repeat the test with other values of --seed before relying on it."
    )
    yield Finding(code="stress.one_seed", severity="info", message=message)
    yield from _about_the_schedule(told)
    yield from _about_the_features(told)
    yield from _about_the_images(told, bench)
    if relearning is not None:
        yield from _about_the_start(relearning, told)


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
    if largest.ratio and not _learnt(told, largest.ratio):
        message = (
            f"The squares were hardly learnt: at ratio {largest.ratio:g} the network gets "
            f"{sum(largest.own) / len(largest.own):.1%} of test images right with the square of their class and "
            f"{sum(largest.other) / len(largest.other):.1%} with that of another. Without squares its mean training "
            f"loss was {told.trials[0.0].losses[0]:.3g} in the first epoch: a network that knows its training images "
            "already has little to gain from a shortcut. A higher --learning-rate or more --epochs put it to a harder "
            "test."
        )
        yield Finding(code="stress.squares_not_learnt", severity="warning", message=message)


def _about_the_features(told: Told) -> Iterator[Finding]:
    """Stages with nothing left to measure, and what was there to lose."""
    for ratio, trial in told.trials.items():
        gone = [stage for stage in trial.stages if stage.collapsed]
        if gone:
            message = (
                f"At ratio {ratio:g} {', '.join(stage.stage for stage in gone)} collapsed: features that vary before "
                f"the training do not after it, or are no numbers ({gone[0].absent}). The rank counts as 0."
            )
            yield Finding(code="stress.stage_collapsed", severity="warning", message=message)
    if not told.knows:
        message = (
            f"The network as it is gets {sum(told.before) / len(told.before):.1%} of {len(told.before)} clean test "
            f"images right, which is not surely more than chance ({told.chance:.1%}): it knows nothing of this task "
            "that squares could cost it. Check --class-map and the preprocessing, or give images of the task it knows."
        )
        yield Finding(code="stress.knows_nothing", severity="warning", message=message)


def left_out(without: Mapping[float, str]) -> Iterator[Finding]:
    """Ratios that no training was made for, with the reason of each."""
    for ratio, reason in without.items():
        message = f"Ratio {ratio:g} was left out: {reason}."
        yield Finding(code="stress.ratio_left_out", severity="info", message=message)


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


def _about_the_start(relearning: Relearning, told: Told) -> Iterator[Finding]:
    """Whether there is a training from scratch worth comparing with."""
    if relearning.scratch_absent:
        message = f"There is no training from scratch to compare with: {relearning.scratch_absent}."
        yield Finding(code="stress.no_scratch", severity="warning", message=message)
    elif not surely_above(max(relearning.scratch, key=sum), told.chance, told.recorder.confidence):
        message = (
            "The network from scratch learnt nothing on this schedule: its clean accuracy stays at chance. Relearning "
            "beats it without effort, so that the comparison says nothing about plasticity; give more --epochs or "
            "another --learning-rate."
        )
        yield Finding(code="stress.scratch_at_chance", severity="warning", message=message)


def _learnt(told: Told, ratio: float) -> bool:
    """Whether the squares surely move the answers after training at a ratio."""
    trial = told.trials[ratio]
    moved = told.recorder.interval(gained(trial.own, trial.other))
    return not isinstance(moved, str) and moved.low > 0
