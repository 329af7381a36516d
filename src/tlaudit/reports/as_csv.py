"""CSV: the check's table with every column, one row a class."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tlaudit.reports import separated

if TYPE_CHECKING:
    from tlaudit.results import CheckResult

SUFFIX = ".csv"


def render(result: CheckResult, rows: int) -> str:  # noqa: ARG001 - CSV leaves nothing out
    """Write the first table of the record, absent cells empty; `rows` is not needed, all of them are written.

    A check that could not be made has no table: its only row says why.
    """
    table = next(iter(result.tables.values()), None)
    if table is None:
        return separated.lines(("absent",), [(result.failure or result.summary,)])
    return separated.lines([column.name for column in table.columns], (row.values() for row in table.rows))
