"""The tables of `tlaudit repair`: axis by axis, network by network, epoch by epoch."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from tlaudit.repair.judgement import kept, measured
from tlaudit.repair.vocabulary import (
    AXES,
    BEFORE,
    CHANGE_COLUMNS,
    PARETO_COLUMNS,
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

_FRONT = {"target_accuracy": 1, "source_top1": 1, "distraction": -1}
"""What networks are compared by, and which way is better."""
_MEASURED = ("target_accuracy", "source_top1", "delta_lp", "distraction", "flip_rate", "composite_accuracy")


def changes_table(changes: Mapping[str, Sequence[Change]]) -> Table:
    """One row for each axis and method, the methods of an axis under each other."""
    rows = [
        _change(method, one)
        for of_axis in zip(*changes.values(), strict=True)
        for method, one in zip(changes, of_axis, strict=True)
    ]
    return Table(
        title="Before and after",
        columns=CHANGE_COLUMNS,
        rows=tuple(rows),
        worst=tuple(range(len(rows))),
        brief=("axis", "method", "before", "after", "change", "low", "high", "n"),
    )


def _change(method: str, one: Change) -> Row:
    axis, before, after, change = one
    interval = change.interval
    reasons = dict.fromkeys(m.absent for m in (before, after, change) if m.absent)
    if change.interval_absent:
        reasons[change.interval_absent] = None
    bounds: list[float | None] = [interval.low, interval.high] if interval else [None, None]
    if AXES[axis].unit == "classes":
        bounds = [None if bound is None else round(bound) for bound in bounds]
    return {
        "axis": axis.replace("_", " "),
        "method": method,
        "unit": AXES[axis].unit,
        "before": before.value,
        "after": after.value,
        "change": change.value,
        "low": bounds[0],
        "high": bounds[1],
        "n": change.n if change.value is not None else None,
        "better": AXES[axis].better,
        "absent": "; ".join(map(str, reasons)) or None,
    }


def pareto_table(facts: Facts, before: tuple[str, Judgement], outcomes: Sequence[Outcome], recorder: Recorder) -> Table:
    """One row a network: before, then what each method gave, with what it tried."""
    networks: list[tuple[str, str, Judgement | Glance]] = [(f"{BEFORE} ({before[0]})", BEFORE, before[1])]
    for outcome in outcomes:
        if outcome.judgement is not None:
            networks.append((outcome.method, outcome.method, outcome.judgement))
        networks += [(name, outcome.method, glance) for name, glance in outcome.variants]
    rows = [_network(name, method, judged, facts, recorder) for name, method, judged in networks]
    for row in rows:
        row["on_front"] = "no" if any(_beats(other, row) for other in rows) else "yes"
    brief = ["name", "target_accuracy", "source_kept", "lingering", "distraction", "flip_rate", "on_front"]
    return Table(
        title="What each network keeps, and what it still does",
        columns=PARETO_COLUMNS,
        rows=tuple(rows),
        worst=tuple(range(len(rows))),
        brief=tuple(brief),
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


def _beats(one: Row, other: Row) -> bool:
    """At least as good in all that is known of the other, and better in one of it.

    Of whom less is known than of the other, that cannot be said.
    """
    known = [(axis, sign) for axis, sign in _FRONT.items() if other[axis] is not None]
    if any(one[axis] is None for axis, _ in known):
        return False
    both = [(sign * one[axis], sign * other[axis]) for axis, sign in known]
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
