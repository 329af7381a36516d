"""What each check of an audit is about: the same networks and images, put together as its own command does it."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from tlaudit.auditing.attempts import Failure
from tlaudit.auditing.choice import LOOKS_AT
from tlaudit.checks.assembly import UnusableSetError, assemble
from tlaudit.checks.sameness import refuse_different
from tlaudit.distributed import ALONE
from tlaudit.models.pair import join

if TYPE_CHECKING:
    from collections.abc import Collection

    from tlaudit.checks.base import Subject
    from tlaudit.data.kept_pixels import KeptPixels
    from tlaudit.distributed import Group
    from tlaudit.models.pair import Pair
    from tlaudit.options import Settings
    from tlaudit.progress import Progress


def subjects(
    pair: Pair,
    settings: Settings,
    names: Collection[str],
    pixels: KeptPixels | None,
    progress: Progress,
    group: Group = ALONE,
) -> tuple[dict[str, Subject], dict[str, Failure]]:
    """Put together what the checks are about. No image is opened.

    Args:
        pair: The networks.
        settings: Images, preprocessing, execution.
        names: Of the checks.
        pixels: What all passes over images share, or None.
        progress: Shows how far a pass is.
        group: Processes that share the work.

    Returns:
        The subjects by check, and by check why there is nothing for it to look at: a set of images is empty. Sets
        that cannot be used are none of a subject's.

    Raises:
        UsageError: If a folder is missing or an option cannot be met.
        ClassMatchError: If a folder fits no class of its model, or several.
        DataError: If the processes see different networks or images.
    """
    found: dict[str, Subject] = {}
    unusable: dict[str, Failure] = {}

    def put_together(
        networks: Pair, checks: Collection[str], *, sets: Collection[str], needed: Collection[str]
    ) -> None:
        """One subject for several checks, out of the sets that can be used."""
        data = settings.data
        without: dict[str, str] = {}
        while True:
            left_out = [role for role in ("source", "target", "val") if role not in sets or role in without]
            if "target" in without:
                # Whose classes they are is said by the target images.
                left_out.append("val")
            try:
                subject = assemble(
                    networks,
                    data.model_copy(update=dict.fromkeys(left_out)),
                    preprocess=settings.preprocess,
                    execution=settings.execution,
                    progress=progress,
                    needed=[role for role in needed if role not in without],
                    group=group,
                )
            except UnusableSetError as error:
                without[error.role] = " ".join(str(error).split())
                continue
            break
        refuse_different(subject)
        for check in checks:
            found[check] = replace(subject, pixels=pixels)
            for role in LOOKS_AT[check]:
                if role in without:
                    unusable.setdefault(check, Failure(without[role]))

    both = [name for name in ("lingering", "distraction") if name in names]
    if both:
        put_together(pair, both, sets=("source", "target", "val"), needed=("source", "target"))
    # `erosion` and `stress` look at no image of the target task, and say nothing of those.
    if "erosion" in names:
        put_together(pair, ("erosion",), sets=("source",), needed=())
    if "stress" in names:
        # One network, which stands beside itself: what is trained is a copy.
        put_together(join(pair.source, pair.source), ("stress",), sets=("source",), needed=("source",))
    return found, unusable
