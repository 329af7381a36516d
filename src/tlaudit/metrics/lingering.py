"""What `tlaudit lingering` measures: unit, direction and a sentence for each number."""

from __future__ import annotations

from tlaudit.metrics.base import Quantity

QUANTITIES = {
    "source_only.count": Quantity("classes", "neither", "Source classes that (almost) never occur in the target data."),
    "source_only.fraction": Quantity("share", "neither", "Source-only classes among all source classes."),
    "tested.count": Quantity("classes", "neither", "Source-only classes with images, which can be tested."),
    "tested.fraction": Quantity("share", "higher", "Tested classes among the source-only ones."),
    "lingering.count": Quantity("classes", "lower", "Tested classes that the finetuned backbone still recognises."),
    "lingering.fraction": Quantity("share", "lower", "Lingering classes among the tested ones."),
    "lingering.mean_retention": Quantity("ratio", "lower", "Hybrid / source probability, mean over lingering classes."),
    "lingering.pooled_retention": Quantity(
        "ratio", "lower", "Mean hybrid / mean source probability, lingering classes."
    ),
    "control.lingering_count": Quantity("classes", "lower", "Tested classes the from-scratch backbone 'recognises'."),
    "control.lingering_fraction": Quantity("share", "lower", "Those among the tested classes; near 0 if sound."),
    "source.mean_probability": Quantity("probability", "neither", "Tested classes on their images, source network."),
    "source.source_top1": Quantity("share", "neither", "Source images the source network gets right."),
    "hybrid.mean_probability": Quantity("probability", "lower", "Tested classes, finetuned backbone + source head."),
    "hybrid.source_top1": Quantity("share", "neither", "Source images finetuned backbone + source head get right."),
    "control.mean_probability": Quantity(
        "probability", "lower", "Tested classes, from-scratch backbone + source head."
    ),
    "control.source_top1": Quantity("share", "neither", "Source images from-scratch backbone + source head get right."),
    "target.accuracy": Quantity("share", "higher", "Validation images the finetuned network gets right."),
    "baseline.target_accuracy": Quantity("share", "higher", "Validation images the from-scratch network gets right."),
}
