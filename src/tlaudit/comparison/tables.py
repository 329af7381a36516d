"""The tables of a comparison: candidates in order, their changes, the front, and the sizes of training sets."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tlaudit.comparison.change import change, outcome
from tlaudit.results import Column, Table

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from tlaudit.comparison.board import Board
    from tlaudit.comparison.front import Standing
    from tlaudit.comparison.ranking import Place
    from tlaudit.records import Cell

_CANDIDATE = Column(name="candidate", unit="text", meaning="Name of the candidate.")
_ARCHITECTURE = Column(name="architecture", unit="text", meaning="Of the audited network.")
_IMAGES = Column(name="target_images", unit="images", meaning="Images it was finetuned on.")
_ON_FRONT = Column(name="on_front", unit="text", meaning="yes if no candidate beats it on both axes, else no.")
_ABSENT = Column(name="absent", unit="text", meaning="Why cells of this row are empty.")
_ANY = "by row"


def ranking_table(
    board: Board, places: Sequence[Place], shown: tuple[str, ...], by: str, front: Mapping[str, Standing]
) -> Table:
    """One row a candidate, best first, with what is shown of each and its interval."""
    columns = (
        Column(name="rank", unit="rank", meaning=f"By {by}, 1 is best; equal values share a rank."),
        Column(name="ranks", unit="text", meaning="Ranks that the intervals leave open, each pair taken for itself."),
        _CANDIDATE,
        _ARCHITECTURE,
        _IMAGES,
        *_measured(board, shown),
        Column(
            name="not_told_apart_from",
            unit="text",
            meaning=f"Candidates whose difference in {by} has an interval that holds 0, or none.",
        ),
        _ON_FRONT,
        _ABSENT,
    )
    audited = {one.name: one for one in board.audited}
    rows = []
    for place in places:
        one = audited[place.name]
        reasons = board.absences(place.name, shown)
        reasons += ["target_images: no check looked at them"] if one.target_images is None else []
        rows.append(
            {
                "rank": place.rank,
                "ranks": _span(place.ranks),
                "candidate": place.name,
                "architecture": one.architecture,
                "target_images": one.target_images,
                **_cells(board, place.name, shown),
                "not_told_apart_from": ", ".join(place.alike) or None,
                "on_front": _said(front[place.name]),
                "absent": "; ".join(reasons) or None,
            }
        )
    best = [by, *(metric for metric in shown[:3] if metric != by)]
    brief = ("rank", "candidate", "architecture", "target_images", *best, "not_told_apart_from", "on_front")
    return Table(
        title=f"Ranking by {by}", columns=columns, rows=tuple(rows), worst=tuple(range(len(rows))), brief=brief
    )


def changes_table(board: Board, order: Sequence[str], reference: str, shown: Iterable[str], *, brief: bool) -> Table:
    """One row for each measurement and each candidate but the reference."""
    columns = (
        Column(name="measurement", unit="text", meaning="Its name."),
        _CANDIDATE,
        Column(name="unit", unit="text", meaning="Of the two values."),
        Column(name="better", unit="text", meaning="Whether lower, higher or neither is better."),
        Column(name="value", unit=_ANY, meaning="Of the candidate."),
        Column(name="reference", unit=_ANY, meaning=f"Of {reference}."),
        Column(name="change", unit="difference", meaning="The first less the second."),
        Column(name="low", unit="difference", meaning="Lower bound of the change, of both intervals by MOVER."),
        Column(name="high", unit="difference", meaning="Upper bound of the same."),
        Column(
            name="outcome",
            unit="text",
            meaning="better or worse (higher or lower where neither is); not told apart if the bounds enclose 0.",
        ),
        _ABSENT,
    )
    rows = [
        _change_row(board, metric, name, reference)
        for metric in shown
        for name in order
        if name != reference and (board.value(name, metric), board.value(reference, metric)) != (None, None)
    ]
    title = f"Changes against {reference}" if brief else f"Changes of the other measurements against {reference}"
    names = ("measurement", "candidate", "reference", "value", "change", "outcome")
    return Table(
        title=title, columns=columns, rows=tuple(rows), worst=tuple(range(len(rows))) if brief else (), brief=names
    )


def front_table(board: Board, order: Sequence[str], axes: tuple[str, str], front: Mapping[str, Standing]) -> Table:
    """One row a candidate: the two measurements of the front, and who beats it."""
    columns = (
        _CANDIDATE,
        _ARCHITECTURE,
        *_measured(board, axes),
        _ON_FRONT,
        Column(name="beaten_by", unit="text", meaning="Candidates at least as good in both and better in one."),
        _ABSENT,
    )
    architectures = {one.name: one.architecture for one in board.audited}
    rows = [
        {
            "candidate": name,
            "architecture": architectures[name],
            **_cells(board, name, axes),
            "on_front": _said(front[name]),
            "beaten_by": ", ".join(front[name].beaten_by) or None,
            "absent": "; ".join(board.absences(name, axes)) or None,
        }
        for name in order
    ]
    return Table(
        title=f"Pareto front of {axes[0]} and {axes[1]}",
        columns=columns,
        rows=tuple(rows),
        worst=tuple(range(len(rows))),
        brief=("candidate", *axes, "on_front", "beaten_by"),
    )


def sizes_table(board: Board, metrics: tuple[str, ...]) -> Table | None:
    """One row a candidate, by architecture and size of the training set; None where no architecture has two sizes.

    Where an architecture has several networks of one size, a line through them would say nothing, and there is none.
    """
    audited = [one for one in board.audited if one.target_images is not None]
    sizes: dict[str, list[int | None]] = {}
    for one in audited:
        sizes.setdefault(one.architecture, []).append(one.target_images)
    if all(len(of_one) < 2 for of_one in sizes.values()) or any(len(set(s)) < len(s) for s in sizes.values()):
        return None
    first = list(sizes)
    audited.sort(key=lambda one: (first.index(one.architecture), one.target_images or 0))
    rows = [
        {
            "architecture": one.architecture,
            "target_images": one.target_images,
            "candidate": one.name,
            **_cells(board, one.name, metrics),
            "absent": "; ".join(board.absences(one.name, metrics)) or None,
        }
        for one in audited
    ]
    return Table(
        title="Size of the training set",
        columns=(_ARCHITECTURE, _IMAGES, _CANDIDATE, *_measured(board, metrics), _ABSENT),
        rows=tuple(rows),
        brief=("architecture", "target_images", "candidate", *metrics),
    )


def _change_row(board: Board, metric: str, name: str, reference: str) -> dict[str, Cell]:
    what = board.any(metric)
    found = change(board.of(name, metric), board.of(reference, metric))
    return {
        "measurement": metric,
        "candidate": name,
        "unit": what.unit,
        "better": what.better,
        "value": board.value(name, metric),
        "reference": board.value(reference, metric),
        "change": found.value,
        "low": found.interval.low if found.interval else None,
        "high": found.interval.high if found.interval else None,
        "outcome": outcome(found, what.better),
        "absent": found.reason,
    }


def _measured(board: Board, metrics: Iterable[str]) -> list[Column]:
    """Three columns for each measurement: value, lower and upper bound."""
    columns = []
    for metric in metrics:
        what = board.any(metric)
        columns += [
            Column(name=metric, unit=what.unit, meaning=what.meaning),
            Column(name=f"{metric}.low", unit=what.unit, meaning=f"Lower bound of the interval of {metric}."),
            Column(name=f"{metric}.high", unit=what.unit, meaning=f"Upper bound of the interval of {metric}."),
        ]
    return columns


def _cells(board: Board, name: str, metrics: Iterable[str]) -> dict[str, Cell]:
    return {key: cell for metric in metrics for key, cell in board.cells(name, metric).items()}


def _span(ranks: tuple[int, int] | None) -> str | None:
    if ranks is None:
        return None
    return str(ranks[0]) if ranks[0] == ranks[1] else f"{ranks[0]}\u2013{ranks[1]}"


def _said(standing: Standing) -> str | None:
    return None if standing.on_front is None else "yes" if standing.on_front else "no"
