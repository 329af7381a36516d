"""CSV: one row a measurement, over all checks of an audit."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tlaudit.reports import separated

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tlaudit.records import Cell
    from tlaudit.results import AuditReport, CheckResult

SUFFIX = ".csv"
_COLUMNS = ("check", "name", "value", "low", "high", "confidence", "n", "unit", "better", "absent")


def render(report: AuditReport, rows: int) -> str:  # noqa: ARG001 - CSV leaves nothing out
    """Write every measurement, absent values empty; `rows` is not needed, all of them are written."""
    return separated.lines(_COLUMNS, (row for result in report.checks for row in _rows(result)))


def _rows(result: CheckResult) -> Iterator[tuple[Cell, ...]]:
    """A check without measurements has one row that says why."""
    for m in result.measurements:
        bounds = (m.interval.low, m.interval.high, m.interval.confidence) if m.interval else (None, None, None)
        yield (result.check, m.name, m.value, *bounds, m.n, m.unit, m.better, m.absent)
    if not result.measurements:
        reason = result.failure or result.summary
        yield (result.check, None, None, None, None, None, None, None, None, reason)
