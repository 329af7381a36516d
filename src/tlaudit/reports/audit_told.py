"""What every format says of an audit first: a row a check, the numbers in front, the findings that weigh most."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tlaudit.reports import plain_words, wording

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tlaudit.results import AuditReport, CheckResult, Finding, Measurement

_WEIGHTS = {"error": 0, "warning": 1, "info": 2}


def word(result: CheckResult) -> str:
    """The verdict of a check in a word; that it failed where it could not be made."""
    return plain_words.FAILED[0] if result.failure else wording.VERDICTS[result.verdict][0]


def checks(report: AuditReport) -> Iterator[tuple[str, str, str]]:
    """One row a check: its name, its verdict, and what was found."""
    for result in report.checks:
        yield result.check, word(result), result.failure or result.summary


def headline(report: AuditReport) -> list[Measurement]:
    """The measurements that the checks show first; one that several of them make is shown once."""
    found: dict[str, Measurement] = {}
    for result in report.checks:
        if result.failure is None:
            for name in result.headline:
                if name not in found or found[name].absent is not None:
                    found[name] = result[name]
    return list(found.values())


def failures(report: AuditReport) -> list[tuple[str, str]]:
    """Checks that could not be made, and why."""
    return [(result.check, result.failure) for result in report.checks if result.failure]


def findings(report: AuditReport) -> list[tuple[Finding, str]]:
    """The findings, the gravest first, each once with the checks that made it."""
    by_finding: dict[tuple[str, str], tuple[Finding, list[str]]] = {}
    for result in report.checks:
        for finding in result.findings:
            by_finding.setdefault((finding.code, finding.message), (finding, []))[1].append(result.check)
    ranked = sorted(by_finding.values(), key=lambda one: _WEIGHTS[one[0].severity])
    return [(finding, ", ".join(dict.fromkeys(made_by))) for finding, made_by in ranked]


def networks(report: AuditReport) -> Iterator[tuple[str, str]]:
    """The networks, as the first check that was made has recorded them."""
    made = next((result for result in report.checks if result.provenance.models), None)
    if made is not None:
        yield from wording.models(made)
