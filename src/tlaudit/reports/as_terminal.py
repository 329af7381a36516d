"""The terminal: the summary first, then the worst rows."""

from __future__ import annotations

from typing import TYPE_CHECKING

from rich.console import Group
from rich.table import Table as RichTable
from rich.text import Text

from tlaudit.reports import terminal, wording

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from rich.console import RenderableType

    from tlaudit.results import CheckResult

SUFFIX = ".txt"
_LONGEST_NAME = 32
_MOST_MEASUREMENTS = 50
"""Of more than these only the headline is shown: the tables below would scroll out of sight (our choice)."""


def render(result: CheckResult, rows: int) -> str:
    """Write the view as plain text, without colours, for a file or a pipe."""
    return terminal.plain(view(result, rows, terminal.PLAIN_WIDTH))


def facts(lines: Iterable[tuple[str, str]]) -> str:
    """Write names and values in two columns, as wide as the terminal or the pipe's reader allows."""
    table = RichTable(box=None, show_header=False, pad_edge=False, padding=(0, 2, 0, 0))
    table.add_column(no_wrap=True)
    table.add_column(overflow="fold")
    for name, value in lines:
        table.add_row(terminal.text(name), terminal.text(value))
    return terminal.plain(table)


def view(result: CheckResult, rows: int, width: int) -> RenderableType:
    """What a terminal shows: summary, measurements, worst rows, findings, what is missing, networks.

    Args:
        result: The record.
        rows: How many rows of each table at the most.
        width: Columns of the terminal; a wide one also shows what each measurement means.
    """
    return Group(
        terminal.text(f"tlaudit {result.check}", "bold"),
        terminal.text(result.summary),
        Text(),
        *_measurements(result, meanings=width >= terminal.WIDE),
        *_worst(result, rows),
        *_notes(result),
    )


def _measurements(result: CheckResult, *, meanings: bool) -> Iterator[RenderableType]:
    shown = result.measurements
    if len(shown) > _MOST_MEASUREMENTS and result.headline:
        shown = tuple(result[name] for name in result.headline)
    yield terminal.measurements(shown, meanings=meanings)
    if len(shown) < len(result.measurements):
        yield Text(f"{len(result.measurements) - len(shown)} more measurements are in the JSON.", style="dim")


def _worst(result: CheckResult, rows: int) -> Iterator[RenderableType]:
    for source in result.tables.values():
        head, body, title = wording.short_view(source, rows)
        if not body:
            continue
        table = terminal.grid()
        numeric = {column.name.replace("_", " ") for column in source.columns if column.unit != "text"}
        for name in head:
            if name in numeric:
                table.add_column(terminal.text(name), justify="right")
            else:
                table.add_column(terminal.text(name), max_width=_LONGEST_NAME, no_wrap=True)
        for row in body:
            table.add_row(*map(terminal.text, row))
        yield Text()
        yield terminal.text(title, "bold")
        yield table


def _notes(result: CheckResult) -> Iterator[RenderableType]:
    lines = list(terminal.findings(result.findings))
    lines += [terminal.text(line) for line in wording.absences(result)]
    lines += [terminal.text(line, "dim") for line in wording.left_out(result)]
    lines += [terminal.text(f"{role}: {line}", "dim") for role, line in wording.models(result)]
    if lines:
        yield Text()
    yield from lines
