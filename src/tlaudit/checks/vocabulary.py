"""What the checks measure, in words: unit, direction and a sentence for each number and each column."""

from __future__ import annotations

from tlaudit.checks.measured import Quantity
from tlaudit.results import Column

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
    "hybrid.mean_probability": Quantity("probability", "lower", "Tested classes, finetuned backbone + source head."),
    "control.mean_probability": Quantity(
        "probability", "lower", "Tested classes, from-scratch backbone + source head."
    ),
    "source.source_top1": Quantity("share", "neither", "Source images the source network gets right."),
    "hybrid.source_top1": Quantity("share", "neither", "Source images finetuned backbone + source head get right."),
    "control.source_top1": Quantity("share", "neither", "Source images from-scratch backbone + source head get right."),
    "target.accuracy": Quantity("share", "higher", "Validation images the finetuned network gets right."),
    "baseline.target_accuracy": Quantity("share", "higher", "Validation images the from-scratch network gets right."),
}

CLASS_COLUMNS = tuple(
    Column(name=name, unit=unit, meaning=meaning)
    for name, unit, meaning in (
        ("class_index", "index", "Output of the source network, counted from 0."),
        ("class_name", "text", "Name of the class; its index where the checkpoint names none."),
        ("wordnet_id", "text", "WordNet id, for the ImageNet classes."),
        ("status", "text", "lingering | forgotten | untested (all source-only) | in target data."),
        ("prevalence", "images", "Target images with the class among the k most probable of the source network."),
        ("source_only", "yes/no", "Whether the prevalence is at most v_lo."),
        ("n", "images", "Source images of the class."),
        ("source_probability", "probability", "Mean probability of the class on its images, source network."),
        ("hybrid_probability", "probability", "The same through finetuned backbone and source head."),
        ("hybrid_low", "probability", "Lower bound of the bootstrap interval of hybrid_probability."),
        ("hybrid_high", "probability", "Upper bound of the same."),
        ("retention", "ratio", "hybrid_probability / source_probability."),
        ("control_probability", "probability", "Through from-scratch backbone and source head; near chance if sound."),
        ("absent", "text", "Why cells of this row are empty."),
    )
)
