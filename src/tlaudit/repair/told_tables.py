"""The tables of `tlaudit repair`: axis by axis, network by network, epoch by epoch."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from tlaudit.metrics.repair import AXES, BEFORE, PLAIN
from tlaudit.repair.judgement import kept, measured
from tlaudit.repair.vocabulary import (
    PARETO_COLUMNS,
    change_columns,
    spoken,
    training_columns,
)
from tlaudit.results import Table

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from tlaudit.checks.measured import Recorder
    from tlaudit.records import Cell
    from tlaudit.repair.judgement import Change, Facts, Glance, Judgement
    from tlaudit.repair.told import Outcome
    from tlaudit.training.loop import Epoch

Row = dict[str, Any]

FRONT = {"target_accuracy": 1, "source_top1": 1, "distraction": -1}
"""What networks are compared by, and which way is better."""
_MEASURED = ("target_accuracy", "source_top1", "delta_lp", "distraction", "flip_rate", "composite_accuracy")


def changes_table(changes: Mapping[str, Sequence[Change]]) -> Table:
    """One row for each method and axis, the axes of a method under each other: before, after, change."""
    return _changes("Before and after", BEFORE, changes)


def versus_table(changes: Mapping[str, Sequence[Change]]) -> Table:
    """The same with plain finetuning in place of the network before."""
    return _changes("After plain finetuning and after the others", PLAIN, changes)


def _changes(title: str, base: str, changes: Mapping[str, Sequence[Change]]) -> Table:
    rows = [_change(method, base, one) for method, of_method in changes.items() for one in of_method]
    return Table(
        title=title,
        columns=change_columns(base),
        rows=tuple(rows),
        worst=tuple(range(len(rows))),
        brief=("method", "axis", base, "after", "change", "low", "high", "n"),
    )


def _change(method: str, base: str, one: Change) -> Row:
    axis, before, after, change = one
    interval = change.interval
    reasons = dict.fromkeys(m.absent for m in (before, after, change) if m.absent)
    if change.interval_absent:
        reasons[change.interval_absent] = None
    bounds: list[float | None] = [interval.low, interval.high] if interval else [None, None]
    if AXES[axis].unit == "classes":
        bounds = [None if bound is None else round(bound) for bound in bounds]
    return {
        "method": method,
        "axis": spoken(axis),
        "unit": AXES[axis].unit,
        base: before.value,
        "after": after.value,
        "change": change.value,
        "low": bounds[0],
        "high": bounds[1],
        "n": change.n if change.value is not None else None,
        "better": AXES[axis].better,
        "absent": "; ".join(map(str, reasons)) or None,
    }


def pareto_table(facts: Facts, before: Judgement, outcomes: Sequence[Outcome], recorder: Recorder) -> Table:
    """One row a network: before, then what each method gave, with what it tried.

    Networks are compared by those of target accuracy, source top-1 and distraction that the network before has; one
    that lacks any of them is on no front and off none, and beats nobody.
    """
    rows = [_bound(_network(BEFORE, BEFORE, before, facts, recorder), "no method made it; see the networks")]
    for outcome in outcomes:
        if outcome.judgement is not None:
            row = _network(outcome.method, outcome.method, outcome.judgement, facts, recorder)
            rows.append(_bound(row, "none was written", outcome.file, outcome.sha256))
        rows += [
            _bound(_network(name, outcome.method, glance, facts, recorder), "a sweep's networks are not written")
            for name, glance in outcome.variants
        ]
    axes = [axis for axis in FRONT if rows[0][axis] is not None]
    compared = [row for row in rows if axes and all(row[axis] is not None for axis in axes)]
    for row in compared:
        row["on_front"] = "no" if any(_beats(other, row, axes) for other in compared) else "yes"
    return Table(
        title="What each network keeps, and what it still does",
        columns=PARETO_COLUMNS,
        rows=tuple(rows),
        worst=tuple(range(len(rows))),
        # As much as eighty columns hold.
        brief=("name", "target_accuracy", "source_kept", "lingering", "distraction", "on_front"),
    )


def _network(name: str, method: str, judged: Judgement | Glance, facts: Facts, recorder: Recorder) -> Row:
    # Only values are wanted, which are the same under any name.
    values = measured(judged, BEFORE, recorder)
    share = kept(judged, facts, BEFORE, recorder)
    reasons = dict.fromkeys(one.absent for one in (*values.values(), share) if one.absent)
    numbers = {axis: values[axis].value for axis in _MEASURED}
    numbers |= {"source_kept": share.value, "lingering": values["lingering_count"].value}
    row: Row = {column.name: numbers.get(column.name) for column in PARETO_COLUMNS}
    return row | {"name": name, "method": method, "absent": "; ".join(map(str, reasons)) or None}


def _bound(row: Row, why: str, file: str | None = None, sha256: str | None = None) -> Row:
    """A row with the file that holds its network, or why there is none."""
    reasons = [*([row["absent"]] if row["absent"] else []), *([f"file: {why}"] if file is None else [])]
    return row | {"file": file, "sha256": sha256, "absent": "; ".join(reasons) or None}


def _beats(one: Row, other: Row, axes: Sequence[str]) -> bool:
    """At least as good in all of these, and better in one; both have them all."""
    both = [(FRONT[axis] * one[axis], FRONT[axis] * other[axis]) for axis in axes]
    return all(ours >= theirs for ours, theirs in both) and any(ours > theirs for ours, theirs in both)


def training_table(histories: Iterable[tuple[str, Sequence[Epoch], int | None]]) -> Table:
    """One row for each method and epoch, with the terms of all methods' losses."""
    listed = list(histories)
    terms = list(dict.fromkeys(term for _, history, _ in listed for epoch in history for term in epoch.losses))
    rows: list[dict[str, Cell]] = []
    for method, history, chosen in listed:
        for epoch in history:
            missing = [term for term in terms if term not in epoch.losses]
            reasons = [f"{', '.join(missing)}: no term of this loss"] if missing else []
            reasons += ["no validation images"] if epoch.accuracy is None else []
            rows.append(
                {
                    "method": method,
                    "epoch": epoch.number + 1,
                    "loss": sum(epoch.losses.values()),
                    **{term: epoch.losses.get(term) for term in terms},
                    "accuracy": epoch.accuracy,
                    "kept": "yes" if epoch.number == chosen else "no",
                    "absent": "; ".join(reasons) or None,
                }
            )
    return Table(
        title="Training",
        columns=training_columns(terms),
        rows=tuple(rows),
        # A curve has no worst rows: the chart shows it.
        worst=(),
        brief=("method", "epoch", "loss", *terms, "accuracy", "kept"),
    )
