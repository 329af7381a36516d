"""What `tlaudit screen` measures: unit, direction and a sentence for each number."""

from __future__ import annotations

from tlaudit.metrics.base import Quantity

QUANTITIES = {
    "screen.flagged": Quantity("images", "lower", "Screened images that remind of a lingering class."),
    "screen.flagged_share": Quantity("share", "lower", "Those among the images that could be read."),
    "screen.unread": Quantity("images", "lower", "What was named and could not be read."),
    "screen.lingering_classes": Quantity("classes", "neither", "Lingering classes that are screened for."),
    "screen.threshold": Quantity("probability", "neither", "An image is flagged when its score is above it."),
    "screen.false_positive_rate": Quantity("share", "lower", "Clean target images that are flagged."),
    "screen.true_positive_rate": Quantity("share", "higher", "Composites of lingering classes that are flagged."),
    "screen.grey_flagged_share": Quantity(
        "share", "lower", "Control: the same overlays flagged with mid-grey for the background."
    ),
}
