"""What `tlaudit erosion` measures: unit, direction and a sentence for each number."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tlaudit.metrics.base import Quantity

if TYPE_CHECKING:
    from collections.abc import Iterable

_FIXED = {
    "erosion.cka.min": Quantity("cka", "higher", "The lowest CKA of any stage, and that stage's interval."),
    "erosion.rank_ratio.min": Quantity("ratio", "higher", "The lowest ratio of numerical ranks of any stage."),
    "erosion.source_accuracy_before": Quantity("share", "neither", "Source images the source network gets right."),
    "erosion.source_accuracy_after": Quantity(
        "share", "neither", "Source images finetuned backbone + source head get right."
    ),
    "erosion.source_accuracy_drop": Quantity(
        "difference", "lower", "Accuracy on source images before less after finetuning, both under the source's head."
    ),
    "erosion.probe_accuracy.source": Quantity(
        "share", "neither", "Accuracy of a linear probe on the source network's last features."
    ),
    "erosion.probe_accuracy.finetuned": Quantity(
        "share", "higher", "Accuracy of a linear probe on the finetuned network's last features."
    ),
    "erosion.delta_lp": Quantity(
        "difference", "higher", "Probe accuracy on finetuned less on source features; negative = forgetting."
    ),
}


def quantities(stages: Iterable[str]) -> dict[str, Quantity]:
    """What each measurement stands for, those of single stages included."""
    found = {}
    for stage in stages:
        found[f"erosion.cka.{stage}"] = Quantity(
            "cka", "higher", f"Unbiased CKA of {stage}, finetuned to source network; 1 = as it was."
        )
        found[f"erosion.rank_ratio.{stage}"] = Quantity(
            "ratio", "higher", f"Numerical rank of {stage}'s features, finetuned / source network."
        )
    return found | _FIXED
