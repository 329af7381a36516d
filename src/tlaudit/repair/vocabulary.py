"""What a repair measures, in words: unit, direction and a sentence for each number and each column."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tlaudit.checks.measured import Quantity
from tlaudit.exhibits import Lines, Scatter
from tlaudit.results import Column

if TYPE_CHECKING:
    from collections.abc import Iterable

AXES = {
    "target_accuracy": Quantity("share", "higher", "Validation images got right"),
    "source_top1": Quantity("share", "higher", "Source images got right under the source's head"),
    "delta_lp": Quantity(
        "difference", "higher", "Accuracy of a linear probe on the last features less that on the source's"
    ),
    "lingering_count": Quantity("classes", "lower", "Tested source-only classes that are still recognised"),
    "lingering_fraction": Quantity("share", "lower", "Still recognised classes among the tested source-only ones"),
    "distraction": Quantity("overlap", "lower", "Overlap with the source's map outside the overlay"),
    "flip_rate": Quantity("share", "lower", "Composites right on grey and wrong as they are"),
    "composite_accuracy": Quantity("share", "higher", "Composites whose overlay is recognised"),
    "grey_accuracy": Quantity("share", "higher", "The same overlays recognised on mid-grey"),
}
"""What networks are judged by; each sentence goes on with whose number it is."""

BEFORE = "before"
SOURCE = "repair.source.source_top1"


def quantities(methods: Iterable[str]) -> dict[str, Quantity]:
    """Name everything that is measured about these methods."""
    found = {SOURCE: Quantity("share", "neither", "Source images the source network itself gets right.")}
    found |= {
        f"repair.{BEFORE}.{axis}": one._replace(meaning=f"{one.meaning}, before the repair.")
        for axis, one in AXES.items()
    }
    for name in (BEFORE, *methods):
        what = "before the repair" if name == BEFORE else f"after {name}"
        found[f"repair.{name}.source_kept"] = Quantity(
            "share", "higher", f"Source images got right {what} / those the source network gets right."
        )
    for method in methods:
        for axis, one in AXES.items():
            found[f"repair.{method}.{axis}"] = one._replace(meaning=f"{one.meaning}, after {method}.")
            unit = one.unit if one.unit == "classes" else "difference"
            meaning = f"{one.meaning}: after {method} less before, paired."
            found[f"repair.{method}.{axis}_change"] = Quantity(unit, one.better, meaning)
    return found


def _columns(*described: tuple[str, str, str]) -> tuple[Column, ...]:
    return tuple(Column(name=name, unit=unit, meaning=meaning) for name, unit, meaning in described)


CHANGE_COLUMNS = _columns(
    ("axis", "text", "What the network is judged by."),
    ("method", "text", "What was done."),
    ("unit", "text", "Of the numbers in this row; a share of 1 is all."),
    ("before", "number", "Of the network before the repair."),
    ("after", "number", "Of the network after it."),
    ("change", "number", "After less before, on the same images, composites or classes."),
    ("low", "number", "Lower bound of the change's bootstrap interval."),
    ("high", "number", "Upper bound of the same."),
    ("n", "number", "Images, composites or classes that the change rests on."),
    ("better", "text", "Which way is better: higher | lower."),
    ("absent", "text", "Why cells of this row are empty."),
)
PARETO_COLUMNS = _columns(
    ("name", "text", "The network."),
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
        "one. Of numbers that this network lacks nothing is asked; one that lacks a number this has does not beat it.",
    ),
    ("absent", "text", "Why cells of this row are empty."),
)


def training_columns(terms: Iterable[str]) -> tuple[Column, ...]:
    """Columns of the table of epochs, with one for each term of a loss."""
    return _columns(
        ("method", "text", "What was trained."),
        ("epoch", "epoch", "Counted from 1."),
        ("loss", "loss", "Sum of the terms, mean over the images of the epoch as they came by."),
        *((term, "loss", f"Term {term} of the loss, as it is added, mean over the same images.") for term in terms),
        ("accuracy", "share", "Validation images got right after the epoch."),
        ("kept", "text", "yes, if this epoch's network is the one that was judged."),
        ("absent", "text", "Why cells of this row are empty."),
    )


PARETO_CHART = Scatter(
    title="What each repair keeps, and what it cures",
    reading=(
        "One dot a network. To the right more is kept of what the source network knew, further down less of it "
        "distracts; the colour is the accuracy on the target task. No repair is better than another that lies to the "
        "right of it, below it and is brighter."
    ),
    table="pareto",
    x="source_kept",
    y="distraction",
    name="name",
    group="method",
    shade="target_accuracy",
)
ACCURACY_CHART = Scatter(
    title="What each repair keeps, and what it costs",
    reading=(
        "One dot a network: accuracy on the target task, and source images got right under the source's head. Up and "
        "to the right is better. Distraction could not be measured."
    ),
    table="pareto",
    x="target_accuracy",
    y="source_top1",
    name="name",
    group="method",
)
LOSS_CHART = Lines(
    title="Loss by epoch",
    reading="Sum of the terms of each method's loss, mean over the images of an epoch as they came by.",
    table="training",
    x="epoch",
    y="loss",
    group="method",
)
