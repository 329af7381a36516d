"""What each check of an audit is about: the same networks and images, put together as its own command does it."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from tlaudit.checks.assembly import assemble
from tlaudit.models.pair import join

if TYPE_CHECKING:
    from collections.abc import Collection

    from tlaudit.checks.base import Subject
    from tlaudit.data.kept_pixels import KeptPixels
    from tlaudit.models.pair import Pair
    from tlaudit.options import Settings
    from tlaudit.progress import Progress


def subjects(
    pair: Pair, settings: Settings, names: Collection[str], pixels: KeptPixels | None, progress: Progress
) -> dict[str, Subject]:
    """Put together what the checks are about, by check. No image is opened.

    Args:
        pair: The networks.
        settings: Images, preprocessing, execution.
        names: Of the checks.
        pixels: What all passes over images share, or None.
        progress: Shows how far a pass is.

    Raises:
        UsageError: If a folder is missing or an option cannot be met.
        ClassMatchError: If a folder fits no class of its model, or several.
        DataError: If a folder holds no image.
    """
    data = settings.data
    # `erosion` and `stress` look at no image of the target task, and say nothing of those.
    source_only = data.model_copy(update={"target": None, "val": None})
    found: dict[str, Subject] = {}

    def put_together(networks: Pair, *, alone: bool, needed: tuple[str, ...]) -> Subject:
        subject = assemble(
            networks,
            source_only if alone else data,
            preprocess=settings.preprocess,
            execution=settings.execution,
            progress=progress,
            needed=needed,
        )
        return replace(subject, pixels=pixels)

    if {"lingering", "distraction"} & set(names):
        both = put_together(pair, alone=False, needed=("source", "target"))
        found |= {"lingering": both, "distraction": both}
    if "erosion" in names:
        found["erosion"] = put_together(pair, alone=True, needed=())
    if "stress" in names:
        # One network, which stands beside itself: what is trained is a copy.
        found["stress"] = put_together(join(pair.source, pair.source), alone=True, needed=("source",))
    return found
