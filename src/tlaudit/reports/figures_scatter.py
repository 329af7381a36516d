"""Scatter charts: one dot a row, kinds apart by colour and mark."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from tlaudit.reports import drawing, wording

if TYPE_CHECKING:
    from collections.abc import Sequence

    from tlaudit.exhibits import Scatter
    from tlaudit.records import Cell
    from tlaudit.results import Table

_SIZES = ((300, 9), (1500, 7), (drawing.MOST_DOTS, 5))
"""Pixels of a dot where there are at most so many."""
_DOT_BYTES = 48
"""What two numbers and the punctuation around a name take in the figure, at the most."""


def scatter(chart: Scatter, table: Table, room: int) -> drawing.Drawing:
    """Draw one dot for each row that has both numbers.

    Where there are more than `MOST_DOTS`, or more than fit the room, the rows worth a look are kept and the others
    thinned evenly.

    Args:
        chart: What to draw.
        table: The table it names.
        room: Bytes that the dots may take.

    Returns:
        The drawing, with how many rows have both numbers and how many of them it shows.
    """
    complete = [index for index, row in enumerate(table.rows) if None not in (row[chart.x], row[chart.y])]
    chosen = _thinned(complete, table.worst, _as_many_as_fit(chart, table, complete, room))
    kinds = _by_kind(chart, [table.rows[index] for index in chosen])
    size = next(size for most, size in _SIZES if len(chosen) <= most)
    units = drawing.units(table)
    figure = {
        "data": [_trace(chart, units, kind, rows, place, size) for place, (kind, rows) in enumerate(kinds.items())],
        "layout": _layout(chart, [table.rows[index] for index in complete], units),
    }
    across = [(level.label, False) for level in chart.levels]
    if chart.diagonal:
        across.insert(0, (f"diagonal: {drawing.spoken(chart.y)} = {drawing.spoken(chart.x)}", True))
    thinned = (
        f"{len(chosen)} of {len(complete)} dots are drawn, those worth a look first and the others thinned evenly; "
        "all are in the JSON."
    )
    return drawing.Drawing(
        figure=drawing.as_script(figure),
        shown=len(chosen),
        total=len(complete),
        words=f"Scatter chart of {len(chosen)} dots: {drawing.spoken(chart.y)} against {drawing.spoken(chart.x)}.",
        hint="Hover a dot for its name; drag to zoom, double-click to go back.",
        notes=(thinned,) if len(chosen) < len(complete) else (),
        across=tuple(across),
    )


def _as_many_as_fit(chart: Scatter, table: Table, indices: Sequence[int], room: int) -> int:
    """How many dots the room takes if all their names are as long as the longest."""
    longest = max((len(drawing.as_script(_named(table.rows[index], chart))) for index in indices), default=0)
    return min(drawing.MOST_DOTS, max(0, room) // (longest + _DOT_BYTES))


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
        if kind not in kinds and len(kinds) >= len(drawing.KINDS) - 1:
            kind = "of other kinds"
        kinds.setdefault(kind, []).append(row)
    return kinds


def _trace(
    chart: Scatter, units: dict[str, str], kind: str, rows: Sequence[dict[str, Cell]], place: int, size: int
) -> dict[str, Any]:
    colour, symbol = drawing.KINDS[place]
    kind = drawing.letters(drawing.plain(kind))
    lines = [
        f"{drawing.letters(drawing.titled(column, units[column]))}: %{{{axis}:{drawing.form(units[column])}}}"
        for axis, column in (("y", chart.y), ("x", chart.x))
    ]
    return {
        "type": "scatter",
        "mode": "markers",
        "name": kind,
        "showlegend": chart.group is not None,
        "x": drawing.numbers(rows, chart.x),
        "y": drawing.numbers(rows, chart.y),
        "text": [_named(row, chart) for row in rows],
        # No element but the line break: plotly gives the others a style attribute, which the page's policy refuses.
        "hovertemplate": "<br>".join(["%{text}", *([kind] if kind else []), *lines, "<extra></extra>"]),
        "marker": {"color": colour, "symbol": symbol, "size": size, "opacity": 0.85, "line": {"width": 1}},
    }


def _named(row: dict[str, Cell], chart: Scatter) -> str:
    return drawing.letters(drawing.plain(row[chart.name]))


def _layout(chart: Scatter, rows: Sequence[dict[str, Cell]], units: dict[str, str]) -> dict[str, Any]:
    columns = {"x": chart.x, "y": chart.y}
    ranges = {
        axis: drawing.span(
            [*drawing.numbers(rows, column), *(level.value for level in chart.levels if level.axis == axis)]
        )
        for axis, column in columns.items()
    }
    shapes = []
    if chart.diagonal:
        low, high = min(low for low, _ in ranges.values()), max(high for _, high in ranges.values())
        ranges = {"x": [low, high], "y": [low, high]}
        ends = {"x0": low, "y0": low, "x1": high, "y1": high}
        shapes.append({"type": "line", "layer": "between", **ends, "line": {"width": 1.5}})
    axes = {f"{axis}axis": drawing.axis(column, units[column], ranges[axis]) for axis, column in columns.items()}
    if chart.diagonal:
        axes["yaxis"] |= {"scaleanchor": "x", "constrain": "domain"}
        axes["xaxis"] |= {"constrain": "domain"}
    lines = list(drawing.across(chart.levels, {"x": False, "y": False}))
    return drawing.layout(
        **axes, shapes=[*shapes, *(shape for shape, _ in lines)], annotations=[note for _, note in lines]
    )
