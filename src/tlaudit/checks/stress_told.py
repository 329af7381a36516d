"""A stress test in tables and measurements."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch

from tlaudit.checks.vocabulary_stress import PLASTICITY_COLUMNS, RUN_COLUMNS, SHORTCUT_COLUMNS, STAGE_COLUMNS
from tlaudit.measure.uncertainty import share_interval
from tlaudit.results import Interval, Table

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from torch import Tensor

    from tlaudit.checks.measured import Recorder
    from tlaudit.checks.stress_runs import Hits, Relearning, StageAfter, Trial
    from tlaudit.records import Cell
    from tlaudit.results import Measurement

REACHED = 0.9
"""Share of the accuracy from before that a training has to reach, for its epochs to be counted (ours)."""
_NO_TEST = "there is no test image"
_NOTHING_TO_REACH = "the network as it is recognises no more than chance would, so that there is nothing to reach again"
_COUNTED_ONCE = "a rank is counted once, over all test images of one training"


@dataclass(frozen=True)
class Told:
    """What was found, ready to be told.

    Attributes:
        recorder: Makes measurements.
        before: Clean test images that the network recognises as it is.
        trials: By ratio, rising; the first is that of ratio 0. Those of the bisection are among them.
        asked: Ratios of the sweep, rising; the first is 0.
        chance: Accuracy of guessing, 1 / classes.
    """

    recorder: Recorder
    before: Hits
    trials: Mapping[float, Trial]
    asked: Sequence[float]
    chance: float

    @property
    def planted(self) -> list[float]:
        """Ratios of the sweep above 0, rising."""
        return [ratio for ratio in self.asked if ratio > 0]

    @property
    def knows(self) -> bool:
        """Whether the network before surely recognises more than chance would."""
        return surely_above(self.before, self.chance, self.recorder.confidence)

    def drop(self, ratio: float) -> Tensor:
        """Clean accuracy lost against ratio 0, image by image: 1, 0 or -1, ``(N,)`` float64."""
        return gained(self.trials[0.0].clean, self.trials[ratio].clean)

    @property
    def worst(self) -> float | None:
        """The ratio of the sweep above 0 with the largest drop, the smallest of equal ones; None if there is none."""
        return max(self.planted, key=lambda ratio: float(self.drop(ratio).mean()), default=None)

    def measurements(self) -> Iterator[Measurement]:
        """Accuracies, drops, lowest CKA and lowest rank of each ratio of the sweep."""
        recorder, n = self.recorder, len(self.before)
        yield recorder.share("stress.clean_accuracy.before", sum(self.before), n, if_none=_NO_TEST)
        for ratio in self.asked:
            trial, at = self.trials[ratio], f"{ratio:g}"
            yield recorder.share(f"stress.clean_accuracy.{at}", sum(trial.clean), n, if_none=_NO_TEST)
            if ratio:
                yield recorder.mean(f"stress.accuracy_drop.{at}", self.drop(ratio), if_none=_NO_TEST)
            yield self._lowest_cka(f"stress.cka.min.{at}", trial)
            yield self._lowest_rank(f"stress.rank_ratio.min.{at}", trial)
        worst = self.worst
        if worst is None:
            yield recorder.absent("stress.max_drop", "no training with squares was made")
        else:
            why = f"the largest of several; see stress.accuracy_drop.{worst:g}"
            yield recorder.exact("stress.max_drop", float(self.drop(worst).mean()), n, why=why)

    def _lowest_cka(self, name: str, trial: Trial) -> Measurement:
        stage = lowest(trial, "cka")
        if stage is None or stage.cka is None:
            return self.recorder.absent(name, _reasons(trial))
        outcome: Interval | str = stage.absent or "interval: none was made"
        if stage.cka_low is not None and stage.cka_high is not None:
            outcome = Interval(
                low=stage.cka_low,
                high=stage.cka_high,
                confidence=self.recorder.confidence,
                method="percentile bootstrap of minibatches",
            )
        return self.recorder.stated(outcome, name, stage.cka, stage.cka_n or 0)

    def _lowest_rank(self, name: str, trial: Trial) -> Measurement:
        stage = lowest(trial, "rank_ratio")
        if stage is None or stage.rank_ratio is None:
            return self.recorder.absent(name, _reasons(trial))
        return self.recorder.exact(name, stage.rank_ratio, stage.n or 0, why=_COUNTED_ONCE)

    def runs(self) -> Table:
        """One row a training."""
        rows = [self._row(trial) for trial in self.trials.values()]
        worst = sorted(range(len(rows)), key=lambda at: -float(self.drop(list(self.trials)[at]).mean()))
        return Table(
            title="Trainings, by share of planted images",
            columns=RUN_COLUMNS,
            rows=tuple(rows),
            # The control, whose drop is 0, comes last, whatever was gained elsewhere.
            worst=tuple(sorted(worst, key=lambda at: not rows[at]["ratio"])),
            brief=("ratio", "planted", "clean_accuracy", "drop", "with_other_square", "cka_min", "rank_ratio_min"),
        )

    def _row(self, trial: Trial) -> dict[str, Cell]:
        n = len(trial.clean)
        low, high = share_interval(sum(trial.clean), n, self.recorder.confidence)
        control, before = self.drop(trial.ratio), gained(self.before, trial.clean)
        against_control, against_before = (self.recorder.interval(values) for values in (control, before))
        cka, rank, effective = (lowest(trial, name) for name in ("cka", "rank_ratio", "effective_rank_ratio"))
        reasons = [one for one in (against_control, against_before) if isinstance(one, str)]
        reasons += [stage.absent for stage in trial.stages if stage.cka is None or stage.rank_ratio is None]
        return {
            "ratio": trial.ratio,
            "run": "sweep" if trial.ratio in self.asked else "bisection",
            "planted": trial.planted,
            "clean_accuracy": sum(trial.clean) / n,
            "low": low,
            "high": high,
            "drop": float(control.mean()),
            "drop_low": _bound(against_control, "low"),
            "drop_high": _bound(against_control, "high"),
            "drop_before": float(before.mean()),
            "drop_before_low": _bound(against_before, "low"),
            "drop_before_high": _bound(against_before, "high"),
            "with_square": sum(trial.own) / n,
            "with_other_square": sum(trial.other) / n,
            "cka_min": cka.cka if cka else None,
            "rank_ratio_min": rank.rank_ratio if rank else None,
            "effective_rank_ratio_min": effective.effective_rank_ratio if effective else None,
            "first_loss": trial.losses[0],
            "last_loss": trial.losses[-1],
            "absent": "; ".join(dict.fromkeys(filter(None, reasons))) or None,
        }

    def shortcut(self) -> Table:
        """One row a training and kind of squares on the test images."""
        rows: list[dict[str, Cell]] = []
        for squares, name in (("none", "clean"), ("own class", "own"), ("another class", "other")):
            for trial in self.trials.values():
                hits: Hits = getattr(trial, name)
                low, high = share_interval(sum(hits), len(hits), self.recorder.confidence)
                accuracy = sum(hits) / len(hits)
                rows.append({"ratio": trial.ratio, "squares": squares, "accuracy": accuracy, "low": low, "high": high})
        misled = [at for at, row in enumerate(rows) if row["squares"] == "another class"]
        return Table(
            title="Whether the squares were learnt: test images with another class's",
            columns=SHORTCUT_COLUMNS,
            rows=tuple(rows),
            worst=tuple(sorted(misled, key=lambda at: _or_last(rows[at]["accuracy"]))),
            brief=("ratio", "squares", "accuracy", "low", "high"),
        )

    def stages(self) -> Table:
        """One row a training and stage."""
        rows = [
            {
                "ratio": trial.ratio,
                "line": f"ratio {trial.ratio:g}",
                "stage": stage.stage,
                "n": stage.n,
                "d": stage.d,
                "cka": stage.cka,
                "cka_low": stage.cka_low,
                "cka_high": stage.cka_high,
                "rank_before": stage.rank_before,
                "rank": stage.rank,
                "rank_ratio": stage.rank_ratio,
                "effective_rank_before": stage.effective_rank_before,
                "effective_rank": stage.effective_rank,
                "participation_ratio_before": stage.participation_ratio_before,
                "participation_ratio": stage.participation_ratio,
                "warning": "fewer images than twice the features" if few(stage) else None,
                "absent": stage.absent or None,
            }
            for trial in self.trials.values()
            for stage in trial.stages
        ]
        return Table(
            title="Stages, from input to output, by share of planted images",
            columns=STAGE_COLUMNS,
            rows=tuple(rows),
            worst=tuple(sorted(range(len(rows)), key=lambda at: _or_last(rows[at]["rank_ratio"]))),
            brief=("ratio", "stage", "cka", "rank_before", "rank", "rank_ratio", "effective_rank"),
        )


def lowest(trial: Trial, name: str) -> StageAfter | None:
    """The stage where one of its numbers is lowest; the first of equal ones, None where no stage has it.

    Where a stage collapsed, the lowest of those that are left would say that all is well: only the rank has one then.
    """
    if name != "rank_ratio" and any(stage.collapsed for stage in trial.stages):
        return None
    found = [stage for stage in trial.stages if getattr(stage, name) is not None]
    return min(found, key=lambda stage: float(getattr(stage, name)), default=None)


def gained(first: Hits, second: Hits) -> Tensor:
    """What the first gets right and the second does not, image by image: 1, 0 or -1, ``(N,)`` float64."""
    return _numbers(first) - _numbers(second)


def surely_above(hits: Hits, level: float, confidence: float) -> bool:
    """Whether the interval of a share of hits lies above a level."""
    return share_interval(sum(hits), len(hits), confidence)[0] > level


def few(stage: StageAfter) -> bool:
    """Whether the number of images bounds the rank rather than the features."""
    return stage.n is not None and stage.d is not None and stage.n < 2 * stage.d


def plasticity_measurements(found: Relearning | None, told: Told, why: str) -> Iterator[Measurement]:
    """Areas under both learning curves, their difference, and the epochs each needs.

    Args:
        found: The curves, if there are any.
        told: The sweep before it.
        why: Why there are none.
    """
    name, recorder = "stress.plasticity", told.recorder
    level = REACHED * sum(told.before) / len(told.before) if told.knows else None
    curves = {
        "relearning": (found.relearning, "") if found else ((), why),
        "scratch": (found.scratch, found.scratch_absent) if found else ((), why),
    }
    for phase, (curve, reason) in curves.items():
        area = _area(curve) if curve else torch.empty(0)
        yield recorder.mean(f"{name}.area_{phase}", area, if_none=reason)
        yield _epochs(f"{name}.epochs_{phase}", curve, reason, level, recorder)
    both = curves["relearning"][0], curves["scratch"][0]
    if all(both):
        yield recorder.mean(f"{name}.area_difference", _area(both[0]) - _area(both[1]), if_none=_NO_TEST)
    else:
        yield recorder.absent(f"{name}.area_difference", curves["scratch"][1])


def _area(curve: Sequence[Hits]) -> Tensor:
    """Share of the training during which each image was recognised, by the trapezoid rule, ``(N,)`` in [0, 1]."""
    return torch.trapezoid(torch.stack([_numbers(hits) for hits in curve]), dim=0) / (len(curve) - 1)


def _epochs(name: str, curve: Sequence[Hits], reason: str, level: float | None, recorder: Recorder) -> Measurement:
    if not curve or level is None:
        return recorder.absent(name, _NOTHING_TO_REACH if curve else reason)
    reached = [epoch for epoch, hits in enumerate(curve) if sum(hits) / len(hits) >= level]
    if not reached:
        return recorder.absent(name, f"an accuracy of {level:.3f} is not reached in {len(curve) - 1} epochs")
    return recorder.exact(name, reached[0], len(curve[0]), why="counted once, in one training")


def plasticity_table(found: Relearning, recorder: Recorder) -> Table:
    """Both learning curves, one row a phase and epoch."""
    rows: list[dict[str, Cell]] = []
    phases = (
        ("relearning", found.relearning, found.relearning_losses),
        ("from scratch", found.scratch, found.scratch_losses),
    )
    for phase, curve, losses in phases:
        for epoch, hits in enumerate(curve):
            low, high = share_interval(sum(hits), len(hits), recorder.confidence)
            accuracy, loss = sum(hits) / len(hits), losses[epoch - 1] if epoch else None
            rows.append({"phase": phase, "epoch": epoch, "accuracy": accuracy, "low": low, "high": high, "loss": loss})
    return Table(
        title="Learning the original task again, and from scratch",
        columns=PLASTICITY_COLUMNS,
        rows=tuple(rows),
        brief=("phase", "epoch", "accuracy", "loss"),
        # A curve has no worst rows: the chart shows it.
        worst=(),
    )


def _numbers(hits: Hits) -> Tensor:
    return torch.tensor(hits, dtype=torch.float64)


def _bound(interval: Interval | str, side: str) -> float | None:
    return getattr(interval, side) if isinstance(interval, Interval) else None


def _or_last(value: Cell) -> float:
    return value if isinstance(value, float) else math.inf


def _reasons(trial: Trial) -> str:
    gone = next((stage for stage in trial.stages if stage.collapsed), None)
    if gone is not None:
        return f"{gone.stage} collapsed: {gone.absent}"
    return "; ".join(dict.fromkeys(stage.absent for stage in trial.stages if stage.absent)) or "no stage was compared"
