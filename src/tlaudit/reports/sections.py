"""What an HTML page shows of one result, in the room it has: dots, then pictures, then rows.

What is written in words goes in first, and dots, pictures and rows share what is left; the page says how many of them
it shows.
"""

from __future__ import annotations

import itertools
from html import escape
from typing import TYPE_CHECKING, NamedTuple

from tlaudit.reports import figures, wording
from tlaudit.reports.pages import MARGIN, MOST_BYTES, size

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

    from tlaudit.exhibits import Chart, Exhibit
    from tlaudit.records import Cell
    from tlaudit.reports.drawing import Drawing
    from tlaudit.results import CheckResult, Table

MOST_ROWS = 2000
"""Rows of a table on a page; more of them make a browser slow (our choice)."""

_DOTS, _PICTURES = 0.2, 0.5
"""Shares of the room for dots, and of what they leave for pictures; tables take the rest."""
_PICTURE_BYTES = 400


class Plot(NamedTuple):
    """A chart of the page and its drawing."""

    about: Chart
    drawing: Drawing


class Gallery(NamedTuple):
    """Exhibits that stand together."""

    title: str
    exhibits: list[Exhibit]


class Grid(NamedTuple):
    """A table of the page: its rows as markup, those worth a look first, and how many of them are visible at first."""

    about: Table
    numeric: frozenset[str]
    rows: list[str]
    visible: int


class Section(NamedTuple):
    """What the page shows of one result."""

    result: CheckResult
    charts: list[Plot]
    galleries: list[Gallery]
    exhibits: int
    grids: dict[str, Grid]


def filled(results: Sequence[CheckResult], rows: int, write: Callable[[list[Section]], str]) -> str:
    """Write a page below `MOST_BYTES`: once with words alone, to see what room they leave, and once with the rest.

    Args:
        results: At least one.
        rows: How many rows of a table are visible at first.
        write: Makes the page of the sections.
    """
    bare = write([section(result, 0, 0) for result in results])
    room = (MOST_BYTES - MARGIN - len(bare.encode())) // len(results)
    return write([section(result, rows, room) for result in results])


def section(result: CheckResult, rows: int, room: int) -> Section:
    """Share the room: dots, then pictures, then rows; what one of them leaves is for the next."""
    charts, room = plots(result.charts, result.tables, room)
    exhibits = fitting(result.exhibits, int(_PICTURES * room))
    room -= sum(map(exhibit_size, exhibits))
    groups = dict.fromkeys(exhibit.group for exhibit in exhibits)
    galleries = [Gallery(title, [e for e in exhibits if e.group == title]) for title in groups]
    return Section(result, charts, galleries, len(exhibits), grids(result.tables, rows, room))


def plots(charts: Sequence[Chart], tables: Mapping[str, Table], room: int) -> tuple[list[Plot], int]:
    """Draw the charts in a share of the room, and say what room is left."""
    drawn = [
        Plot(chart, figures.draw(chart, tables[chart.table], int(_DOTS * room) // len(charts))) for chart in charts
    ]
    return drawn, room - sum(chart.drawing.size for chart in drawn)


def grids(tables: Mapping[str, Table], rows: int, room: int) -> dict[str, Grid]:
    """Write the rows of all tables; what one of them leaves is for the next."""
    written = {}
    for left, (key, table) in zip(range(len(tables), 0, -1), tables.items(), strict=True):
        written[key] = _grid(table, rows, room // left)
        room -= sum(len(row.encode()) for row in written[key].rows)
    return written


def fitting(exhibits: Sequence[Exhibit], room: int) -> list[Exhibit]:
    """The exhibits that fit; groups lose their last ones first, so that a control keeps its place."""
    turns = sorted(
        (turn, index)
        for group in dict.fromkeys(exhibit.group for exhibit in exhibits)
        for turn, index in enumerate(index for index, exhibit in enumerate(exhibits) if exhibit.group == group)
    )
    sizes = itertools.accumulate(exhibit_size(exhibits[index]) for _, index in turns)
    kept = [index for (_, index), total in zip(turns, sizes, strict=True) if total <= room]
    return [exhibits[index] for index in sorted(kept)]


def exhibit_size(exhibit: Exhibit) -> int:
    """Bytes that an exhibit takes, markup counted generously; its group's title may be its own."""
    texts = [exhibit.group, exhibit.reading, exhibit.title, exhibit.text]
    texts += [text for picture in exhibit.pictures for text in (picture.label, picture.caption, picture.alt)]
    pictures = sum(_PICTURE_BYTES + len(escape(picture.jpeg)) for picture in exhibit.pictures)
    return 2 * _PICTURE_BYTES + pictures + sum(map(size, texts))


def _grid(table: Table, rows: int, room: int) -> Grid:
    """The rows that fit, those worth a look first, then the others as they come."""
    worst = set(table.worst)
    order = itertools.chain(table.worst, (index for index in range(len(table.rows)) if index not in worst))
    header = next((column.name for column in table.columns if column.name in table.brief), None)
    kept = []
    for index in itertools.islice(order, MOST_ROWS):
        row = f"<tr>{''.join(_cells(table, table.rows[index], header))}</tr>"
        room -= len(row.encode()) + 1
        if room < 0:
            break
        kept.append(row)
    numeric = frozenset(
        column.name for column in table.columns if any(_is_number(row[column.name]) for row in table.rows)
    )
    return Grid(table, numeric, kept, rows)


def _cells(table: Table, row: dict[str, Cell], header: str | None) -> Iterator[str]:
    """A cell as people read it; the full value of a number is its title, by which it is sorted as well."""
    for column in table.columns:
        value = row[column.name]
        shown = wording.harmless(wording.number(value, column.unit))
        title = f' title="{value!r}"' if _is_number(value) and repr(value) != shown else ""
        kinds = ["n"] if _is_number(value) else []
        kinds += [] if column.name in table.brief else ["x"]
        marks = f' class="{" ".join(kinds)}"' if kinds else ""
        if value is None:
            yield f"<td{marks}></td>"
        elif column.name == header:
            yield f'<th scope="row"{marks}{title}>{escape(shown)}</th>'
        else:
            yield f"<td{marks}{title}>{escape(shown)}</td>"


def _is_number(value: Cell) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)
