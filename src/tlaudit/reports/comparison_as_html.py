"""HTML of a comparison: the answer, the ranking, charts, then what changed and what was compared."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from tlaudit.reports.comparison_told import View, short_view
from tlaudit.reports.pages import MARGIN, MOST_BYTES, SUFFIX, write
from tlaudit.reports.sections import Grid, Plot, grids, plots

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tlaudit.comparisons import Comparison

__all__ = ["SUFFIX", "render"]

_MOST_CANDIDATES = 200
"""Rows of the ranking in front; the table below has more (our choice)."""


class Shown(NamedTuple):
    """What the page has room for."""

    charts: list[Plot]
    grids: dict[str, Grid]


def render(comparison: Comparison, rows: int) -> str:
    """Write the page of a comparison, below `pages.MOST_BYTES`.

    Args:
        comparison: Audits side by side.
        rows: How many rows of a table are visible at first; the ranking has a row for each candidate.

    Returns:
        The document, the same for the same record.
    """
    views = list(_views(comparison, rows))
    bare = _write(comparison, views, _shown(comparison, 0, 0))
    return _write(comparison, views, _shown(comparison, rows, MOST_BYTES - MARGIN - len(bare.encode())))


def _views(comparison: Comparison, rows: int) -> Iterator[View]:
    """Short views of the tables worth a look; that of the ranking is long enough for every candidate."""
    for key, table in comparison.tables.items():
        if table.worst:
            yield short_view(table, _MOST_CANDIDATES if key == "ranking" else max(rows, 1))


def _shown(comparison: Comparison, rows: int, room: int) -> Shown:
    """Draw and write what fits."""
    charts, room = plots(comparison.charts, comparison.tables, room)
    return Shown(charts, grids(comparison.tables, rows, room))


def _write(comparison: Comparison, views: list[View], shown: Shown) -> str:
    versions = (one.source.version for one in comparison.candidates)
    return write(
        "comparison.html",
        charts=bool(shown.charts),
        title=f"tlaudit compare: {len(comparison.candidates)} networks",
        comparison=comparison,
        shown=shown,
        views=views,
        places={key: f"t{number}" for number, key in enumerate(shown.grids)},
        version=next((version for version in versions if version), ""),
    )
