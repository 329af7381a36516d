"""Bootstrap intervals, beside scipy.stats.bootstrap as it is called by itself, and beside drawing and adding alone.

Both have to give the same interval from the same state of the generator where ours is scipy's in smaller blocks, and
nearly the same where ours draws in another order.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import torch
from scipy import stats

from tlaudit.measure.uncertainty import bootstrap_mean_interval, bootstrap_ratio_interval

from .rounds import take_turns

if TYPE_CHECKING:
    from collections.abc import Callable

    from .options import Options
    from .rows import Row

RESAMPLES = 2000
PEER, DRAW = "scipy.stats.bootstrap", "drawing and adding alone"
Interval = tuple[float, float]


def measure(options: Options) -> list[Row]:
    # As many as a source class has images, and as many as there are images in all.
    return [row for count in (50, options.size(5000, 500)) for row in _of(count, options)]


def _of(count: int, options: Options) -> list[Row]:
    rng = np.random.default_rng(0)
    whole = torch.from_numpy(rng.uniform(0.5, 1, count))
    part = whole * torch.from_numpy(rng.uniform(0, 1, count))
    ways: dict[str, tuple[Callable[[], Interval], Callable[[], Interval], float]] = {
        # 12 digits: the mean of a block may be added up in another order.
        "mean": (
            lambda: bootstrap_mean_interval(part, _rng(), resamples=RESAMPLES),
            lambda: _scipy(_mean, part),
            1e-12,
        ),
        "ratio of means": (
            lambda: bootstrap_ratio_interval(part, whole, _rng(), resamples=RESAMPLES),
            lambda: _scipy(_ratio, part, whole),
            0.02,
        ),
    }
    rows = []
    for what, (ours, theirs, tolerance) in ways.items():
        assert np.allclose(ours(), theirs(), rtol=0, atol=tolerance), f"{what}: {ours()}, scipy {theirs()}"
        rounds = take_turns(
            {"ours": ours, PEER: theirs, DRAW: lambda: _draw(part)},
            rounds=options.size(5, 2),
            warmup=1,
        )
        row = rounds.row("intervals", f"{what} of {count} values", "ours", unit="ms", peer=PEER, bound=DRAW)
        rows.append(row)
    return rows


def _rng() -> np.random.Generator:
    return np.random.default_rng(1)


def _mean(values: np.ndarray, axis: int) -> np.ndarray:
    return values.mean(axis=axis)


def _ratio(numerators: np.ndarray, denominators: np.ndarray, axis: int) -> np.ndarray:
    return numerators.mean(axis=axis) / denominators.mean(axis=axis)


def _scipy(statistic: Callable[..., np.ndarray], *samples: torch.Tensor) -> Interval:
    found = stats.bootstrap(
        tuple(sample.numpy() for sample in samples),
        statistic,
        n_resamples=RESAMPLES,
        method="percentile",
        paired=len(samples) > 1,
        rng=_rng(),
    ).confidence_interval
    return float(found.low), float(found.high)


def _draw(values: torch.Tensor) -> None:
    sample, generator = values.numpy(), _rng()
    for _ in range(RESAMPLES):
        sample[generator.integers(0, len(sample), len(sample))].mean()
