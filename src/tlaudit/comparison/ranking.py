"""Who is best by a measurement, as far as that can be told."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from tlaudit.comparison.change import change, outcome

if TYPE_CHECKING:
    from tlaudit.comparison.board import Board


class Place(NamedTuple):
    """Where a candidate stands.

    Attributes:
        name: Of the candidate.
        rank: 1 for the best; equal values share one. None without a value.
        ranks: Lowest and highest rank that the intervals leave open, each pair taken for itself.
        apart: Whether each other candidate with a value is told apart from it, by name.
    """

    name: str
    rank: int | None
    ranks: tuple[int, int] | None
    apart: dict[str, bool]

    @property
    def alike(self) -> list[str]:
        """Those that it is not told apart from."""
        return [name for name, apart in self.apart.items() if not apart]


def rank(board: Board, metric: str) -> list[Place]:
    """Put the candidates in order, best first; those without a value last, as they were given.

    Two candidates are told apart where the interval of their difference leaves 0 out. No pair is corrected for the
    number of pairs.
    """
    sign, better = board.sign(metric), board.any(metric).better
    names = [one.name for one in board.audited]
    values = {name: value for name in names if (value := board.value(name, metric)) is not None}
    ordered = sorted(values, key=lambda name: -sign * values[name])
    places = []
    for name in ordered:
        told = {
            other: outcome(change(board.of(name, metric), board.of(other, metric)), better)
            for other in ordered
            if other != name
        }
        surely_better = sum(said == "worse" for said in told.values())
        surely_worse = sum(said == "better" for said in told.values())
        places.append(
            Place(
                name,
                1 + sum(sign * value > sign * values[name] for value in values.values()),
                (1 + surely_better, len(ordered) - surely_worse),
                {other: said in ("better", "worse") for other, said in told.items()},
            )
        )
    return places + [Place(name, None, None, {}) for name in names if name not in values]
