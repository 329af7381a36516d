"""Rows of CSV that every reader gives back as they were.

Numbers stand at full precision and texts as they are, between quotes where they hold a comma, a quote or the end of a
line of any kind. Nothing is put in front of a text that begins with ``=``, ``+``, ``-`` or ``@``: a negative number
begins like that too, and a class that is called ``=1+1`` has to read back as that. A spreadsheet takes such a cell for
a formula when it opens the file; imported as text it stays text.
"""

from __future__ import annotations

import csv
import io
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable

    from tlaudit.records import Cell


def line(cells: Iterable[Cell]) -> str:
    r"""Write one row, its end included; an absent cell is empty.

    Example:
        >>> line(["=1+1", "a, b", None, -0.25, "c\rd"])
        '=1+1,"a, b",,-0.25,"c\rd"\n'
    """
    text = io.StringIO(newline="")
    # Python 3.11 quotes a return only where it is part of what ends a row.
    csv.writer(text, lineterminator="\r\n").writerow(cells)
    return text.getvalue().removesuffix("\r\n") + "\n"


def lines(head: Iterable[str], rows: Iterable[Iterable[Cell]]) -> str:
    """Write a table, the names of its columns first."""
    return "".join(map(line, (head, *rows)))
