"""CSV: the ranking with every column, one row a candidate."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tlaudit.reports import separated

if TYPE_CHECKING:
    from tlaudit.comparisons import Comparison

SUFFIX = ".csv"


def render(comparison: Comparison, rows: int) -> str:  # noqa: ARG001 - CSV leaves nothing out
    """Write the ranking, absent cells empty; `rows` is not needed, all of them are written."""
    table = comparison.tables["ranking"]
    return separated.lines([column.name for column in table.columns], (row.values() for row in table.rows))
