"""Markdown: the summary first, then the worst rows, for pull requests and notebooks."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tlaudit.reports import markdown

if TYPE_CHECKING:
    from tlaudit.results import CheckResult

SUFFIX = ".md"


def render(result: CheckResult, rows: int) -> str:
    """Write summary, measurements, the worst `rows` rows of each table, findings, what is missing, and provenance."""
    return "\n\n".join(markdown.section(result, rows, f"tlaudit {result.check}", 1)) + "\n"
