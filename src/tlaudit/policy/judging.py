"""Rules applied to what reports say: rulings, and the verdict that follows from them."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING

from tlaudit import metrics
from tlaudit.comparable import incomparable, remarks
from tlaudit.options.policy import CHANGES
from tlaudit.policy.conditions import Known, hold
from tlaudit.policy.wording import listed
from tlaudit.results import Finding
from tlaudit.verdicts import Ruling, Verdict

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence
    from datetime import date

    from tlaudit.options.policy import Rule
    from tlaudit.policy.evidence import Evidence
    from tlaudit.policy.rules import Policy
    from tlaudit.verdicts import Condition, ConditionKind, Outcome

_NO_PREVIOUS = "there is no previous report; give one with --against, or say --first-release"
_FIRST = "this is the first release (--first-release)"


@dataclass(frozen=True)
class Case:
    """What the rules are applied to.

    Attributes:
        now: What the reports say.
        before: What the previous release's report says; None without one.
        today: Day on which waivers are looked at.
        first_release: Whether there is no previous release, so that no change is asked for.
    """

    now: Evidence
    before: Evidence | None
    today: date
    first_release: bool = False

    @cached_property
    def incomparable(self) -> dict[str, list[str]]:
        """Why a measurement of the previous report may not be compared with today's, by name; those of both reports."""
        if self.before is None:
            return {}
        before, now = self.before, self.now
        return {
            name: incomparable(before.results[check], now.results[check], name)
            for name, check in before.measured.items()
            if check in now.results
        }

    def earlier(self, name: str) -> Known:
        """The measurement in the previous report, if it may be compared with that of today."""
        if self.before is None:
            return Known(None, _FIRST if self.first_release else _NO_PREVIOUS)
        known = self.before[name]
        if known.measurement is None:
            return Known(None, f"the previous report cannot say: {known.reason}")
        if why := self.incomparable.get(name):
            return Known(None, f"the previous report cannot be compared with: {listed(why)}")
        if known.measurement.value is None:
            return Known(None, f"the previous report has no number: {known.measurement.absent}")
        return known


def judge(policy: Policy, case: Case) -> Verdict:
    """Apply a policy.

    A rule that is violated, and whose waiver is not good any more, refuses the release if its severity says so. One
    that has nothing to judge is no answer, and never a pass.

    Args:
        policy: The rules.
        case: What they are applied to.

    Returns:
        The verdict, with one ruling for each rule and each measurement that its pattern means.
    """
    rulings = tuple(
        _ruling(rule, line, name, case)
        for rule, line in zip(policy.rules, policy.lines, strict=True)
        for name in _names(rule, case)
    )
    blocking = {ruling.outcome for ruling in rulings if ruling.blocks}
    return Verdict(
        outcome="fail" if "violated" in blocking else "no answer" if blocking else "pass",
        summary=_summary(rulings),
        judged_on=case.today.isoformat(),
        policy=policy.source,
        reports=case.now.sources,
        previous=case.before.sources[0] if case.before is not None else None,
        rulings=rulings,
        findings=(*case.now.findings, *_findings(policy, case, rulings)),
    )


def _names(rule: Rule, case: Case) -> list[str]:
    """Names that a rule's pattern means now, and before where it asks for a change; the pattern if there are none."""
    names = case.now.names(rule.metric)
    if case.before is not None and set(rule.thresholds) & set(CHANGES):
        names += [name for name in case.before.names(rule.metric) if name not in names]
    return names or [rule.metric]


def _ruling(rule: Rule, line: int, name: str, case: Case) -> Ruling:
    """Apply one rule to one measurement."""
    now, earlier = case.now[name], case.earlier(name)
    conditions = tuple(hold(rule, name, now, earlier))
    excused = {one.kind: why for one in conditions if (why := _excuse(rule, one, case))}
    owed = [one for one in conditions if one.kind not in excused]
    outcome = _outcome(rule, owed, case.today)
    measurement, previous = now.measurement, earlier.measurement
    interval = measurement.interval if measurement is not None else None
    known = measurement or metrics.meaning(name)
    return Ruling(
        rule=rule.name,
        pattern=rule.metric,
        metric=name,
        meaning=known.meaning if known is not None else None,
        unit=known.unit if known is not None else None,
        better=known.better if known is not None else None,
        severity=rule.severity,
        use=rule.use,
        outcome=outcome,
        blocks=(outcome == "violated" and rule.severity == "error")
        or (outcome == "no answer" and rule.on_missing == "fail"),
        value=measurement.value if measurement is not None else None,
        low=interval.low if interval is not None else None,
        high=interval.high if interval is not None else None,
        n=measurement.n if measurement is not None else None,
        previous=previous.value if previous is not None else None,
        conditions=conditions,
        message=_message(rule, name, owed, excused, case.today),
        waiver=f"until {rule.waive.until.isoformat()}: {rule.waive.reason}" if rule.waive is not None else None,
        line=line,
    )


def _excuse(rule: Rule, condition: Condition, case: Case) -> str:
    """Why nobody owes an answer about a condition; empty if somebody does."""
    if case.first_release and condition.kind in CHANGES:
        return _FIRST
    if rule.if_any is None or condition.outcome != "no answer":
        return ""
    counted = case.now[rule.if_any].measurement
    return f"{rule.if_any} is 0" if counted is not None and counted.value == 0 else ""


def _outcome(rule: Rule, owed: Sequence[Condition], today: date) -> Outcome:
    """What the conditions that somebody owes an answer about come to."""
    found = {one.outcome for one in owed}
    unanswered = "no answer" in found
    if "violated" in found:
        waived = rule.waive is not None and today <= rule.waive.until
        # A waiver, or a severity that refuses nothing, is about what is known.
        if (waived or rule.severity == "warn") and unanswered and rule.on_missing == "fail":
            return "no answer"
        return "waived" if waived else "violated"
    if unanswered and rule.on_missing != "skip":
        return "no answer"
    return "passed" if "met" in found else "skipped"


def _message(
    rule: Rule, name: str, owed: Sequence[Condition], excused: Mapping[ConditionKind, str], today: date
) -> str:
    """The ruling in a sentence, with what was not judged and what became of the waiver."""
    violated = [one.message for one in owed if one.outcome == "violated"]
    met = [one.message for one in owed if one.outcome == "met"]
    unanswered = [one.message for one in owed if one.outcome == "no answer"]
    parts = [*(violated or ([] if unanswered and rule.on_missing != "skip" else met)), *unanswered]
    for why in dict.fromkeys(excused.values()):
        kinds = " and ".join(kind for kind, reason in excused.items() if reason == why)
        parts.append(f"{'' if parts else f'{name}: '}{kinds} not judged: {why}")
    if rule.waive is not None and violated:
        day, good = rule.waive.until.isoformat(), today <= rule.waive.until
        parts.append(f"waived until {day}: {rule.waive.reason}" if good else f"the waiver ended on {day} and is none")
    return "; ".join(dict.fromkeys(parts))


def _summary(rulings: Sequence[Ruling]) -> str:
    """How many rules say what, and which ones hold the release up."""
    blocking = [ruling for ruling in rulings if ruling.blocks]
    told = []
    for outcome, verb in (("violated", "violated"), ("no answer", "without an answer")):
        names = [_known_as(ruling) for ruling in blocking if ruling.outcome == outcome]
        if names:
            told.append(f"{len(names)} {verb} ({listed(names)})")
    words = {"violated": "violated as a warning", "no answer": "without an answer, which is allowed"}
    for outcome in ("passed", "violated", "no answer", "waived", "skipped"):
        count = sum(ruling.outcome == outcome and not ruling.blocks for ruling in rulings)
        if count:
            told.append(f"{count} {words.get(outcome, outcome)}")
    return f"{', '.join(told)}."


def _known_as(ruling: Ruling) -> str:
    """The rule's id, and which measurement where its pattern means several."""
    return f"{ruling.rule}: {ruling.metric}" if ruling.metric != ruling.pattern else ruling.rule


def _findings(policy: Policy, case: Case, rulings: Sequence[Ruling]) -> Iterator[Finding]:
    if not any(ruling.outcome in {"passed", "violated", "waived"} for ruling in rulings):
        yield Finding(
            code="gate.nothing_judged", severity="warning", message="Nothing was judged: no rule had a number."
        )
    for ruling in rulings:
        if ruling.outcome == "no answer" and not ruling.blocks:
            which = "" if ruling.rule in ruling.message else f"{ruling.rule}: "
            yield Finding(code="gate.no_answer", severity="warning", message=f"{which}{ruling.message}.")
    for rule in policy.rules:
        if rule.waive is not None and case.today > rule.waive.until:
            message = f"The waiver of {rule.name} ended on {rule.waive.until.isoformat()} and counts for nothing."
            yield Finding(code="gate.waiver_ended", severity="warning", message=message)
    if case.before is not None:
        yield from _beside(case, case.before)


def _beside(case: Case, before: Evidence) -> Iterator[Finding]:
    """What the reader has to know of the previous report."""
    if {source.sha256 for source in case.now.sources} & {source.sha256 for source in before.sources}:
        message = "The previous report is the very report that is judged, so that nothing can have changed."
        yield Finding(code="gate.same_report", severity="warning", message=message)
    for check in (check for check in before.results if check in case.now.results):
        found = [why for name, why in case.incomparable.items() if before.measured[name] == check]
        reasons = list(dict.fromkeys(reason for why in found for reason in why))
        if reasons:
            part = "" if all(found) else "all of "
            message = (
                f"The previous result of tlaudit {check} cannot be compared with {part}this one: {listed(reasons)}."
            )
            yield Finding(code="gate.incomparable", severity="warning", message=message)
        if found and all(found):
            continue
        for remark in remarks(before.results[check], case.now.results[check]):
            message = f"tlaudit {check}, previous report and this one: {remark}."
            yield Finding(code="gate.previous", severity="info", message=message)
