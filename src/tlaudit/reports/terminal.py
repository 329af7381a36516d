"""What all views of a terminal are made of: text in which nothing acts, tables without lines, and a plain print."""

from __future__ import annotations

import io
from typing import TYPE_CHECKING

from rich.console import Console
from rich.table import Table
from rich.text import Text

from tlaudit.reports import wording

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from rich.console import RenderableType

    from tlaudit.results import Finding, Measurement

PLAIN_WIDTH = 140
"""Columns of what goes to a file or a pipe."""
WIDE = 110
"""From so many columns on there is room for sentences beside numbers."""
COLOUR = {"info": "cyan", "warning": "yellow", "error": "red"}


def plain(view: RenderableType) -> str:
    """Print a view as plain text, without colours, for a file or a pipe."""
    console = Console(file=io.StringIO(), width=PLAIN_WIDTH, color_system=None)
    with console.capture() as capture:
        console.print(view)
    return "\n".join(line.rstrip() for line in capture.get().splitlines()) + "\n"


def text(words: str, style: str = "") -> Text:
    """Words that stay words: names of files and classes may hold markup and what moves the cursor."""
    return Text(wording.visible(words), style=style)


def grid() -> Table:
    """A table without lines, its columns apart by two spaces."""
    return Table(box=None, pad_edge=False, header_style="bold", padding=(0, 2, 0, 0))


def measurements(shown: Iterable[Measurement], *, meanings: bool) -> Table:
    """One row a measurement.

    Args:
        shown: The measurements.
        meanings: Whether there is room to say what each of them means.
    """
    table = grid()
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
        table.add_row(*map(text, cells), *([text(m.meaning)] if meanings else []))
    return table


def findings(found: Iterable[Finding]) -> Iterator[Text]:
    """One line a finding, its severity first."""
    for finding in found:
        yield Text.assemble((f"{finding.severity}: ", COLOUR[finding.severity]), text(finding.message))
