"""What a measurement tells: rows of one kind, for the table and for the JSON file."""

from __future__ import annotations

import importlib.util
from dataclasses import asdict, dataclass
from typing import Any, Self


@dataclass(frozen=True)
class Comparison:
    """Something else that did the same work, or less, in the same rounds.

    Attributes:
        name: What it is.
        value: In the unit of the row; None where it was not measured.
        ratio: How many times as fast (or as small) ours is: above 1, ours is better. Median over the rounds.
        low: Smallest ratio of a round.
        high: Largest.
        absent: Why there are no numbers.
    """

    name: str
    value: float | None = None
    ratio: float | None = None
    low: float | None = None
    high: float | None = None
    absent: str | None = None


@dataclass(frozen=True)
class Row:
    """One line of the table.

    Attributes:
        measurement: Name of the file that made it.
        what: What was done.
        unit: Of all values of the row.
        ours: This project, median over the rounds; None where it could not be measured.
        peer: Another program, or None where there is none to compare with.
        bound: What no program could do without, or None.
        rounds: How often each was timed.
        absent: Why there is nothing.
    """

    measurement: str
    what: str
    unit: str = ""
    ours: float | None = None
    peer: Comparison | None = None
    bound: Comparison | None = None
    rounds: int = 0
    absent: str | None = None

    def as_json(self) -> dict[str, Any]:
        return asdict(self)

    @classmethod
    def from_json(cls, found: dict[str, Any]) -> Self:
        others = {side: Comparison(**found[side]) for side in ("peer", "bound") if found[side] is not None}
        return cls(**{**found, **others})


def missing(package: str) -> str | None:
    """Why a peer cannot be measured; None where it is installed."""
    if importlib.util.find_spec(package) is None:
        return f"{package} is not installed (pip install 'tlaudit[bench]')"
    return None
