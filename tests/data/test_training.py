"""Epochs of labelled images: in memory or from files, the batches are the same."""

from __future__ import annotations

import pytest
import torch

from tlaudit.data.augmentation import Augmentation
from tlaudit.data.images import ImageSet
from tlaudit.data.training import TrainingImages
from tlaudit.errors import DataError, ShapeError


def images_of(photos, small, *, workers=0, **more):
    images = ImageSet.scan(photos, labelled=True)
    labels = torch.tensor([images.folders.index(item.folder) for item in images.items])
    return TrainingImages(images, labels, small, workers=workers, **more)


def epoch_of(data, number=0, *, seed=0, batch_size=4, flip=False):
    return list(data.epoch(number, seed=seed, batch_size=batch_size, flip=flip))


@pytest.mark.parametrize("workers", [0, 2])
@pytest.mark.parametrize("batch_size", [1, 2, 11, 23, 40])
def test_streaming_gives_what_memory_gives(photos, small, workers, batch_size):
    (photos / "bee" / "broken.jpg").write_bytes(b"\xff\xd8\xff nothing")
    kept, streamed = images_of(photos, small), images_of(photos, small, workers=workers, budget=0)
    assert kept.record == streamed.record
    assert [skipped.file for skipped in kept.record.skipped] == ["bee/broken.jpg"]
    assert (len(kept), int(kept.usable.sum())) == (23, 23)
    for number in range(2):
        pairs = zip(
            epoch_of(kept, number, batch_size=batch_size, flip=True),
            epoch_of(streamed, number, batch_size=batch_size, flip=True),
            strict=True,
        )
        for ours, theirs in pairs:
            assert torch.equal(ours.index, theirs.index)
            assert torch.equal(ours.labels, theirs.labels)
            assert torch.equal(ours.pixels, theirs.pixels)


def test_an_epoch_has_every_image_once_in_an_order_of_its_own(photos, small):
    data = images_of(photos, small)
    orders = [torch.cat([batch.index for batch in epoch_of(data, *at)]).tolist() for at in [(0,), (0,), (1,)]]
    assert all(sorted(order) == list(range(23)) for order in orders)
    assert orders[0] == orders[1] != orders[2]
    other = torch.cat([batch.index for batch in epoch_of(data, 0, seed=1)]).tolist()
    assert other not in orders
    by_one = torch.cat([batch.index for batch in epoch_of(data, 0, batch_size=1)]).tolist()
    assert by_one == orders[0]


def test_labels_and_pixels_belong_to_the_index(photos, small):
    data = images_of(photos, small)
    plain = {int(i): p for b in epoch_of(data) for i, p in zip(b.index, b.pixels, strict=True)}
    seen = {}
    for number in range(4):
        for batch in epoch_of(data, number, flip=True):
            for index, pixels in zip(batch.index.tolist(), batch.pixels, strict=True):
                mirrored = torch.equal(pixels, plain[index].flip(2))
                assert mirrored or torch.equal(pixels, plain[index])
                seen.setdefault(index, set()).add(mirrored)
    assert sum(len(ways) == 2 for ways in seen.values()) > 15
    labels = torch.tensor([i % 3 for i in range(23)])
    assert sorted(torch.cat([b.labels for b in epoch_of(data)]).tolist()) == sorted(labels.tolist())


@pytest.mark.parametrize(
    ("batch_size", "sizes"),
    [(4, [4, 4, 4, 4, 4, 3]), (11, [11, 12]), (2, [2] * 10 + [3]), (22, [23]), (23, [23]), (40, [23]), (1, [1] * 23)],
)
def test_a_single_image_joins_the_batch_before(photos, small, batch_size, sizes):
    data = images_of(photos, small)
    assert data.sizes(batch_size) == sizes
    assert [len(batch.index) for batch in epoch_of(data, batch_size=batch_size)] == sizes


@pytest.mark.parametrize("budget", [0, 1 << 30])
def test_skipped_batches_are_not_read(photos, small, budget):
    data, changes = images_of(photos, small, budget=budget), Augmentation(crop_scale=0.5, jitter=0.2)
    whole = list(data.epoch(1, seed=0, batch_size=4, flip=True, augmentation=changes))
    # What lies before the fourth batch can be missing.
    for index in torch.cat([batch.index for batch in whole[:3]]).tolist():
        ImageSet.scan(photos, labelled=True).items[index].path.write_bytes(b"nothing")
    for skip in (3, 5, 6):
        rest = list(data.epoch(1, seed=0, batch_size=4, flip=True, augmentation=changes, skip=skip))
        assert len(rest) == 6 - skip
        for ours, theirs in zip(rest, whole[skip:], strict=True):
            assert torch.equal(ours.index, theirs.index)
            assert torch.equal(ours.pixels, theirs.pixels)
            assert torch.equal(ours.labels, theirs.labels)


@pytest.mark.parametrize("budget", [0, 1 << 30])
def test_parts_make_up_the_whole(photos, small, budget):
    data, changes = images_of(photos, small, budget=budget), Augmentation(crop_scale=0.5, jitter=0.2)
    given = {"seed": 0, "batch_size": 6, "flip": True, "augmentation": changes}
    ways = [lambda total: slice(0, 2), lambda total: slice(2, total)]
    parts = [list(data.epoch(0, part=part, **given)) for part in ways]
    for first, second, whole in zip(*parts, data.epoch(0, **given), strict=True):
        assert len(first.index) == 2
        for name in ("index", "pixels", "labels", "places"):
            assert torch.equal(torch.cat([getattr(first, name), getattr(second, name)]), getattr(whole, name))
        assert whole.places.tolist() == list(range(len(whole.index)))


@pytest.mark.parametrize("changes", [Augmentation(crop_scale=0.3), Augmentation(jitter=0.4)])
def test_augmentation_depends_on_seed_epoch_and_image_alone(photos, small, changes):
    data = images_of(photos, small)

    def seen(number=0, seed=0, batch_size=4):
        batches = list(data.epoch(number, seed=seed, batch_size=batch_size, flip=True, augmentation=changes))
        order = torch.cat([batch.index for batch in batches]).argsort()
        return torch.cat([batch.pixels for batch in batches])[order]

    plain = torch.cat([batch.pixels for batch in epoch_of(data, flip=True)])
    order = torch.cat([batch.index for batch in epoch_of(data, flip=True)]).argsort()
    first = seen()
    assert torch.equal(first, seen(batch_size=7))
    assert all(not torch.equal(image, other) for image, other in zip(first, plain[order], strict=True))
    for other in (seen(number=1), seen(seed=1)):
        assert sum(not torch.equal(image, changed) for image, changed in zip(first, other, strict=True)) > 15


def test_augmentation_by_default_is_none(photos, small):
    data = images_of(photos, small)
    for ours, theirs in zip(
        epoch_of(data, flip=True),
        data.epoch(0, seed=0, batch_size=4, flip=True, augmentation=Augmentation()),
        strict=True,
    ):
        assert torch.equal(ours.pixels, theirs.pixels)


def test_change_comes_after_mirroring_and_leaves_the_others_alone(photos, small):
    data = images_of(photos, small)
    before = epoch_of(data, flip=True)

    def blacken(batch):
        assert torch.equal(batch.pixels, before[len(seen)].pixels)
        seen.append(batch)
        return torch.zeros_like(batch.pixels)

    seen = []
    changed = data.changed(blacken)
    assert all(not batch.pixels.any() for batch in epoch_of(changed, flip=True))
    assert len(seen) == len(before)
    again = epoch_of(data, flip=True)
    assert all(torch.equal(a.pixels, b.pixels) for a, b in zip(before, again, strict=True))


def test_refuses(photos, small):
    images = ImageSet.scan(photos, labelled=True)
    with pytest.raises(ShapeError, match=r"a label for each of 23 images, got shape \(2,\)"):
        TrainingImages(images, torch.zeros(2).long(), small, workers=0)
    (photos / "ant" / "broken.png").write_bytes(b"nothing")
    with pytest.raises(DataError, match="1 files cannot be used, and none may be skipped"):
        images_of(photos, small, strict=True)


def test_a_file_that_goes_missing_ends_the_epoch(photos, small):
    data = images_of(photos, small, budget=0)
    (photos / "ant" / "00.jpg").unlink()
    with pytest.raises(DataError, match=r"ant/00\.jpg could be read before and no longer can: cannot be read"):
        epoch_of(data)


def test_progress_is_told(photos, small):
    told = []

    def progress(items, *, total, label, size):
        for item in items:
            told.append((total, size(item)))
            yield item

    images_of(photos, small, progress=progress)
    assert told == [(23, 23)]
