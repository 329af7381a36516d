"""CSV: the ranking with every column, one row a candidate."""

from __future__ import annotations

import csv
import io
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from tlaudit.comparisons import Comparison

SUFFIX = ".csv"


def render(comparison: Comparison, rows: int) -> str:  # noqa: ARG001 - CSV leaves nothing out
    """Write the ranking, absent cells empty; `rows` is not needed, all of them are written."""
    table = comparison.tables["ranking"]
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow([column.name for column in table.columns])
    writer.writerows(row.values() for row in table.rows)
    return text.getvalue()
