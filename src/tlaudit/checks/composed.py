"""Composites of a subject: its target images on its source images, as options ask for them."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tlaudit.data.composites import CompositeStream, OverlayPool

if TYPE_CHECKING:
    from collections.abc import Collection, Sequence

    from tlaudit.checks.base import Subject
    from tlaudit.options import DistractionOptions, ScreenOptions


def composed(
    subject: Subject,
    classes: Sequence[int],
    options: DistractionOptions | ScreenOptions,
    unusable: Collection[str] = (),
) -> tuple[OverlayPool, CompositeStream]:
    """Decode the overlays, and plan the composites at the finetuned network's input size.

    Args:
        subject: Whose images.
        classes: Source classes, in the order in which their composites are to come.
        options: How many composites, and what they look like.
        unusable: Names of source images known to be unreadable.

    Raises:
        UsageError: If the overlay leaves no background.
        DataError: If no target image can be read, or no class has a source image.
    """
    execution, preprocessing = subject.execution, subject.preprocessing["finetuned"]
    pool = OverlayPool.load(
        subject.target,
        preprocessing,
        scale=options.overlay_scale,
        overlays=options.overlays,
        seed=subject.seed,
        batch_size=execution.batch_size,
        workers=execution.workers,
        strict=subject.strict,
        progress=subject.progress,
        kept=subject.pixels,
    )
    stream = CompositeStream(
        subject.source.images,
        subject.source.labels,
        classes,
        pool,
        preprocessing,
        per_class=options.per_class,
        seed=subject.seed,
        batch_size=execution.batch_size,
        workers=execution.workers,
        strict=subject.strict,
        unusable=unusable,
        kept=subject.pixels,
    )
    return pool, stream
