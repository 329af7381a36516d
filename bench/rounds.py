"""Runs that take turns, so that a busy machine slows them alike, and what their times say of each other."""

from __future__ import annotations

import statistics
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING

from .rows import Comparison, Row

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping


@dataclass(frozen=True)
class Rounds:
    """Seconds of several runs, round by round.

    Attributes:
        seconds: By name of the run, one value a round.
        absent: Why other runs could not be made, by their names.
    """

    seconds: Mapping[str, list[float]]
    absent: Mapping[str, str]

    def row(
        self,
        measurement: str,
        what: str,
        ours: str,
        *,
        unit: str,
        work: float = 1,
        peer: str | None = None,
        bound: str | None = None,
        works: Mapping[str, float] | None = None,
    ) -> Row:
        """Make a line of the table.

        Args:
            measurement: Whose.
            what: What was done.
            ours: Name of our run.
            unit: A rate (``images/s``) or a time for one piece of work (``s``, ``ms``).
            work: Pieces of work in a run.
            peer: Name of the peer's run.
            bound: Name of the bound's run.
            works: Pieces of work in the runs in which there are others than in ours, by name.
        """
        works = works or {}

        def value(name: str) -> float:
            done = works.get(name, work)
            if unit.endswith("/s"):
                return statistics.median(done / taken for taken in self.seconds[name])
            return statistics.median(taken / done for taken in self.seconds[name]) * (1000 if unit == "ms" else 1)

        def compared(name: str) -> Comparison:
            if name in self.absent:
                return Comparison(name, absent=self.absent[name])
            more = work / works.get(name, work)
            pairs = zip(self.seconds[name], self.seconds[ours], strict=True)
            ratios = [more * theirs / own for theirs, own in pairs]
            return Comparison(name, value(name), statistics.median(ratios), min(ratios), max(ratios))

        return Row(
            measurement=measurement,
            what=what,
            unit=unit,
            ours=value(ours),
            peer=None if peer is None else compared(peer),
            bound=None if bound is None else compared(bound),
            rounds=len(self.seconds[ours]),
        )


def take_turns(
    runs: Mapping[str, Callable[[], object]],
    *,
    rounds: int,
    warmup: int = 1,
    device: str = "cpu",
    before: Callable[[int], object] | None = None,
    absent: Mapping[str, str | None] | None = None,
) -> Rounds:
    """Time runs one after the other, round by round, each round beginning with another one.

    Args:
        runs: By name; one that gives a float has timed itself, in seconds.
        rounds: That are timed.
        warmup: Rounds before that are not.
        device: Type of the device that has to be waited for.
        before: Called with the number of each round, outside the clock.
        absent: Why other runs cannot be made, by their names; None for those that can.
    """
    names = list(runs)
    seconds: dict[str, list[float]] = {name: [] for name in names}
    for number in range(warmup + rounds):
        if before is not None:
            before(number)
        turn = number % len(names)
        for name in names[turn:] + names[:turn]:
            started = time.perf_counter()
            given = runs[name]()
            _wait(device)
            taken = time.perf_counter() - started
            if number >= warmup:
                seconds[name].append(given if isinstance(given, float) else taken)
    return Rounds(seconds, {name: reason for name, reason in (absent or {}).items() if reason is not None})


def _wait(device: str) -> None:
    if device != "cpu":
        import torch

        torch.accelerator.synchronize()
