"""Line charts: points joined in the table's order, over numbers or over the places of an axis of names."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

from tlaudit.reports import drawing, wording

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from tlaudit.exhibits import Level, Lines
    from tlaudit.records import Cell
    from tlaudit.results import Table

_DASHES = ("solid", "dash", "dot", "dashdot")
MOST_LINES = len(drawing.KINDS) * len(_DASHES)
"""Lines that can be told apart: by colour and mark, then by dashes."""
_SIZES = ((150, 8), (600, 6), (drawing.MOST_DOTS, 4))
"""Pixels of a mark where there are at most so many."""
_NUMBER_BYTES = 14
"""What a number of six digits and the comma after it take in the figure, at the most."""
_LINES_TOLD = 7
_NO_BOUND = "none"
"""For a text plotly draws no error bar; for null it would draw one of no length."""


class _Line(NamedTuple):
    """One line: its place among all, from which its colour comes, and its points, None where it breaks."""

    name: str
    place: int
    points: list[dict[str, Cell] | None]

    @property
    def rows(self) -> list[dict[str, Cell]]:
        return [point for point in self.points if point is not None]


class _Scale(NamedTuple):
    """What the axes of a chart can show: names in place of numbers on x, and no number at or below 0 on a log axis."""

    names: dict[Cell, drawing.Place] | None
    log: dict[str, bool]


def lines(chart: Lines, table: Table, room: int) -> drawing.Drawing:
    """Draw a line for each group through the rows that have both numbers.

    A row without a number, or with one at or below 0 on a logarithmic axis, breaks its line. Where there are more
    points than `MOST_DOTS`, or more than fit the room, the longest lines are thinned evenly and keep ends and breaks.

    Args:
        chart: What to draw.
        table: The table it names.
        room: Bytes that the points may take.

    Returns:
        The drawing, with how many rows have both numbers and how many of them it shows.
    """
    scale = _scale(chart, table)
    every, off = _grouped(chart, table, scale)
    most = min(drawing.MOST_DOTS, max(0, room) // _point_bytes(chart, table, scale))
    kept = _thinned(every[:MOST_LINES], most)
    shown, total = (sum(len(line.rows) for line in some) for some in (kept, every))
    levels = [level for level in chart.levels if _lies_on(level, scale)]
    units = drawing.units(table)
    size = next(size for limit, size in _SIZES if shown <= limit)
    figure = {
        "data": [_trace(chart, units, line, scale, size) for line in kept if line.rows],
        "layout": _layout(chart, [row for line in every for row in line.rows], levels, units, scale),
    }
    return drawing.Drawing(
        figure=drawing.as_script(figure),
        shown=shown,
        total=total + off,
        words=_words(chart, units, [line for line in kept if line.rows]),
        hint="Hover a point for its numbers; drag to zoom, double-click to go back.",
        notes=tuple(_notes(every, shown, off, [level for level in chart.levels if level not in levels])),
        across=tuple((level.label, False) for level in levels),
    )


def _scale(chart: Lines, table: Table) -> _Scale:
    """Places where the column of x holds any text; a logarithm of them there is not."""
    values = [row[chart.x] for row in table.rows if row[chart.x] is not None]
    named = any(isinstance(value, str | bool) for value in values)
    names = drawing.places(values) if named else None
    return _Scale(names, {"x": chart.log_x and not named, "y": chart.log_y})


def _grouped(chart: Lines, table: Table, scale: _Scale) -> tuple[list[_Line], int]:
    """All lines in the table's order, and how many rows a logarithmic axis leaves no place for."""
    found: dict[str, list[dict[str, Cell] | None]] = {}
    off = 0
    for row in table.rows:
        points = found.setdefault(wording.number(row[chart.group], "text") if chart.group else "", [])
        x, y = row[chart.x], row[chart.y]
        complete = x is not None and y is not None
        fits = complete and not any(
            log and not (isinstance(value, int | float) and value > 0)
            for log, value in ((scale.log["x"], x), (scale.log["y"], y))
        )
        off += complete and not fits
        points.append(row if fits else None)
    return [_Line(name, place, points) for place, (name, points) in enumerate(found.items())], off


def _lies_on(level: Level, scale: _Scale) -> bool:
    if level.axis == "x" and scale.names is not None:
        return False
    return level.value > 0 or not scale.log[level.axis]


def _point_bytes(chart: Lines, table: Table, scale: _Scale) -> int:
    """What a point takes if all its names are as long as the longest."""
    size = 2 * _NUMBER_BYTES + (2 * _NUMBER_BYTES if chart.low else 0)
    if scale.names:
        size += max(len(drawing.as_script(place.name)) for place in scale.names.values())
    if chart.name:
        size += max((len(drawing.as_script(_named(row[chart.name]))) for row in table.rows), default=0) + 1
    return size


def _thinned(lines: Sequence[_Line], most: int) -> list[_Line]:
    """At most so many points in all; short lines keep theirs, the others share what is left alike."""
    counts = [len(line.rows) for line in lines]
    if sum(counts) <= most:
        share = max(counts, default=0)
    else:
        share = next(share for share in range(most, -1, -1) if sum(min(count, share) for count in counts) <= most)
    return [line._replace(points=_spread(line.points, count, share)) for line, count in zip(lines, counts, strict=True)]


def _spread(points: Sequence[dict[str, Cell] | None], count: int, most: int) -> list[dict[str, Cell] | None]:
    """At most so many of the points of a line, and one break between two of them wherever there were any."""
    chosen = set(drawing.evenly(count, most))
    kept: list[dict[str, Cell] | None] = []
    seen, broken = 0, False
    for point in points:
        broken = broken or point is None
        if point is not None:
            if seen in chosen:
                kept += [None, point] if broken and kept else [point]
                broken = False
            seen += 1
    return kept


def _trace(chart: Lines, units: dict[str, str], line: _Line, scale: _Scale, size: int) -> dict[str, Any]:
    colour, symbol = drawing.KINDS[line.place % len(drawing.KINDS)]
    name = _named(line.name)
    trace = {
        "type": "scatter",
        "mode": "lines+markers",
        "name": name,
        "showlegend": chart.group is not None,
        "connectgaps": False,
        "x": [point and _x(chart, point, scale) for point in line.points],
        "y": [point and _number(point, chart.y) for point in line.points],
        "hovertemplate": _hover(chart, units, name, scale),
        "line": {"color": colour, "width": 2, "dash": _DASHES[line.place // len(drawing.KINDS)]},
        "marker": {"color": colour, "symbol": symbol, "size": size, "line": {"width": int(size > 6)}},
    }
    if chart.name:
        trace["text"] = [point and _named(point[chart.name]) for point in line.points]
    if chart.low and chart.high and any(_number(row, chart.low) is not None for row in line.rows):
        lengths = [_bars(chart.low, chart.y, chart.high, point) for point in line.points]
        below, above = (list(part) for part in zip(*lengths, strict=True))
        trace["error_y"] = {
            "type": "data",
            "symmetric": False,
            "array": above,
            "arrayminus": below,
            "color": colour,
            "thickness": 1.5,
            "width": 4,
        }
    return trace


def _hover(chart: Lines, units: dict[str, str], name: str, scale: _Scale) -> str:
    """Group, name, y and x; no element but the line break, as in scatter charts."""
    y, x = (drawing.letters(drawing.titled(column, units[column])) for column in (chart.y, chart.x))
    if scale.names is not None:
        x_line = f"{drawing.letters(drawing.spoken(chart.x))}: %{{x}}"
    else:
        x_line = f"{x}: %{{x:{drawing.form(units[chart.x], log=scale.log['x'])}}}"
    parts = [name] if name else []
    parts += ["%{text}"] if chart.name else []
    parts += [f"{y}: %{{y:{drawing.form(units[chart.y], log=scale.log['y'])}}}", x_line, "<extra></extra>"]
    return "<br>".join(parts)


def _bars(low: str, y: str, high: str, point: dict[str, Cell] | None) -> tuple[float | str, float | str]:
    """Lengths of the error bar below and above a point."""
    if point is None:
        return _NO_BOUND, _NO_BOUND
    bottom, middle, top = (_number(point, column) for column in (low, y, high))
    if bottom is None or middle is None or top is None:
        return _NO_BOUND, _NO_BOUND
    return drawing.number(middle - bottom), drawing.number(top - middle)


def _layout(
    chart: Lines, rows: Sequence[dict[str, Cell]], levels: Sequence[Level], units: dict[str, str], scale: _Scale
) -> dict[str, Any]:
    """Axes that hold all points, drawn or thinned out, their bounds and the levels."""
    along = list((scale.names or {}).values())
    if along:
        x_axis = drawing.axis_of_places(chart.x, along)
    else:
        x_axis = _axis(chart.x, (chart.x,), "x", rows, levels, units, scale)
    columns = (chart.y, *(column for column in (chart.low, chart.high) if column))
    shapes = list(drawing.across(levels, scale.log))
    return drawing.layout(
        xaxis=x_axis,
        yaxis=_axis(chart.y, columns, "y", rows, levels, units, scale),
        shapes=[shape for shape, _ in shapes],
        annotations=[note for _, note in shapes],
        meta=drawing.shortened(along),
    )


def _axis(
    title: str,
    columns: Sequence[str],
    axis: str,
    rows: Sequence[dict[str, Cell]],
    levels: Sequence[Level],
    units: dict[str, str],
    scale: _Scale,
) -> dict[str, Any]:
    values = [value for row in rows for column in columns if (value := _number(row, column)) is not None]
    values += [level.value for level in levels if level.axis == axis]
    log = scale.log[axis]
    return drawing.axis(title, units[title], drawing.span(values, log=log), log=log)


def _notes(every: Sequence[_Line], shown: int, off: int, elsewhere: Sequence[Level]) -> Iterator[str]:
    if len(every) > MOST_LINES:
        yield f"The first {MOST_LINES} of {len(every)} lines are drawn; all are in the JSON."
    whole = sum(len(line.rows) for line in every[:MOST_LINES])
    if shown < whole:
        yield f"{shown} of {whole} points are drawn, long lines thinned evenly; all are in the JSON."
    if off:
        yield f"{off} {'point' if off == 1 else 'points'} at or below 0 cannot stand on a logarithmic axis."
    for level in elsewhere:
        yield f"“{level.label}” has no place on these axes."


def _words(chart: Lines, units: dict[str, str], kept: Sequence[_Line]) -> str:
    """The lines in a sentence: where the first of them begin and end."""
    counted = f"{sum(len(line.rows) for line in kept)} points on {len(kept)} {'line' if len(kept) == 1 else 'lines'}"
    told = [f"Line chart of {counted}: {drawing.spoken(chart.y)} over {drawing.spoken(chart.x)}."]
    for line in kept[:_LINES_TOLD]:
        first, last = (
            f"{_told(row, chart.y, units, log=chart.log_y)} at {_told(row, chart.x, units, log=chart.log_x)}"
            for row in (line.rows[0], line.rows[-1])
        )
        told.append(f"{drawing.plain(line.name)}: {first} to {last}." if line.name else f"From {first} to {last}.")
    return " ".join(told)


def _told(row: dict[str, Cell], column: str, units: dict[str, str], *, log: bool) -> str:
    value = row[column]
    if log and isinstance(value, float):
        return f"{value:.3g}"
    return drawing.plain(wording.number(value, units[column]))


def _named(value: Cell) -> str:
    return drawing.letters(drawing.plain(value))


def _number(row: dict[str, Cell], column: str) -> float | None:
    value = row[column]
    return drawing.number(value) if isinstance(value, int | float) else None


def _x(chart: Lines, row: dict[str, Cell], scale: _Scale) -> float | str | None:
    return _number(row, chart.x) if scale.names is None else scale.names[row[chart.x]].name
