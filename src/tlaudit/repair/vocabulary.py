"""What a repair measures, in words: unit, direction and a sentence for each number and each column."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tlaudit.exhibits import Lines, Scatter
from tlaudit.metrics.repair import BEFORE
from tlaudit.results import Column, columns
from tlaudit.training.steps import TASK

if TYPE_CHECKING:
    from collections.abc import Iterable

_SPOKEN = {"source_top1": "source top-1", "delta_lp": "ΔLP"}
"""Axes whose names in words are not their own."""

BY_ROW = "by row"
"""Unit of numbers whose unit stands in a cell of their row."""


def spoken(axis: str) -> str:
    """An axis as people call it."""
    return _SPOKEN.get(axis, axis.replace("_", " "))


def change_columns(base: str) -> tuple[Column, ...]:
    """Columns of a table that sets networks after a repair against another one.

    Args:
        base: What they are set against, `BEFORE` or `PLAIN`; the column of its numbers is called so.
    """
    which = "before the repair" if base == BEFORE else "after plain finetuning"
    less = "before" if base == BEFORE else "after plain"
    return columns(
        ("method", "text", "What was done."),
        ("axis", "text", "What the network is judged by."),
        ("unit", "text", "Of the numbers in this row; a share of 1 is all."),
        (base, BY_ROW, f"Of the network {which}."),
        ("after", BY_ROW, "Of the network after the method."),
        ("change", BY_ROW, f"After less {less}, on the same images, composites or classes."),
        ("low", BY_ROW, "Lower bound of the change's bootstrap interval."),
        ("high", BY_ROW, "Upper bound of the same."),
        ("n", "number", "Images, composites or classes that the change rests on."),
        ("better", "text", "Which way is better: higher | lower."),
        ("absent", "text", "Why cells of this row are empty."),
    )


PARETO_COLUMNS = columns(
    ("name", "text", "The network; before: as it was before any repair."),
    ("method", "text", "What made it."),
    ("target_accuracy", "share", "Validation images got right."),
    ("source_top1", "share", "Source images got right under the source's head."),
    ("source_kept", "share", "The same as a share of what the source network itself gets right."),
    ("delta_lp", "difference", "Accuracy of a linear probe on its last features less that on the source's."),
    ("lingering", "classes", "Tested source-only classes that are still recognised."),
    ("distraction", "overlap", "Overlap with the source's map outside the overlay."),
    ("flip_rate", "share", "Composites right on grey and wrong as they are."),
    ("composite_accuracy", "share", "Composites whose overlay is recognised."),
    (
        "on_front",
        "text",
        "yes, if no other network is at least as good in target accuracy, source top-1 and distraction, and better in "
        "one. Asked only of networks that have each of the three that the network before has; an axis which that one "
        "lacks counts for none.",
    ),
    ("file", "text", "Checkpoint that was written."),
    ("sha256", "text", "SHA-256 of the network that this row is about."),
    ("absent", "text", "Why cells of this row are empty."),
)


def training_columns(terms: Iterable[str]) -> tuple[Column, ...]:
    """Columns of the table of epochs, with one for each term of a loss."""
    return columns(
        ("method", "text", "What was trained."),
        ("epoch", "epoch", "Counted from 1."),
        ("loss", "loss", "Sum of the terms, mean over the images of the epoch as they came by."),
        *((term, "loss", f"Term {term} of the loss, as it is added, mean over the same images.") for term in terms),
        ("accuracy", "share", "Validation images got right after the epoch."),
        ("kept", "text", "yes, if this epoch's network is the one that was judged."),
        ("absent", "text", "Why cells of this row are empty."),
    )


_LEAST_SPAN = 0.1
"""An axis shows no less than this of a share or an overlap, so that noise does not fill the chart (ours)."""
_SHADED = " The colour is the accuracy on the target task."
_SWEEP_ELSEWHERE = (
    " Networks that a sweep tried on the way are not here, as their distraction is not measured; the table has them."
)
_PARETO_CHART = Scatter(
    title="What each repair keeps, and what it cures",
    reading=(
        "One dot a network. Further right: more of what the source network knew is kept; further down: less of it "
        "distracts."
    ),
    table="pareto",
    x="source_kept",
    y="distraction",
    name="name",
    labelled=True,
    least_span=_LEAST_SPAN,
)
ACCURACY_CHART = Scatter(
    title="What each repair keeps, and what it costs",
    reading=(
        "One dot a network. Further right: more of the target task is got right; further up: more source images are "
        "got right under the source's head. Distraction could not be measured."
    ),
    table="pareto",
    x="target_accuracy",
    y="source_top1",
    name="name",
    labelled=True,
    least_span=_LEAST_SPAN,
)
LOSS_CHART = Lines(
    title="Cross-entropy by epoch",
    reading=(
        "Of the task's own labels, mean over the images of an epoch as they came by. What else a method's loss adds "
        "to it is not alike from method to method; those terms are in the table."
    ),
    table="training",
    x="epoch",
    y=TASK,
    group="method",
)


def pareto_chart(*, shaded: bool, swept: bool) -> Scatter:
    """What is kept against what distracts.

    Args:
        shaded: Whether target accuracy is known of any dot, so that it can be its colour.
        swept: Whether a sweep's networks are missing from it.
    """
    reading = _PARETO_CHART.reading + _SHADED * shaded + _SWEEP_ELSEWHERE * swept
    return _PARETO_CHART.model_copy(update={"reading": reading, "shade": "target_accuracy" if shaded else None})
