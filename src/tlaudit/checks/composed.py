"""Composites of a subject: its target images on its source images, as options ask for them."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from tlaudit.data.composites import CompositeStream, OverlayPool
from tlaudit.distributed import ALONE

if TYPE_CHECKING:
    from collections.abc import Collection, Sequence

    from tlaudit.checks.base import Subject
    from tlaudit.options import DistractionOptions, ScreenOptions

AT_ONCE = 1000
"""Composites, about, that a process asks about before all tell each other what they found (ours)."""
UNEVEN = 1.25
"""What the busiest process may have more than its share of classes, so that batches are those of one process (ours)."""


def shared_out(classes: Sequence[int], *, per_class: int, batch_size: int, processes: int) -> list[list[Sequence[int]]]:
    """Deal classes to processes, round by round.

    In runs of as many classes as fill whole batches, where that leaves no process idle: so a batch holds what it holds
    in one process. Else in even parts, whose numbers may differ by rounding.

    Args:
        classes: In their order.
        per_class: Composites of each.
        batch_size: Composites in a batch.
        processes: How many share them; a single one has a class a round.

    Returns:
        For each round the classes of each process, those of rank zero first; there may be none for the last ones. One
        round after the other, and within it one rank after the other, give the classes in their order.

    Example:
        >>> shared_out(range(9), per_class=2, batch_size=4, processes=2)
        [[range(0, 4), range(4, 8)], [range(8, 9)]]
        >>> shared_out(range(3), per_class=900, batch_size=4, processes=2)
        [[range(0, 1), range(1, 2)], [range(2, 3)]]
    """
    if processes == 1:
        return [[classes[at : at + 1]] for at in range(len(classes))]
    whole = batch_size // math.gcd(batch_size, per_class)
    rounds = [_dealt(classes, run, per_class, processes) for run in (whole, 1)]
    busiest = max(sum(len(one[rank]) for one in rounds[0] if rank < len(one)) for rank in range(processes))
    return rounds[0] if busiest <= UNEVEN * math.ceil(len(classes) / processes) else rounds[1]


def _dealt(classes: Sequence[int], run: int, per_class: int, processes: int) -> list[list[Sequence[int]]]:
    """In portions of runs of so many classes each."""
    even = len(classes) // (processes * run) * run
    each = max(run, min(even, AT_ONCE // per_class // run * run))
    portions = [classes[at : at + each] for at in range(0, len(classes), each)]
    return [portions[at : at + processes] for at in range(0, len(portions), processes)]


def composed(
    subject: Subject,
    classes: Sequence[int],
    options: DistractionOptions | ScreenOptions,
    unusable: Collection[str] = (),
    own: Collection[int] | None = None,
    pool: OverlayPool | None = None,
) -> tuple[OverlayPool, CompositeStream]:
    """Decode the overlays, and plan the composites at the finetuned network's input size.

    Args:
        subject: Whose images.
        classes: Source classes, in the order in which their composites are to come.
        options: How many composites, and what they look like.
        unusable: Names of source images known to be unreadable.
        own: Classes of this process, where the subject's group shares them; every process has all overlays.
        pool: The overlays, where they have been decoded.

    Raises:
        UsageError: If the overlay leaves no background.
        DataError: If no target image can be read, or no class has a source image.
    """
    execution, preprocessing = subject.execution, subject.preprocessing["finetuned"]
    if pool is None:
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
        group=ALONE if own is None else subject.group,
        own=own,
    )
    return pool, stream
