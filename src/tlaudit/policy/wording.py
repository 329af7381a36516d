"""Numbers of a verdict as people read them, with as many digits as it takes to tell a number from its limit."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    Wording = Callable[[float, str | None, int], str]
    """Puts a number of a unit into words, with so many more digits than usual."""

_MOST_DIGITS = 15
_COUNTED = {"classes", "images", "epochs"}
_LARGE = 1e6


def told(value: float, unit: str | None, digits: int = 0) -> str:
    """A number as it is: shares in percent, counts whole."""
    if unit == "share":
        return f"{100 * value:.{1 + digits}f} %"
    if abs(value) >= _LARGE:
        return f"{value:.{6 + digits}g}"
    if unit in _COUNTED and float(value).is_integer():
        return f"{value:.0f}"
    if abs(value) >= 0.1 or value == 0:
        return f"{value:.{3 + digits}f}"
    return f"{value:.{2 + digits}g}"


def step(value: float, unit: str | None, digits: int = 0) -> str:
    """A change: of shares in percentage points, of everything else in its unit."""
    return f"{100 * value:.{1 + digits}f} points" if unit == "share" else told(value, unit, digits)


def relative(value: float, _unit: str | None, digits: int = 0) -> str:
    """A change as a share of what changed."""
    return f"{100 * value:.{1 + digits}f} %"


def beside(value: float, limit: float, unit: str | None, wording: Wording) -> tuple[str, str]:
    """A number and its limit in words that differ if they do, and of the limit no digit cut."""
    least = next((digits for digits in range(_MOST_DIGITS) if _whole(limit, unit, wording, digits)), 0)
    return apart(value, limit, unit, wording, least)


def apart(one: float, other: float, unit: str | None, wording: Wording, least: int = 0) -> tuple[str, str]:
    """Two numbers in words that differ if the numbers do."""
    for digits in range(least, _MOST_DIGITS):
        words = wording(one, unit, digits), wording(other, unit, digits)
        if one == other or words[0] != words[1]:
            return words
    return repr(one), repr(other)


def whole(value: float, unit: str | None, wording: Wording) -> str:
    """A number that somebody wrote, with no digit cut."""
    found = (digits for digits in range(_MOST_DIGITS) if _whole(value, unit, wording, digits))
    digits = next(found, None)
    return wording(value, unit, digits) if digits is not None else repr(value)


def _whole(value: float, unit: str | None, wording: Wording, digits: int) -> bool:
    """Whether the words with so many more digits say all of the number."""
    words = wording(value, unit, digits)
    scale = 100 if words.endswith(("%", "points")) else 1
    return math.isclose(float(words.split()[0]), scale * value, rel_tol=1e-15)


def listed(names: Iterable[str], most: int = 5) -> str:
    """The first few names, and how many more there are."""
    every = list(dict.fromkeys(names))
    more = f" and {len(every) - most} more" if len(every) > most else ""
    return ", ".join(every[:most]) + more
