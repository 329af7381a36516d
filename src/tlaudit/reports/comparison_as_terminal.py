"""The terminal: who is best, then the tables, then what else there is to know."""

from __future__ import annotations

from typing import TYPE_CHECKING

from rich.console import Group
from rich.text import Text

from tlaudit.reports import comparison_told, terminal

if TYPE_CHECKING:
    from collections.abc import Iterator

    from rich.console import RenderableType

    from tlaudit.comparisons import Comparison

SUFFIX = ".txt"
_LONGEST_NAME = 32


def render(comparison: Comparison, rows: int) -> str:
    """Write the view as plain text, without colours, for a file or a pipe."""
    return terminal.plain(view(comparison, rows, terminal.PLAIN_WIDTH))


def view(comparison: Comparison, rows: int, width: int) -> RenderableType:  # noqa: ARG001 - tables fold by themselves
    """What a terminal shows: summary, tables, findings, candidates.

    Args:
        comparison: The record.
        rows: How many rows of each table at the most.
        width: Columns of the terminal, which fold what is too wide.
    """
    return Group(
        Text("tlaudit compare", style="bold"),
        terminal.text(comparison.summary),
        *_tables(comparison, rows),
        Text(),
        *terminal.findings(comparison.findings),
        *(terminal.text(f"{name}: {line}", "dim") for name, line in comparison_told.candidates(comparison)),
    )


def _tables(comparison: Comparison, rows: int) -> Iterator[RenderableType]:
    for title, head, numeric, body in comparison_told.views(comparison, rows):
        table = terminal.grid()
        for name, is_number in zip(head, numeric, strict=True):
            if is_number:
                table.add_column(terminal.text(name), justify="right")
            else:
                table.add_column(terminal.text(name), max_width=_LONGEST_NAME, overflow="fold")
        for row in body:
            table.add_row(*map(terminal.text, row))
        yield Text()
        yield terminal.text(title, "bold")
        yield table
