"""From the tallies of all classes to the numbers, the table and the warnings of `tlaudit distraction`."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, Literal

import torch

from tlaudit.checks.tally import Behaved, Tally, mean
from tlaudit.checks.target_task import NO_BASELINE
from tlaudit.checks.vocabulary_distraction import CLASS_COLUMNS
from tlaudit.exhibits import Level, Scatter
from tlaudit.measure.uncertainty import signed_rank_p
from tlaudit.results import Finding, Interval, Measurement, Table

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from torch import Tensor

    from tlaudit.checks.measured import Recorder
    from tlaudit.records import Cell

LINGERING, COMMON = "lingering", "common"
NOTHING_LIVES = "every map is dead"
NONE_WRONG = "no composite was wrong with pixels that could be filled"

FEW_OVERLAYS = 20
"""Below so many target images to paste the reader is warned, and nothing is called a concern (our choice)."""

MANY_DEAD = 0.25
"""Above this share of dead maps the reader is warned that the mean rests on the rest (our choice)."""


class Judgement:
    """The tallies of one run, asked for what they amount to.

    Args of the constructor: the tallies; the recorder of the check's quantities; why there are no labels, and why the
    baseline's predictions cannot be counted, or None where they can.
    """

    def __init__(
        self, tallies: Sequence[Tally], recorder: Recorder, *, no_labels: str | None, no_baseline: str | None
    ) -> None:
        self._tallies, self._recorder = tallies, recorder
        self._no_labels, self._no_baseline = no_labels, no_baseline
        self._without_baseline = no_baseline or NO_BASELINE
        self.has_baseline = any("baseline" in one.distraction for one in tallies)

    def of_kind(self, kind: str) -> list[Tally]:
        """Give the tallies of lingering or of common classes."""
        return [one for one in self._tallies if one.background.kind == kind]

    def measurements(self, if_none: str) -> dict[str, Measurement]:
        """All measurements by name.

        Args:
            if_none: Why there is nothing where no lingering class was looked at.
        """
        lingering = self.of_kind(LINGERING)
        composites = sum(one.composites for one in lingering)
        counted = "counted in full"
        found = [
            self._recorder.exact("distraction.classes", len(lingering), len(lingering), why=counted),
            self._recorder.exact("distraction.composites", composites, composites, why=counted),
            *self._overlaps("distraction.", lingering, if_none),
            *self._nulls(lingering, if_none),
            *self._deaths(lingering, if_none),
            *self._behaviour("distraction.", "finetuned", lingering, if_none),
            *self._behaviour("distraction.baseline_", "baseline", lingering, if_none),
            *self._common(if_none),
        ]
        return {measurement.name: measurement for measurement in found}

    def _overlaps(self, prefix: str, tallies: Sequence[Tally], if_none: str) -> list[Measurement]:
        """Means of finetuned network and baseline over classes, and their paired difference."""
        recorder, reason = self._recorder, NOTHING_LIVES if tallies else if_none
        found = [recorder.mean(f"{prefix}mean", class_means(tallies, "finetuned"), if_none=reason)]
        names = [f"{prefix}baseline_mean", f"{prefix}excess_over_baseline"]
        if tallies and not self.has_baseline:
            found += [recorder.absent(name, self._without_baseline) for name in names]
        else:
            found.append(recorder.mean(names[0], class_means(tallies, "baseline"), if_none=reason))
            found.append(recorder.mean(names[1], _excess(tallies), if_none=reason))
        return found

    def _nulls(self, tallies: Sequence[Tally], if_none: str) -> list[Measurement]:
        """The null, what is above it, and the tests of both excesses."""
        recorder = self._recorder
        alone = "each class has one composite only, and the null needs another one of the class"
        reason = if_none if not tallies else alone if all(t.composites < 2 for t in tallies) else NOTHING_LIVES
        nulls = [(mean(one.null), mean(one.distraction["finetuned"])) for one in tallies]
        pairs = [(null, value) for null, value in nulls if null is not None and value is not None]
        above_null = _vector(value - null for null, value in pairs)
        found = [
            recorder.mean("distraction.null_mean", _vector(null for null, _ in pairs), if_none=reason),
            recorder.mean("distraction.excess_over_null", above_null, if_none=reason),
            self._signed_rank("distraction.null_wilcoxon_p", above_null, if_none=reason),
        ]
        names = ("distraction.baseline_wilcoxon_p", "distraction.share_above_baseline")
        if tallies and not self.has_baseline:
            return found + [recorder.absent(name, self._without_baseline) for name in names]
        excess, reason = _excess(tallies), NOTHING_LIVES if tallies else if_none
        above = recorder.share(names[1], int((excess > 0).sum()), len(excess), if_none=reason)
        return [*found, self._signed_rank(names[0], excess, if_none=reason), above]

    def _signed_rank(self, name: str, differences: Tensor, *, if_none: str) -> Measurement:
        if len(differences) == 0:
            return self._recorder.absent(name, if_none)
        if not bool((differences != 0).any()):
            return self._recorder.absent(name, "no class differs, so that there is nothing to rank")
        p = signed_rank_p(differences)
        return self._recorder.exact(name, p, len(differences), why="a p-value is itself a statement of uncertainty")

    def _deaths(self, tallies: Sequence[Tally], if_none: str) -> list[Measurement]:
        found = []
        roles = {"distraction.dead_share": "finetuned", "distraction.source_dead_share": "source"}
        for name, role in (roles | {"distraction.baseline_dead_share": "baseline"}).items():
            if role == "baseline" and tallies and not self.has_baseline:
                found.append(self._recorder.absent(name, self._without_baseline))
            else:
                dead, of = _whole(one.dead[role] for one in tallies), _whole(one.composites for one in tallies)
                found.append(self._recorder.clustered(name, dead, of, if_none=if_none))
        return found

    def _behaviour(self, prefix: str, role: str, tallies: Sequence[Tally], if_none: str) -> list[Measurement]:
        """What a network predicts on composites, on grey, and with pixels filled."""
        reason = self._no_labels
        if role == "baseline":
            reason = reason or self._no_baseline
        counted = {
            "composite_accuracy": ("right", "known", if_none),
            "grey_accuracy": ("on_grey", "known", if_none),
            "flip_rate": ("flipped", "known", if_none),
            "occlusion_recovery": ("recovered", "occludable", NONE_WRONG),
            "random_recovery": ("at_random", "occludable", NONE_WRONG),
        }
        found = []
        for name, (hits, trials, nothing) in counted.items():
            if f"{prefix}{name}" not in self._recorder.quantities:
                continue
            if reason is not None or not tallies:
                found.append(self._recorder.absent(f"{prefix}{name}", reason if tallies and reason else if_none))
                continue
            yes, of = (_whole(getattr(one.behaved[role], count) for one in tallies) for count in (hits, trials))
            found.append(self._recorder.clustered(f"{prefix}{name}", yes, of, if_none=nothing))
        return found

    def _common(self, if_none: str) -> list[Measurement]:
        common = self.of_kind(COMMON)
        if self.of_kind(LINGERING):
            if_none = "no class that the target data shows has images in the source data (or --common-classes is 0)"
        count = self._recorder.exact("distraction.common_classes", len(common), len(common), why="counted in full")
        return [
            count,
            *self._overlaps("distraction.common_", common, if_none),
            *self._behaviour("distraction.common_", "finetuned", common, if_none),
        ]

    def verdict(self, measurements: Mapping[str, Measurement], *, nothing_lingers: bool, overlays: int) -> Verdict:
        """A concern if the network is distracted beyond the null and, where there is one, beyond the baseline.

        Beyond means that the interval lies above 0 and the signed-rank test agrees: one of them alone tips over with
        the seed when there is little to see. A handful of overlays decides nothing.
        """
        if nothing_lingers:
            return "clear"
        beyond_null = self._beyond(measurements, "null")
        if not self.has_baseline:
            return "concern" if beyond_null and overlays >= FEW_OVERLAYS else "open"
        interval = measurements["distraction.excess_over_baseline"].interval
        if interval is not None and interval.high <= 0:
            return "clear"
        beyond = beyond_null and self._beyond(measurements, "baseline")
        return "concern" if beyond and overlays >= FEW_OVERLAYS else "open"

    def _beyond(self, measurements: Mapping[str, Measurement], other: str) -> bool:
        interval = measurements[f"distraction.excess_over_{other}"].interval
        p = measurements[f"distraction.{other}_wilcoxon_p"].value
        alpha = 1 - self._recorder.confidence
        return interval is not None and interval.low > 0 and p is not None and p < alpha

    def table(self) -> Table:
        """All classes; a short view shows the lingering ones, most distracting beyond the baseline first."""
        rows = tuple(self._row(one) for one in self._tallies)
        key = "excess" if self.has_baseline else "finetuned_distraction"
        ranked = sorted(
            (n for n, row in enumerate(rows) if row["kind"] == LINGERING and row[key] is not None),
            key=lambda n: -float(rows[n][key] or 0),
        )
        brief = ["class_name", "n", "finetuned_distraction", "null", "accuracy", "grey_accuracy", "flip_rate"]
        if self.has_baseline:
            brief += ["baseline_distraction", "excess"]
        return Table(
            title="Most distracting classes", columns=CLASS_COLUMNS, rows=rows, worst=tuple(ranked), brief=tuple(brief)
        )

    def _row(self, one: Tally) -> dict[str, Cell]:
        source, reasons = one.background.source, []
        values = {role: mean(of_role) for role, of_role in one.distraction.items()}
        finetuned, baseline = values["finetuned"], values.get("baseline")
        interval: Interval | str = NOTHING_LIVES
        if one.distraction["finetuned"]:
            interval = self._recorder.interval(_vector(one.distraction["finetuned"]), stream=source.index + 1)
        if isinstance(interval, str):
            reasons.append(interval)
        behaved = {role: b for role, b in one.behaved.items() if b.known}
        if not self.has_baseline:
            reasons.append(self._without_baseline)
        if not behaved:
            reasons.append(self._no_labels or "no overlay has a known class")
        elif self._no_baseline and self.has_baseline:
            reasons.append(self._no_baseline)
            behaved.pop("baseline", None)
        return {
            "class_index": source.index,
            "class_name": source.name,
            "kind": one.background.kind,
            "n": one.composites,
            "finetuned_distraction": finetuned,
            "finetuned_low": interval.low if isinstance(interval, Interval) else None,
            "finetuned_high": interval.high if isinstance(interval, Interval) else None,
            "baseline_distraction": baseline,
            "null": mean(one.null),
            "excess": finetuned - baseline if finetuned is not None and baseline is not None else None,
            "hybrid_probability": source.hybrid_probability,
            "accuracy": _share(behaved.get("finetuned"), "right"),
            "grey_accuracy": _share(behaved.get("finetuned"), "on_grey"),
            "flip_rate": _share(behaved.get("finetuned"), "flipped"),
            "baseline_accuracy": _share(behaved.get("baseline"), "right"),
            "baseline_flip_rate": _share(behaved.get("baseline"), "flipped"),
            "source_dead": one.dead["source"],
            "finetuned_dead": one.dead["finetuned"],
            "baseline_dead": one.dead.get("baseline"),
            "absent": "; ".join(reasons) or None,
        }

    def chart(self, measurements: Mapping[str, Measurement]) -> Scatter:
        """Figure 3a: every class by the distraction of the baseline and of the finetuned network."""
        null = measurements["distraction.null_mean"].value
        x, other = ("baseline_distraction", "the from-scratch network")
        if not self.has_baseline:
            x, other = "null", "the null"
        return Scatter(
            title=f"Who is distracted more: the finetuned network or {other}",
            reading=(
                f"One dot a class. Above the diagonal the finetuned network looks more at the class than {other}; "
                "the dashed line is the null, the source's map of another composite of the class."
            ),
            table="classes",
            x=x,
            y="finetuned_distraction",
            name="class_name",
            group="kind",
            diagonal=True,
            levels=(Level(axis="y", value=float(null), label=f"null {null:.3f}"),) if null is not None else (),
        )

    def findings(self, measurements: Mapping[str, Measurement], overlays: int) -> list[Finding]:
        """What the reader has to know beside the numbers.

        Args:
            measurements: By name.
            overlays: How many target images could be pasted.
        """
        lingering, found = self.of_kind(LINGERING), []
        same = sum(one.same_picture for one in lingering)
        if same:
            message = (
                f"For {same} of {sum(one.composites for one in lingering)} composites the null compares two that show "
                "the same source image, because their class has no other: it is then nearly as high as the distraction "
                "and the excess over it too small. More source images a class make it a fair null."
            )
            found.append(Finding(code="distraction.null_same_picture", severity="warning", message=message))
        if lingering and overlays < FEW_OVERLAYS:
            message = (
                f"All composites show {overlays} target images between them: intervals say nothing about other ones, "
                f"and below {FEW_OVERLAYS} nothing is called a concern."
            )
            found.append(Finding(code="distraction.few_overlays", severity="warning", message=message))
        for role in ("finetuned", "source", "baseline"):
            name = "distraction.dead_share" if role == "finetuned" else f"distraction.{role}_dead_share"
            share = measurements[name].value
            if share is not None and share > MANY_DEAD:
                message = f"{100 * share:.0f} % of the {role} network's maps are dead and left out of every mean."
                found.append(Finding(code=f"distraction.dead_{role}", severity="warning", message=message))
        missing = Counter(one.background.kind for one in self._tallies if not one.distraction["finetuned"])
        if missing[LINGERING]:
            message = f"{missing[LINGERING]} lingering classes have no live map at all; they are in no mean."
            found.append(Finding(code="distraction.classes_without_value", severity="info", message=message))
        return found


Verdict = Literal["concern", "clear", "open"]


def class_means(tallies: Sequence[Tally], role: str) -> Tensor:
    """Mean distraction of each class that has one, ``(C,)`` float64."""
    means = (mean(one.distraction.get(role, [])) for one in tallies)
    return _vector(value for value in means if value is not None)


def _excess(tallies: Sequence[Tally]) -> Tensor:
    """Finetuned minus baseline of each class that has both."""
    pairs = [(mean(t.distraction["finetuned"]), mean(t.distraction.get("baseline", []))) for t in tallies]
    return _vector(ours - theirs for ours, theirs in pairs if ours is not None and theirs is not None)


def _vector(values: Iterable[float]) -> Tensor:
    return torch.tensor(list(values), dtype=torch.float64)


def _whole(values: Iterable[int]) -> Tensor:
    return torch.tensor(list(values), dtype=torch.int64)


def _share(behaved: Behaved | None, count: str) -> float | None:
    return int(getattr(behaved, count)) / behaved.known if behaved is not None else None
