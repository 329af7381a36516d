from __future__ import annotations

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

import reference
from measured import DTYPES, matrices, normal, orthogonal, seeds
from tlaudit.errors import DegenerateError
from tlaudit.measure.similarity import CkaAccumulator, gram, hsic1

SOME = settings(max_examples=25)


def cka(*pairs) -> float:
    both = CkaAccumulator(["a"], ["b"])
    for one, two in pairs:
        both.add({"a": gram(one)}, {"b": gram(two)})
    return both.cka("a", "b")


@SOME
@given(seeds, st.integers(4, 9), st.integers(2, 7), st.integers(1, 7), st.integers(1, 3), st.sampled_from(DTYPES))
def test_agrees_with_reference(seed, n, one, two, batches, dtype):
    sides = [
        [normal(seed + 2 * at + side, n, (one, two)[side], dtype=dtype) for side in (0, 1)] for at in range(batches)
    ]
    expected = reference.minibatch_cka([(first.double().tolist(), second.double().tolist()) for first, second in sides])
    assert cka(*sides) == pytest.approx(expected, abs=1e-4, rel=1e-4)


@SOME
@given(seeds, st.integers(5, 12), st.integers(2, 8), st.sampled_from((1e-30, 1.0, 1e30)), st.sampled_from((0.0, 1e3)))
def test_is_blind_to_rotation_scale_and_translation_and_symmetric(seed, n, size, scale, mean):
    first, second = normal(seed, n, size), normal(seed + 1, n, 3)
    value = cka((first, second))
    moved = first @ orthogonal(seed + 2, size) * scale + mean * scale
    assert cka((moved, second)) == pytest.approx(value, abs=1e-8)
    assert cka((second, first)) == pytest.approx(value, abs=1e-12)
    order = torch.randperm(n, generator=torch.Generator().manual_seed(seed))
    assert cka((first[order], second[order])) == pytest.approx(value, abs=1e-10)


@SOME
@given(seeds, st.permutations(range(4)))
def test_order_of_minibatches_matters_to_rounding_only(seed, order):
    pairs = [(normal(seed + at, 6, 4), normal(seed - at - 1, 6, 3)) for at in range(4)]
    whole = cka(*pairs)
    assert cka(*(pairs[at] for at in order)) == pytest.approx(whole, rel=1e-12, abs=1e-12)


@settings(max_examples=80)
@given(matrices(rows=(4, 12)))
def test_alike_with_itself_or_refused(features):
    try:
        value = cka((features, features))
    except DegenerateError:
        return
    assert value == pytest.approx(1.0, abs=1e-9)


@SOME
@given(seeds, st.integers(5, 12), st.integers(2, 12), st.sampled_from(DTYPES))
def test_ordinary_features_are_not_refused(seed, n, size, dtype):
    features = normal(seed, n, size, dtype=dtype)
    assert cka((features, features)) == pytest.approx(1.0, abs=1e-9)


@settings(max_examples=60)
@given(matrices(rows=(4, 10)), seeds)
def test_gives_a_number_of_sense_or_refuses(features, seed):
    other = normal(seed, len(features), 3)
    both = CkaAccumulator(["a"], ["b"])
    both.add({"a": gram(features)}, {"b": gram(other)})
    try:
        value = both.cka("a", "b")
    except DegenerateError:
        assert math.isnan(both.matrix().item())
    else:
        assert math.isfinite(value)
        assert abs(value) <= 1 + 1e-9
        assert both.matrix().item() == pytest.approx(value, rel=1e-12, abs=1e-15)


@SOME
@given(seeds, st.integers(4, 10))
def test_hsic_is_linear_and_symmetric(seed, n):
    k, l, m = (gram(normal(seed + at, n, 4)) for at in range(3))  # noqa: E741
    assert hsic1(k, l) == pytest.approx(hsic1(l, k), rel=1e-12, abs=1e-12)
    assert hsic1(k, 2 * l + m) == pytest.approx(2 * hsic1(k, l) + hsic1(k, m), rel=1e-9, abs=1e-9)
    assert hsic1(k, k) >= 0
