"""Drawings of a report: a chart as a plotly figure, an interval as a bar.

Plotly reads a little HTML in every text it draws, so names are escaped for it here. Colours of axes, lines and text
belong to the style sheet, so that one drawing serves light, dark and paper; only the kinds of dots have their own.
"""

from __future__ import annotations

import json
from html import escape
from typing import TYPE_CHECKING, Any, NamedTuple

from tlaudit.reports import wording

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from tlaudit.exhibits import Scatter
    from tlaudit.records import Cell
    from tlaudit.results import Measurement, Table

MOST_DOTS = 5000
"""More dots than this are one blot; the rest stands in the table (our choice)."""
LONGEST_NAME = 80
"""Characters of a name that a hover text shows."""

_KINDS = (
    ("#0072B2", "circle"),
    ("#D55E00", "diamond"),
    ("#009E73", "square"),
    ("#CC79A7", "triangle-up"),
    ("#E69F00", "cross"),
    ("#56B4E9", "star"),
    ("#7F7F7F", "x"),
)
"""Colours that stay apart for colour-blind eyes (Okabe and Ito 2008), each with a mark of its own."""
_SIZES = ((300, 9), (1500, 7), (MOST_DOTS, 5))
"""Pixels of a dot where there are at most so many."""
_MARGIN = 0.05
_DOT_BYTES = 48
"""What two numbers and the punctuation around a name take in the figure, at the most."""
_FONT = 'system-ui, -apple-system, "Segoe UI", Roboto, "Helvetica Neue", Arial, sans-serif'
_UNIT_RANGE = {"share", "probability", "overlap", "ratio", "p-value"}


class Drawing(NamedTuple):
    """A chart ready for a page: the figure as JSON, how many rows have both numbers, and how many of them it shows."""

    figure: str
    shown: int
    total: int


class Bar(NamedTuple):
    """An interval on a line from 0 to 1, in percent of its length."""

    value: float
    low: float
    width: float


def scatter(chart: Scatter, table: Table, room: int) -> Drawing:
    """Draw one dot for each row that has both numbers.

    Where there are more than `MOST_DOTS`, or more than fit the room, the rows worth a look are kept and the others
    thinned evenly.

    Args:
        chart: What to draw.
        table: The table it names.
        room: Bytes that the dots may take.

    Returns:
        The figure, as JSON that may stand inside a ``script`` element.
    """
    complete = [index for index, row in enumerate(table.rows) if None not in (row[chart.x], row[chart.y])]
    chosen = _thinned(complete, table.worst, _as_many_as_fit(chart, table, complete, room))
    kinds = _by_kind(chart, [table.rows[index] for index in chosen])
    units = {column.name: column.unit for column in table.columns}
    traces = [_trace(chart, units, kind, rows, number) for number, (kind, rows) in enumerate(kinds.items())]
    for trace in traces:
        trace["marker"]["size"] = next(size for most, size in _SIZES if len(chosen) <= most)
    figure = {"data": traces, "layout": _layout(chart, table, complete, units)}
    return Drawing(as_script(figure), len(chosen), len(complete))


def as_script(value: object) -> str:
    """Write JSON that may stand inside a ``script`` element: pure ASCII, and nothing in it that HTML could read."""
    text = json.dumps(value, allow_nan=False, separators=(",", ":"))
    return text.replace("&", "\\u0026").replace("<", "\\u003c").replace(">", "\\u003e")


def bar(measurement: Measurement) -> Bar | None:
    """Put an interval on a line from 0 to 1; None where the value belongs on no such line."""
    bounds = measurement.interval
    if measurement.value is None or bounds is None or measurement.unit not in _UNIT_RANGE:
        return None
    if min(bounds.low, measurement.value) < 0 or max(bounds.high, measurement.value) > 1:
        return None
    # One percent is the least that can be seen.
    return Bar(*(round(100 * part, 2) for part in (measurement.value, bounds.low, max(bounds.high - bounds.low, 0.01))))


def _as_many_as_fit(chart: Scatter, table: Table, indices: Sequence[int], room: int) -> int:
    """How many dots the room takes if all their names are as long as the longest."""
    longest = max((len(as_script(_text(table.rows[index][chart.name]))) for index in indices), default=0)
    return min(MOST_DOTS, max(0, room) // (longest + _DOT_BYTES))


def _thinned(indices: Sequence[int], worst: Sequence[int], most: int) -> list[int]:
    """At most so many of the indices, in order: first the worst, then the others at even steps."""
    if len(indices) <= most:
        return list(indices)
    known = set(indices)
    kept = [index for index in worst if index in known][:most]
    known -= set(kept)
    others, missing = [index for index in indices if index in known], most - len(kept)
    return sorted(kept + [others[step * len(others) // missing] for step in range(missing)])


def _by_kind(chart: Scatter, rows: Sequence[dict[str, Cell]]) -> dict[str, list[dict[str, Cell]]]:
    """The rows of each kind; kinds beyond those that can be told apart share the last."""
    kinds: dict[str, list[dict[str, Cell]]] = {}
    for row in rows:
        kind = wording.number(row[chart.group], "text") if chart.group else ""
        if kind not in kinds and len(kinds) >= len(_KINDS) - 1:
            kind = "of other kinds"
        kinds.setdefault(kind, []).append(row)
    return kinds


def _text(value: Cell) -> str:
    """A text as plotly draws it letter by letter: no tag, no entity, no template of its own."""
    text = " ".join(wording.number(value, "text").split())
    if len(text) > LONGEST_NAME:
        text = text[: LONGEST_NAME - 1] + "…"
    return escape(text, quote=False).replace("%{", "%&#123;")


def _numbers(rows: Sequence[dict[str, Cell]], column: str) -> list[float]:
    return [float(f"{row[column]:.6g}") for row in rows]


def _trace(
    chart: Scatter, units: dict[str, str], kind: str, rows: Sequence[dict[str, Cell]], number: int
) -> dict[str, Any]:
    colour, symbol = _KINDS[number % len(_KINDS)]
    lines = [f"{_text(_axis(chart, units, axis))}: %{{{axis}:{_form(units, chart, axis)}}}" for axis in "yx"]
    return {
        "type": "scatter",
        "mode": "markers",
        "name": _text(kind),
        "showlegend": chart.group is not None,
        "x": _numbers(rows, chart.x),
        "y": _numbers(rows, chart.y),
        "text": [_text(row[chart.name]) for row in rows],
        # No element but the line break: plotly gives the others a style attribute, which the page's policy refuses.
        "hovertemplate": "<br>".join(["%{text}", *([_text(kind)] if kind else []), *lines, "<extra></extra>"]),
        "marker": {"color": colour, "symbol": symbol, "opacity": 0.85, "line": {"width": 1}},
    }


def _column(chart: Scatter, axis: str) -> str:
    return chart.x if axis == "x" else chart.y


def _axis(chart: Scatter, units: dict[str, str], axis: str) -> str:
    name = _column(chart, axis)
    return f"{name.replace('_', ' ')} ({units[name]})" if units[name] != name else name.replace("_", " ")


def _form(units: dict[str, str], chart: Scatter, axis: str) -> str:
    return ".1%" if units[_column(chart, axis)] == "share" else ".4~g"


def _layout(chart: Scatter, table: Table, indices: Sequence[int], units: dict[str, str]) -> dict[str, Any]:
    ranges = {axis: _range(chart, table, indices, axis) for axis in "xy"}
    if chart.diagonal:
        both = [min(low for low, _ in ranges.values()), max(high for _, high in ranges.values())]
        ranges = dict.fromkeys("xy", both)
    axes = {
        f"{axis}axis": {
            "title": {"text": _text(_axis(chart, units, axis)), "standoff": 12},
            "range": ranges[axis],
            "zeroline": False,
            "automargin": True,
            "nticks": 7,
            "tickformat": ".0%" if units[_column(chart, axis)] == "share" else "",
        }
        for axis in "xy"
    }
    if chart.diagonal:
        axes["yaxis"] |= {"scaleanchor": "x", "constrain": "domain"}
        axes["xaxis"] |= {"constrain": "domain"}
    lines = list(_lines(chart, ranges))
    return {
        **axes,
        "shapes": [shape for shape, _ in lines],
        "annotations": [note for _, note in lines if note],
        "font": {"family": _FONT, "size": 13},
        "paper_bgcolor": "rgba(0,0,0,0)",
        "plot_bgcolor": "rgba(0,0,0,0)",
        "margin": {"l": 60, "r": 20, "t": 20, "b": 60},
        "legend": {"orientation": "h", "x": 0, "y": 1.02, "yanchor": "bottom", "xanchor": "left"},
        "hovermode": "closest",
        "hoverlabel": {"align": "left", "font": {"family": _FONT, "size": 13}},
    }


def _range(chart: Scatter, table: Table, indices: Sequence[int], axis: str) -> list[float]:
    values = _numbers([table.rows[index] for index in indices], _column(chart, axis))
    values += [level.value for level in chart.levels if level.axis == axis]
    low, high = (min(values), max(values)) if values else (0.0, 1.0)
    pad = _MARGIN * ((high - low) or 1.0)
    return [low - pad, high + pad]


def _lines(chart: Scatter, ranges: dict[str, list[float]]) -> Iterator[tuple[dict[str, Any], dict[str, Any] | None]]:
    """The diagonal and the levels, each as a shape and, where it has any, the words beside it."""
    if chart.diagonal:
        low, high = ranges["x"]
        shape = {"x0": low, "y0": low, "x1": high, "y1": high, "line": {"width": 1.5}}
        yield {"type": "line", "layer": "between", **shape}, None
    for level in chart.levels:
        line = {"width": 1.5, "dash": "dash"}
        if level.axis == "y":
            shape = {"xref": "x domain", "x0": 0, "x1": 1, "y0": level.value, "y1": level.value, "line": line}
            note = {"xref": "x domain", "x": 1, "xanchor": "right", "y": level.value, "yanchor": "bottom"}
        else:
            shape = {"yref": "y domain", "y0": 0, "y1": 1, "x0": level.value, "x1": level.value, "line": line}
            note = {"yref": "y domain", "y": 0, "yanchor": "bottom", "x": level.value, "xanchor": "right"}
            note["textangle"] = -90
        yield {"type": "line", "layer": "below", **shape}, {"showarrow": False, "text": _text(level.label), **note}
