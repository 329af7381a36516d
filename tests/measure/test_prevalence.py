from __future__ import annotations

import math

import pytest
import torch

import reference
from tlaudit.errors import MeasureError, ShapeError
from tlaudit.measure.prevalence import class_means, default_p_lo, default_v_lo, lingering, prevalence, source_only


@pytest.mark.parametrize(("n", "classes", "k"), [(1, 1, 1), (7, 5, 3), (40, 12, 12), (300, 100, 5)])
def test_agrees_with_reference(n, classes, k):
    scores = torch.randn(n, classes, generator=torch.Generator().manual_seed(n))
    assert prevalence(scores, k).tolist() == reference.prevalence(scores.tolist(), k)


@pytest.mark.parametrize("n", [1, 5, 200])
def test_class_means_agree_with_reference(n):
    generator = torch.Generator().manual_seed(n)
    values, labels = torch.rand(n, generator=generator), torch.randint(0, 7, (n,), generator=generator)
    means, counts = class_means(values, labels, 9)
    for index in range(9):
        expected = reference.class_mean(values.tolist(), labels.tolist(), index)
        assert means[index].item() == pytest.approx(expected, abs=1e-12, nan_ok=True)
        assert counts[index] == labels.tolist().count(index)


def test_is_blind_to_batching_and_to_softmax():
    scores = torch.randn(50, 20, generator=torch.Generator().manual_seed(0))
    whole = prevalence(scores, 5)
    assert torch.equal(whole, sum(prevalence(part, 5) for part in scores.split(7)))
    assert torch.equal(whole, prevalence(scores.double().softmax(1), 5))
    assert torch.equal(whole, prevalence(scores[torch.randperm(50)], 5))


def test_bounds():
    counts = prevalence(torch.randn(30, 10), 4)
    assert int(counts.sum()) == 30 * 4
    assert 0 <= int(counts.min()) <= int(counts.max()) <= 30
    assert prevalence(torch.empty(0, 4), 2).tolist() == [0, 0, 0, 0]


def test_worked_example():
    # Two photographs: one shows mug and spoon, one shows mug and cat.
    scores = torch.tensor([[0.6, 0.3, 0.1], [0.5, 0.1, 0.4]])
    counts = prevalence(scores, k=2)
    assert counts.tolist() == [2, 1, 1]
    absent = source_only(counts, v_lo=1)
    assert absent.tolist() == [False, True, True]
    assert lingering(absent, torch.tensor([0.9, 0.02, 0.01]), p_lo=0.01).tolist() == [False, True, False]


def test_default_thresholds():
    assert default_v_lo(1200) == 1
    assert default_v_lo(3000) == 3
    assert default_v_lo(999) == 0
    assert default_v_lo(50, fraction=1) == 50
    assert default_p_lo(1000) == 0.01


@pytest.mark.parametrize("k", [0, -1, 4])
def test_refuses_impossible_k(k):
    with pytest.raises(MeasureError, match="k must lie between 1 and the number of classes"):
        prevalence(torch.rand(2, 3), k)


def test_refuses_wrong_shapes():
    with pytest.raises(ShapeError, match="must be a matrix"):
        prevalence(torch.rand(3), 1)
    with pytest.raises(ShapeError, match="one label a value"):
        class_means(torch.rand(3), torch.zeros(2, dtype=torch.int64), 2)
    with pytest.raises(MeasureError, match="must lie in"):
        default_v_lo(10, fraction=1.5)


def test_class_without_images_is_untested():
    means, counts = class_means(torch.tensor([0.5]), torch.tensor([1]), 3)
    assert math.isnan(means[0])
    assert counts.tolist() == [0, 1, 0]
    assert not lingering(torch.tensor([True, True, True]), means, p_lo=0.1)[0]
