"""How a comparison is put into words, the same in every format made for people."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from tlaudit.reports import wording

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator

    from tlaudit.comparisons import Comparison
    from tlaudit.records import Cell
    from tlaudit.results import Column, Table

_BOUNDS = ("low", "high")


class View(NamedTuple):
    """A short view of a table, in words.

    Attributes:
        title: With the number of rows that are shown.
        head: Names of the columns.
        numeric: Whether a column holds numbers.
        body: Rows of words.
    """

    title: str
    head: list[str]
    numeric: list[bool]
    body: list[list[str]]


def views(comparison: Comparison, rows: int) -> Iterator[View]:
    """The tables worth a look, each with `rows` rows at the most."""
    for table in comparison.tables.values():
        if table.worst and rows:
            yield short_view(table, rows)


def short_view(table: Table, rows: int) -> View:
    """The rows worth a look of a table; a number and its bounds share a column.

    Args:
        table: The table.
        rows: How many rows at the most.
    """
    columns = {column.name: column for column in table.columns}
    shown = [columns[name] for name in table.brief if not _bound_of(name, columns)]
    chosen = [table.rows[number] for number in table.worst[:rows]]
    body = [[_cell(row, column, columns) for column in shown] for row in chosen]
    counted = f" ({len(chosen)} of {len(table.worst)})" if len(chosen) < len(table.worst) else ""
    return View(
        title=f"{table.title}{counted}",
        head=[column.name.replace("_", " ") for column in shown],
        numeric=[column.unit != "text" for column in shown],
        body=body,
    )


def candidates(comparison: Comparison) -> Iterator[tuple[str, str]]:
    """One line a candidate: which report, which network."""
    for one in comparison.candidates:
        digest = f", sha256 {one.source.checkpoint[:12]}…" if one.source.checkpoint else ""
        made = ", ".join(one.source.checks)
        role = " (reference)" if one.name == comparison.reference else ""
        yield (
            f"{one.name}{role}",
            f"{one.architecture}; {one.source.network or 'not named'}{digest}; {one.source.path} ({made})",
        )


def _bound_of(name: str, columns: Collection[str]) -> str | None:
    """Whose bound a column is: ``x.low`` that of x, and ``low`` that of the change; None if it is none."""
    stem, _, last = name.rpartition(".")
    if last not in _BOUNDS:
        return None
    whole = stem or "change"
    return whole if whole in columns else None


def _cell(row: dict[str, Cell], column: Column, columns: Collection[str]) -> str:
    value = row[column.name]
    unit = _unit(row, column)
    text = wording.number(value, unit)
    names = [name for name in columns if _bound_of(name, columns) == column.name]
    ends = [row[name] for name in names]
    if len(ends) == len(_BOUNDS) and all(isinstance(end, int | float) for end in ends):
        low, high = (float(end) for end in ends if isinstance(end, int | float))
        return f"{text} ({wording.bounds(low, high, unit)})"
    return text


def _unit(row: dict[str, Cell], column: Column) -> str:
    """A column of numbers of many kinds has the unit in another cell of the row; classes are counted whole."""
    unit = row.get("unit")
    if isinstance(unit, str) and (column.unit == "by row" or (column.unit, unit) == ("difference", "classes")):
        return unit
    return column.unit
