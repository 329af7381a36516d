"""How names are listed and suggested in messages about networks."""

from __future__ import annotations

import difflib
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence


def listed(names: Sequence[str], limit: int = 5) -> str:
    """Give the first few names and how many more there are, or "none"."""
    if not names:
        return "none"
    shown = ", ".join(names[:limit])
    return shown if len(names) <= limit else f"{shown} and {len(names) - limit} more"


def nearest(name: str, known: Iterable[str], limit: int = 5) -> str:
    """Give the known names that resemble `name`, or the first known ones where none does."""
    names = list(known)
    return listed(difflib.get_close_matches(name, names, n=limit, cutoff=0.4) or names, limit)
