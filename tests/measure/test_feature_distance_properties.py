from __future__ import annotations

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from measured import matrices, normal, orthogonal, seeds
from tlaudit.measure.feature_distance import EPSILON, REDUCTIONS, feature_distance

SOME = settings(max_examples=40)
reductions = st.sampled_from(REDUCTIONS)
MOST = {"channel": 4.0, "official": 4.0, "sum": math.inf}


def naive(target, source, reduction, axis=1) -> float:
    """Vector by vector, in float64."""
    if reduction == "sum":
        pairs = zip(target.double().tolist(), source.double().tolist(), strict=True)
        return math.fsum((a - b) ** 2 for one, two in pairs for a, b in zip(one, two, strict=True)) / len(target)
    total = []
    for one, two in zip(
        target.double().movedim(axis, -1).tolist(), source.double().movedim(axis, -1).tolist(), strict=True
    ):
        norms = [math.sqrt(math.fsum(a * a for a in side)) + EPSILON for side in (one, two)]
        total.append(math.fsum((a / norms[0] - b / norms[1]) ** 2 for a, b in zip(one, two, strict=True)))
    return math.fsum(total) / (len(target) if reduction == "channel" else target.numel())


@SOME
@given(
    seeds,
    st.integers(1, 5),
    st.integers(1, 6),
    reductions,
    st.sampled_from((torch.float16, torch.bfloat16, torch.float32, torch.float64)),
)
def test_agrees_with_reference(seed, n, size, reduction, dtype):
    one, two = (normal(seed + at, n, size, dtype=dtype) for at in range(2))
    assert float(feature_distance(one, two, reduction)) == pytest.approx(naive(one, two, reduction), rel=1e-4, abs=1e-6)


@SOME
@given(seeds, st.integers(1, 5), st.integers(2, 6), reductions)
def test_is_a_squared_metric(seed, n, size, reduction):
    one, two, three = (normal(seed + at, n, size) for at in range(3))

    def apart(a, b):
        return math.sqrt(float(feature_distance(a, b, reduction)))

    assert apart(one, one) == 0
    assert apart(one, two) > 0
    assert apart(one, two) == pytest.approx(apart(two, one), rel=1e-9)
    assert apart(one, three) <= apart(one, two) + apart(two, three) + 1e-9


@SOME
@given(seeds, st.integers(1, 5), st.integers(2, 6), reductions, st.sampled_from((1e-3, 7.0, 1e3)))
def test_is_blind_to_rotation_of_the_channels_and_without_sum_to_length(seed, n, size, reduction, scale):
    one, two = (normal(seed + at, n, size) for at in range(2))
    turn = orthogonal(seed + 2, size)
    whole = float(feature_distance(one, two, reduction))
    assert float(feature_distance(one @ turn, two @ turn, reduction)) == pytest.approx(whole, rel=1e-9)
    longer = float(feature_distance(one * scale, two * scale, reduction))
    assert longer == pytest.approx(whole * (scale**2 if reduction == "sum" else 1), rel=1e-6)
    order = torch.randperm(n, generator=torch.Generator().manual_seed(seed))
    assert float(feature_distance(one[order], two[order], reduction)) == pytest.approx(whole, rel=1e-12)
    assert float(feature_distance(one, two, reduction, weight=3.0)) == pytest.approx(3 * whole, rel=1e-12)


@settings(max_examples=100)
@given(matrices(rows=(1, 6), columns=(1, 8)), seeds, reductions, st.booleans())
def test_is_a_number_in_its_range_or_nan_as_documented(features, seed, reduction, turned):
    other = normal(seed, *features.shape, dtype=features.dtype)
    one, two = (other, features) if turned else (features, other)
    value = float(feature_distance(one, two, reduction))
    precision = torch.float64 if features.dtype == torch.float64 else torch.float32
    squares = features.to(precision).square().sum()
    if features.isfinite().all() and squares.isfinite():
        assert 0 <= value <= MOST[reduction] * (1 + 1e-5)
    else:
        assert math.isnan(value) or value >= 0
