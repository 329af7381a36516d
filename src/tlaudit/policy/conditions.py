"""One measurement held against the thresholds of one rule."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, NamedTuple

from tlaudit.options.policy import LIMITS
from tlaudit.policy.wording import apart, beside, relative, step, told
from tlaudit.verdicts import Condition

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tlaudit.options.policy import Rule
    from tlaudit.results import Measurement
    from tlaudit.verdicts import ConditionKind

_BOUNDS = {"value": "", "lower": "the lower bound of ", "upper": "the upper bound of "}


class Known(NamedTuple):
    """A measurement that a report holds, or why there is none.

    Attributes:
        measurement: What the report says, which may be that it is absent.
        reason: Why the report says nothing; empty where it does.
    """

    measurement: Measurement | None
    reason: str = ""


class _Number(NamedTuple):
    """The number that a rule judges, or why there is none."""

    value: float | None
    reason: str = ""


def hold(rule: Rule, name: str, now: Known, before: Known) -> Iterator[Condition]:
    """Hold a measurement against each threshold of a rule; a number at its limit meets it.

    Values are compared exactly. Changes are compared within the rounding of the two numbers they are made of, one unit
    in the last place of each: from 0.97 to 0.96 is a fall of 0.01, which no floating-point number is.

    Args:
        rule: The rule.
        name: Of the measurement.
        now: What is judged.
        before: The same in the previous report.

    Yields:
        One condition a threshold. The value of a change is the number now less the one before, whatever its sign.
    """
    unit = now.measurement.unit if now.measurement is not None else None
    number = _number(rule, now)
    earlier = _number(rule, before)
    for kind, limit in rule.thresholds.items():
        if number.value is None:
            yield _open(kind, limit, f"{name} cannot be judged: {number.reason}")
        elif kind in LIMITS:
            yield _against_limit(kind, limit, number.value, _said(rule, name, now), unit)
        elif earlier.value is None:
            where = "in the previous report " if before.measurement is not None else ""
            yield _open(kind, limit, f"{kind} of {name} cannot be judged: {where}{earlier.reason}")
        else:
            yield _against_previous(kind, limit, (earlier.value, number.value), _said(rule, name, now), unit)


def _number(rule: Rule, known: Known) -> _Number:
    """The value, or the bound that the rule uses; nothing where it rests on too little."""
    measurement = known.measurement
    if measurement is None:
        return _Number(None, known.reason)
    value = measurement.value
    if value is None:
        return _Number(None, str(measurement.absent))
    if rule.min_samples is not None and measurement.n < rule.min_samples:
        return _Number(None, f"it rests on {measurement.n}, and the rule asks for {rule.min_samples} (min_samples)")
    if rule.use == "value":
        return _Number(float(value))
    bounds = measurement.interval
    if bounds is None:
        why = measurement.interval_absent
        return _Number(None, f"it has no interval, and the rule judges its {rule.use} bound: {why}")
    return _Number(bounds.low if rule.use == "lower" else bounds.high)


def _said(rule: Rule, name: str, now: Known) -> tuple[str, str]:
    """What is judged, and what the reader should know of it."""
    measurement = now.measurement
    if measurement is None or measurement.value is None:
        return name, ""
    value = f"value {told(measurement.value, measurement.unit)}, " if rule.use != "value" else ""
    return f"{_BOUNDS[rule.use]}{name}", f" ({value}n {measurement.n})"


def _against_limit(
    kind: ConditionKind, limit: float, value: float, said: tuple[str, str], unit: str | None
) -> Condition:
    what, besides = said
    met = value >= limit if kind == "min" else value <= limit
    number, bound = beside(value, limit, unit, told)
    if kind == "min":
        words = f"not below the {bound} demanded" if met else f"below the {bound} demanded"
    else:
        words = f"not above the {bound} allowed" if met else f"above the {bound} allowed"
    message = f"{what} is {number}{besides}, {words}"
    return Condition(kind=kind, limit=limit, value=value, outcome="met" if met else "violated", message=message)


def _against_previous(
    kind: ConditionKind, limit: float, numbers: tuple[float, float], said: tuple[str, str], unit: str | None
) -> Condition:
    (before, now), (what, besides) = numbers, said
    change = now - before
    if kind.startswith("max_relative") and change:
        change = change / abs(before) if before else math.nan
    if not math.isfinite(change):
        why = "the previous number is 0, of which no change is a share" if not before else "it is too large"
        return _open(kind, limit, f"{kind} of {what} cannot be judged: {why}")
    towards = change if kind.endswith("increase") else -change
    at_limit = abs(towards - limit) <= _rounding(kind, numbers)
    met = towards <= limit or at_limit
    wording = relative if kind.startswith("max_relative") else step
    size, bound = beside(limit if at_limit else abs(change), limit, unit, wording)
    past = "allowed" if met else "allowed at most"
    direction = "rise" if kind.endswith("increase") else "fall"
    then, since = apart(before, now, unit, told)
    moved = f"{'rose' if change > 0 else 'fell'} by {size}, from {then} to {since}" if change else f"stayed at {since}"
    message = f"{what} {moved}{besides}; a {direction} of {bound} is {past}"
    return Condition(kind=kind, limit=limit, value=change, outcome="met" if met else "violated", message=message)


def _rounding(kind: ConditionKind, numbers: tuple[float, float]) -> float:
    """By how much a change may miss what it is of the numbers as they were meant."""
    before, now = numbers
    lost = math.ulp(before) + math.ulp(now)
    if not kind.startswith("max_relative") or not before:
        return lost
    return lost / abs(before) + math.ulp((now - before) / before)


def _open(kind: ConditionKind, limit: float, message: str) -> Condition:
    return Condition(kind=kind, limit=limit, value=None, outcome="no answer", message=message)
