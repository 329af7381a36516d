"""What `tlaudit stress` measures: unit, direction and a sentence for each number."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tlaudit.metrics.base import Quantity

if TYPE_CHECKING:
    from collections.abc import Iterable

_BEFORE = {
    "stress.clean_accuracy.before": Quantity("share", "neither", "Clean test images the network gets right as it is."),
}
_OVER_ALL = {
    "stress.max_drop": Quantity(
        "difference", "lower", "Largest loss of clean accuracy at any ratio, against plain training."
    ),
    "stress.threshold_ratio": Quantity(
        "share", "higher", "Smallest ratio found at which clean accuracy falls by more than the limit."
    ),
    "stress.plasticity.area_relearning": Quantity(
        "share", "higher", "Mean clean accuracy while the original task is learnt again after squares."
    ),
    "stress.plasticity.epochs_relearning": Quantity(
        "epochs", "lower", "Epochs until 0.9 of the accuracy from before is reached again."
    ),
    "stress.plasticity.area_scratch": Quantity(
        "share", "neither", "The same from scratch, architecture and schedule being equal."
    ),
    "stress.plasticity.epochs_scratch": Quantity("epochs", "neither", "The same from scratch."),
    "stress.plasticity.area_difference": Quantity(
        "difference", "higher", "The first less the second; below 0, squares left less than nothing to build on."
    ),
}


def quantities(ratios: Iterable[float]) -> dict[str, Quantity]:
    """Name everything that is measured in a sweep over these ratios."""
    found = dict(_BEFORE)
    for ratio in ratios:
        at = f"{ratio:g}"
        share = f"after training with squares on {100 * ratio:g} % of the images" if ratio else "after plain training"
        found[f"stress.clean_accuracy.{at}"] = Quantity("share", "higher", f"Clean test images got right {share}.")
        if ratio:
            found[f"stress.accuracy_drop.{at}"] = Quantity(
                "difference", "lower", f"Clean accuracy lost {share}, against that after plain training."
            )
        found |= {
            f"stress.cka.min.{at}": Quantity("cka", "higher", f"Lowest CKA of any stage with that before, {share}."),
            f"stress.rank_ratio.min.{at}": Quantity(
                "ratio", "higher", f"Lowest numerical rank of any stage as a share of that before, {share}."
            ),
        }
    return found | _OVER_ALL
