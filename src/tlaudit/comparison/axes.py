"""Which measurements a comparison goes by."""

from __future__ import annotations

from fnmatch import fnmatchcase
from typing import TYPE_CHECKING

from tlaudit.errors import ReportError, UsageError
from tlaudit.metrics import known, nearest

if TYPE_CHECKING:
    from collections.abc import Sequence

    from tlaudit.comparison.board import Board
    from tlaudit.results import Measurement

ACCURACY = "target.accuracy"
PREFERRED = (
    "distraction.excess_over_baseline",
    "distraction.excess_over_null",
    "lingering.fraction",
    "erosion.cka.min",
)
"""What a ranking goes by where nobody says it: the first that all have (our choice)."""


def ranking_metric(board: Board, asked: str | None) -> str:
    """Settle what the ranking goes by.

    Args:
        board: The numbers.
        asked: Name of a measurement; None for the first of `PREFERRED` that all candidates have.

    Raises:
        UsageError: If there is no such measurement, or neither high nor low is better of it.
        ReportError: If no candidate has it, or, where none was asked for, not all have one of them.
    """
    if asked is not None:
        _refuse(board, asked, "--by")
        return asked
    for metric in PREFERRED:
        if board.everywhere(metric) and _directed(board, metric):
            return metric
    raise ReportError(
        f"not all candidates have {' or '.join(PREFERRED)}: expected one of them to rank by. Say another with --by"
    )


def front_axes(board: Board, by: str, asked: Sequence[str] | None) -> tuple[str, str]:
    """Settle which two measurements the Pareto front is of.

    Args:
        board: The numbers.
        by: What the ranking goes by.
        asked: Two names; None for the accuracy on the target task and `by`, or what stands in for it.

    Raises:
        UsageError: If there are not two, they are the same, there is no such measurement, or neither high nor low is
            better of one.
        ReportError: If no candidate has one of them, or there is no second one.
    """
    if asked is not None:
        if len(asked) != 2 or asked[0] == asked[1]:
            raise UsageError(f"--axes: expected two measurements, METRIC,METRIC, got {', '.join(asked) or 'none'}")
        for metric in asked:
            _refuse(board, metric, "--axes")
        return asked[0], asked[1]
    likely = (ACCURACY, "lingering.fraction", *PREFERRED, *board.headline, *board.names)
    others = [metric for metric in dict.fromkeys(likely) if metric != by and _directed(board, metric)]
    # The accuracy belongs there also if some lack it; what stands in for it should be known of all.
    if ACCURACY in others and board.somewhere(ACCURACY):
        return ACCURACY, by
    found = [metric for metric in others if board.everywhere(metric)] or [m for m in others if board.somewhere(m)]
    if not found:
        raise ReportError(f"there is no measurement beside {by} that a Pareto front could be of")
    return found[0], by


def _refuse(board: Board, metric: str, option: str) -> None:
    """Raise where candidates cannot be ordered by a measurement."""
    if metric not in board.names:
        unused = [one for one in board.audited for result in one.results.values() if _has(result.measurements, metric)]
        if unused:
            raise ReportError(f"{metric}: not all candidates have the check that measures it; see {unused[0].name}")
        if "*" in metric:
            raise UsageError(f"{option}: expected the name of one measurement, got a pattern{_fitting(board, metric)}")
        if known(metric):
            raise ReportError(f"{metric}: no check that measures it was made of all candidates")
        near = nearest(metric, board.names)
        hint = f"; did you mean {near!r}?" if near else ""
        raise UsageError(f"{option}: there is no measurement {metric!r}{hint}")
    if not _directed(board, metric):
        raise UsageError(f"{option}: neither high nor low is better of {metric}, so that nobody can be best by it")
    if not board.somewhere(metric):
        reasons = "; ".join(f"{one.name}: {board.reason(one.name, metric)}" for one in board.audited)
        raise ReportError(f"{metric}: no candidate has it ({reasons})")


def _fitting(board: Board, pattern: str, most: int = 10) -> str:
    """The measurements that a pattern fits, to choose one of."""
    names = [name for name in board.names if fnmatchcase(name, pattern)]
    if not names:
        return f", which fits no measurement of these reports: {pattern}"
    more = f" and {len(names) - most} more" if len(names) > most else ""
    return f": {pattern} fits {', '.join(names[:most])}{more}"


def _has(measurements: Sequence[Measurement], metric: str) -> bool:
    return any(one.name == metric for one in measurements)


def _directed(board: Board, metric: str) -> bool:
    return metric in board.names and board.any(metric).better != "neither"
