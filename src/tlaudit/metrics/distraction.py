"""What `tlaudit distraction` measures: unit, direction and a sentence for each number."""

from __future__ import annotations

from tlaudit.metrics.base import Quantity

QUANTITIES = {
    "distraction.classes": Quantity("classes", "neither", "Lingering classes that composites were made of."),
    "distraction.composites": Quantity("images", "neither", "Composites of lingering classes that were looked at."),
    "distraction.mean": Quantity(
        "overlap", "lower", "Overlap of the finetuned network's map with the source's, outside the overlay."
    ),
    "distraction.baseline_mean": Quantity("overlap", "neither", "Distraction of the from-scratch network."),
    "distraction.excess_over_baseline": Quantity(
        "overlap", "lower", "Distraction above the from-scratch network's, paired over classes."
    ),
    "distraction.null_mean": Quantity(
        "overlap",
        "neither",
        "The same against the source's map of another composite of the class.",
    ),
    "distraction.excess_over_null": Quantity("overlap", "lower", "Distraction above that null, paired over classes."),
    "distraction.null_wilcoxon_p": Quantity("p-value", "neither", "Signed-rank test of the excess over the null."),
    "distraction.baseline_wilcoxon_p": Quantity(
        "p-value", "neither", "Signed-rank test of the excess over the baseline: small if it is no accident."
    ),
    "distraction.share_above_baseline": Quantity(
        "share", "lower", "Classes that distract the finetuned network more than the from-scratch one."
    ),
    "distraction.dead_share": Quantity("share", "neither", "Composites whose finetuned map says nothing (left out)."),
    "distraction.source_dead_share": Quantity("share", "neither", "Composites whose source map says nothing."),
    "distraction.baseline_dead_share": Quantity("share", "neither", "Composites whose baseline map says nothing."),
    "distraction.composite_accuracy": Quantity(
        "share", "higher", "Composites in which the finetuned network sees what is pasted on."
    ),
    "distraction.grey_accuracy": Quantity("share", "higher", "The same overlays at the same places on mid-grey."),
    "distraction.flip_rate": Quantity("share", "lower", "Right on grey and wrong on the composite, finetuned network."),
    "distraction.occlusion_recovery": Quantity(
        "share", "neither", "Wrong composites that become right with the source's top pixels filled."
    ),
    "distraction.random_recovery": Quantity("share", "neither", "The same with as many pixels filled at random."),
    "distraction.baseline_composite_accuracy": Quantity("share", "higher", "Composites the baseline gets right."),
    "distraction.baseline_grey_accuracy": Quantity("share", "higher", "Overlays on grey the baseline gets right."),
    "distraction.baseline_flip_rate": Quantity("share", "lower", "Right on grey and wrong on the composite, baseline."),
    "distraction.baseline_occlusion_recovery": Quantity("share", "neither", "Occlusion recovery of the baseline."),
    "distraction.baseline_random_recovery": Quantity("share", "neither", "Recovery by random masks, baseline."),
    "distraction.common_classes": Quantity("classes", "neither", "Classes the target data shows, as a control."),
    "distraction.common_mean": Quantity("overlap", "lower", "Distraction by classes the target data shows."),
    "distraction.common_baseline_mean": Quantity("overlap", "neither", "The same of the from-scratch network."),
    "distraction.common_excess_over_baseline": Quantity("overlap", "lower", "The difference, paired over classes."),
    "distraction.common_composite_accuracy": Quantity("share", "higher", "Those composites right, finetuned network."),
    "distraction.common_flip_rate": Quantity("share", "lower", "Right on grey, wrong on a common background."),
}
