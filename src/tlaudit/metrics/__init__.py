"""Every number that tlaudit can measure, by the name that policies use. Imports no torch.

One file a command. Names that depend on the networks, such as those of stages, end in a star here.
"""

from __future__ import annotations

import difflib
from fnmatch import fnmatchcase
from typing import TYPE_CHECKING

from tlaudit.metrics import continual, distraction, erosion, lingering, repair, screen, stress
from tlaudit.metrics.base import Quantity

if TYPE_CHECKING:
    from collections.abc import Collection

_ANY = "*"


def _families() -> dict[str, Quantity]:
    """Names that hold a stage, a ratio, a method or a task, with a star in its place."""
    ratio = {name.removesuffix("0.5") + _ANY: one for name, one in stress.quantities([0.5]).items() if "0.5" in name}
    return {
        **{name: one for name, one in erosion.quantities([_ANY]).items() if _ANY in name},
        **ratio,
        **{name: one for name, one in repair.quantities([_ANY], versus_plain=True).items() if _ANY in name},
        **continual.quantities([_ANY], [_ANY]),
    }


CHECKS = ("lingering", "distraction", "erosion", "stress", "screen", "repair", "continual")
"""Whatever makes results with measurements."""

METRICS: dict[str, Quantity] = {
    **lingering.QUANTITIES,
    **distraction.QUANTITIES,
    **erosion.quantities(()),
    **stress.quantities(()),
    **screen.QUANTITIES,
    **repair.quantities(()),
}
"""Numbers whose names are always the same."""

FAMILIES: dict[str, Quantity] = _families()
"""Those whose names depend on the networks or options, by pattern."""


def known(pattern: str) -> bool:
    """Whether a name, or a pattern with ``*``, can be that of a measurement."""
    return (
        pattern in METRICS
        or any(fnmatchcase(name, pattern) for name in METRICS)
        or any(fnmatchcase(pattern, family) or fnmatchcase(family, pattern) for family in FAMILIES)
    )


def nearest(name: str, others: Collection[str] = ()) -> str | None:
    """The name most like this one, among all that are known and these others; None if none is."""
    near = difflib.get_close_matches(name, [*others, *METRICS, *FAMILIES], n=1, cutoff=0.5)
    return near[0] if near else None


def meaning(name: str) -> Quantity | None:
    """What a name, or the pattern of a family, stands for."""
    if name in METRICS:
        return METRICS[name]
    return next((one for family, one in FAMILIES.items() if fnmatchcase(name, family)), None)


__all__ = ["CHECKS", "FAMILIES", "METRICS", "Quantity", "known", "meaning", "nearest"]
