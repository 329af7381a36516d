"""HTML of an audit: a front page that whoever decides about a release understands, then the checks one by one."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from tlaudit.reports import next_steps, plain_words
from tlaudit.reports.pages import SUFFIX, basename, write
from tlaudit.reports.plain_words import Phrase
from tlaudit.reports.sections import Section, filled

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tlaudit.reports.next_steps import Advice
    from tlaudit.results import AuditReport, CheckResult, Finding, Measurement, ModelRecord

__all__ = ["SUFFIX", "render"]

_NUMBERS = 3
"""Numbers of a check on the front page."""


class Number(NamedTuple):
    """A measurement on the front page, as it is told there: the number, its interval, and what goes on from them."""

    of: Measurement
    value: str
    interval: str
    says: str


class Card(NamedTuple):
    """A check on the front page: what it asks, what it says, where its section is.

    `state` is the verdict, or *failed*; `undecided` says why it is open.
    """

    check: str
    section: str
    question: str
    finding: str
    why: str
    state: str
    summary: str
    undecided: str | None
    numbers: list[Number]


class Step(NamedTuple):
    """What can be done about checks that have the same advice."""

    checks: list[str]
    advice: Advice


class Front(NamedTuple):
    """Everything the front page says."""

    name: str
    finetuned: ModelRecord | None
    source: ModelRecord | None
    state: str
    banner: tuple[str, str]
    again: bool
    accuracy: Measurement | None
    scratch: Measurement | None
    cards: list[Card]
    steps: list[Step]
    missing: list[tuple[str, str]]
    findings: list[Finding]


def render(report: AuditReport, rows: int) -> str:
    """Write the page of an audit, below `pages.MOST_BYTES`.

    Args:
        report: The audit.
        rows: How many rows of a table are visible at first.

    Returns:
        The document, the same for the same record.
    """
    front = _front(report)
    results = [
        result.model_copy(
            update={"findings": tuple(finding for finding in result.findings if finding not in front.findings)}
        )
        for result in report.checks
    ]

    def page(sections: list[Section]) -> str:
        return write(
            "audit.html",
            charts=any(section.charts for section in sections),
            title=f"tlaudit audit: {report.subject}",
            report=report,
            front=front,
            sections=sections,
            has_gap=next_steps.has_gap,
            version=next((v for r in results if (v := r.provenance.versions.get("tlaudit"))), ""),
        )

    return filled(results, rows, page)


def _front(report: AuditReport) -> Front:
    models = next((r.provenance.models for r in report.checks if "finetuned" in r.provenance.models), {})
    failed = [result.failure is not None for result in report.checks]
    state = "failed" if any(failed) and report.verdict == "open" else report.verdict
    return Front(
        name=basename(report.subject),
        finetuned=models.get("finetuned"),
        source=models.get("source"),
        state=state,
        banner=plain_words.BANNERS["nothing" if all(failed) else state],
        again=next_steps.Recorded.of(report.run.command).again,
        accuracy=_first(report, plain_words.VALIDATION),
        scratch=_first(report, plain_words.SCRATCH),
        cards=[_card(result, f"r{number}") for number, result in enumerate(report.checks)],
        steps=_steps(report),
        missing=[*_missing(report)],
        findings=_shared(report),
    )


def _first(report: AuditReport, name: str) -> Measurement | None:
    """The measurement of that name with a value, of whichever check; else one that says why there is none."""
    found = [m for result in report.checks for m in result.measurements if m.name == name]
    return next((m for m in found if m.value is not None), found[0] if found else None)


def _card(result: CheckResult, section: str) -> Card:
    plain = plain_words.CHECKS.get(result.check)
    phrases = plain.numbers if plain else {}
    measured = {m.name: m for m in result.measurements if m.value is not None}
    names = [name for name in plain_words.leading(result) if name in measured]
    return Card(
        check=result.check,
        section=section,
        question=plain_words.question(result.check),
        finding=plain.finding if plain else result.summary,
        why=plain.why if plain else "",
        state=_state(result),
        summary=result.failure or result.summary,
        undecided=next_steps.why_open(result),
        numbers=[_number(measured[name], phrases.get(name)) for name in names[:_NUMBERS]],
    )


def _number(of: Measurement, phrase: Phrase | None) -> Number:
    """The measurement in the words of its phrase, or in its own where there is none."""
    value, interval, says = (phrase or Phrase(of.meaning)).told(of)
    return Number(of, value, interval, says)


def _state(result: CheckResult) -> str:
    return "failed" if result.failure is not None else result.verdict


def _steps(report: AuditReport) -> list[Step]:
    """What can be done, concerns first; checks with the same advice share it."""
    order = {"concern": 0, "failed": 1, "open": 2, "clear": 3}
    steps: list[Step] = []
    recorded = next_steps.Recorded.of(report.run.command)
    images = next((r.provenance.data["target"].path for r in report.checks if "target" in r.provenance.data), None)
    for result in sorted(report.checks, key=lambda result: order[_state(result)]):
        advice = next_steps.advice(result, images, recorded)
        same = next((step for step in steps if step.advice == advice), None)
        if same is not None:
            same.checks.append(result.check)
        elif advice is not None:
            steps.append(Step([result.check], advice))
    return steps


def _missing(report: AuditReport) -> Iterator[tuple[str, str]]:
    """What the front page cannot say, and why: failed checks, those left out, headline numbers that are absent."""
    for result in report.checks:
        if result.failure is not None:
            yield result.check, f"The check failed: {result.failure}"
    for check, reason in report.left_out.items():
        yield check, f"The check was left out: {reason}"
    for result in report.checks:
        absent: dict[str, list[str]] = {}
        for name in result.headline if result.failure is None else ():
            if (why := result[name].absent) is not None:
                absent.setdefault(why, []).append(name)
        for why, names in absent.items():
            yield ", ".join(names), why
    accuracy = _first(report, plain_words.VALIDATION)
    if accuracy is None:
        yield plain_words.VALIDATION, "no check that was made asks for it"
    elif accuracy.absent is not None and not any(
        plain_words.VALIDATION in result.headline for result in report.checks if result.failure is None
    ):
        yield plain_words.VALIDATION, accuracy.absent


def _shared(report: AuditReport) -> list[Finding]:
    """Findings of more than one check: they are about the networks or the images, and are told once."""
    found = [finding for result in report.checks for finding in dict.fromkeys(result.findings)]
    shared = [finding for finding in dict.fromkeys(found) if found.count(finding) > 1]
    return sorted(shared, key=lambda finding: ("error", "warning", "info").index(finding.severity))
