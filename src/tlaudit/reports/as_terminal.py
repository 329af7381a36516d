"""The terminal: the summary first, then the worst rows."""

from __future__ import annotations

import io
from typing import TYPE_CHECKING

from rich.console import Console, Group
from rich.table import Table as RichTable
from rich.text import Text

from tlaudit.reports import wording

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from rich.console import RenderableType

    from tlaudit.results import CheckResult

SUFFIX = ".txt"
_PLAIN_WIDTH = 140
_WIDE = 110
_LONGEST_NAME = 32
_MOST_MEASUREMENTS = 50
"""Of more than these only the headline is shown: the tables below would scroll out of sight (our choice)."""
_COLOUR = {"info": "cyan", "warning": "yellow", "error": "red"}


def render(result: CheckResult, rows: int) -> str:
    """Write the view as plain text, without colours, for a file or a pipe."""
    console = Console(file=io.StringIO(), width=_PLAIN_WIDTH, color_system=None)
    with console.capture() as capture:
        console.print(view(result, rows, _PLAIN_WIDTH))
    return "\n".join(line.rstrip() for line in capture.get().splitlines()) + "\n"


def facts(lines: Iterable[tuple[str, str]]) -> str:
    """Write names and values in two columns, as wide as the terminal or the pipe's reader allows."""
    console = Console(file=io.StringIO(), width=_PLAIN_WIDTH, color_system=None)
    table = RichTable(box=None, show_header=False, pad_edge=False, padding=(0, 2, 0, 0))
    table.add_column(no_wrap=True)
    table.add_column(overflow="fold")
    for name, value in lines:
        table.add_row(Text(name), Text(value))
    with console.capture() as capture:
        console.print(table)
    return "\n".join(line.rstrip() for line in capture.get().splitlines()) + "\n"


def view(result: CheckResult, rows: int, width: int) -> RenderableType:
    """What a terminal shows: summary, measurements, worst rows, findings, what is missing, networks.

    Args:
        result: The record.
        rows: How many rows of each table at the most.
        width: Columns of the terminal; a wide one also shows what each measurement means.
    """
    return Group(
        Text(f"tlaudit {result.check}", style="bold"),
        Text(result.summary),
        Text(),
        *_measurements(result, meanings=width >= _WIDE),
        *_worst(result, rows),
        *_notes(result),
    )


def _measurements(result: CheckResult, *, meanings: bool) -> Iterator[RenderableType]:
    shown = result.measurements
    if len(shown) > _MOST_MEASUREMENTS and result.headline:
        shown = tuple(result[name] for name in result.headline)
    table = RichTable(box=None, pad_edge=False, header_style="bold", padding=(0, 2, 0, 0))
    table.add_column("measurement", no_wrap=True)
    for name in ("value", "interval", "n"):
        table.add_column(name, justify="right", no_wrap=True)
    if meanings:
        table.add_column("meaning", style="dim", overflow="fold")
    for m in shown:
        if m.absent is None:
            cells = [m.name, wording.number(m.value, m.unit), wording.interval(m), str(m.n)]
        else:
            cells = [m.name, "absent", "–", "0"]
        table.add_row(*map(Text, cells), *([Text(m.meaning)] if meanings else []))
    yield table
    if len(shown) < len(result.measurements):
        yield Text(f"{len(result.measurements) - len(shown)} more measurements are in the JSON.", style="dim")


def _worst(result: CheckResult, rows: int) -> Iterator[RenderableType]:
    for source in result.tables.values():
        head, body, title = wording.short_view(source, rows)
        if not body:
            continue
        table = RichTable(box=None, pad_edge=False, header_style="bold", padding=(0, 2, 0, 0))
        numeric = {column.name.replace("_", " ") for column in source.columns if column.unit != "text"}
        for name in head:
            if name in numeric:
                table.add_column(name, justify="right")
            else:
                table.add_column(name, max_width=_LONGEST_NAME, no_wrap=True)
        for row in body:
            table.add_row(*(Text(cell) for cell in row))
        yield Text(f"\n{title}", style="bold")
        yield table


def _notes(result: CheckResult) -> Iterator[RenderableType]:
    lines = [Text.assemble((f"{f.severity}: ", _COLOUR[f.severity]), f.message) for f in result.findings]
    lines += [Text(line) for line in wording.absences(result)]
    lines += [Text(line, style="dim") for line in wording.left_out(result)]
    lines += [Text(f"{role}: {line}", style="dim") for role, line in wording.models(result)]
    if lines:
        yield Text()
    yield from lines
