"""Composites in training: how many, where, on what, and that nothing else changes."""

from __future__ import annotations

import math

import pytest
import torch
from torchvision.transforms.v2 import functional

from tlaudit.data.training import TrainingBatch
from tlaudit.errors import UsageError
from tlaudit.repair import METHODS
from tlaudit.repair.composites import Pasted

SIDE, OVERLAY = 20, 8


def generator(seed=0):
    return torch.Generator().manual_seed(seed)


def pictures(count, seed):
    return torch.randint(0, 256, (count, 3, SIDE, SIDE), dtype=torch.uint8, generator=generator(seed))


def batch(count=12, epoch=0, first=0, start=0):
    pixels = pictures(first + count, seed=1)[first:]
    index = torch.arange(first, first + count) * 3 + 1
    places = torch.arange(start, start + count)
    return TrainingBatch(index, pixels, torch.zeros(count, dtype=torch.int64), epoch, places)


def pasted(share=0.5, seed=0, backgrounds=5):
    return Pasted(pictures(backgrounds, seed=2), OVERLAY, share, seed)


def found_in(pixels, backgrounds):
    """Background, left column and upper row of a composite, by trying all of them."""
    fits = []
    for number, background in enumerate(backgrounds):
        differs = (pixels != background).any(0).nonzero()
        if len(differs) <= OVERLAY**2:
            (top, left), (bottom, right) = differs.amin(0).tolist(), differs.amax(0).tolist()
            fits.append((number, left, top, right - left + 1, bottom - top + 1))
    (fit,) = fits
    return fit


@pytest.mark.parametrize("share", [0.0, 0.1, 0.3, 0.5, 0.75, 1.0])
@pytest.mark.parametrize("count", [1, 7, 12, 32])
def test_share_of_every_batch(share, count):
    given = batch(count)
    shown = pasted(share)(given)
    changed = (shown != given.pixels).flatten(1).any(1)
    assert int(changed.sum()) == math.floor(count * share)


def test_others_are_left_as_they_are_and_so_is_the_batch():
    given = batch()
    before = given.pixels.clone()
    shown = pasted()(given)
    assert torch.equal(given.pixels, before)
    assert torch.equal(shown[::2], before[::2])
    assert not torch.equal(shown[1::2], before[1::2])


def test_a_composite_is_the_small_image_wholly_inside_one_background():
    given, change = batch(60), pasted(1.0)
    places = set()
    for picture, image in zip(change(given), given.pixels, strict=True):
        background, left, top, width, height = found_in(picture, change.backgrounds)
        assert (width, height) == (OVERLAY, OVERLAY)
        small = functional.resize(image, [OVERLAY, OVERLAY], antialias=True)
        overlay = picture[:, top : top + OVERLAY, left : left + OVERLAY]
        assert (overlay.int() - small.int()).abs().max() <= 1
        places.add((background, left, top))
    assert {background for background, _, _ in places} == set(range(5))
    free = SIDE - OVERLAY
    for axis in (1, 2):
        seen = {place[axis] for place in places}
        assert min(seen) <= 2
        assert max(seen) >= free - 2
        assert 0 <= min(seen) <= max(seen) <= free


def test_an_image_looks_the_same_whatever_it_is_batched_with():
    change, whole = pasted(), batch(12)
    shown = change(whole)
    parts = [change(batch(count, first=first, start=first)) for first, count in ((0, 5), (5, 1), (6, 6))]
    assert torch.equal(torch.cat(parts), shown)


def test_epoch_and_seed_draw_anew():
    shown = pasted()(batch())
    assert torch.equal(pasted()(batch()), shown)
    assert not torch.equal(pasted()(batch(epoch=1)), shown)
    assert not torch.equal(pasted(seed=1)(batch()), shown)


def test_training_sees_composites_over_lingering_classes_with_its_own_labels(bench):
    given = bench(lingering=(3,), composites={"share": 1.0, "overlay_scale": 0.25})
    setup = METHODS["composites"].setup(given)
    plain = given.training.epoch(2, seed=0, batch_size=8, flip=True)
    of_class = [i for i, label in enumerate(given.source_images.labels.tolist()) if label == 3]
    assert len(setup.images.change.backgrounds) == len(of_class)
    assert given.training.change is None
    for ours, theirs in zip(setup.images.epoch(2, seed=0, batch_size=8, flip=True), plain, strict=True):
        assert torch.equal(ours.labels, theirs.labels)
        assert torch.equal(ours.index, theirs.index)
        for picture in ours.pixels:
            differs = min(int((picture != background).any(0).sum()) for background in setup.images.change.backgrounds)
            assert 0 < differs <= 8 * 8


def test_refuses_overlays_that_hide_everything(bench):
    with pytest.raises(UsageError, match="overlay scale"):
        METHODS["composites"].setup(bench(composites={"overlay_scale": 0.99}))
