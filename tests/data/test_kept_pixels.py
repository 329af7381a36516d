"""What is kept from one pass for another is what would have been decoded, and no more than there is room for."""

from __future__ import annotations

import itertools
import logging
import os
import tracemalloc
from typing import TYPE_CHECKING

import numpy as np
import pytest
from PIL import Image

from tlaudit.data import decoding, kept_pixels
from tlaudit.data.images import ImageSet, ImageStream
from tlaudit.data.kept_pixels import KeptPixels

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from tlaudit.data.decoding import Geometry
    from tlaudit.results import DataRecord, Preprocessing


@pytest.fixture
def decoded(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Files in the order in which they are decoded."""
    files: list[str] = []
    original = decoding._decode_into

    def count(data: bytes, file: str, *more: object) -> str | None:
        files.append(file)
        return original(data, file, *more)  # type: ignore[arg-type]

    monkeypatch.setattr(decoding, "_decode_into", count)
    return files


@pytest.fixture
def tiny_size(small: Preprocessing) -> Preprocessing:
    """Another geometry."""
    return small.model_copy(update={"resize": 9, "crop": 8})


def names(images: ImageSet) -> list[str]:
    return [os.fspath(item.path) for item in images.items]


def geometries(*preprocessing: Preprocessing) -> list[Geometry]:
    return [one.geometry for one in preprocessing]


def read(
    images: ImageSet,
    *preprocessing: Preprocessing,
    kept: KeptPixels | None = None,
    batch_size: int = 5,
    workers: int = 0,
) -> tuple[dict[int, list[np.ndarray]], DataRecord]:
    """Pixels of each image that can be read, and what is said of the pass."""
    stream = ImageStream(images, preprocessing, batch_size=batch_size, workers=workers, kept=kept)
    found = {}
    for batch in stream:
        for row, index in enumerate(batch.index.tolist()):
            found[index] = [batch.pixels[p.geometry][row].numpy().copy() for p in preprocessing]
    return found, stream.record()


def same(ours: tuple, theirs: tuple) -> bool:
    (pixels, record), (expected, said) = ours, theirs
    return (
        record == said
        and pixels.keys() == expected.keys()
        and all(
            np.array_equal(one, two)
            for index in expected
            for one, two in zip(pixels[index], expected[index], strict=True)
        )
    )


@pytest.mark.parametrize("workers", [0, 2])
def test_a_later_pass_gets_what_it_would_have_decoded(
    photos: Path, small: Preprocessing, tiny_size: Preprocessing, workers: int
) -> None:
    images = ImageSet.scan(photos, labelled=True)
    (photos / "bee" / "99.jpg").write_bytes(b"\xff\xd8\xff broken")
    images = ImageSet.scan(photos, labelled=True)
    kept = KeptPixels()
    kept.plan([(names(images), geometries(small)), (names(images)[::2], geometries(tiny_size))])
    kept.plan([(names(images), geometries(small)), (names(images), geometries(small))])
    assert same(read(images, small, kept=kept, workers=workers), read(images, small))
    for batch_size in (3, 50):
        again = read(images, small, kept=kept, batch_size=batch_size, workers=workers)
        assert same(again, read(images, small))
    both = read(images, tiny_size, small, kept=kept, workers=workers)
    assert same(both, read(images, tiny_size, small))


def test_each_file_is_decoded_once(
    photos: Path, small: Preprocessing, tiny_size: Preprocessing, decoded: list[str]
) -> None:
    images = ImageSet.scan(photos, labelled=True)
    kept = KeptPixels()
    kept.plan([(names(images), geometries(small)), (names(images)[::3], geometries(tiny_size))])
    read(images, small, kept=kept)
    assert sorted(decoded) == sorted(names(images))
    part = ImageSet(**{**vars(images), "items": images.items[::3]})
    assert same(read(part, tiny_size, kept=kept), read(part, tiny_size))
    assert len(decoded) == len(images.items) + len(part.items), "only the pass without anything kept decodes"
    read(images, small, kept=kept)
    assert len(decoded) == 2 * len(images.items) + len(part.items), "pixels nobody was to ask for again are not kept"


def test_nothing_is_kept_that_is_not_planned(photos: Path, small: Preprocessing, decoded: list[str]) -> None:
    images = ImageSet.scan(photos, labelled=True)
    kept = KeptPixels()
    kept.plan([(names(images), geometries(small))])
    for _ in range(2):
        read(images, small, kept=kept)
    assert len(decoded) == 2 * len(images.items)


@pytest.mark.parametrize("room", [0, 1, 7])
def test_keeps_no_more_than_the_budget(photos: Path, small: Preprocessing, decoded: list[str], room: int) -> None:
    images = ImageSet.scan(photos, labelled=True)
    kept = KeptPixels(budget=room * 3 * small.crop**2 + 5)
    kept.plan(itertools.repeat((names(images), geometries(small)), 3))
    first = read(images, small, kept=kept)
    before = len(decoded)
    assert same(read(images, small, kept=kept), first)
    assert len(decoded) - before == len(images.items) - room
    held = sum(pixels.nbytes for file in kept._files.values() for pixels in file.rows.values())
    assert held == room * 3 * small.crop**2


def test_a_size_that_few_files_are_wanted_in_is_made_when_it_is_asked_for(
    photos: Path, small: Preprocessing, tiny_size: Preprocessing, decoded: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    images = ImageSet.scan(photos, labelled=True)
    few = names(images)[:2]
    assert len(few) < kept_pixels.WORTHWHILE * len(images.items)
    kept = KeptPixels()
    kept.plan([(names(images), geometries(small)), (few, geometries(tiny_size))])
    asked: list[int] = []
    original = decoding.write_crop
    monkeypatch.setattr(
        decoding, "write_crop", lambda image, geometry, row: (asked.append(geometry[1]), original(image, geometry, row))
    )
    read(images, small, kept=kept)
    assert set(asked) == {small.crop}
    part = ImageSet(**{**vars(images), "items": images.items[:2]})
    read(part, tiny_size, kept=kept)
    assert len(decoded) == len(images.items) + 2


def test_a_picture_without_room_for_a_later_size_is_not_refused_before(
    photos: Path, small: Preprocessing, noise: Callable[..., Image.Image]
) -> None:
    """Enlarged to a later pass's size it would be too large; this pass does not ask for that."""
    noise(4000, 2).save(photos / "bee" / "long.png")
    large = small.model_copy(update={"resize": 400, "crop": 40})
    images = ImageSet.scan(photos, labelled=True)
    kept = KeptPixels()
    kept.plan([(names(images), geometries(small)), (names(images), geometries(large))])
    assert same(read(images, small, kept=kept), read(images, small))
    later, record = read(images, large, kept=kept)
    assert same((later, record), read(images, large))
    assert [one.file for one in record.skipped] == ["bee/long.png"]


def test_remarks_are_repeated(
    photos: Path, small: Preprocessing, noise: Callable[..., Image.Image], caplog: pytest.LogCaptureFixture
) -> None:
    picture = noise(40, 40)
    exif = Image.Exif()
    exif[0x0112] = 6
    picture.save(photos / "ant" / "odd.jpg", exif=b"Exif\0\0MM\0*" + b"\xff" * 20)
    images = ImageSet.scan(photos, labelled=True)
    kept = KeptPixels()
    kept.plan(itertools.repeat((names(images), geometries(small)), 2))
    said = []
    for _ in range(2):
        caplog.clear()
        with caplog.at_level(logging.INFO, logger="tlaudit"):
            read(images, small, kept=kept)
        said.append([record.message for record in caplog.records if "odd.jpg" in record.message])
    assert said[0] == said[1] != []


def test_leaving_early_harms_nothing(photos: Path, small: Preprocessing) -> None:
    images = ImageSet.scan(photos, labelled=True)
    kept = KeptPixels()
    kept.plan(itertools.repeat((names(images), geometries(small)), 2))
    for _ in ImageStream(images, [small], batch_size=4, workers=2, kept=kept):
        break
    assert same(read(images, small, kept=kept), read(images, small))


def test_a_plan_for_many_files_is_small():
    files = [f"folder/{number}.png" for number in range(50_000)]
    wanted = [{(16, 16, "bilinear"), (20, 16, "bilinear")}, {(16, 16, "bilinear")}, {(8, 8, "bilinear")}]
    kept = KeptPixels()
    tracemalloc.start()
    try:
        kept.plan((iter(files), one) for one in wanted)
        size, _ = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert size < 60 * len(files), "a set of geometries for each file takes more than 200 bytes"
    assert kept._wanted(files[-1]) == wanted[1] | wanted[2]
    kept.plan([(files[:1], wanted[0]), (files[:1], {(4, 4, "bilinear")})])
    assert kept._wanted(files[0]) == wanted[1] | wanted[2] | {(4, 4, "bilinear")}
    assert kept._wanted("another") == frozenset()


def test_a_plan_is_no_longer_than_there_is_room_for():
    kept = KeptPixels(budget=100 * 3 * 16 * 16)
    kept.plan(itertools.repeat(([f"{number}.png" for number in range(50_000)], {(16, 16, "bilinear")}), 2))
    assert len(kept._later) == 100
    assert kept._wanted("99.png") == {(16, 16, "bilinear")}
    assert not kept._wanted("100.png")
