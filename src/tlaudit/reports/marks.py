"""A ruling on one line: the number, its interval and the limit, drawn to scale."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from tlaudit.reports import wording

if TYPE_CHECKING:
    from collections.abc import Sequence

    from tlaudit.verdicts import Condition, Ruling

_UP_TO_ONE = {"share", "probability", "overlap", "p-value", "cka"}
_POINTS = "points"
_COUNTED = {"classes", "images", "epochs"}
_CHANGES = {
    "max_increase": ("rise", 1),
    "max_decrease": ("fall", -1),
    "max_relative_increase": ("rise, as a share of before", 1),
    "max_relative_decrease": ("fall, as a share of before", -1),
}


class Mark(NamedTuple):
    """A line with its scale; places and widths are percent of its length.

    Attributes:
        label: What is drawn, where it is not the measurement itself.
        words: All of it in words.
        value: Where the number is.
        judged: Where the bound is that is held against the limit instead of it; None where it is the number.
        low: Where the interval begins; None where there is none.
        width: Of the interval.
        limits: Where the limits are.
        refused: Begin and width of what is not allowed.
        ends: What the two ends of the line stand for.
    """

    label: str
    words: str
    value: float
    judged: float | None
    low: float | None
    width: float
    limits: list[float]
    refused: list[tuple[float, float]]
    ends: tuple[str, str]


def marks(ruling: Ruling) -> list[Mark]:
    """Draw what a ruling compared: a line for the number and its limits, and one for each change."""
    levels = [one for one in ruling.conditions if one.kind in {"min", "max"}]
    found = [_level(ruling, ruling.value, levels)] if levels and ruling.value is not None else []
    changes = [one for one in ruling.conditions if one.kind in _CHANGES and one.value is not None]
    return found + [_change(ruling, one, one.value or 0.0) for one in changes]


def _level(ruling: Ruling, value: float, conditions: Sequence[Condition]) -> Mark:
    unit = ruling.unit or ""
    bounds = (ruling.low, ruling.high) if ruling.low is not None and ruling.high is not None else ()
    scale = _Scale([value, *bounds, *(one.limit for one in conditions)], unit)
    judged = {"value": None, "lower": ruling.low, "upper": ruling.high}[ruling.use]
    words = [_told(value, unit)]
    words += [f"interval {wording.bounds(*bounds, unit)}"] if bounds else []
    words += [f"at {'least' if one.kind == 'min' else 'most'} {_told(one.limit, unit)}" for one in conditions]
    return scale.mark(
        label="",
        words="; ".join(words),
        value=value,
        judged=judged,
        bounds=bounds,
        refused=[(one.limit, one.kind == "max") for one in conditions],
    )


def _change(ruling: Ruling, condition: Condition, change: float) -> Mark:
    label, sign = _CHANGES[condition.kind]
    relative = condition.kind.startswith("max_relative")
    unit = "share" if relative else _POINTS if ruling.unit == "share" else ruling.unit or ""
    moved = sign * change
    scale = _Scale([0.0, moved, condition.limit], unit)
    words = f"{label} {_told(moved, unit)}; at most {_told(condition.limit, unit)}"
    refused = [(condition.limit, True)]
    return scale.mark(label=label, words=words, value=moved, judged=None, bounds=(), refused=refused)


def _told(number: float, unit: str) -> str:
    """A number as people read it; a change of a share in percentage points, counts whole."""
    if unit in _COUNTED:
        return f"{number:.0f}"
    return f"{100 * number:.1f} points" if unit == _POINTS else wording.number(number, unit)


class _Scale:
    """From numbers to places on a line that shows all of them and a little more."""

    def __init__(self, numbers: Sequence[float], unit: str) -> None:
        least, most = min(numbers), max(numbers)
        margin = 0.35 * (most - least) or 0.5 * abs(most) or 0.5
        self._unit = unit
        self._low = 0.0 if least >= 0 and least - margin < 0.2 * most else least - margin
        self._high = 1.0 if unit in _UP_TO_ONE and most <= 1 < most + margin else most + margin

    def mark(
        self,
        *,
        label: str,
        words: str,
        value: float,
        judged: float | None,
        bounds: tuple[()] | tuple[float, float],
        refused: Sequence[tuple[float, bool]],
    ) -> Mark:
        low, high = (self._at(bounds[0]), self._at(bounds[1])) if bounds else (None, 0.0)
        zones = [(at, 100 - at) if above else (0.0, at) for at, above in ((self._at(x), up) for x, up in refused)]
        return Mark(
            label=label,
            words=words,
            value=self._at(value),
            judged=None if judged is None else self._at(judged),
            low=low,
            width=0.0 if low is None else round(high - low, 2),
            limits=[self._at(limit) for limit, _ in refused],
            refused=[(round(begin, 2), round(width, 2)) for begin, width in zones],
            ends=(_told(self._low, self._unit), _told(self._high, self._unit)),
        )

    def _at(self, number: float) -> float:
        return round(100 * (number - self._low) / (self._high - self._low), 2)
