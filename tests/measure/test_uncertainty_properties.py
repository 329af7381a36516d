from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import norm

import reference
from measured import DTYPES, matrices, normal, seeds
from tlaudit.errors import DegenerateError, MeasureError
from tlaudit.measure.uncertainty import (
    bootstrap_mean_interval,
    bootstrap_ratio_interval,
    share_interval,
    signed_rank_p,
)

SOME = settings(max_examples=40)
confidences = st.floats(0.01, 0.9999)


def mean_interval(values, seed=0, **more):
    return bootstrap_mean_interval(values, np.random.default_rng(seed), **({"resamples": 200} | more))


@SOME
@given(st.integers(1, 10**12), st.floats(0, 1), confidences)
def test_a_share_lies_in_its_interval_which_is_that_of_wilson(n, share, confidence):
    hits = round(share * n)
    low, high = share_interval(hits, n, confidence)
    assert 0 <= low <= hits / n <= high <= 1
    expected = reference.wilson(hits, n, norm.ppf((1 + confidence) / 2))
    assert (low, high) == pytest.approx(expected, abs=1e-9)
    mirrored = share_interval(n - hits, n, confidence)
    assert mirrored == pytest.approx((1 - high, 1 - low), abs=1e-12)


@SOME
@given(st.integers(1, 10**6), st.integers(0, 20), confidences, confidences)
def test_the_interval_of_a_share_shrinks_with_n_and_widens_with_confidence(n, part, one, two):
    def width(times, confidence):
        low, high = share_interval(part * n * times, 20 * n * times, confidence)
        return high - low

    narrow, wide = sorted((one, two))
    assert width(4, one) <= width(1, one) + 1e-12
    assert width(1, narrow) <= width(1, wide) + 1e-12


@settings(max_examples=60)
@given(matrices(rows=(1, 5), columns=(5, 9)))
def test_the_interval_of_a_mean_lies_within_the_values_or_is_refused(features):
    values = features.flatten()
    if not values.isfinite().all():
        with pytest.raises(DegenerateError, match="values are NaN or infinite"):
            mean_interval(values)
        return
    low, high = mean_interval(values)
    assert float(values.min()) <= low <= high <= float(values.max())
    assert (low, high) == mean_interval(values)


def test_the_mean_of_equal_values_is_not_beside_them():
    # Three times 0.1 and more are no multiple of it in binary.
    values = torch.tensor([0.1] * 6 + [0.2], dtype=torch.float64)
    low, high = mean_interval(values, confidence=0.99)
    assert low == 0.1
    assert high <= 0.2


@SOME
@given(seeds, st.integers(5, 30), st.sampled_from(DTYPES), confidences)
def test_the_interval_of_a_mean_is_mirrored_moves_and_scales_with_the_values(seed, n, dtype, confidence):
    values = normal(seed, n, dtype=dtype).double()
    low, high = mean_interval(values, seed, confidence=confidence)
    assert mean_interval(-values, seed, confidence=confidence) == pytest.approx((-high, -low), rel=1e-9, abs=1e-12)
    assert mean_interval(values * 2.0**40, seed, confidence=confidence) == (low * 2.0**40, high * 2.0**40)
    moved = mean_interval(values + 5, seed, confidence=confidence)
    assert moved == pytest.approx((low + 5, high + 5), rel=1e-9)


@SOME
@given(seeds, st.integers(5, 12))
def test_the_interval_of_a_mean_shrinks_with_n(seed, n):
    values = normal(seed, n)
    low, high = mean_interval(values, seed, resamples=400)
    narrow = mean_interval(values.repeat(16), seed, resamples=400)
    assert narrow[1] - narrow[0] < 0.6 * (high - low)
    assert narrow[0] <= float(values.mean()) <= narrow[1]


@SOME
@given(seeds, st.integers(5, 20), st.floats(0.1, 10), st.sampled_from((1e-150, 1e-30, 1.0, 1e30, 1e150)))
def test_the_interval_of_a_ratio_scales_and_has_no_width_where_all_ratios_are_one(seed, n, ratio, scale):
    whole = normal(seed, n).abs() + 0.1

    def interval(numerators, denominators):
        return bootstrap_ratio_interval(numerators, denominators, np.random.default_rng(seed), resamples=100)

    assert interval(whole * ratio, whole) == pytest.approx((ratio, ratio), rel=1e-12)
    part = normal(seed + 1, n)
    low, high = interval(part, whole)
    assert float((part / whole).min()) - 1e-12 <= low <= high <= float((part / whole).max()) + 1e-12
    assert interval(part * scale, whole * scale) == pytest.approx((low, high), rel=1e-9, abs=1e-12)
    assert interval(-part, whole) == pytest.approx((-high, -low), rel=1e-9, abs=1e-12)


@settings(max_examples=60)
@given(matrices(rows=(1, 4), columns=(5, 9)), seeds, st.booleans())
def test_the_interval_of_a_ratio_is_a_number_or_refused(features, seed, below):
    one, two = features.flatten().double(), normal(seed, features.numel()).abs() + 0.1
    numerators, denominators = (two, one.abs()) if below else (one, two)
    try:
        low, high = bootstrap_ratio_interval(numerators, denominators, np.random.default_rng(seed), resamples=100)
    except MeasureError:
        return
    assert math.isfinite(low)
    assert math.isfinite(high)
    assert low <= high


def test_refuses_what_cannot_be_added_up_or_divided():
    huge = torch.full((6,), 1e308, dtype=torch.float64)
    huge[0] = 5e307
    with pytest.raises(DegenerateError, match="too large to be added up"):
        mean_interval(huge)
    tiny = torch.full((6,), 1e-310, dtype=torch.float64)
    with pytest.raises(DegenerateError, match="too large for a number"):
        bootstrap_ratio_interval(huge / 100, tiny, np.random.default_rng(0), resamples=100)


@settings(max_examples=60)
@given(
    st.lists(st.floats(allow_nan=False, allow_infinity=False, width=32), min_size=1, max_size=30),
    st.sampled_from((2.0, 1e-3)),
)
def test_lopsidedness_is_a_probability_and_blind_to_order_sign_and_scale(values, scale):
    differences = torch.tensor(values, dtype=torch.float64)
    if not any(values):
        with pytest.raises(DegenerateError, match="all differences are 0"):
            signed_rank_p(differences)
        return
    found = signed_rank_p(differences)
    assert 0 < found <= 1
    assert signed_rank_p(-differences) == pytest.approx(found, rel=1e-9)
    assert signed_rank_p(differences.flip(0)) == pytest.approx(found, rel=1e-9)
    assert signed_rank_p(torch.cat([differences, torch.zeros(2, dtype=torch.float64)])) == found
    doubled = signed_rank_p(differences * 2)
    assert doubled == pytest.approx(found, rel=1e-9)


def test_lopsidedness_of_what_is_no_number_is_refused():
    with pytest.raises(DegenerateError, match="1 of 3 differences are NaN"):
        signed_rank_p(torch.tensor([1.0, math.nan, 2.0]))
