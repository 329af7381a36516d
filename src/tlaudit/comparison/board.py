"""The numbers of all candidates, by candidate and name."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from tlaudit.comparison.candidates import Audited
    from tlaudit.records import Cell
    from tlaudit.results import Interval, Measurement


@dataclass(frozen=True)
class Board:
    """Candidates, and what the compared checks measured of them.

    Attributes:
        audited: The candidates.
        checks: Names of the compared checks.
    """

    audited: tuple[Audited, ...]
    checks: tuple[str, ...]

    @cached_property
    def numbers(self) -> dict[str, dict[str, Measurement]]:
        """All measurements by candidate and name."""
        return {
            one.name: {m.name: m for check in self.checks for m in one.results[check].measurements}
            for one in self.audited
        }

    @property
    def names(self) -> tuple[str, ...]:
        """Of all measurements that any candidate has, in the order of the reports."""
        return tuple(dict.fromkeys(name for one in self.numbers.values() for name in one))

    @property
    def headline(self) -> tuple[str, ...]:
        """Names of those that the checks show first."""
        checks = [one.results[check] for check in self.checks for one in self.audited]
        return tuple(dict.fromkeys(name for result in checks for name in result.headline))

    def of(self, candidate: str, metric: str) -> Measurement | None:
        """A measurement of a candidate, or None if its report has none of that name."""
        return self.numbers[candidate].get(metric)

    def value(self, candidate: str, metric: str) -> float | None:
        """Its value, or None if it is absent."""
        found = self.of(candidate, metric)
        return None if found is None else found.value

    def any(self, metric: str) -> Measurement:
        """One candidate's, to tell what all are of; one with a value if there is any."""
        found = [m for one in self.audited if (m := self.of(one.name, metric)) is not None]
        return next((m for m in found if m.value is not None), found[0])

    def everywhere(self, metric: str) -> bool:
        """Whether all candidates have a value."""
        return all(self.value(one.name, metric) is not None for one in self.audited)

    def somewhere(self, metric: str) -> bool:
        """Whether any has."""
        return any(self.value(one.name, metric) is not None for one in self.audited)

    def reason(self, candidate: str, metric: str) -> str | None:
        """Why a candidate has no value, or None if it has one."""
        found = self.of(candidate, metric)
        return "its report has no such number" if found is None else found.absent

    def sign(self, metric: str) -> int:
        """1 where higher is better, -1 where lower is."""
        return 1 if self.any(metric).better == "higher" else -1

    def cells(self, candidate: str, metric: str) -> dict[str, Cell]:
        """Value and bounds as three cells of a row."""
        found = self.of(candidate, metric)
        interval: Interval | None = found.interval if found is not None else None
        return {
            metric: None if found is None else found.value,
            f"{metric}.low": interval.low if interval else None,
            f"{metric}.high": interval.high if interval else None,
        }

    def absences(self, candidate: str, metrics: tuple[str, ...]) -> list[str]:
        """Why cells of a row are empty; names that share a reason stand together."""
        reasons: dict[str, list[str]] = {}
        for metric in metrics:
            found = self.of(candidate, metric)
            reason = self.reason(candidate, metric)
            if reason is None and found is not None and found.interval_absent is not None:
                reason = f"no interval: {found.interval_absent}"
            if reason is not None:
                reasons.setdefault(reason, []).append(metric)
        return [f"{', '.join(names)}: {reason}" for reason, names in reasons.items()]
