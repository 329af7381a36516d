from __future__ import annotations

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

import reference
from measured import DTYPES, matrices, normal, seeds
from tlaudit.errors import MeasureError, ShapeError
from tlaudit.measure.overlap import TopPixels, overlap, random_top_pixels, top_pixels

SOME = settings(max_examples=30)
percentiles = st.one_of(st.sampled_from((0.0, 50.0, 80.0, 99.9)), st.floats(0, 99.99))


def regions(seed: int, *shape: int) -> torch.Tensor:
    region = torch.rand(shape, generator=torch.Generator().manual_seed(seed)) < 0.7
    region[:, 0, 0] = True
    return region


@SOME
@given(seeds, st.integers(1, 3), st.integers(1, 6), st.integers(1, 6), percentiles, st.sampled_from(DTYPES))
def test_agrees_with_reference(seed, n, height, width, q, dtype):
    # Whole numbers: no value between two is rounded to one of them, in any precision.
    maps = (normal(seed, n, height, width) * 8).round().to(dtype)
    region = regions(seed + 1, n, height, width)
    found = top_pixels(maps, region, q)
    for mask, values, inside in zip(found.mask, maps, region, strict=True):
        expected = reference.top_pixels(values.flatten().tolist(), inside.flatten().tolist(), q)
        assert mask.flatten().tolist() == expected


@SOME
@given(seeds, st.integers(1, 6), st.integers(1, 6), percentiles)
def test_is_blind_to_cells_shift_and_scale(seed, height, width, q):
    one, two = (normal(seed + at, 1, height, width) for at in range(2))
    region = regions(seed + 2, 1, height, width)
    order = torch.randperm(height * width, generator=torch.Generator().manual_seed(seed))

    def value(first, second, inside):
        return overlap(top_pixels(first, inside, q), top_pixels(second, inside, q))

    def mixed(maps):
        return maps.flatten(1)[:, order].view_as(maps)

    whole = value(one, two, region)
    assert torch.equal(value(mixed(one), mixed(two), mixed(region)).values, whole.values)
    assert torch.equal(value(4 * one, two / 2, region).values, whole.values)
    assert torch.equal(value(two, one, region).values, whole.values)
    outside = torch.where(region, one, torch.full_like(one, math.inf))
    assert torch.equal(value(outside, two, region).values, whole.values)


@settings(max_examples=80)
@given(matrices(), percentiles)
def test_shares_lie_in_their_range_or_are_refused(maps, q):
    maps = maps[None]
    region = torch.ones_like(maps, dtype=torch.bool)
    if maps.isnan().any():
        with pytest.raises(MeasureError, match="holds NaN"):
            top_pixels(maps, region, q)
        return
    found = top_pixels(maps, region, q)
    assert int(found.mask.sum()) <= math.ceil(round((100 - q) / 100 * maps.numel(), 6))
    assert bool(found.dead) is bool((maps == maps.flatten()[0]).all())
    same = overlap(found, found)
    assert same.values.tolist() == [1.0 if bool(same.defined) else 0.0]
    other = overlap(found, TopPixels(~found.mask, found.dead))
    assert other.values.tolist() == [0.0]


@SOME
@given(seeds, st.integers(1, 5), st.integers(1, 5), st.tuples(st.integers(1, 4), st.integers(1, 4)), st.data())
def test_random_masks_have_their_area_inside_the_region_and_repeat(seed, height, width, grid, data):
    region = regions(seed, 2, height, width)
    counts = torch.tensor([data.draw(st.integers(0, int(one.sum()))) for one in region])
    one, two = (random_top_pixels(counts, region, grid, torch.Generator().manual_seed(seed)) for _ in range(2))
    assert torch.equal(one, two)
    assert one.flatten(1).sum(dim=1).tolist() == counts.tolist()
    assert not bool((one & ~region).any())


def test_refuses_what_is_no_map_or_no_mask():
    maps, region = torch.rand(1, 2, 2), torch.ones(1, 2, 2)
    with pytest.raises(ShapeError, match="floating type and masks, got float32 and float32"):
        top_pixels(maps, region)
    with pytest.raises(ShapeError, match="floating type and masks, got int64 and bool"):
        top_pixels(maps.long(), region.bool())
