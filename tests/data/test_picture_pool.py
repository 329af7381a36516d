"""Pictures that are kept: which, how many, and what becomes of those that cannot be read."""

from __future__ import annotations

import pytest
import torch
from PIL import Image

from tlaudit.data.images import ImageSet
from tlaudit.data.picture_pool import PicturePool
from tlaudit.errors import DataError
from tlaudit.results import Preprocessing

SMALL = Preprocessing(resize=8, crop=8, interpolation="bilinear", mean=(0.5,) * 3, std=(0.25,) * 3, origin="test")


@pytest.fixture(scope="module")
def shades(tmp_path_factory):
    """Five classes with 6, 6, 6, 2 and 1 pictures; the shade of each says which one it is."""
    root = tmp_path_factory.mktemp("shades")
    for label, count in enumerate((6, 6, 6, 2, 1)):
        (root / str(label)).mkdir()
        for number in range(count):
            Image.new("RGB", (9, 8), (40 * label, 30 * number, 7)).save(root / str(label) / f"{number}.png")
    (root / "4" / "broken.png").write_bytes(b"nothing")
    return ImageSet.scan(root, labelled=True)


def labels_of(images):
    return torch.tensor([int(item.folder) for item in images.items])


def load(images, classes, seed=0, batch_size=4, **more):
    return PicturePool.load(
        images, labels_of(images), classes, SMALL, seed=seed, batch_size=batch_size, workers=0, **more
    )


def told(pool):
    """Class and number of each picture, as its shade tells."""
    corner = pool.pixels[:, :, 0, 0].tolist()
    return [(red // 40, green // 30) for red, green, _ in corner]


def test_keeps_all_where_there_is_room(shades):
    pool = load(shades, (3, 1))
    assert sorted(told(pool)) == [(1, n) for n in range(6)] + [(3, 0), (3, 1)]
    assert pool.labels.tolist() == [label for label, _ in told(pool)]
    assert pool.pixels.shape == (8, 3, 8, 8)
    assert pool.pixels.dtype == torch.uint8


def test_takes_classes_in_turn_where_there_is_not(shades):
    pool = load(shades, (2, 0, 3), most=9)
    counts = [pool.labels.tolist().count(label) for label in (2, 0, 3)]
    assert counts == [4, 3, 2]
    assert pool.available == 14
    assert load(shades, (2, 0), most=1).labels.tolist() == [2]


def test_choice_depends_on_the_seed_alone(shades):
    chosen = {tuple(told(load(shades, (0, 1), seed=seed, most=4))) for seed in range(6)}
    assert len(chosen) > 1
    first, second = (load(shades, (0, 1), batch_size=size, most=4) for size in (1, 7))
    assert torch.equal(first.pixels, second.pixels)


def test_unreadable_files_are_left_out_and_named(shades):
    pool = load(shades, (4,))
    assert told(pool) == [(4, 0)]
    assert [skipped.file for skipped in pool.record.skipped] == ["4/broken.png"]


def test_refuses_what_is_empty(shades):
    with pytest.raises(DataError, match="expected images of 1 source classes, found none"):
        load(shades, (9,))
