"""Drawings of a report: charts as plotly figures, an interval as a bar."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

from tlaudit.reports.figures_heatmap import heatmap
from tlaudit.reports.figures_lines import lines
from tlaudit.reports.figures_scatter import scatter

if TYPE_CHECKING:
    from collections.abc import Callable

    from tlaudit.exhibits import Chart
    from tlaudit.reports.drawing import Drawing
    from tlaudit.results import Measurement, Table

_DRAWERS: dict[str, Callable[[Any, Table, int], Drawing]] = {"scatter": scatter, "lines": lines, "heatmap": heatmap}
"""Who draws which kind of chart."""

_UNIT_RANGE = {"share", "probability", "overlap", "ratio", "p-value"}


class Bar(NamedTuple):
    """An interval on a line from 0 to 1, in percent of its length."""

    value: float
    low: float
    width: float


def draw(chart: Chart, table: Table, room: int) -> Drawing:
    """Draw a chart over its table in so many bytes, as the one who draws its kind does."""
    return _DRAWERS[chart.kind](chart, table, room)


def bar(measurement: Measurement) -> Bar | None:
    """Put an interval on a line from 0 to 1; None where the value belongs on no such line."""
    bounds = measurement.interval
    if measurement.value is None or bounds is None or measurement.unit not in _UNIT_RANGE:
        return None
    if min(bounds.low, measurement.value) < 0 or max(bounds.high, measurement.value) > 1:
        return None
    # One percent is the least that can be seen.
    return Bar(*(round(100 * part, 2) for part in (measurement.value, bounds.low, max(bounds.high - bounds.low, 0.01))))
