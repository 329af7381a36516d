"""Markdown: who is best, then the tables, for pull requests and notebooks."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tlaudit.reports import comparison_told, markdown

if TYPE_CHECKING:
    from tlaudit.comparisons import Comparison

SUFFIX = ".md"


def render(comparison: Comparison, rows: int) -> str:
    """Write summary, `rows` rows of each table at the most, findings and candidates."""
    parts = [markdown.heading("tlaudit compare", 1), markdown.text(comparison.summary)]
    for title, head, _, body in comparison_told.views(comparison, rows):
        parts += [markdown.heading(title, 2), markdown.table(head, body)]
    parts += markdown.bullets("Findings", ((f.severity, f.message) for f in comparison.findings))
    parts += markdown.bullets("Candidates", comparison_told.candidates(comparison))
    return "\n\n".join(parts) + "\n"
