"""Heat maps: a colour for each pair of names, a mark where there is no number."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from tlaudit.reports import drawing, wording

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from tlaudit.exhibits import Heatmap
    from tlaudit.records import Cell
    from tlaudit.results import Table

MOST_PLACES = 100
"""Rows or columns beyond this are narrower than can be pointed at; the others stand in the table (our choice)."""
_CELL_BYTES = 24
"""What a cell takes in the figure, at the most: a number of six digits or null, the same for its mark, and the mark."""
_BLANK = "×"


def heatmap(chart: Heatmap, table: Table, room: int) -> drawing.Drawing:
    """Draw a cell for each pair of names, the first named at the top left.

    Where one side has more than `MOST_PLACES` names, or the cells do not fit the room, names are left out at even
    steps, the first and the last kept. Of several rows for one pair the last counts.

    Args:
        chart: What to draw.
        table: The table it names.
        room: Bytes that the cells may take.

    Returns:
        The drawing, with how many pairs have a number and how many of them it shows.
    """
    cells = {(row[chart.x], row[chart.y]): row[chart.value] for row in table.rows}
    every = drawing.places([row[chart.x] for row in table.rows]), drawing.places([row[chart.y] for row in table.rows])
    most = _as_many_as_fit(*every, room)
    across, down = ([list(names)[index] for index in drawing.evenly(len(names), most)] for names in every)
    values = [[_number(cells.get((x, y))) for x in across] for y in down]
    shown = sum(value is not None for line in values for value in line)
    numbers = [number for value in cells.values() if (number := _number(value)) is not None]
    along = [every[0][x] for x in across], [every[1][y] for y in down]
    names = [place.name for place in along[0]], [place.name for place in along[1]]
    units = drawing.units(table)
    figure = {
        "data": [
            _cells(chart, units[chart.value], *names, values, numbers),
            *([_blanks(chart, *names, values)] if shown < len(across) * len(down) else []),
        ],
        "layout": _layout(chart, *along),
    }
    return drawing.Drawing(
        figure=drawing.as_script(figure),
        shown=shown,
        total=len(numbers),
        words=_words(chart, units[chart.value], (len(across), len(down)), values, numbers),
        hint="Hover a cell for its names and its number; drag to zoom, double-click to go back.",
        notes=tuple(_notes((len(across), len(every[0])), (len(down), len(every[1])))),
    )


def _notes(across: tuple[int, int], down: tuple[int, int]) -> Iterator[str]:
    """What is left out, if anything: columns and rows, each drawn and in all."""
    if across[0] < across[1] or down[0] < down[1]:
        yield (
            f"{down[0]} of {down[1]} rows and {across[0]} of {across[1]} columns are drawn, at even steps; "
            "all are in the JSON."
        )


def _as_many_as_fit(across: dict[Cell, drawing.Place], down: dict[Cell, drawing.Place], room: int) -> int:
    """The longest side for which cells and names fit, all names as long as the longest."""
    longest = max((len(drawing.as_script(place.name)) + 1 for place in (*across.values(), *down.values())), default=0)

    def size(side: int) -> int:
        x, y = min(side, len(across)), min(side, len(down))
        # The names stand at the cells, at the marks of blank ones, at the axis and beside their short forms.
        return x * y * _CELL_BYTES + 5 * (x + y) * longest

    return next(side for side in range(MOST_PLACES, -1, -1) if side == 0 or size(side) <= room)


def _number(value: Cell) -> float | None:
    return drawing.number(value) if isinstance(value, int | float) else None


def _cells(
    chart: Heatmap,
    unit: str,
    across: Sequence[str],
    down: Sequence[str],
    values: Sequence[Sequence[float | None]],
    numbers: Sequence[float],
) -> dict[str, Any]:
    low, high = drawing.ends(numbers, chart.low, chart.high)
    titles = [drawing.letters(drawing.spoken(column)) for column in (chart.y, chart.x)]
    what = drawing.letters(drawing.titled(chart.value, unit))
    form = drawing.form(unit)
    return {
        "type": "heatmap",
        "x": across,
        "y": down,
        "z": values,
        "zmin": low,
        "zmax": high,
        "colorscale": drawing.COLOURS,
        "hoverongaps": False,
        # Without a gap plotly draws one pixel a cell and stretches it by a style attribute, which the policy refuses.
        "xgap": 1,
        "ygap": 1,
        "hovertemplate": f"{titles[0]}: %{{y}}<br>{titles[1]}: %{{x}}<br>{what}: %{{z:{form}}}<extra></extra>",
        "colorbar": drawing.colour_bar(chart.value, unit),
    }


def _blanks(
    chart: Heatmap, across: Sequence[str], down: Sequence[str], values: Sequence[Sequence[float | None]]
) -> dict[str, Any]:
    """A mark in each cell without a number, without a colour of its own."""
    titles = [drawing.letters(drawing.spoken(column)) for column in (chart.y, chart.x)]
    return {
        "type": "heatmap",
        "x": across,
        "y": down,
        "z": [[0 if value is None else None for value in line] for line in values],
        "colorscale": [[0, "rgba(0,0,0,0)"], [1, "rgba(0,0,0,0)"]],
        "showscale": False,
        "xgap": 1,
        "ygap": 1,
        "hoverongaps": False,
        "text": [[_BLANK if value is None else "" for value in line] for line in values],
        "texttemplate": "%{text}",
        "hovertemplate": f"{titles[0]}: %{{y}}<br>{titles[1]}: %{{x}}<br>no number<extra></extra>",
    }


def _layout(chart: Heatmap, across: Sequence[drawing.Place], down: Sequence[drawing.Place]) -> dict[str, Any]:
    y_axis = drawing.axis_of_places(chart.y, down)
    return drawing.layout(
        xaxis=drawing.axis_of_places(chart.x, across) | {"showgrid": False},
        yaxis=y_axis | {"showgrid": False, "range": y_axis["range"][::-1]},
        meta=drawing.shortened(across, down),
    )


def _words(
    chart: Heatmap,
    unit: str,
    sides: tuple[int, int],
    values: Sequence[Sequence[float | None]],
    numbers: Sequence[float],
) -> str:
    """The map in a sentence or two: its sides, its lowest and highest number, its blank cells."""
    what, x, y = (drawing.spoken(column) for column in (chart.value, chart.x, chart.y))
    told = f"Heat map of {sides[1]} rows and {sides[0]} columns: {what} by {y} and {x}"
    if numbers:
        told += f", from {wording.number(min(numbers), unit)} to {wording.number(max(numbers), unit)}"
    blank = sum(value is None for line in values for value in line)
    return f"{told}. {blank} of {sides[0] * sides[1]} cells are blank." if blank else f"{told}."
