from __future__ import annotations

import numpy as np
import pytest
import torch

import reference
from tlaudit.errors import DegenerateError, MeasureError, ShapeError
from tlaudit.measure.uncertainty import bootstrap_mean_interval, share_interval, signed_rank_p

Z95 = 1.959963984540054


def rng(seed=0):
    return np.random.default_rng(seed)


@pytest.mark.parametrize(("hits", "n"), [(0, 1), (1, 1), (3, 10), (500, 1000), (0, 50), (50, 50)])
def test_agrees_with_reference(hits, n):
    assert share_interval(hits, n) == pytest.approx(reference.wilson(hits, n, Z95), abs=1e-9)


@pytest.mark.parametrize("n", [5, 40, 3000])
def test_bootstrap_agrees_with_a_naive_one(n):
    values = torch.rand(n, generator=torch.Generator().manual_seed(n)).double()
    low, high = bootstrap_mean_interval(values, rng(), resamples=4000)
    draws = rng(1).choice(values.numpy(), size=(4000, n)).mean(axis=1)
    spread = draws.std()
    assert low == pytest.approx(np.quantile(draws, 0.025), abs=0.2 * spread)
    assert high == pytest.approx(np.quantile(draws, 0.975), abs=0.2 * spread)


def test_is_blind_to_order_of_magnitude_and_moves_with_the_values():
    values = torch.rand(30, generator=torch.Generator().manual_seed(3))
    low, high = bootstrap_mean_interval(values, rng())
    assert bootstrap_mean_interval(values * 100 + 7, rng()) == pytest.approx((low * 100 + 7, high * 100 + 7))


def test_bounds():
    values = torch.rand(12)
    low, high = bootstrap_mean_interval(values, rng())
    assert values.min() <= low <= values.mean() <= high <= values.max()
    narrow = bootstrap_mean_interval(values, rng(), confidence=0.5)
    assert low < narrow[0] <= narrow[1] < high


def test_covers_the_truth_as_often_as_it_says():
    # 400 samples of 40 fair coins: an interval of 95 % misses the truth in 20 of them, give or take 3 spreads of 4.4.
    generator = torch.Generator().manual_seed(0)
    covered = 0
    for _ in range(400):
        hits = int(torch.randint(0, 2, (40,), generator=generator).sum())
        low, high = share_interval(hits, 40)
        covered += low <= 0.5 <= high
    assert 400 - 20 - 14 <= covered <= 400 - 20 + 14


def test_same_seed_same_interval():
    values = torch.rand(20)
    assert bootstrap_mean_interval(values, rng(5)) == bootstrap_mean_interval(values, rng(5))
    assert bootstrap_mean_interval(values, rng(5)) != bootstrap_mean_interval(values, rng(6))


def test_worked_example():
    # Wilson 1927 at 9 of 10 and 95 %.
    assert share_interval(9, 10) == pytest.approx((0.5958, 0.9821), abs=1e-4)


@pytest.mark.parametrize(("hits", "n", "error"), [(0, 0, DegenerateError), (3, 2, MeasureError), (-1, 2, MeasureError)])
def test_refuses_impossible_counts(hits, n, error):
    with pytest.raises(error, match="trials"):
        share_interval(hits, n)


def test_refuses_bad_input():
    with pytest.raises(ShapeError, match="at least 5 values"):
        bootstrap_mean_interval(torch.rand(4), rng())
    with pytest.raises(MeasureError, match="100 resamples"):
        bootstrap_mean_interval(torch.rand(9), rng(), resamples=10)
    with pytest.raises(MeasureError, match="confidence"):
        share_interval(1, 2, confidence=1.0)


def test_degenerate_input():
    assert bootstrap_mean_interval(torch.full((10,), 0.25), rng()) == (0.25, 0.25)


@pytest.mark.parametrize("n", [4, 7, 12])
def test_signed_rank_agrees_with_all_signs_written_out(n):
    differences = torch.randn(n, generator=torch.Generator().manual_seed(n)) + 0.3
    assert signed_rank_p(differences) == pytest.approx(reference.signed_rank_p(differences.tolist()))


def test_signed_rank_is_blind_to_scale_order_and_zeros():
    differences = torch.randn(40, generator=torch.Generator().manual_seed(1)).double() + 0.2
    expected = signed_rank_p(differences)
    assert signed_rank_p(-3 * differences.flip(0)) == pytest.approx(expected)
    assert signed_rank_p(torch.cat([differences, torch.zeros(5)])) == pytest.approx(expected)
    assert 0 < expected <= 1


def test_signed_rank_refuses_what_cannot_be_ranked():
    with pytest.raises(ShapeError, match="vector"):
        signed_rank_p(torch.zeros(2, 2))
    with pytest.raises(DegenerateError, match="nothing to rank"):
        signed_rank_p(torch.zeros(3))
