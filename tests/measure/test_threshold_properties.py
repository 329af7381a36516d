from __future__ import annotations

import math
from fractions import Fraction

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from measured import DTYPES, normal, seeds
from tlaudit.errors import DegenerateError
from tlaudit.measure.threshold import allowed_above, calibrated_threshold

SOME = settings(max_examples=60)
shares = st.floats(1e-6, 1 - 1e-6)
numbers = st.floats(-1e300, 1e300)


@SOME
@given(st.lists(numbers, min_size=1, max_size=30), shares)
def test_agrees_with_trying_every_score(values, alpha):
    scores = torch.tensor(values, dtype=torch.float64)
    promise = Fraction(repr(alpha)) * len(values)
    fitting = [one for one in values if sum(other > one for other in values) <= promise]
    assert calibrated_threshold(scores, alpha) == min(fitting)


@SOME
@given(st.lists(numbers, min_size=1, max_size=30), shares, shares, seeds)
def test_falls_as_alpha_rises_and_is_blind_to_order(values, one, two, seed):
    scores = torch.tensor(values, dtype=torch.float64)
    low, high = sorted((one, two))
    assert calibrated_threshold(scores, low) >= calibrated_threshold(scores, high)
    order = torch.randperm(len(values), generator=torch.Generator().manual_seed(seed))
    assert calibrated_threshold(scores[order], low) == calibrated_threshold(scores, low)


@SOME
@given(seeds, st.integers(1, 40), shares, st.sampled_from(DTYPES))
def test_is_one_of_the_scores_and_keeps_the_promise(seed, n, alpha, dtype):
    scores = normal(seed, n, dtype=dtype)
    threshold = calibrated_threshold(scores, alpha)
    assert threshold in scores.double().tolist()
    assert int((scores.double() > threshold).sum()) <= allowed_above(alpha, n) <= alpha * n + 1e-9


@pytest.mark.parametrize("alpha", [0.05, 0.2, 0.5])
@pytest.mark.parametrize("n", [19, 40, 99])
def test_exchangeable_scores_are_above_it_as_often_as_is_promised(n, alpha):
    # Of n + 1 exchangeable scores the one left out lies above with probability at most (floor(alpha n) + 1) / (n + 1).
    above = 0
    for seed in range(400):
        scores = normal(seed, n + 1)
        above += float(scores[-1]) > calibrated_threshold(scores[:-1], alpha)
    most = (allowed_above(alpha, n) + 1) / (n + 1)
    assert above / 400 <= most + 3.5 * math.sqrt(most * (1 - most) / 400)
    assert above / 400 >= most - 3.5 * math.sqrt(most * (1 - most) / 400)


@SOME
@given(st.sampled_from((math.nan, math.inf, -math.inf)), st.integers(1, 9))
def test_refuses_scores_that_are_no_numbers(value, n):
    scores = normal(0, n)
    scores[-1] = value
    with pytest.raises(DegenerateError, match=f"1 of {n} scores are NaN or infinite"):
        calibrated_threshold(scores, 0.1)
