"""The difference of two measured numbers, with an interval made of theirs."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Literal, NamedTuple

from tlaudit.results import Interval

if TYPE_CHECKING:
    from tlaudit.results import Measurement

METHOD = "MOVER (Zou & Donner 2008)"
_ROUNDING = 1e-9
_TOO_LARGE = "the difference is beyond all numbers"

Outcome = Literal["better", "worse", "higher", "lower", "not told apart", "no interval", "absent"]


class Change(NamedTuple):
    """A number less another.

    Attributes:
        value: The difference; None if either is absent.
        interval: Of the difference; None if there is none.
        reason: Why there is no value, or no interval.
    """

    value: float | None
    interval: Interval | None
    reason: str | None


def mover(value: float, bounds: tuple[float, float], other: float, others: tuple[float, float]) -> tuple[float, float]:
    """Interval of a difference of two independent estimates, made of the interval of each.

    Method of variance estimates recovery, ``d - sqrt((a - la)² + (ub - b)²)`` to ``d + sqrt((ua - a)² + (b - lb)²)``
    with ``d = a - b`` (Zou & Donner 2008). For shares with Wilson intervals it is Newcombe's method 10
    (1998). Of positively correlated estimates it is too wide.

    Args:
        value: The first estimate a, any unit.
        bounds: Its interval (la, ua), in the same unit; it holds the estimate.
        other: The second estimate b, which is taken away.
        others: Its interval (lb, ub), of the same confidence.

    Returns:
        Lower and upper bound of a - b, with the confidence of the two.

    Example:
        >>> low, high = mover(0.8, (0.7, 0.88), 0.6, (0.45, 0.72))
        >>> round(low, 4), round(high, 4)
        (0.0438, 0.37)
    """
    difference = value - other
    down = math.hypot(max(0.0, value - bounds[0]), max(0.0, others[1] - other))
    up = math.hypot(max(0.0, bounds[1] - value), max(0.0, other - others[0]))
    return difference - down, difference + up


def change(one: Measurement | None, other: Measurement | None) -> Change:
    """Take a measurement from another.

    Args:
        one: Of a candidate; None if its report has none.
        other: The same of the reference.

    Returns:
        The difference `one` less `other`, and its interval where both have one of the same confidence.
    """
    if one is None or other is None or one.value is None or other.value is None:
        return Change(None, None, _both(*("no such number" if m is None else m.absent for m in (one, other))))
    value = one.value - other.value
    if not math.isfinite(value):
        return Change(None, None, _TOO_LARGE)
    reason = _no_interval(one, other)
    if reason is not None or one.interval is None or other.interval is None:
        return Change(value, None, f"no interval: {reason}")
    ours, theirs = one.interval, other.interval
    low, high = mover(one.value, (ours.low, ours.high), other.value, (theirs.low, theirs.high))
    if not (math.isfinite(low) and math.isfinite(high)):
        return Change(value, None, f"no interval: {_TOO_LARGE}")
    return Change(value, Interval(low=low, high=high, confidence=ours.confidence, method=METHOD), None)


def _no_interval(one: Measurement, other: Measurement) -> str | None:
    """Why there can be no interval of the difference, or None if there can."""
    ours, theirs = one.interval, other.interval
    if ours is None or theirs is None:
        return _both(one.interval_absent, other.interval_absent)
    if not math.isclose(ours.confidence, theirs.confidence, rel_tol=0, abs_tol=_ROUNDING):
        return f"those of the two are of other confidence ({ours.confidence:g} and {theirs.confidence:g})"
    if not (_holds(ours, one.value) and _holds(theirs, other.value)):
        return "one of the two numbers lies outside its own interval"
    return None


def _both(reason: str | None, of_reference: str | None) -> str:
    """Reasons of the two sides in a line; one that both share stands once."""
    if reason == of_reference and reason is not None:
        return reason
    return "; ".join([*([reason] if reason else []), *([f"reference: {of_reference}"] if of_reference else [])])


def outcome(found: Change, better: str) -> Outcome:
    """What a change says: whether the candidate is surely better or worse, or surely higher where neither is."""
    if found.value is None:
        return "absent"
    if found.interval is None:
        return "no interval"
    if found.interval.low <= 0 <= found.interval.high:
        return "not told apart"
    if better == "neither":
        return "higher" if found.value > 0 else "lower"
    return "better" if (found.value > 0) == (better == "higher") else "worse"


def _holds(interval: Interval, value: float | None) -> bool:
    if value is None:
        return False
    slack = _ROUNDING * max(1.0, abs(value))
    return interval.low - slack <= value <= interval.high + slack
