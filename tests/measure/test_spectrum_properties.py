from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

import reference
from measured import DTYPES, matrices, normal, orthogonal, seeds
from tlaudit.errors import DegenerateError, MeasureError
from tlaudit.measure.spectrum import (
    CovarianceSpectrum,
    GramSpectrum,
    effective_rank,
    numerical_rank,
    participation_ratio,
)

SOME = settings(max_examples=25)
RANKS = (numerical_rank, effective_rank, participation_ratio)
ways = st.sampled_from((CovarianceSpectrum, GramSpectrum))


def spectrum_of(way, *parts):
    spectrum = way()
    for part in parts:
        spectrum.add(part)
    return spectrum.eigenvalues()


@SOME
@given(seeds, ways, st.integers(2, 9), st.integers(1, 7), st.sampled_from(DTYPES), st.sampled_from((1e-30, 1.0, 1e4)))
def test_agrees_with_reference(seed, way, n, size, dtype, scale):
    rows = (normal(seed, n, size) * (1.0 if dtype == torch.float16 else scale)).to(dtype)
    covariance = np.array(reference.covariance(rows.double().tolist()))
    expected = np.sort(np.linalg.eigvalsh(covariance))[::-1][: min(n - 1, size)]
    found = spectrum_of(way, rows)[: min(n - 1, size)].numpy()
    np.testing.assert_allclose(found, expected, rtol=1e-9, atol=1e-10 * max(expected.max(), 1e-300))


@SOME
@given(seeds, ways, st.integers(3, 10), st.integers(2, 8), st.integers(1, 9), st.sampled_from((0.0, 1e4)))
def test_is_blind_to_rotation_translation_order_and_batches(seed, way, n, size, cut, mean):
    rows = normal(seed, n, size)
    order = torch.randperm(n, generator=torch.Generator().manual_seed(seed))
    moved = (rows @ orthogonal(seed + 1, size) + mean)[order]
    parts = [part for part in (moved[:cut], moved[cut:]) if len(part)]
    torch.testing.assert_close(spectrum_of(way, *parts), spectrum_of(way, rows), rtol=1e-6, atol=1e-8)


@settings(max_examples=80)
@given(ways, matrices(rows=(1, 10)))
def test_eigenvalues_and_ranks_lie_in_their_range_or_are_refused(way, features):
    try:
        eigenvalues = spectrum_of(way, features)
    except DegenerateError:
        assert len(features) < 2 or not features.isfinite().all()
        return
    assert bool(((eigenvalues >= 0) & eigenvalues.isfinite()).all()) or float(features.double().abs().max()) > 1e150
    assert bool((eigenvalues.diff() <= 0).all())
    most = min(len(features) - 1, features.shape[1])
    assert int((eigenvalues > 0).sum()) <= most
    for rank in RANKS:
        try:
            value = rank(eigenvalues)
        except MeasureError:
            assert float(eigenvalues.max()) == 0 or not eigenvalues.isfinite().all()
        else:
            assert 1 - 1e-12 <= value <= most * (1 + 1e-12)


@SOME
@given(
    st.lists(st.floats(0, 1e300, allow_subnormal=False), min_size=1, max_size=12),
    st.sampled_from((1e-200, 1e-30, 2.0**40)),
    seeds,
)
def test_ranks_are_blind_to_order_and_zeros_and_in_their_range(values, scale, seed):
    eigenvalues = torch.tensor(values, dtype=torch.float64)
    order = torch.randperm(len(values), generator=torch.Generator().manual_seed(seed))
    for rank in RANKS:
        if max(values) == 0:
            with pytest.raises(DegenerateError, match="no direction varies"):
                rank(eigenvalues)
            continue
        value = rank(eigenvalues)
        assert 1 - 1e-9 <= value <= len(values) + 1e-9
        assert rank(eigenvalues[order]) == pytest.approx(value, rel=1e-12)
        assert rank(torch.cat([eigenvalues, torch.zeros(3, dtype=torch.float64)])) == pytest.approx(value, rel=1e-12)
    if max(values):
        even = torch.full((len(values),), scale, dtype=torch.float64)
        assert [rank(even) for rank in RANKS] == pytest.approx([len(values)] * 3)


@SOME
@given(seeds, st.integers(1, 12))
def test_ranks_stand_in_order(seed, size):
    eigenvalues = normal(seed, size).square() + 1e-12
    assert participation_ratio(eigenvalues) <= effective_rank(eigenvalues) + 1e-9
    assert effective_rank(eigenvalues) == pytest.approx(reference.effective_rank(eigenvalues.tolist()), rel=1e-9)
    thresholds = (0.0, 1e-6, 1e-3, 0.1, 0.9)
    counts = [numerical_rank(eigenvalues, one) for one in thresholds]
    assert counts == sorted(counts, reverse=True)
