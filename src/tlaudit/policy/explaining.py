"""What a rule demands, in plain words: the text of `tlaudit gate --explain`."""

from __future__ import annotations

import difflib
from datetime import UTC, date, datetime
from typing import TYPE_CHECKING

from tlaudit import metrics
from tlaudit.errors import UsageError
from tlaudit.options.policy import written
from tlaudit.policy.rules import fits
from tlaudit.policy.wording import relative, step, told, whole

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tlaudit.metrics import Quantity
    from tlaudit.options.policy import Rule
    from tlaudit.policy.rules import Policy
    from tlaudit.verdicts import Verdict

_DIRECTIONS = {"lower": "lower is better", "higher": "higher is better", "neither": "neither high nor low is better"}
_USES = {
    "value": "the number itself",
    "lower": "the lower bound of the number's interval",
    "upper": "the upper bound of the number's interval",
}
_SEVERITIES = {
    "error": "error: a violation refuses the release (exit code 1)",
    "warn": "warn: a violation is told and refuses nothing",
}
_MISSING = {
    "fail": "fail: without a number there is no answer (exit code 3)",
    "warn": "warn: without a number this is told, and nothing is held up",
    "skip": "skip: without a number the rule is skipped",
}
_DEMANDS = {
    "min": "at least {}",
    "max": "at most {}",
    "max_increase": "a rise of at most {} since the previous report",
    "max_decrease": "a fall of at most {} since the previous report",
    "max_relative_increase": "a rise of at most {} of the previous number",
    "max_relative_decrease": "a fall of at most {} of the previous number",
}


def explain(policy: Policy, asked: str, verdict: Verdict | None = None, today: date | None = None) -> str:
    """Say in plain words what a rule demands, what its measurement means, and how reports did by it.

    Args:
        policy: The rules.
        asked: Id or metric of a rule, or the name of a measurement that a rule's pattern means.
        verdict: What the policy makes of reports, if there are any.
        today: Day on which waivers are looked at; the verdict's, or today in UTC, if left out.

    Returns:
        Lines of text, for each rule that is meant.

    Raises:
        UsageError: If no rule is meant; the nearest is named.
    """
    meant = {rule.name for rule in policy.rules if asked in {rule.name, rule.metric} or fits(rule.metric, asked)}
    chosen = [(index, rule) for index, rule in enumerate(policy.rules) if rule.name in meant]
    if not chosen:
        known = list(dict.fromkeys(word for rule in policy.rules for word in (rule.name, rule.metric)))
        near = difflib.get_close_matches(asked, known, n=1, cutoff=0.5)
        hint = f"did you mean {near[0]!r}?" if near else f"there are {', '.join(rule.name for rule in policy.rules)}"
        raise UsageError(f"--explain {asked}: the policy has no such rule; {hint}")
    if today is None:
        today = date.fromisoformat(verdict.judged_on) if verdict is not None else datetime.now(tz=UTC).date()
    lines = (line for index, rule in chosen for line in _lines(policy, index, rule, verdict, today))
    return "\n".join(_plain(line) for line in lines) + "\n"


def _lines(policy: Policy, index: int, rule: Rule, verdict: Verdict | None, today: date) -> Iterator[str]:
    unit = getattr(metrics.meaning(rule.metric), "unit", None)
    yield f"{rule.name} ({policy.place(index)})"
    yield from _rows("measurement", _meanings(rule.metric))
    yield from _rows("demands", (_demand(kind, limit, unit) for kind, limit in rule.thresholds.items()))
    yield from _rows("judged", [_USES[rule.use]])
    if rule.min_samples is not None:
        yield from _rows("samples", [f"only if the number rests on {rule.min_samples} or more"])
    yield from _rows("severity", [_SEVERITIES[rule.severity]])
    yield from _rows("on_missing", [_MISSING[rule.on_missing]])
    if rule.if_any is not None:
        yield from _rows("if_any", [f"where {rule.if_any} is 0 there is nothing to measure, and no number is missed"])
    if rule.waive is not None:
        day = rule.waive.until.isoformat()
        until = f"until {day}" if today <= rule.waive.until else f"not any more, the waiver ended on {day}"
        yield from _rows("waived", [f"{until}: {rule.waive.reason}"])
    if verdict is not None:
        rulings = [ruling for ruling in verdict.rulings if ruling.rule == rule.name]
        yield from _rows("outcome", [f"{ruling.outcome}: {ruling.message}" for ruling in rulings])


def _demand(kind: str, limit: float, unit: str | None) -> str:
    wording = relative if "relative" in kind else step if "crease" in kind else told
    return f"{_DEMANDS[kind].format(whole(limit, unit, wording))} ({kind} = {written(limit)})"


def _meanings(pattern: str) -> Iterator[str]:
    """Every measurement that a pattern can mean, with its sentence, unit and direction."""
    if "*" not in pattern:
        yield _meaning(pattern, metrics.meaning(pattern))
        return
    for name, quantity in {**metrics.FAMILIES, **metrics.METRICS}.items():
        if fits(pattern, name):
            yield _meaning(name, quantity)


def _meaning(name: str, quantity: Quantity | None) -> str:
    if quantity is None:
        return name
    return f"{name}: {quantity.meaning} Unit: {quantity.unit}; {_DIRECTIONS[quantity.better]}."


def _rows(title: str, texts: Iterator[str] | list[str]) -> Iterator[str]:
    for number, text in enumerate(texts):
        yield f"  {title if number == 0 else '':<12} {text}"


def _plain(line: str) -> str:
    """Names in reports are anybody's; a terminal obeys what is not printable."""
    return "".join(character if character.isprintable() else "\ufffd" for character in line)
