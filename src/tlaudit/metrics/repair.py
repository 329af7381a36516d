"""What `tlaudit repair` measures: unit, direction and a sentence for each number."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tlaudit.metrics.base import Quantity

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

PLAIN = "plain"
"""The method that the others are set against where it ran."""

SOURCE = "repair.source.source_top1"


def quantities(methods: Iterable[str], *, versus_plain: bool = False) -> dict[str, Quantity]:
    """Name everything that is measured about these methods.

    Args:
        methods: Their names.
        versus_plain: Whether those other than `PLAIN` are also set against it.
    """
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
            if versus_plain and method != PLAIN:
                meaning = f"{one.meaning}: after {method} less after plain, paired."
                found[f"repair.{method}.{axis}_versus_plain"] = Quantity(unit, one.better, meaning)
    return found
