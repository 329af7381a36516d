"""Thresholds that keep a promise about how often they are exceeded."""

from __future__ import annotations

from fractions import Fraction
from typing import TYPE_CHECKING

from tlaudit.errors import DegenerateError, MeasureError, ShapeError

if TYPE_CHECKING:
    from torch import Tensor


def allowed_above(alpha: float, n: int) -> int:
    """How many of n scores may lie above a threshold of share alpha: ``floor(alpha n)``.

    Alpha is taken as it is written: 0.29 of 100 are 29, although the nearest binary number lies just below 0.29.

    Args:
        alpha: Share, in (0, 1).
        n: Number of scores, at least 0.

    Returns:
        Number of scores, less than n but for n = 0.

    Raises:
        MeasureError: If alpha lies outside (0, 1).

    Example:
        >>> allowed_above(0.29, 100), allowed_above(0.01, 99)
        (29, 0)
    """
    if not 0 < alpha < 1:
        raise MeasureError(f"alpha must lie strictly between 0 and 1, got {alpha}")
    return int(Fraction(repr(float(alpha))) * n)


def calibrated_threshold(scores: Tensor, alpha: float) -> float:
    """Smallest threshold that at most a share alpha of these scores exceeds.

    The ``floor(alpha n) + 1``-th largest score: a score counts when it is strictly above, so that scores tied with the
    threshold never do, and any smaller threshold would let too many through. With ``alpha n < 1`` it is the maximum.
    The promise is about the scores given; about others of the same kind it holds up to chance, which is why a false
    positive rate is measured on scores that had no part in it.

    Args:
        scores: One for each image, ``(N,)``, finite; N at least 1.
        alpha: Highest share of scores above the threshold, in (0, 1).

    Returns:
        The threshold, one of the scores.

    Raises:
        ShapeError: If `scores` is not a vector.
        DegenerateError: If there is no score, or one is NaN or infinite.
        MeasureError: If alpha lies outside (0, 1).

    Example:
        >>> import torch
        >>> calibrated_threshold(torch.tensor([0.5, 0.25, 0.75, 0.5]), 0.25)
        0.5
    """
    if scores.ndim != 1:
        raise ShapeError(f"expected one score for each image, (N,), got shape {tuple(scores.shape)}")
    if len(scores) == 0:
        raise DegenerateError("a threshold cannot be calibrated on no score")
    broken = int((~scores.isfinite()).sum())
    if broken:
        raise DegenerateError(f"{broken} of {len(scores)} scores are NaN or infinite")
    allowed = allowed_above(alpha, len(scores))
    return float(scores.sort(descending=True).values[allowed])
