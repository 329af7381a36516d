"""Squares: colours that can be told apart, choices that are nested, pixels that are exact."""

from __future__ import annotations

import colorsys
import itertools

import pytest
import torch

from tlaudit.data.squares import MOST_COLOURS, class_colours, plant, planted_share, square_side
from tlaudit.errors import MeasureError, ShapeError


@pytest.mark.parametrize("count", [1, 2, 3, 7, 26, 360, 1000])
def test_colours_are_hues_and_distinct(count):
    colours = class_colours(count)
    assert colours.dtype == torch.uint8
    assert len({tuple(colour) for colour in colours.tolist()}) == count
    for index, colour in enumerate(colours.tolist()):
        hue, saturation, value = colorsys.rgb_to_hsv(*(channel / 255 for channel in colour))
        assert (saturation, value) == (1, 1)
        assert abs((hue - index / count + 0.5) % 1 - 0.5) <= 0.5 / MOST_COLOURS + 1e-9


def test_colours_by_hand():
    assert class_colours(6).tolist() == [
        [255, 0, 0], [255, 255, 0], [0, 255, 0], [0, 255, 255], [0, 0, 255], [255, 0, 255]
    ]  # fmt: skip


@pytest.mark.parametrize("count", [0, MOST_COLOURS + 1])
def test_refuses_numbers_of_classes(count):
    with pytest.raises(MeasureError, match=f"1 to {MOST_COLOURS} classes apart, got {count}"):
        class_colours(count)


@pytest.mark.parametrize("count", [0, 1, 10, 207])
def test_choices_are_exact_and_nested(count):
    ratios = [0, 0.01, 0.05, 0.1, 0.25, 0.5, 1]
    chosen = [planted_share(count, ratio, seed=3) for ratio in ratios]
    assert [int(one.sum()) for one in chosen] == [round(ratio * count) for ratio in ratios]
    for fewer, more in itertools.pairwise(chosen):
        assert not (fewer & ~more).any()


def test_choices_follow_the_seed():
    assert not torch.equal(planted_share(50, 0.5, seed=0), planted_share(50, 0.5, seed=1))
    assert torch.equal(planted_share(50, 0.5, seed=1), planted_share(50, 0.5, seed=1))


@pytest.mark.parametrize("ratio", [-0.1, 1.01, float("nan")])
def test_refuses_ratios(ratio):
    with pytest.raises(MeasureError, match=r"lies in \[0, 1\]"):
        planted_share(10, ratio, seed=0)


def test_side():
    assert [square_side(share, 64) for share in (1e-9, 1 / 8, 1)] == [1, 8, 64]
    for share in (0, 1.1):
        with pytest.raises(MeasureError, match="in \\(0, 1\\]"):
            square_side(share, 64)


def test_planted_pixels_are_exact():
    pixels = torch.randint(256, (3, 3, 6, 6), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))
    before, colours = pixels.clone(), class_colours(3)
    planted = plant(pixels, torch.tensor([2, 1, 0]), torch.tensor([True, False, True]), 2, colours)
    assert torch.equal(pixels, before)
    assert planted[0, :, :2, :2].permute(1, 2, 0).tolist() == [[[0, 0, 255]] * 2] * 2
    assert planted[2, :, :2, :2].permute(1, 2, 0).tolist() == [[[255, 0, 0]] * 2] * 2
    assert torch.equal(planted[1], before[1])
    planted[[0, 2], :, :2, :2] = before[[0, 2], :, :2, :2]
    assert torch.equal(planted, before)


def test_refuses_what_does_not_fit():
    pixels, labels, mask = torch.zeros(2, 3, 4, 4, dtype=torch.uint8), torch.zeros(2).long(), torch.ones(2).bool()
    with pytest.raises(ShapeError, match="a square of 5 pixels does not fit into an image of 4 x 4"):
        plant(pixels, labels, mask, 5, class_colours(2))
    with pytest.raises(ShapeError, match="N labels and N choices"):
        plant(pixels, labels[:1], mask, 2, class_colours(2))
