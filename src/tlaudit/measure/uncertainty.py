"""How far a number could have come out differently: intervals for shares and for means."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from scipy import stats

from tlaudit.errors import DegenerateError, MeasureError, ShapeError

if TYPE_CHECKING:
    from numpy.typing import NDArray
    from torch import Tensor

MINIMUM_FOR_BOOTSTRAP = 5
"""Fewest values for a bootstrap interval (our choice): below, resampling knows next to nothing of the spread."""

_CELLS_AT_ONCE = 2_000_000  # 16 MB of float64: bounds the memory of the resamples, whatever N is


def share_interval(hits: int, n: int, confidence: float = 0.95) -> tuple[float, float]:
    """Interval of a share from independent yes/no trials.

    Wilson's score interval (Wilson 1927), which stays inside [0, 1] and has a width also at 0 and n hits.

    Args:
        hits: Number of trials that came out yes, in [0, n].
        n: Number of trials, at least 1.
        confidence: Coverage, in (0, 1).

    Returns:
        Lower and upper bound, each in [0, 1].

    Raises:
        DegenerateError: If there are no trials.
        MeasureError: If hits lie outside [0, n] or the confidence outside (0, 1).

    Example:
        >>> low, high = share_interval(9, 10)
        >>> round(low, 3), round(high, 3)
        (0.596, 0.982)
    """
    _check_confidence(confidence)
    if n < 1:
        raise DegenerateError("a share of no trials is not defined")
    if not 0 <= hits <= n:
        raise MeasureError(f"hits must lie between 0 and the number of trials ({n}), got {hits}")
    bounds = stats.binomtest(hits, n).proportion_ci(confidence_level=confidence, method="wilson")
    return float(bounds.low), float(bounds.high)


def bootstrap_mean_interval(
    values: Tensor, generator: np.random.Generator, *, resamples: int = 2000, confidence: float = 0.95
) -> tuple[float, float]:
    """Interval of a mean by resampling its values.

    Percentile bootstrap (Efron 1979): the mean of N values drawn with replacement, `resamples` times, and the central
    `confidence` share of those means.

    Args:
        values: Independent values, ``(N,)``, any unit, finite; N at least `MINIMUM_FOR_BOOTSTRAP`.
        generator: Source of randomness; the same state gives the same interval.
        resamples: How many times to resample, at least 100.
        confidence: Coverage, in (0, 1).

    Returns:
        Lower and upper bound, in the unit of the values, inside their range.

    Raises:
        ShapeError: If `values` is not a vector of enough values.
        MeasureError: If `resamples` or `confidence` is out of range.
        DegenerateError: If a value is NaN or infinite, or they are too large to be added up.

    Example:
        >>> import torch
        >>> low, high = bootstrap_mean_interval(torch.arange(100.0), np.random.default_rng(0))
        >>> 40 < low < 49.5 < high < 59
        True
    """
    _check_bootstrap(values, resamples, confidence)
    sample = _finite(values)
    if np.ptp(sample) == 0:  # every resample has the same mean; scipy would warn of a degenerate distribution
        return float(sample[0]), float(sample[0])
    with np.errstate(over="ignore"):  # of the standard error, which nobody asks for
        outcome = stats.bootstrap(
            (sample,),
            np.mean,
            n_resamples=resamples,
            batch=max(1, _CELLS_AT_ONCE // len(sample)),
            confidence_level=confidence,
            method="percentile",
            rng=generator,
        )
    # The mean of equal values may lie beside them by its rounding.
    low, high = np.clip(outcome.confidence_interval, sample.min(), sample.max())
    return float(low), float(high)


def bootstrap_ratio_interval(
    numerators: Tensor,
    denominators: Tensor,
    generator: np.random.Generator,
    *,
    resamples: int = 2000,
    confidence: float = 0.95,
) -> tuple[float, float]:
    """Interval of the ratio of two means by resampling pairs of values.

    Percentile bootstrap (Efron 1979) of ``mean(numerators) / mean(denominators)``, the pairs kept together.

    Args:
        numerators: Values, ``(N,)``, finite; N at least `MINIMUM_FOR_BOOTSTRAP`.
        denominators: The value above 0 that belongs to each, ``(N,)``.
        generator: Source of randomness; the same state gives the same interval.
        resamples: How many times to resample, at least 100.
        confidence: Coverage, in (0, 1).

    Returns:
        Lower and upper bound, a ratio.

    Raises:
        ShapeError: If the vectors differ in length or are too short.
        DegenerateError: If a denominator is not above 0, so that a resample could divide by 0; if a value is NaN or
            infinite, or they are too large to be added up or to be divided.
        MeasureError: If `resamples` or `confidence` is out of range.

    Example:
        >>> import torch
        >>> whole = torch.arange(1.0, 101.0)
        >>> low, high = bootstrap_ratio_interval(whole / 2, whole, np.random.default_rng(0))
        >>> round(low, 6), round(high, 6)
        (0.5, 0.5)
    """
    _check_bootstrap(numerators, resamples, confidence)
    if denominators.shape != numerators.shape:
        raise ShapeError(f"pairs are needed, got shapes {tuple(numerators.shape)} and {tuple(denominators.shape)}")
    pairs = np.stack([_finite(numerators), _finite(denominators)])
    if pairs[1].min() <= 0:
        raise DegenerateError("the ratio of two means needs denominators above 0")
    ratios = np.empty(resamples)
    count = pairs.shape[1]
    at_once = max(1, _CELLS_AT_ONCE // count)
    for start in range(0, resamples, at_once):
        drawn = generator.integers(0, count, (min(at_once, resamples - start), count))
        sums = pairs[:, drawn].sum(axis=2)
        with np.errstate(over="ignore"):
            ratios[start : start + len(drawn)] = sums[0] / sums[1]
    if not np.isfinite(ratios).all():
        raise DegenerateError("the ratio of these means is too large for a number")
    low, high = np.quantile(ratios, [(1 - confidence) / 2, (1 + confidence) / 2])
    return float(low), float(high)


def signed_rank_p(differences: Tensor) -> float:
    """How probable paired differences at least as lopsided as these are, if neither side were the larger one.

    Wilcoxon's signed-rank test (Wilcoxon 1945), two-sided; differences of exactly 0 are left out, as Wilcoxon did.

    Args:
        differences: One for each pair, ``(N,)``, any unit.

    Returns:
        p-value, in (0, 1].

    Raises:
        ShapeError: If `differences` is not a vector.
        DegenerateError: If no difference is other than 0, or one is NaN.

    Example:
        >>> import torch
        >>> round(signed_rank_p(torch.tensor([1.0, 2.0, 3.0, 4.0, 5.0, 6.0])), 5)
        0.03125
    """
    if differences.ndim != 1:
        raise ShapeError(f"a vector of differences is needed, got shape {tuple(differences.shape)}")
    sample = differences.double().cpu().numpy()
    broken = int(np.isnan(sample).sum())
    if broken:
        raise DegenerateError(f"{broken} of {len(sample)} differences are NaN")
    sample = sample[sample != 0]
    if len(sample) == 0:
        raise DegenerateError("all differences are 0: nothing to rank")
    return float(stats.wilcoxon(sample).pvalue)


def _check_bootstrap(values: Tensor, resamples: int, confidence: float) -> None:
    _check_confidence(confidence)
    if resamples < 100:
        raise MeasureError(f"a bootstrap interval needs at least 100 resamples, got {resamples}")
    if values.ndim != 1 or len(values) < MINIMUM_FOR_BOOTSTRAP:
        raise ShapeError(
            f"a bootstrap interval needs a vector of at least {MINIMUM_FOR_BOOTSTRAP} values, "
            f"got shape {tuple(values.shape)}"
        )


def _finite(values: Tensor) -> NDArray[np.float64]:
    """The values in float64 on the CPU, if any mean of them is a number."""
    sample: NDArray[np.float64] = values.double().cpu().numpy()
    broken = int((~np.isfinite(sample)).sum())
    if broken:
        raise DegenerateError(f"{broken} of {len(sample)} values are NaN or infinite")
    if float(np.abs(sample).max()) > np.finfo(np.float64).max / len(sample):
        raise DegenerateError("the values are too large to be added up")
    return sample


def _check_confidence(confidence: float) -> None:
    if not 0 < confidence < 1:
        raise MeasureError(f"confidence must lie strictly between 0 and 1, got {confidence}")
