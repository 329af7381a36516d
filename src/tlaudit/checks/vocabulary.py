"""What the checks measure, in words: unit, direction and a sentence for each number and each column."""

from __future__ import annotations

from tlaudit.results import columns

CLASS_COLUMNS = columns(
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
