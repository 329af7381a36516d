from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from torch.nn.functional import interpolate

import reference
from tlaudit.errors import MeasureError, ShapeError
from tlaudit.measure.overlap import TopPixels, overlap, random_top_pixels, top_pixels


def generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def smooth_maps(count: int, size: int, seed: int = 0, cells: int = 7) -> torch.Tensor:
    coarse = torch.rand(count, 1, cells, cells, generator=generator(seed))
    return interpolate(coarse, size=(size, size), mode="bilinear", align_corners=False)[:, 0]


def everywhere(maps: torch.Tensor) -> torch.Tensor:
    return torch.ones_like(maps, dtype=torch.bool)


def maps_of(kind: str, count: int, height: int, width: int) -> torch.Tensor:
    values = torch.randn(count, height, width, generator=generator(height))
    if kind == "rectified":
        return values.sub(0.6).relu()
    if kind == "coarse":
        return values.mul(2).round()
    # Neighbouring floats: interpolating in float32 would land on one of them.
    return (1 + values.mul(3).round() * torch.finfo(torch.float32).eps) if kind == "crowded" else values


@pytest.mark.parametrize("kind", ["continuous", "rectified", "coarse", "crowded"])
@pytest.mark.parametrize(("count", "height", "width"), [(1, 1, 1), (3, 1, 9), (4, 5, 5), (6, 17, 13), (2, 60, 64)])
@pytest.mark.parametrize("q", [0, 33.3, 80, 95])
def test_agrees_with_reference(kind, count, height, width, q):
    maps = maps_of(kind, count, height, width)
    region = torch.rand(maps.shape, generator=generator(1)) < 0.8
    region[:, 0, 0] = True  # regions of unequal size, none empty
    found = top_pixels(maps, region, q)
    for mask, dead, values, inside in zip(*found, maps.double(), region, strict=True):
        values, inside = values.flatten().tolist(), inside.flatten().tolist()
        assert mask.flatten().tolist() == reference.top_pixels(values, inside, q)
        assert dead == (len({v for v, counts in zip(values, inside, strict=True) if counts}) == 1)


def test_agrees_with_numpy_at_the_size_of_real_maps():
    maps = torch.cat([smooth_maps(3, 224), smooth_maps(3, 224, seed=1).sub(0.7).relu()])
    region = everywhere(maps)
    region[:, 30:120, 50:140] = False
    region[4, 200:, 200:] = False
    found = top_pixels(maps, region).mask
    for mask, values, inside in zip(found.numpy(), maps.double().numpy(), region.numpy(), strict=True):
        assert np.array_equal(mask, (values > np.percentile(values[inside], 80)) & inside)


def test_agrees_with_numpy_where_the_place_is_rounded():
    # 29 % of 100 steps is 28.999999999999996 of them in numpy's arithmetic, so that the value 29 lies above.
    maps = torch.arange(101.0).reshape(1, 1, 101)
    expected = np.arange(101.0) > np.percentile(np.arange(101.0), 29)
    assert top_pixels(maps, everywhere(maps), 29).mask[0, 0].tolist() == expected.tolist()
    assert int(expected.sum()) == 72


@pytest.mark.parametrize("size", [5, 30])
def test_overlap_agrees_with_reference(size):
    first = top_pixels(maps_of("continuous", 6, size, size), torch.ones(6, size, size, dtype=torch.bool))
    second = top_pixels(smooth_maps(6, size), torch.ones(6, size, size, dtype=torch.bool))
    values, defined = overlap(first, second)
    assert values.dtype == torch.float64
    assert bool(defined.all())
    for value, a, b in zip(values.tolist(), first.mask, second.mask, strict=True):
        assert value == reference.overlap(a.flatten().tolist(), b.flatten().tolist())


@pytest.mark.parametrize("cells", [(7, 7), (2, 3), (40, 30)])
def test_random_top_pixels_agree_with_reference(cells):
    region = torch.rand(5, 20, 16, generator=generator(1)) < 0.7
    counts = torch.tensor([0, 1, 37, 37, 200])
    masks = random_top_pixels(counts, region, cells, generator(2))
    noise = torch.rand(5, 1, *cells, generator=generator(2))
    maps = interpolate(noise, size=(20, 16), mode="bilinear", align_corners=False)[:, 0]
    for mask, count, values, inside in zip(masks, counts.tolist(), maps, region, strict=True):
        assert mask.flatten().tolist() == reference.highest(values.flatten().tolist(), inside.flatten().tolist(), count)


def test_is_blind_to_scale_shift_and_what_lies_outside():
    maps = smooth_maps(4, 30)
    region = everywhere(maps)
    region[:, 5:17, 9:21] = False
    expected = top_pixels(maps, region).mask
    assert torch.equal(expected, top_pixels(maps * 8, region).mask)
    assert torch.equal(expected, top_pixels(maps - 0.5, region).mask)
    for odd in (1e9, -1e9, math.inf, math.nan):
        assert torch.equal(expected, top_pixels(maps.masked_fill(~region, odd), region).mask)


def test_is_blind_to_batching():
    maps = torch.cat([smooth_maps(4, 30), maps_of("rectified", 3, 30, 30)])
    region = torch.rand(maps.shape, generator=generator(1)) < 0.8
    whole = top_pixels(maps, region)
    parts = [top_pixels(m, r) for m, r in zip(maps.split(2), region.split(2), strict=True)]
    assert torch.equal(whole.mask, torch.cat([part.mask for part in parts]))
    assert torch.equal(whole.dead, torch.cat([part.dead for part in parts]))

    counts = torch.tensor([3, 9, 9, 80, 0, 200, 1])
    masks = random_top_pixels(counts, region, (7, 7), generator(5))
    one = generator(5)
    pairs = zip(counts.split(2), region.split(2), strict=True)
    assert torch.equal(masks, torch.cat([random_top_pixels(c, r, (7, 7), one) for c, r in pairs]))


def test_overlap_is_symmetric():
    region = torch.ones(5, 20, 20, dtype=torch.bool)
    first, second = top_pixels(smooth_maps(5, 20), region), top_pixels(smooth_maps(5, 20, seed=1), region)
    assert torch.equal(overlap(first, second).values, overlap(second, first).values)


def test_inputs_are_left_alone():
    maps, region = smooth_maps(2, 20), torch.rand(2, 20, 20, generator=generator()) < 0.9
    before = maps.clone(), region.clone()
    first = top_pixels(maps, region)
    overlap(first, first)
    random_top_pixels(torch.tensor([3, 4]), region, (7, 7), generator())
    assert torch.equal(maps, before[0])
    assert torch.equal(region, before[1])


def test_bounds():
    maps = maps_of("continuous", 20, 25, 20)
    region = everywhere(maps)
    first, second = top_pixels(maps, region), top_pixels(smooth_maps(20, 30)[:, :25, :20], region)
    assert set(first.mask.flatten(1).sum(1).tolist()) == {100}  # no ties: exactly a fifth
    values = overlap(first, second).values
    assert 0 <= float(values.min()) <= float(values.max()) < 1
    assert overlap(first, first).values.tolist() == [1.0] * 20


def test_worked_example():
    # 3 x 4 pixels, the right column is overlay. The nine others are 1 to 9; the 80th percentile is 7.4.
    maps = torch.tensor([[[1.0, 2, 3, 99], [9, 8, 7, 99], [4, 5, 6, 99]]])
    region = torch.tensor([True, True, True, False]).expand(1, 3, 4)
    first = top_pixels(maps, region)
    assert first.mask[0].int().tolist() == [[0, 0, 0, 0], [1, 1, 0, 0], [0, 0, 0, 0]]
    # Here 9 lies elsewhere and 8 where the first has its 9: one pixel of three in common.
    second = top_pixels(torch.tensor([[[1.0, 2, 9, 0], [8, 3, 7, 0], [4, 5, 6, 0]]]), region)
    assert second.mask[0].int().tolist() == [[0, 0, 1, 0], [1, 0, 0, 0], [0, 0, 0, 0]]
    assert overlap(first, second).values.tolist() == [1 / 3]


def test_independent_masks_meet_at_chance():
    count, size = 400, 40
    region = torch.ones(count, size, size, dtype=torch.bool)
    rough = [top_pixels(torch.rand(count, size, size, generator=generator(seed)), region) for seed in (1, 2)]
    # A fifth of 1600 pixels each: one value spreads by about 0.012, the mean of 400 by 0.0006.
    assert float(overlap(*rough).values.mean()) == pytest.approx(1 / 9, abs=0.002)

    axis = torch.linspace(-1, 1, size)
    centre = torch.exp(-2 * (axis[:, None] ** 2 + axis**2))
    coherent = [top_pixels(smooth_maps(count, size, seed), region) for seed in (3, 4)]
    centred = [top_pixels(smooth_maps(count, size, seed) + centre, region) for seed in (5, 6)]
    assert float(overlap(*coherent).values.std()) > 3 * float(overlap(*rough).values.std())
    assert float(overlap(*centred).values.mean()) > 0.2


def test_random_masks_have_equal_area_inside_the_region():
    maps = torch.cat([smooth_maps(6, 224), smooth_maps(2, 224, seed=1).sub(0.9).relu(), torch.zeros(1, 224, 224)])
    region = everywhere(maps)
    region[:, 100:190, 10:100] = False
    counts = top_pixels(maps, region).mask.flatten(1).sum(1)
    masks = random_top_pixels(counts, region, (7, 7), generator())
    assert counts[-1] == 0 < counts[-2]
    assert masks.flatten(1).sum(1).tolist() == counts.tolist()
    assert not bool((masks & ~region).any())
    again = random_top_pixels(counts, region, (7, 7), generator())
    other = random_top_pixels(counts, region, (7, 7), generator(1))
    assert torch.equal(masks, again)
    assert not torch.equal(masks, other)


def test_random_masks_are_as_coherent_as_maps():
    region = torch.ones(8, 56, 56, dtype=torch.bool)
    counts = torch.full((8,), 627)
    masks = random_top_pixels(counts, region, (7, 7), generator())
    loose = random_top_pixels(counts, region, (56, 56), generator())

    def edges(mask):
        return int((mask[:, 1:] != mask[:, :-1]).sum() + (mask[:, :, 1:] != mask[:, :, :-1]).sum())

    assert edges(masks) < edges(loose) / 4


@pytest.mark.parametrize("q", [-1, 100, math.nan])
def test_refuses_impossible_percentile(q):
    with pytest.raises(MeasureError, match=r"the percentile must lie in \[0, 100\)"):
        top_pixels(torch.rand(1, 3, 3), torch.ones(1, 3, 3, dtype=torch.bool), q)


def test_refuses_wrong_shapes():
    mask = torch.ones(2, 3, 3, dtype=torch.bool)
    with pytest.raises(ShapeError, match=r"of one shape \(images, height, width\), got \(2, 3, 4\) and \(2, 3, 3\)"):
        top_pixels(torch.rand(2, 3, 4), mask)
    with pytest.raises(ShapeError, match="of one shape"):
        top_pixels(torch.rand(3, 3), mask[0])
    one, two = TopPixels(mask, mask[:, 0, 0]), TopPixels(mask[:1], mask[:1, 0, 0])
    with pytest.raises(ShapeError, match=r"masks of one shape, got \(2, 3, 3\) and \(1, 3, 3\)"):
        overlap(one, two)
    with pytest.raises(ShapeError, match=r"one count for each region .* got \(3,\) and \(2, 3, 3\)"):
        random_top_pixels(torch.tensor([1, 1, 1]), mask, (2, 2), generator())
    with pytest.raises(ShapeError, match="a grid of at least one cell"):
        random_top_pixels(torch.tensor([1, 1]), mask, (0, 2), generator())


@pytest.mark.parametrize("counts", [[-1, 2], [2, 10]])
def test_refuses_impossible_areas(counts):
    with pytest.raises(MeasureError, match=r"from 0 to the regions' \[9, 9\] pixels"):
        random_top_pixels(torch.tensor(counts), torch.ones(2, 3, 3, dtype=torch.bool), (2, 2), generator())


def test_refuses_empty_region_and_nan():
    region = torch.ones(2, 3, 3, dtype=torch.bool)
    region[1] = False
    with pytest.raises(ShapeError, match="at least one pixel in each region"):
        top_pixels(torch.rand(2, 3, 3), region)
    maps = torch.rand(2, 3, 3)
    maps[1, 1, 1] = math.nan
    with pytest.raises(MeasureError, match="holds NaN"):
        top_pixels(maps, everywhere(maps))


def test_degenerate_input():
    # Constant; constant but for the overlay; one pixel stands out; nine tenths share the highest value.
    maps = torch.zeros(4, 10, 10)
    region = everywhere(maps)
    region[:, :2, :2] = False
    maps[0], maps[1, 0, 0], maps[2, 5, 5], maps[3, 1:] = 3.5, 7.0, 1.0, 1.0
    found = top_pixels(maps, region)
    assert found.dead.tolist() == [True, True, False, False]
    assert found.mask.flatten(1).sum(1).tolist() == [0, 0, 1, 0]
    # Dead against anything, and nothing against nothing, have no overlap; nothing against something has none in common.
    peak = TopPixels(found.mask[2:3].expand(4, 10, 10), found.dead[2:3].expand(4))
    assert overlap(found, peak).defined.tolist() == [False, False, True, True]
    assert overlap(found, peak).values.tolist() == [0.0, 0.0, 1.0, 0.0]
    assert overlap(found, found).defined.tolist() == [False, False, True, False]


def test_no_images():
    none = top_pixels(torch.empty(0, 4, 4), torch.empty(0, 4, 4, dtype=torch.bool))
    assert none.mask.shape == (0, 4, 4)
    assert overlap(none, none).values.shape == (0,)
    masks = random_top_pixels(torch.empty(0, dtype=torch.int64), none.mask, (2, 2), generator())
    assert masks.shape == (0, 4, 4)
