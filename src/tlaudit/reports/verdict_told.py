"""What every format says of a verdict: the same words, the same order, the same numbers."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, NamedTuple

from tlaudit.reports import plain_words, wording

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tlaudit.verdicts import Condition, ReportSource, Ruling, Verdict

WORDS = {outcome: word for outcome, (word, _) in plain_words.VERDICTS.items()}
"""The verdicts in a word."""

_LIMITS = {
    "min": "≥ {}",
    "max": "≤ {}",
    "max_increase": "rise ≤ {}",
    "max_decrease": "fall ≤ {}",
    "max_relative_increase": "rise ≤ {} of before",
    "max_relative_decrease": "fall ≤ {} of before",
}
_DEMANDS = {
    "min": "at least {}",
    "max": "at most {}",
    "max_increase": "rise by at most {}",
    "max_decrease": "fall by at most {}",
    "max_relative_increase": "rise by at most {} of what it was before",
    "max_relative_decrease": "fall by at most {} of what it was before",
}
_USE = {"value": "", "lower": "lower bound ", "upper": "upper bound "}


class Group(NamedTuple):
    """Rulings that came out alike."""

    title: str
    rulings: tuple[Ruling, ...]
    matters: bool
    """Whether all of them are shown, however many there are."""


def groups(verdict: Verdict) -> list[Group]:
    """Give the rulings by how they came out, the worst first; a group without any is left out."""
    of = {
        title: Group(title, tuple(one for one in verdict.rulings if _group(one) == title), matters)
        for title, matters in (
            ("Violated", True),
            ("No answer", True),
            ("Waived", True),
            ("Warnings", True),
            ("Skipped", False),
            ("Passed", False),
        )
    }
    return [group for group in of.values() if group.rulings]


def _group(ruling: Ruling) -> str:
    if ruling.outcome in {"violated", "no answer"} and not ruling.blocks:
        return "Warnings"
    return ruling.outcome.capitalize()


def outcome(ruling: Ruling) -> str:
    """How the ruling came out, and whether it only warns."""
    return f"{ruling.outcome} (warn)" if _group(ruling) == "Warnings" else ruling.outcome


def subject(ruling: Ruling) -> str:
    """The rule, and the measurement where the rule's id does not name it."""
    named = ruling.metric == ruling.pattern and ruling.pattern in ruling.rule
    return ruling.rule if named else f"{ruling.rule} ({ruling.metric})"


def value(ruling: Ruling) -> str:
    """The measurement with its interval, and what it was before."""
    if ruling.value is None:
        return "–"
    text = _apart(ruling.value, ruling)
    if ruling.low is not None and ruling.high is not None:
        text += f" ({_interval(ruling, ruling.low, ruling.high)})"
    if ruling.previous is not None:
        text += f", before {wording.number(ruling.previous, ruling.unit or '')}"
    return text


def _interval(ruling: Ruling, low: float, high: float) -> str:
    if ruling.unit == "classes":
        return wording.bounds(low, high, ruling.unit)
    return f"{_apart(low, ruling)} to {_apart(high, ruling)}"


def _apart(number: float, ruling: Ruling) -> str:
    """The number with as many digits as tell it from a limit: 5.02 % is not shown as 5.0 % beside a limit of 5 %."""
    unit = ruling.unit or ""
    near = [
        one.limit
        for one in ruling.conditions
        if one.kind in {"min", "max"} and one.limit != number and abs(number - one.limit) <= 0.05 * abs(one.limit)
    ]
    if not near:
        return wording.number(number, unit)
    digits = next((d for d in (3, 4, 6, 9, 12) if all(_exact(number, unit, d) != _exact(x, unit, d) for x in near)), 17)
    return _exact(number, unit, digits)


def _exact(number: float, unit: str, digits: int = 6) -> str:
    return f"{100 * number:.{digits}g} %" if unit == "share" else f"{number:.{digits}g}"


def limits(ruling: Ruling) -> str:
    """The thresholds as signs, for a column."""
    return _USE[ruling.use] + "; ".join(_with_limit(_LIMITS, one, ruling) for one in ruling.conditions)


def demand(ruling: Ruling) -> str:
    """What the rule asks for, in words."""
    parts = [_with_limit(_DEMANDS, one, ruling) for one in ruling.conditions]
    return f"{ruling.pattern}: {_USE[ruling.use]}{' and '.join(parts)}" if parts else ruling.pattern


def _with_limit(words: dict[str, str], condition: Condition, ruling: Ruling) -> str:
    """The limit as it was written, with no digit cut; a change of a share is in percentage points."""
    unit = "share" if condition.kind.startswith("max_relative") else ruling.unit or ""
    texts = [_exact(condition.limit, unit, digits) for digits in (6, 9, 12, 15, 17)]
    text = next((text for text in texts if _whole(text, condition.limit)), texts[-1])
    if condition.kind in {"max_increase", "max_decrease"} and unit == "share":
        points = text.removesuffix(" %")
        text = f"{points} point" if points == "1" else f"{points} points"
    return words[condition.kind].format(text)


def _whole(text: str, limit: float) -> bool:
    """Whether the text says all digits of a limit."""
    said, percent, _ = text.partition(" %")
    return math.isclose(float(said), 100 * limit if percent else limit, rel_tol=1e-15)


def sentence(ruling: Ruling) -> str:
    """The ruling in a sentence, and the rule's waiver where the sentence does not tell it."""
    if ruling.waiver is None or ruling.waiver in ruling.message:
        return ruling.message
    return f"{ruling.message} (waiver: {ruling.waiver})"


def where(verdict: Verdict, ruling: Ruling) -> str | None:
    """File and line at which the rule stands; None for the policy that comes with tlaudit."""
    if verdict.policy.path is None:
        return None
    return f"{verdict.policy.path}:{ruling.line}" if ruling.line else verdict.policy.path


def sources(verdict: Verdict) -> Iterator[tuple[str, str]]:
    """What was judged by what: one line for the policy and for each report."""
    policy = verdict.policy
    rules = f"{policy.rules} rule{'s' if policy.rules > 1 else ''}"
    path = policy.path or "the policy that comes with tlaudit"
    yield "policy", f"{path}, {rules}, sha256 {policy.sha256[:12]}…, judged on {verdict.judged_on}"
    for report in verdict.reports:
        yield "report", _report(report)
    if verdict.previous is not None:
        yield "compared with", _report(verdict.previous)


def checkpoints(verdict: Verdict) -> tuple[str, ...]:
    """SHA-256 of the audited networks, each once, as far as they are known."""
    return tuple(dict.fromkeys(report.checkpoint for report in verdict.reports if report.checkpoint))


def _report(report: ReportSource) -> str:
    checkpoint = f"checkpoint sha256 {report.checkpoint[:12]}…" if report.checkpoint else "checkpoint without a hash"
    version = f", written by tlaudit {report.version}" if report.version else ""
    return f"{report.path} about {report.network}, {checkpoint}; {', '.join(report.checks)}{version}"
