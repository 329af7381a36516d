"""What a number is of."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from tlaudit.records import Direction


class Quantity(NamedTuple):
    """What a measurement is of: its unit, which way is better, and a sentence for the reader."""

    unit: str
    better: Direction
    meaning: str
