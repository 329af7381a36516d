from __future__ import annotations

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

import reference
from measured import DTYPES, matrices, normal, seeds
from tlaudit.errors import DegenerateError, MeasureError
from tlaudit.measure.prevalence import class_means, default_v_lo, lingering, prevalence, source_only

SOME = settings(max_examples=30)


@SOME
@given(
    seeds, st.integers(1, 9), st.integers(1, 9), st.sampled_from(DTYPES), st.sampled_from((1e-4, 1.0, 1e3)), st.data()
)
def test_agrees_with_reference(seed, n, classes, dtype, scale, data):
    k = data.draw(st.integers(1, classes))
    # Each row a permutation: no ties, whatever the precision.
    order = torch.stack(
        [torch.randperm(classes, generator=torch.Generator().manual_seed(seed + row)) for row in range(n)]
    )
    scores = (order.double() * scale).to(dtype)
    assert prevalence(scores, k).tolist() == reference.prevalence(scores.tolist(), k)


@SOME
@given(seeds, st.integers(1, 12), st.integers(1, 9), st.data())
def test_is_blind_to_the_order_of_images_and_follows_that_of_classes(seed, n, classes, data):
    k = data.draw(st.integers(1, classes))
    scores = normal(seed, n, classes)
    images = torch.randperm(n, generator=torch.Generator().manual_seed(seed))
    names = torch.randperm(classes, generator=torch.Generator().manual_seed(seed + 1))
    counts = prevalence(scores, k)
    assert torch.equal(prevalence(scores[images], k), counts)
    assert torch.equal(prevalence(scores[:, names], k), counts[names])
    assert torch.equal(prevalence(3 * scores - 7, k), counts)


@settings(max_examples=60)
@given(matrices(rows=(1, 8), scales=(1.0, 1e-30, 1e160)), st.data())
def test_counts_lie_in_their_range_or_are_refused(scores, data):
    k = data.draw(st.integers(1, scores.shape[1]))
    if scores.isnan().any():
        with pytest.raises(DegenerateError, match="images hold NaN"):
            prevalence(scores, k)
        return
    counts = prevalence(scores, k)
    assert counts.dtype == torch.int64
    assert int(counts.sum()) == len(scores) * k
    assert 0 <= int(counts.min()) <= int(counts.max()) <= len(scores)


@SOME
@given(st.lists(st.tuples(st.floats(-1e6, 1e6), st.integers(0, 4)), max_size=20), st.integers(5, 8))
def test_class_means_agree_with_reference_and_lie_within_the_values(pairs, classes):
    values, labels = [value for value, _ in pairs], [label for _, label in pairs]
    means, counts = class_means(
        torch.tensor(values, dtype=torch.float64), torch.tensor(labels, dtype=torch.int64), classes
    )
    assert counts.tolist() == [labels.count(one) for one in range(classes)]
    for one in range(classes):
        expected = reference.class_mean(values, labels, one)
        assert float(means[one]) == pytest.approx(expected, rel=1e-9, abs=1e-6, nan_ok=True)
        assert math.isnan(float(means[one])) is (labels.count(one) == 0)


@SOME
@given(st.sampled_from((math.nan, math.inf, -math.inf)), st.integers(0, 5))
def test_a_mean_of_what_is_no_number_is_refused(value, place):
    values = torch.ones(6)
    values[place] = value
    with pytest.raises(DegenerateError, match="1 of 6 values are NaN or infinite"):
        class_means(values, torch.zeros(6, dtype=torch.int64), 2)


@pytest.mark.parametrize("label", [-1, 3, 2**40])
def test_a_label_of_no_class_is_refused(label):
    with pytest.raises(MeasureError, match=rf"between 0 and the number of classes \(3\), got .*{label}"):
        class_means(torch.ones(2), torch.tensor([0, label]), 3)


@SOME
@given(st.integers(0, 10**9), st.floats(0, 1), st.floats(0, 1))
def test_the_default_count_rises_with_images_and_share(images, one, two):
    low, high = sorted((one, two))
    assert 0 <= default_v_lo(images, low) <= default_v_lo(images, high) <= images + 1e-12 * images
    assert default_v_lo(images, low) <= default_v_lo(images + 1, low)


@SOME
@given(seeds, st.integers(1, 9), st.integers(0, 5), st.floats(0, 1), st.floats(0, 1))
def test_more_is_absent_as_the_count_rises_and_less_lingers_as_the_probability_does(seed, classes, v_lo, one, two):
    generator = torch.Generator().manual_seed(seed)
    counts = torch.randint(0, 6, (classes,), generator=generator)
    means = torch.rand(classes, generator=generator).double()
    means[0] = math.nan
    absent = source_only(counts, v_lo)
    assert bool((absent <= source_only(counts, v_lo + 1)).all())
    low, high = sorted((one, two))
    found = lingering(absent, means, high)
    assert bool((found <= lingering(absent, means, low)).all())
    assert bool((found <= absent).all())
    assert not found[0]
