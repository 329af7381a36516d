"""How names are shown, listed and suggested in messages about networks; whoever made a file chose them."""

from __future__ import annotations

import difflib
from typing import TYPE_CHECKING

from tlaudit.quoting import spelt

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

_LONGEST = 200
"""Characters of a name that are shown; paths are shown whole."""
_WORD = 64


def shown(text: str, limit: int | None = _LONGEST) -> str:
    r"""Give a name in one line of what prints, cut where it is long.

    Example:
        >>> print(shown("fc.weight"), shown("a\nb\x1b[31m"), shown("abcdef", 3))
        fc.weight a b\u001b[31m abc…
    """
    start = text if limit is None else text[:limit]
    line = start if start.isprintable() else spelt(start)
    return line if len(start) == len(text) else f"{line}…"


def described(value: object) -> str:
    """Say what stands where something else belongs: a short text or number itself, of anything else the kind."""
    if isinstance(value, str):
        return f"'{shown(value, 40)}'"
    if value is None or isinstance(value, bool | float) or (isinstance(value, int) and value.bit_length() < _WORD):
        return str(value)
    return shown(type(value).__name__) + (f" of {len(value)}" if isinstance(value, list | tuple | dict) else "")


def listed(names: Sequence[str], limit: int = 5) -> str:
    """Give the first few names and how many more there are, or "none"."""
    if not names:
        return "none"
    first = ", ".join(shown(name) for name in names[:limit])
    return first if len(names) <= limit else f"{first} and {len(names) - limit} more"


def nearest(name: str, known: Iterable[str], limit: int = 5) -> str:
    """Give the known names that resemble `name`, or the first known ones where none does."""
    names = list(known)
    return listed(difflib.get_close_matches(name, names, n=limit, cutoff=0.4) or names, limit)
