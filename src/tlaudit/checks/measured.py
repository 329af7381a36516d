"""Numbers with their uncertainty: how a check turns what it counted into measurements."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from tlaudit.measure.uncertainty import (
    MINIMUM_FOR_BOOTSTRAP,
    bootstrap_mean_interval,
    bootstrap_ratio_interval,
    share_interval,
)
from tlaudit.results import Interval, Measurement

if TYPE_CHECKING:
    from collections.abc import Mapping

    from torch import Tensor

    from tlaudit.metrics.base import Quantity


@dataclass(frozen=True)
class Recorder:
    """Makes measurements of a check's quantities, with intervals of one confidence, from one seed.

    The random numbers of an interval depend on the seed and the given stream alone, so that no interval changes
    because another was added or a class left out.

    Attributes:
        quantities: What each name stands for.
        seed: For every bootstrap.
        resamples: Of a bootstrap.
        confidence: Coverage of all intervals, in (0, 1).
    """

    quantities: Mapping[str, Quantity]
    seed: int
    resamples: int
    confidence: float

    def share(self, name: str, hits: int, n: int, *, if_none: str) -> Measurement:
        """A share of yes among n trials with Wilson's interval; absent with `if_none` where n is 0."""
        if n == 0:
            return self.absent(name, if_none)
        low, high = share_interval(hits, n, self.confidence)
        interval = Interval(low=low, high=high, confidence=self.confidence, method="Wilson score")
        return Measurement(name=name, **self._quantity(name), value=hits / n, n=n, interval=interval)

    def count(self, name: str, hits: int, n: int, *, if_none: str) -> Measurement:
        """The number of yes among n trials, with the interval of the share times n."""
        if n == 0:
            return self.absent(name, if_none)
        low, high = share_interval(hits, n, self.confidence)
        interval = Interval(low=low * n, high=high * n, confidence=self.confidence, method="Wilson score, times n")
        return Measurement(name=name, **self._quantity(name), value=hits, n=n, interval=interval)

    def mean(self, name: str, values: Tensor, *, if_none: str) -> Measurement:
        """The mean of independent values, ``(N,)``, with a bootstrap interval; absent where there are none."""
        if len(values) == 0:
            return self.absent(name, if_none)
        return self.stated(self.interval(values), name, float(values.double().mean()), len(values))

    def ratio(self, name: str, numerators: Tensor, denominators: Tensor, *, if_none: str) -> Measurement:
        """The ratio of two means of pairs, ``(N,)`` each, denominators above 0; absent where there are none."""
        n = len(numerators)
        if n == 0:
            return self.absent(name, if_none)
        value = float(numerators.double().mean() / denominators.double().mean())
        outcome: Interval | str = _too_few(n)
        if n >= MINIMUM_FOR_BOOTSTRAP:
            generator = np.random.default_rng(self.seed)
            low, high = bootstrap_ratio_interval(
                numerators, denominators, generator, resamples=self.resamples, confidence=self.confidence
            )
            outcome = Interval(low=low, high=high, confidence=self.confidence, method="paired percentile bootstrap")
        return self.stated(outcome, name, value, n)

    def stated(self, outcome: Interval | str, name: str, value: float, n: int) -> Measurement:
        """A number with its interval, or with the reason why there is none."""
        return Measurement(
            name=name,
            **self._quantity(name),
            value=value,
            n=n,
            interval=outcome if isinstance(outcome, Interval) else None,
            interval_absent=outcome if isinstance(outcome, str) else None,
        )

    def clustered(self, name: str, hits: Tensor, trials: Tensor, *, if_none: str) -> Measurement:
        """A share of yes among trials that come in groups, with an interval from resampling the groups.

        Trials of one group are alike, so that an interval over single trials would be too narrow.

        Args:
            name: Of the measurement.
            hits: Yes in each group, ``(N,)``.
            trials: Trials in each group, ``(N,)``; groups without any are left out.
            if_none: The reason for an absent value where no trial was made.
        """
        groups = trials > 0
        n = int(trials.sum())
        if n == 0:
            return self.absent(name, if_none)
        found = self.ratio(name, hits[groups], trials[groups], if_none=if_none)
        return found.model_copy(update={"value": int(hits.sum()) / n, "n": n})

    def exact(self, name: str, value: float, n: int, *, why: str) -> Measurement:
        """A number that is what it is, and `why` no interval goes with it."""
        return Measurement(name=name, **self._quantity(name), value=value, n=n, interval_absent=why)

    def absent(self, name: str, reason: str) -> Measurement:
        """A measurement that could not be made, with the reason."""
        return Measurement(name=name, **self._quantity(name), absent=reason, n=0)

    def interval(self, values: Tensor, stream: int = 0) -> Interval | str:
        """The bootstrap interval of the mean of values, ``(N,)``, or the reason why there is none.

        Args:
            values: Independent values.
            stream: Which of the seed's random streams to take: one for each row of a table.
        """
        if len(values) < MINIMUM_FOR_BOOTSTRAP:
            return _too_few(len(values))
        generator = np.random.default_rng([self.seed, stream])
        low, high = bootstrap_mean_interval(values, generator, resamples=self.resamples, confidence=self.confidence)
        return Interval(low=low, high=high, confidence=self.confidence, method="percentile bootstrap")

    def _quantity(self, name: str) -> dict[str, Any]:
        return self.quantities[name]._asdict()


def _too_few(n: int) -> str:
    return f"interval: {n} values, a bootstrap needs {MINIMUM_FOR_BOOTSTRAP}"
