"""The calibrated threshold against a search through all candidates."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch

from tlaudit.errors import DegenerateError, MeasureError, ShapeError
from tlaudit.measure.threshold import allowed_above, calibrated_threshold


def searched(scores: np.ndarray, alpha: float) -> float:
    """The smallest of all scores that few enough exceed; between two scores the count does not change."""
    return min(t for t in scores if np.count_nonzero(scores > t) <= alpha * len(scores) + 1e-9)


@pytest.mark.parametrize("n", [1, 2, 7, 100, 333])
@pytest.mark.parametrize("alpha", [0.001, 0.01, 0.05, 0.25, 0.5, 0.99])
@pytest.mark.parametrize("levels", [2, 10, 10**6])
def test_agrees_with_reference(n, alpha, levels):
    generator = np.random.default_rng([n, levels])
    scores = (generator.integers(0, levels, n) / levels).astype(np.float32)
    found = calibrated_threshold(torch.from_numpy(scores), alpha)
    assert found == searched(scores, alpha)
    above = np.count_nonzero(scores > found)
    assert above <= alpha * n + 1e-9
    below = scores[scores < found]
    if len(below):
        assert np.count_nonzero(scores > below.max()) > alpha * n - 1e-9


def test_is_blind_to_order_and_moves_with_a_rising_map():
    scores = torch.rand(50, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    found = calibrated_threshold(scores, 0.1)
    assert calibrated_threshold(scores.flip(0), 0.1) == found
    assert calibrated_threshold(scores.exp(), 0.1) == pytest.approx(math.exp(found))


def test_bounds():
    scores = torch.rand(40, generator=torch.Generator().manual_seed(1))
    thresholds = [calibrated_threshold(scores, alpha) for alpha in (0.001, 0.1, 0.3, 0.9, 0.999)]
    assert thresholds == sorted(thresholds, reverse=True)
    assert thresholds[0] == float(scores.max())
    assert thresholds[-1] >= float(scores.min())


def test_worked_example():
    scores = torch.tensor([0.9, 0.1, 0.7, 0.7, 0.7, 0.3, 0.2, 0.2, 0.1, 0.0])
    assert calibrated_threshold(scores, 0.1) == pytest.approx(0.7)  # one may lie above: 0.9 does
    assert calibrated_threshold(scores, 0.3) == pytest.approx(0.7)  # 3 allowed, but the ties would make it 4
    assert calibrated_threshold(scores, 0.4) == pytest.approx(0.3)
    assert calibrated_threshold(scores, 0.09) == pytest.approx(0.9)  # none may


@pytest.mark.parametrize(("alpha", "n", "allowed"), [(0.29, 100, 29), (0.1, 30, 3), (0.7, 10, 7), (1e-5, 10**5, 1)])
def test_shares_are_taken_as_written(alpha, n, allowed):
    assert allowed_above(alpha, n) == allowed


def test_refuses_what_is_no_share_or_no_vector():
    for alpha in (0.0, 1.0, -0.1, math.nan):
        with pytest.raises(MeasureError, match="strictly between 0 and 1"):
            calibrated_threshold(torch.rand(5), alpha)
    with pytest.raises(ShapeError, match=r"\(2, 2\)"):
        calibrated_threshold(torch.rand(2, 2), 0.1)


def test_degenerate_input():
    assert calibrated_threshold(torch.full((9,), 0.25), 0.5) == 0.25
    with pytest.raises(DegenerateError, match="no score"):
        calibrated_threshold(torch.empty(0), 0.1)
    with pytest.raises(DegenerateError, match="1 of 3 scores are NaN"):
        calibrated_threshold(torch.tensor([0.1, math.nan, 0.2]), 0.1)
