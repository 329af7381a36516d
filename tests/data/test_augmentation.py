"""Random windows and colours against Pillow and torchvision, and how often which is drawn."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from PIL import Image, ImageEnhance
from torchvision.transforms import RandomResizedCrop

from tlaudit.data.augmentation import Augmentation, window

SIDE = 32


@pytest.fixture
def images(noise):
    return torch.stack([torch.from_numpy(np.array(noise(SIDE, SIDE, seed=n))).permute(2, 0, 1) for n in range(6)])


INDEX = torch.tensor([3, 14, 15, 92, 65, 35])


def test_windows_agree_with_pillow(images):
    seen = Augmentation(crop_scale=0.4).cropped(images, INDEX, seed=7, epoch=2)
    assert seen.dtype == torch.uint8
    assert seen.shape == images.shape
    for image, number, found in zip(images, INDEX.tolist(), seen, strict=True):
        generator = np.random.default_rng([7, 2, 0, number])
        top, left, height, width = window(SIDE, 0.4, generator)
        picture = Image.fromarray(image.permute(1, 2, 0).numpy()).crop((left, top, left + width, top + height))
        resized = np.array(picture.resize((SIDE, SIDE), Image.Resampling.BILINEAR))
        difference = np.abs(resized.astype(int) - found.permute(1, 2, 0).numpy().astype(int))
        assert difference.max() <= 2


def test_windows_are_drawn_as_torchvision_does():
    """Mean and spread of area and aspect over many draws."""
    drawn = np.array([window(224, 0.2, np.random.default_rng([0, n]))[2:] for n in range(3000)])
    picture = torch.zeros(3, 224, 224)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        theirs = [RandomResizedCrop.get_params(picture, [0.2, 1], [3 / 4, 4 / 3])[2:] for _ in range(3000)]
    for ours, other in zip(drawn.T, np.array(theirs).T, strict=True):
        assert ours.mean() == pytest.approx(other.mean(), rel=0.02)
        assert ours.std() == pytest.approx(other.std(), rel=0.06)


@pytest.mark.parametrize("scale", [0.05, 0.5, 0.95])
def test_windows_lie_within_the_picture(scale):
    tops = set()
    for number in range(500):
        top, left, height, width = window(SIDE, scale, np.random.default_rng(number))
        assert 0 <= top <= top + height <= SIDE
        assert 0 <= left <= left + width <= SIDE
        assert height * width >= scale * SIDE * SIDE - SIDE
        assert 0.7 < width / height < 1.45 or scale < 0.1
        tops.add(top)
    assert len(tops) > 1


def test_a_whole_picture_where_nothing_fits():
    class Wide:
        def uniform(self, low, high):
            return high if high == 1 else math.log(4 / 3)

    assert window(SIDE, 0.9, Wide()) == (0, 0, SIDE, SIDE)


def test_colours_agree_with_pillow(images):
    changes = Augmentation(jitter=0.5)
    seen = changes.jittered(images, INDEX, seed=7, epoch=2)
    assert seen.dtype == torch.uint8
    kinds = (ImageEnhance.Brightness, ImageEnhance.Contrast, ImageEnhance.Color)
    orders = set()
    for image, number, found in zip(images, INDEX.tolist(), seen, strict=True):
        generator = np.random.default_rng([7, 2, 1, number])
        factors = generator.uniform(0.5, 1.5, 3)
        picture = Image.fromarray(image.permute(1, 2, 0).numpy())
        order = tuple(generator.permutation(3).tolist())
        orders.add(order)
        for kind in order:
            picture = kinds[kind](picture).enhance(factors[kind])
        difference = np.abs(np.array(picture).astype(int) - found.permute(1, 2, 0).numpy().astype(int))
        assert difference.max() <= 4
    assert len(orders) > 1


def test_nothing_is_done_by_default(images):
    changes = Augmentation()
    assert changes.cropped(images, INDEX, seed=0, epoch=0) is images
    assert changes.jittered(images, INDEX, seed=0, epoch=0) is images


def test_the_given_pixels_and_the_random_numbers_stay(images):
    before, generator = images.clone(), torch.get_rng_state()
    changes = Augmentation(0.3, 0.4)
    changes.jittered(changes.cropped(images, INDEX, seed=0, epoch=0), INDEX, seed=0, epoch=0)
    assert torch.equal(images, before)
    assert torch.equal(torch.get_rng_state(), generator)
