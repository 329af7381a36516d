"""What `tlaudit distraction` measures, in words."""

from __future__ import annotations

from tlaudit.results import columns

CLASS_COLUMNS = columns(
    ("class_index", "index", "Output of the source network, counted from 0."),
    ("class_name", "text", "Name of the source class in the background."),
    ("kind", "text", "lingering, or common: shown by the target data, as a control."),
    ("n", "images", "Composites."),
    ("finetuned_distraction", "overlap", "Mean over composites, finetuned network."),
    ("finetuned_low", "overlap", "Lower bound of its bootstrap interval over composites."),
    ("finetuned_high", "overlap", "Upper bound of the same."),
    ("baseline_distraction", "overlap", "Mean over composites, from-scratch network."),
    ("null", "overlap", "Mean overlap with the source's map of another composite of the class."),
    ("excess", "overlap", "finetuned_distraction - baseline_distraction."),
    ("hybrid_probability", "probability", "How well the finetuned backbone still knows the class."),
    ("accuracy", "share", "Composites in which the finetuned network sees the overlay's class."),
    ("grey_accuracy", "share", "The same overlays on mid-grey."),
    ("flip_rate", "share", "Right on grey and wrong on the composite."),
    ("baseline_accuracy", "share", "Composites the baseline gets right."),
    ("baseline_flip_rate", "share", "Right on grey and wrong on the composite, baseline."),
    ("source_dead", "images", "Composites whose source map says nothing."),
    ("finetuned_dead", "images", "Composites whose finetuned map says nothing."),
    ("baseline_dead", "images", "Composites whose baseline map says nothing."),
    ("absent", "text", "Why cells of this row are empty."),
)

ROW_COLUMNS: dict[str, type[bool] | type[int] | type[float] | type[str]] = {
    "id": str,
    "kind": str,
    "class_index": int,
    "class_name": str,
    "source_image": str,
    "target_image": str,
    "target_label": str,
    "x": int,
    "y": int,
    "width": int,
    "height": int,
    "source_dead": bool,
    "finetuned_dead": bool,
    "finetuned_class": str,
    "finetuned_probability": float,
    "finetuned_distraction": float,
    "null": float,
    "null_partner": str,
    "finetuned_right": bool,
    "finetuned_right_on_grey": bool,
    "finetuned_right_occluded": bool,
    "finetuned_right_random": bool,
    "baseline_dead": bool,
    "baseline_class": str,
    "baseline_probability": float,
    "baseline_distraction": float,
    "baseline_right": bool,
    "baseline_right_on_grey": bool,
    "baseline_right_occluded": bool,
    "baseline_right_random": bool,
}
"""One row a composite. Empty: a dead map, an unknown label, no baseline, or an occlusion that was not tried because the
network was right."""
