"""Who is beaten by nobody: the Pareto front of two measurements."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from tlaudit.comparison.board import Board


class Standing(NamedTuple):
    """Whether a candidate is on the front.

    Attributes:
        on_front: None where it lacks one of the two measurements: it is on no front and off none.
        beaten_by: Those that are at least as good in both and better in one.
    """

    on_front: bool | None
    beaten_by: list[str]


def pareto(board: Board, axes: tuple[str, str]) -> dict[str, Standing]:
    """Say of each candidate whether another beats it; values are taken as they are, whatever their intervals.

    Args:
        board: The numbers.
        axes: Names of the two measurements, each with a direction.

    Returns:
        By candidate. Equal candidates beat each other not: both are on the front, or neither.
    """
    signs = [board.sign(metric) for metric in axes]
    points: dict[str, list[float]] = {}
    for one in board.audited:
        values = [board.value(one.name, metric) for metric in axes]
        numbers = [sign * value for sign, value in zip(signs, values, strict=True) if value is not None]
        if len(numbers) == len(axes):
            points[one.name] = numbers
    found = {}
    for one in board.audited:
        if one.name not in points:
            found[one.name] = Standing(None, [])
            continue
        beaten_by = [name for name, point in points.items() if _beats(point, points[one.name])]
        found[one.name] = Standing(not beaten_by, beaten_by)
    return found


def _beats(one: list[float], other: list[float]) -> bool:
    """At least as good in both, and better in one."""
    return one != other and all(ours >= theirs for ours, theirs in zip(one, other, strict=True))
