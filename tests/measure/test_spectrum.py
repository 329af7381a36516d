from __future__ import annotations

import math
import pickle

import numpy as np
import pytest
import torch

import reference
from tlaudit.errors import DegenerateError, MeasureError, ShapeError
from tlaudit.measure.spectrum import (
    CovarianceSpectrum,
    GramSpectrum,
    effective_rank,
    numerical_rank,
    participation_ratio,
)

SPECTRA = [CovarianceSpectrum, GramSpectrum]
SHAPES = [(2, 1), (2, 5), (12, 4), (7, 7), (6, 20), (90, 12)]


def normal(*shape: int, seed: int = 0, dtype: torch.dtype = torch.float64) -> torch.Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed), dtype=dtype)


def spectrum(kind, features, size=None):
    found = kind()
    for rows in features.split(size or len(features)):
        found.add(rows)
    return found


def planted(n: int, dimensions: int, rank: int, noise: float = 0.0) -> torch.Tensor:
    """Rows in a subspace of so many directions of equal variance, off the origin."""
    return (
        normal(n, rank) @ torch.linalg.qr(normal(dimensions, rank, seed=1)).Q.T
        + noise * normal(n, dimensions, seed=2)
        + normal(dimensions, seed=3)
    )


@pytest.mark.parametrize("kind", SPECTRA)
@pytest.mark.parametrize(("n", "dimensions"), SHAPES)
def test_agrees_with_reference(kind, n, dimensions):
    features = normal(n, dimensions) * torch.linspace(0.5, 4, dimensions) + 3
    found = spectrum(kind, features)
    expected = np.linalg.eigvalsh(np.array(reference.covariance(features.tolist())))[::-1]
    assert (found.count, found.dimensions) == (n, dimensions)
    values = found.eigenvalues()
    assert values.dtype == torch.float64
    assert len(values) == (dimensions if kind is CovarianceSpectrum else min(n - 1, dimensions))
    assert values.numpy() == pytest.approx(expected[: len(values)], abs=1e-9)
    assert bool((values.diff() <= 0).all())
    assert bool((values >= 0).all())
    assert int((values > 0).sum()) <= min(n - 1, dimensions)


@pytest.mark.parametrize("dimensions", [1, 3, 40])
def test_ranks_agree_with_reference(dimensions):
    values = normal(dimensions).square() * torch.logspace(0, -7, dimensions, dtype=torch.float64)
    assert numerical_rank(values) == sum(v > 1e-3 * max(values.tolist()) for v in values.tolist())
    assert effective_rank(values) == pytest.approx(reference.effective_rank(values.tolist()), rel=1e-12)
    expected = math.fsum(values.tolist()) ** 2 / math.fsum(v * v for v in values.tolist())
    assert participation_ratio(values) == pytest.approx(expected, rel=1e-12)


@pytest.mark.parametrize("kind", SPECTRA)
@pytest.mark.parametrize("size", [1, 4, 13, 50])
def test_batches_agree_with_the_whole(kind, size):
    features = normal(50, 8) + torch.arange(50)[:, None] / 10  # batches differ in their means
    whole = spectrum(kind, features).eigenvalues()
    assert spectrum(kind, features, size).eigenvalues().numpy() == pytest.approx(whole.numpy(), rel=1e-12)


@pytest.mark.parametrize("kind", SPECTRA)
@pytest.mark.parametrize("order", [(0, 1, 2), (2, 0, 1), (1, 2, 0)])
def test_merges_in_any_order(kind, order):
    features = normal(50, 8) * 3 + torch.arange(50)[:, None]
    parts = [spectrum(kind, rows, 7) for rows in (features[:20], features[20:21], features[21:])]
    merged = kind()
    merged.merge(kind())
    for number in order:
        merged.merge(pickle.loads(pickle.dumps(parts[number])))
        merged.merge(kind())
    assert (merged.count, merged.dimensions) == (50, 8)
    expected = spectrum(kind, features).eigenvalues()
    assert merged.eigenvalues().numpy() == pytest.approx(expected.numpy(), rel=1e-11)
    assert parts[0].count == 20


def test_gram_in_blocks_of_columns(monkeypatch):
    features = normal(9, 200)
    expected = spectrum(GramSpectrum, features).eigenvalues()
    monkeypatch.setattr("tlaudit.measure.spectrum._CELLS_AT_ONCE", 9 * 7)
    assert spectrum(GramSpectrum, features).eigenvalues().numpy() == pytest.approx(expected.numpy(), rel=1e-12)


@pytest.mark.parametrize(("n", "dimensions"), [(30, 8), (30, 100), (12, 12)])
@pytest.mark.parametrize("common", [0.0, 1000.0])
def test_both_ways_agree_also_with_a_large_common_mean(n, dimensions, common):
    features = (normal(n, dimensions) * torch.linspace(0.1, 2, dimensions) + common).float()
    one = spectrum(CovarianceSpectrum, features, 7).eigenvalues()
    two = spectrum(GramSpectrum, features, 7).eigenvalues()
    exact = features.double() - features.double().mean(0)
    expected = torch.linalg.svdvals(exact).square() / (n - 1)
    count = min(n - 1, dimensions)
    assert one[:count].numpy() == pytest.approx(expected[:count].numpy(), rel=1e-9)
    assert two.numpy() == pytest.approx(expected[:count].numpy(), rel=1e-9)
    assert one[count:].eq(0).all()
    for measure in (numerical_rank, effective_rank, participation_ratio):
        assert measure(one) == pytest.approx(measure(two), rel=1e-9)


def test_an_outlying_first_row_costs_no_digits():
    features = normal(40, 6)
    features[0] = 1e7
    expected = torch.linalg.svdvals(features - features.mean(0)).square() / 39
    for kind in SPECTRA:
        assert float(spectrum(kind, features, 5).eigenvalues()[1]) == pytest.approx(float(expected[1]), rel=1e-3)


@pytest.mark.parametrize("kind", SPECTRA)
@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32])
def test_every_precision_is_computed_in_float64(kind, dtype):
    features = (normal(30, 9) + 4).to(dtype)
    expected = spectrum(kind, features.double()).eigenvalues()
    with torch.autocast("cpu", dtype=torch.bfloat16), torch.inference_mode():
        found = spectrum(kind, features[:20], 6)
    found.add(features[20:])  # once more outside, where what was made inside may not be written to
    assert found.eigenvalues().numpy() == pytest.approx(expected.numpy(), rel=1e-10)


@pytest.mark.parametrize("kind", SPECTRA)
def test_rows_are_taken_in_as_they_are_now(kind):
    features = normal(10, 4, dtype=torch.float32).requires_grad_()
    before = features.detach().clone()
    found = spectrum(kind, features)
    expected = found.eigenvalues()
    assert torch.equal(features.detach(), before)
    with torch.no_grad():
        features.mul_(10)
    assert torch.equal(found.eigenvalues(), expected)
    assert not expected.requires_grad


@pytest.mark.parametrize("kind", SPECTRA)
def test_is_blind_to_rotation_translation_and_order(kind):
    features = normal(20, 6) * torch.linspace(0.2, 3, 6)
    expected = spectrum(kind, features).eigenvalues().numpy()
    turned = features @ torch.linalg.qr(normal(6, 6, seed=5)).Q
    order = torch.randperm(20, generator=torch.Generator().manual_seed(1))
    assert spectrum(kind, turned).eigenvalues().numpy() == pytest.approx(expected, rel=1e-10)
    assert spectrum(kind, features[order], 3).eigenvalues().numpy() == pytest.approx(expected, rel=1e-10)
    assert spectrum(kind, features + normal(6, seed=8) * 5).eigenvalues().numpy() == pytest.approx(expected, rel=1e-10)
    assert spectrum(kind, features * 3).eigenvalues().numpy() == pytest.approx(9 * expected, rel=1e-10)


@pytest.mark.parametrize("measure", [numerical_rank, effective_rank, participation_ratio])
def test_ranks_are_blind_to_scale_and_order(measure):
    values = normal(12).square() + 1e-4
    expected = measure(values)
    assert measure(values * 1e-90) == pytest.approx(expected, rel=1e-10)
    assert measure(values * 1e200) == pytest.approx(expected, rel=1e-10)
    assert measure(values.sort().values) == pytest.approx(expected, rel=1e-10)


@pytest.mark.parametrize("kind", SPECTRA)
@pytest.mark.parametrize("noise", [0.0, 1e-3])
@pytest.mark.parametrize(("n", "dimensions"), [(300, 40), (120, 400)])
@pytest.mark.parametrize("rank", [1, 3, 17])
def test_planted_rank_is_found(kind, noise, n, dimensions, rank):
    values = spectrum(kind, planted(n, dimensions, rank, noise), 50).eigenvalues()
    assert numerical_rank(values) == rank
    assert participation_ratio(values) == pytest.approx(rank, rel=0.15)
    if not noise:
        assert effective_rank(values) == pytest.approx(rank, rel=0.1)


def test_threshold_is_on_eigenvalues():
    # Singular values 1/i: all 512 lie above a thousandth; of their squares those up to i = 31, as 31^2 = 961.
    singular = 1 / torch.arange(1, 513, dtype=torch.float64)
    assert numerical_rank(singular.square()) == 31
    assert numerical_rank(singular) == 512
    assert numerical_rank(singular.square(), threshold=0.02) == 7  # 7^2 = 49
    assert numerical_rank(singular.square(), threshold=0) == 512


def test_bounds():
    alike = torch.full((7,), 0.3)
    one = torch.tensor([0.0, 5.0, 0.0])
    for measure in (numerical_rank, effective_rank, participation_ratio):
        assert measure(alike) == pytest.approx(7)
        assert measure(one) == 1


def test_worked_example():
    # Four points on a cross of half-widths 1 and 2: variances 2/3 and 8/3, nothing along the third axis.
    features = torch.tensor([[1.0, 0, 9], [-1, 0, 9], [0, 2, 9], [0, -2, 9]])
    assert spectrum(CovarianceSpectrum, features, 2).eigenvalues().tolist() == pytest.approx([8 / 3, 2 / 3, 0])
    values = spectrum(GramSpectrum, features, 2).eigenvalues()
    assert values.tolist() == pytest.approx([8 / 3, 2 / 3, 0], abs=1e-12)
    # Singular values in shares 2/3 and 1/3: exp of their entropy is 3 / 2^(2/3). (10/3)^2 / (68/9) = 25/17.
    assert numerical_rank(values) == 2
    assert effective_rank(values) == pytest.approx(3 / 2 ** (2 / 3))
    assert participation_ratio(values) == pytest.approx(25 / 17)


@pytest.mark.parametrize("kind", SPECTRA)
def test_refuses_bad_rows(kind):
    found = kind()
    for bad in (torch.rand(4), torch.rand(4, 2, 2), torch.rand(0, 3), torch.ones(3, 3, dtype=torch.int64)):
        with pytest.raises(ShapeError, match=r"rows of features \(images, dimensions\) of a floating type"):
            found.add(bad)
    assert (found.count, found.dimensions) == (0, 0)
    found.add(torch.rand(4, 3))
    with pytest.raises(ShapeError, match="rows of 3 features, as before, got rows of 2"):
        found.add(torch.rand(4, 2))
    with pytest.raises(ShapeError, match="rows of 3 features, as before, got rows of 2"):
        found.merge(spectrum(kind, torch.rand(4, 2)))
    assert (found.count, found.dimensions) == (4, 3)


@pytest.mark.parametrize("measure", [numerical_rank, effective_rank, participation_ratio])
def test_refuses_bad_eigenvalues(measure):
    for bad in (torch.rand(2, 2), torch.rand(0), torch.tensor(1.0)):
        with pytest.raises(ShapeError, match="a vector of eigenvalues"):
            measure(bad)
    for value in (-1e-9, math.nan, math.inf):
        with pytest.raises(MeasureError, match="finite and at least 0"):
            measure(torch.tensor([1.0, value]))
    with pytest.raises(DegenerateError, match="the features are constant"):
        measure(torch.zeros(3))


@pytest.mark.parametrize("threshold", [-0.1, 1.0, math.nan])
def test_refuses_impossible_threshold(threshold):
    with pytest.raises(MeasureError, match=r"threshold must lie in \[0, 1\)"):
        numerical_rank(torch.rand(3), threshold)


@pytest.mark.parametrize("kind", SPECTRA)
def test_degenerate_input(kind):
    with pytest.raises(DegenerateError, match="at least 2 images, got 0"):
        kind().eigenvalues()
    with pytest.raises(DegenerateError, match="at least 2 images, got 1"):
        spectrum(kind, torch.rand(1, 3)).eigenvalues()
    features = normal(9, 4)
    features[2, 1], features[6, 0], features[6, 3] = math.nan, math.inf, -math.inf
    found = spectrum(kind, features, 2)
    with pytest.raises(DegenerateError, match="features of 2 of 9 images hold NaN or infinite"):
        found.eigenvalues()
    merged = spectrum(kind, normal(5, 4))
    merged.merge(found)
    with pytest.raises(DegenerateError, match="features of 2 of 14 images"):
        merged.eigenvalues()


@pytest.mark.parametrize("kind", SPECTRA)
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.bfloat16])
def test_constant_features_have_no_variance(kind, dtype):
    constant = normal(1, 60).to(dtype).expand(13, 60)
    assert spectrum(kind, constant, 5).eigenvalues().eq(0).all()
    if dtype == torch.float32:
        up = torch.nextafter(constant, constant + 1)
        nudged = torch.where(normal(13, 60, seed=1) > 0.8, up, constant)
        assert not torch.equal(nudged[0], nudged[1])
        assert spectrum(kind, nudged, 5).eigenvalues().eq(0).all()
