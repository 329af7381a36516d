"""Scatter charts: one dot a row, kinds apart by colour and mark, or by mark alone where colours are numbers."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from tlaudit.reports import drawing, figures_labels, wording

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from tlaudit.exhibits import Scatter
    from tlaudit.records import Cell
    from tlaudit.results import Table

_SIZES = ((300, 9), (1500, 7), (drawing.MOST_DOTS, 5))
"""Pixels of a dot where there are at most so many."""
_DOT_BYTES = 48
"""What two numbers and the punctuation around a name take in the figure, at the most."""
_SHADE_BYTES = 16
"""What a third number takes, for the colour."""
_LABEL_BYTES = 40
"""What the name beside a dot takes, and the word for its place."""
_LABEL_MARGIN = 0.1
"""Of the range of values, what a chart with names beside its dots leaves free for them."""
_LARGER = 4
"""More pixels of a dot whose colour has to be read."""
_NO_SHADE = "#7F7F7F"
"""Colour of a dot without a number to colour it by."""


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
    labelled = chart.labelled and len(chosen) <= figures_labels.MOST
    kinds = _by_kind(chart, [table.rows[index] for index in chosen])
    size = next(size for most, size in _SIZES if len(chosen) <= most)
    units = drawing.units(table)
    traces = [
        _trace(chart, units, kind, rows, place, size) | (_labels(chart, rows) if labelled else {})
        for place, (kind, of_kind) in enumerate(kinds.items())
        for rows in _by_shade(chart, of_kind)
    ]
    layout = _layout(chart, [table.rows[index] for index in complete], units)
    if labelled:
        figures_labels.label(traces, layout)
    if chart.shade and chart.group:
        traces += [_legend(kind, place, size) for place, kind in enumerate(kinds)]
    figure = {"data": traces, "layout": layout}
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
        words=_words(chart, len(chosen)),
        hint=f"Hover a dot for its {'numbers' if labelled else 'name'}; drag to zoom, double-click to go back.",
        notes=tuple(_notes(chart, [table.rows[index] for index in chosen], thinned if chosen != complete else "")),
        across=tuple(across),
    )


def _words(chart: Scatter, dots: int) -> str:
    """The chart in a sentence."""
    coloured = f", coloured by {drawing.spoken(chart.shade)}" if chart.shade else ""
    return f"Scatter chart of {dots} dots: {drawing.spoken(chart.y)} against {drawing.spoken(chart.x)}{coloured}."


def _notes(chart: Scatter, rows: Sequence[dict[str, Cell]], thinned: str) -> Iterator[str]:
    """What is not drawn, or not in colour."""
    if thinned:
        yield thinned
    grey = sum(row[chart.shade] is None for row in rows) if chart.shade else 0
    if chart.shade and grey:
        yield f"{grey} of {len(rows)} dots are grey and open: their {drawing.spoken(chart.shade)} is not known."
    if chart.labelled and len(rows) > figures_labels.MOST:
        yield f"More than {figures_labels.MOST} dots have no room for their names; hover one to see it."


def _as_many_as_fit(chart: Scatter, table: Table, indices: Sequence[int], room: int) -> int:
    """How many dots the room takes if all their names are as long as the longest."""
    longest = max((len(drawing.as_script(_named(table.rows[index], chart))) for index in indices), default=0)
    dot = longest + _DOT_BYTES + (_SHADE_BYTES if chart.shade else 0) + (_LABEL_BYTES if chart.labelled else 0)
    return min(drawing.MOST_DOTS, max(0, room) // dot)


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


def _by_shade(chart: Scatter, rows: list[dict[str, Cell]]) -> Iterator[list[dict[str, Cell]]]:
    """The rows of a kind that have a number to colour them by, then those that have none."""
    if chart.shade is None:
        yield rows
        return
    for known in (True, False):
        found = [row for row in rows if (row[chart.shade] is not None) is known]
        if found:
            yield found


def _trace(
    chart: Scatter, units: dict[str, str], kind: str, rows: Sequence[dict[str, Cell]], place: int, size: int
) -> dict[str, Any]:
    kind = drawing.letters(drawing.plain(kind))
    told = [("y", chart.y), ("x", chart.x)]
    if chart.shade and rows[0][chart.shade] is not None:
        told.append(("marker.color", chart.shade))
    lines = [
        f"{drawing.letters(drawing.titled(column, units[column]))}: %{{{axis}:{drawing.form(units[column])}}}"
        for axis, column in told
    ]
    return {
        "type": "scatter",
        "mode": "markers",
        "name": kind,
        "showlegend": chart.group is not None and chart.shade is None,
        "legendgroup": kind,
        "x": drawing.numbers(rows, chart.x),
        "y": drawing.numbers(rows, chart.y),
        "hovertext" if chart.labelled else "text": [_named(row, chart) for row in rows],
        # No element but the line break: plotly gives the others a style attribute, which the page's policy refuses.
        "hovertemplate": "<br>".join(
            ["%{hovertext}" if chart.labelled else "%{text}", *([kind] if kind else []), *lines, "<extra></extra>"]
        ),
        "marker": _marker(chart, rows, place, size),
    }


def _labels(chart: Scatter, rows: Sequence[dict[str, Cell]]) -> dict[str, Any]:
    """Names short enough to stand beside dots; hovered over, they are whole."""
    names = [drawing.letters(drawing.plain(row[chart.name], figures_labels.LONGEST)) for row in rows]
    return {"text": names}


def _legend(kind: str, place: int, size: int) -> dict[str, Any]:
    """A kind in the legend, without a colour, since its dots have many; no dot of its own."""
    name = drawing.letters(drawing.plain(kind))
    marker = {"color": _NO_SHADE, "symbol": drawing.KINDS[place][1], "size": size + _LARGER, "line": {"width": 1}}
    return {"type": "scatter", "mode": "markers", "name": name, "legendgroup": name, "x": [None], "y": [None]} | {
        "marker": marker,
        "showlegend": True,
        "hoverinfo": "skip",
    }


def _marker(chart: Scatter, rows: Sequence[dict[str, Cell]], place: int, size: int) -> dict[str, Any]:
    """The marks of a kind: in its colour, or in colours for the numbers, the marks alone telling kinds apart."""
    colour, symbol = drawing.KINDS[place]
    marker = {"color": colour, "symbol": symbol, "size": size, "opacity": 0.85, "line": {"width": 1}}
    if chart.shade is None:
        return marker
    larger = marker | {"size": size + _LARGER, "opacity": 1}
    if rows[0][chart.shade] is None:
        return larger | {"color": _NO_SHADE, "symbol": f"{symbol}-open", "line": {"width": 2}}
    return larger | {"color": drawing.numbers(rows, chart.shade), "coloraxis": "coloraxis"}


def _named(row: dict[str, Cell], chart: Scatter) -> str:
    return drawing.letters(drawing.plain(row[chart.name]))


def _layout(chart: Scatter, rows: Sequence[dict[str, Cell]], units: dict[str, str]) -> dict[str, Any]:
    columns = {"x": chart.x, "y": chart.y}
    ranges = {
        axis: drawing.span(
            [*drawing.numbers(rows, column), *(level.value for level in chart.levels if level.axis == axis)],
            least=chart.least_span or 0.0,
            margin=_LABEL_MARGIN if chart.labelled else drawing.MARGIN,
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
    parts = drawing.layout(
        **axes, shapes=[*shapes, *(shape for shape, _ in lines)], annotations=[note for _, note in lines]
    )
    return parts | _colours(chart, rows, units) if chart.shade else parts


def _colours(chart: Scatter, rows: Sequence[dict[str, Cell]], units: dict[str, str]) -> dict[str, Any]:
    """What numbers become as colours; the bar takes the legend's place, and the legend goes below."""
    column = str(chart.shade)
    known = [row for row in rows if row[column] is not None]
    low, high = drawing.ends(drawing.numbers(known, column))
    bar = drawing.colour_bar(column, units[column])
    axis = {"colorscale": drawing.COLOURS, "cmin": low, "cmax": high, "showscale": bool(known), "colorbar": bar}
    legend = {"orientation": "h", "x": 0, "y": -0.16, "yanchor": "top", "xanchor": "left"}
    return {"coloraxis": axis, "legend": legend}
