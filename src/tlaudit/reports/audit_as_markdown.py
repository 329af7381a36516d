"""Markdown: the front of an audit in tables, then a section a check, for pull requests and model cards."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tlaudit.reports import audit_told, markdown, wording

if TYPE_CHECKING:
    from tlaudit.results import AuditReport

SUFFIX = ".md"


def render(report: AuditReport, rows: int) -> str:
    """Write verdict, a row a check, the numbers in front, failures, then each check with `rows` rows of each table."""
    word, _ = wording.VERDICTS[report.verdict]
    parts = [
        markdown.heading(f"tlaudit audit: {word}", 1),
        markdown.text(report.summary),
        markdown.text(f"Audited: {report.subject}"),
        markdown.table(("check", "verdict", "what was found"), audit_told.checks(report)),
    ]
    shown = audit_told.headline(report)
    if shown:
        parts += [markdown.heading("Numbers in front", 2), markdown.measurements(shown)]
    parts += markdown.bullets("Checks that failed", audit_told.failures(report))
    parts += markdown.bullets("Checks that were left out", report.left_out.items())
    for result in report.checks:
        parts += markdown.section(result, rows, result.check, 2)
    return "\n\n".join(parts) + "\n"
