"""CSV: the check's table with every column, one row a class."""

from __future__ import annotations

import csv
import io
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from tlaudit.results import CheckResult

SUFFIX = ".csv"


def render(result: CheckResult, rows: int) -> str:  # noqa: ARG001 - CSV leaves nothing out
    """Write the first table of the record, absent cells empty; `rows` is not needed, all of them are written."""
    table = next(iter(result.tables.values()))
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow([column.name for column in table.columns])
    writer.writerows(row.values() for row in table.rows)
    return text.getvalue()
