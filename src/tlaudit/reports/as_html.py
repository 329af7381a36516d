"""HTML of checks.

The verdict and its numbers, then charts, pictures and tables, then what was not measured and what all of it depends on.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from tlaudit.reports.pages import MOST_BYTES, SUFFIX, write
from tlaudit.reports.sections import Section, filled

if TYPE_CHECKING:
    from collections.abc import Sequence

    from tlaudit.results import CheckResult

__all__ = ["MOST_BYTES", "SUFFIX", "page", "render"]


def render(result: CheckResult, rows: int) -> str:
    """Write a page about one result; `rows` of each table are visible at first, the others can be shown."""
    return page((result,), rows)


def page(results: Sequence[CheckResult], rows: int) -> str:
    """Write one page about several results, below `MOST_BYTES`.

    Args:
        results: At least one; the first names the page.
        rows: How many rows of a table are visible at first.

    Returns:
        The document, the same for the same records.
    """
    return filled(results, rows, _write)


def _write(sections: list[Section]) -> str:
    checks = ", ".join(section.result.check for section in sections)
    subject = _subject(sections[0].result)
    return write(
        "page.html",
        charts=any(section.charts for section in sections),
        front_page=False,
        title=f"tlaudit {checks}: {subject}",
        subject=subject,
        sections=sections,
    )


def _subject(result: CheckResult) -> str:
    """What the finetuned network is called, or the first network if none is."""
    models = result.provenance.models
    return models["finetuned"].spec if "finetuned" in models else next(model.spec for model in models.values())
