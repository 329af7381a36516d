"""Composites: what is pasted where, that nothing moves it, and the folder they are written to."""

from __future__ import annotations

import csv
import multiprocessing
import weakref
from collections import Counter
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
import torch
from PIL import Image
from torchvision.transforms import CenterCrop, Compose, PILToTensor, Resize

from tlaudit.data.composite_files import COLUMNS, CompositeFolder, CompositeRow, refuse_folder
from tlaudit.data.composites import (
    GREY,
    Composite,
    CompositeBatch,
    CompositeStream,
    OverlayPool,
    background,
    overlay_preprocessing,
)
from tlaudit.data.images import ImageSet
from tlaudit.errors import DataError, UsageError
from tlaudit.progress import silent

if TYPE_CHECKING:
    from tlaudit.results import Preprocessing

SIDE, OVERLAY = 32, 13
SCALE = 0.4
ANT, BEE, CAT = 4, 7, 2
"""Class indices of the folders, in another order than theirs."""


def source_of(root: Path) -> tuple[ImageSet, torch.Tensor]:
    images = ImageSet.scan(root, labelled=True)
    index = {"ant": ANT, "bee": BEE, "cat": CAT}
    return images, torch.tensor([index[str(item.folder)] for item in images.items])


def paint(root: Path, count: int, size: tuple[int, int] = (50, 40), start: int = 0) -> Path:
    """Write pictures of noise straight into a folder."""
    root.mkdir(parents=True, exist_ok=True)
    for number in range(start, start + count):
        values = np.random.default_rng([1, number]).integers(0, 256, (size[1], size[0], 3), dtype=np.uint8)
        Image.fromarray(values).save(root / f"{number:03d}.png")
    return root


@pytest.fixture
def targets(tmp_path: Path) -> Path:
    return paint(tmp_path / "targets", 9)


def pool_of(root: Path, small: Preprocessing, **changed: Any) -> OverlayPool:
    given = {"scale": SCALE, "overlays": 1000, "seed": 0, "batch_size": 4, "workers": 0, "strict": False}
    images = ImageSet.scan(root, labelled=False)
    return OverlayPool.load(images, small, progress=silent, **(given | changed))


def stream_of(
    root: Path, pool: OverlayPool, small: Preprocessing, classes: tuple[int, ...] = (BEE, CAT, ANT), **changed: Any
) -> CompositeStream:
    given = {"per_class": 20, "seed": 0, "batch_size": 6, "workers": 0, "strict": False}
    return CompositeStream(*source_of(root), classes, pool, small, **(given | changed))


def drawn(stream: CompositeStream) -> dict[str, tuple[Composite, torch.Tensor, torch.Tensor, torch.Tensor]]:
    found = {}
    for batch in stream:
        rows = zip(batch.composites, batch.pixels, batch.on_grey, background(batch.composites, SIDE), strict=True)
        found.update({composite.id: (composite, *tensors) for composite, *tensors in rows})
    return found


def assert_equal(first: dict[str, Any], second: dict[str, Any]) -> None:
    assert list(first) == list(second)
    for one, two in zip(first.values(), second.values(), strict=True):
        assert one[0] == two[0]
        assert all(torch.equal(a, b) for a, b in zip(one[1:], two[1:], strict=True))


# What is drawn


def test_agrees_with_reference(photos: Path, targets: Path, small: Preprocessing) -> None:
    pool = pool_of(targets, small)
    view = Compose([Resize(36), CenterCrop(SIDE), PILToTensor()])
    reduced = Compose([Resize(round(0.4 * 36)), CenterCrop(OVERLAY), PILToTensor()])
    source, labels = source_of(photos)
    target = ImageSet.scan(targets, labelled=False)
    found = drawn(stream_of(photos, pool, small))
    assert len(found) == 60
    for composite, pixels, on_grey, around in found.values():
        assert int(labels[composite.source]) == composite.class_index
        expected = view(Image.open(source.items[composite.source].path).convert("RGB"))
        overlay = reduced(Image.open(target.items[composite.target].path).convert("RGB"))
        grey = torch.full_like(expected, GREY)
        outside = torch.ones(SIDE, SIDE, dtype=torch.bool)
        for line in range(composite.height):
            for column in range(composite.width):
                expected[:, composite.y + line, composite.x + column] = overlay[:, line, column]
                grey[:, composite.y + line, composite.x + column] = overlay[:, line, column]
                outside[composite.y + line, composite.x + column] = False
        assert torch.equal(pixels, expected)
        assert torch.equal(on_grey, grey)
        assert torch.equal(around, outside)


@pytest.mark.parametrize(("batch_size", "workers"), [(1, 0), (7, 1), (16, 2), (1000, 2)])
def test_is_blind_to_batch_size_and_workers(
    photos: Path, targets: Path, small: Preprocessing, batch_size: int, workers: int
) -> None:
    pool = pool_of(targets, small)
    other = pool_of(targets, small, batch_size=batch_size, workers=workers)
    assert torch.equal(pool.pixels, other.pixels)
    assert torch.equal(pool.items, other.items)
    assert pool.record == other.record
    first, second = (
        stream_of(photos, pool, small),
        stream_of(photos, other, small, batch_size=batch_size, workers=workers),
    )
    assert_equal(drawn(first), drawn(second))
    assert first.record == second.record


def test_is_blind_to_other_classes_and_to_more_composites(photos: Path, targets: Path, small: Preprocessing) -> None:
    pool = pool_of(targets, small)
    everything = drawn(stream_of(photos, pool, small))
    alone = drawn(stream_of(photos, pool, small, (CAT,), per_class=3))
    assert sorted(alone) == [f"{CAT:04d}-{number:04d}" for number in range(3)]
    assert_equal(alone, {name: everything[name] for name in alone})


def test_another_seed_draws_others(photos: Path, targets: Path, small: Preprocessing) -> None:
    pool = pool_of(targets, small)
    first, again, other = (drawn(stream_of(photos, pool, small, seed=seed)) for seed in (3, 3, 4))
    assert_equal(first, again)
    assert first.keys() == other.keys()
    assert sum(first[name][0] == other[name][0] for name in first) < 3


def test_leaves_random_state_alone(photos: Path, targets: Path, small: Preprocessing) -> None:
    before = torch.random.get_rng_state(), np.random.get_state()[1].copy()
    drawn(stream_of(photos, pool_of(targets, small, overlays=3), small))
    assert torch.equal(before[0], torch.random.get_rng_state())
    assert np.array_equal(before[1], np.random.get_state()[1])


# In which batches


def test_batches(photos: Path, targets: Path, small: Preprocessing) -> None:
    stream = stream_of(photos, pool_of(targets, small), small, per_class=11, batch_size=5)
    batches = list(stream)
    assert len(stream) == 33 == sum(len(batch.composites) for batch in batches)
    assert [len(batch.composites) for batch in batches] == [5] * 6 + [3]
    for batch in batches:
        count = len(batch.composites)
        for pixels in (batch.pixels, batch.on_grey):
            assert pixels.dtype == torch.uint8
            assert pixels.shape == (count, 3, SIDE, SIDE)
            assert pixels.is_contiguous(memory_format=torch.channels_last)
        assert background(batch.composites, SIDE).shape == (count, SIDE, SIDE)
    order = [(c.class_index, c.source, c.number) for batch in batches for c in batch.composites]
    places = {BEE: 0, CAT: 1, ANT: 2}
    assert order == sorted(order, key=lambda key: (places[key[0]], *key[1:]))


def test_batches_are_the_callers_own(photos: Path, targets: Path, small: Preprocessing) -> None:
    pool = pool_of(targets, small)
    expected = drawn(stream_of(photos, pool, small))
    spoilt = []
    for batch in stream_of(photos, pool, small):
        spoilt.append({c.id: picture.clone() for c, picture in zip(batch.composites, batch.pixels, strict=True)})
        batch.pixels.zero_()
        batch.on_grey.zero_()
    found = {name: picture for part in spoilt for name, picture in part.items()}
    assert all(torch.equal(found[name], expected[name][1]) for name in expected)


def test_no_batch_is_kept(photos: Path, targets: Path, small: Preprocessing) -> None:
    given = []
    for batch in stream_of(photos, pool_of(targets, small), small, batch_size=2):
        given.append(weakref.ref(batch.pixels))
        assert sum(reference() is not None for reference in given) <= 2
    assert len(given) == 30


def test_every_source_image_is_decoded_once(
    photos: Path, targets: Path, small: Preprocessing, monkeypatch: pytest.MonkeyPatch
) -> None:
    import tlaudit.data.decoding as decoding

    seen: Counter[str] = Counter()
    plain = decoding.decode

    def counting(data: bytes, promised: str) -> Image.Image:
        seen[str(hash(data))] += 1
        return plain(data, promised)

    pool = pool_of(targets, small)
    monkeypatch.setattr(decoding, "decode", counting)
    stream = stream_of(photos, pool, small, batch_size=3)
    drawn(stream)
    assert len(seen) == 23 == stream.record.images
    assert set(seen.values()) == {1}


def test_a_pass_is_run_once_and_may_be_left(photos: Path, targets: Path, small: Preprocessing) -> None:
    stream = stream_of(photos, pool_of(targets, small), small, workers=2, batch_size=3)
    running = iter(stream)
    next(running)
    with pytest.raises(RuntimeError, match="read once"):
        iter(stream)
    with pytest.raises(RuntimeError, match="run the pass to its end"):
        _ = stream.record
    del running
    assert multiprocessing.active_children() == []


# Which images, which places


def test_few_images_come_round_again(photos: Path, targets: Path, small: Preprocessing) -> None:
    images, labels = source_of(photos)
    images = replace(images, items=images.items[:1])
    pool = pool_of(targets, small)
    given = {"seed": 0, "batch_size": 3, "workers": 0, "strict": False}
    stream = CompositeStream(images, labels[:1], (ANT,), pool, small, per_class=5, **given)
    plans = [composite for composite, *_ in drawn(stream).values()]
    assert [(plan.number, plan.source) for plan in plans] == [(number, 0) for number in range(5)]
    assert len({(plan.target, plan.x, plan.y) for plan in plans}) == 5
    assert stream.record.images == 1


def test_images_are_used_equally_often(photos: Path, targets: Path, small: Preprocessing) -> None:
    pool = pool_of(targets, small)
    found = drawn(stream_of(photos, pool, small, (ANT, CAT), per_class=21))
    # Eight pictures of ants, seven of cats.
    for index, expected in ((ANT, [2, 2, 2, 3, 3, 3, 3, 3]), (CAT, [3] * 7)):
        counts = Counter(c.source for c, *_ in found.values() if c.class_index == index)
        assert sorted(counts.values()) == expected


def test_many_images_are_sampled(photos: Path, targets: Path, small: Preprocessing) -> None:
    pool = pool_of(targets, small)
    chosen = []
    for seed in range(6):
        stream = stream_of(photos, pool, small, (ANT,), per_class=3, seed=seed)
        plans = [composite for composite, *_ in drawn(stream).values()]
        assert len({plan.source for plan in plans}) == 3 == stream.record.images
        chosen.append(frozenset(plan.source for plan in plans))
    assert len(set(chosen)) > 3


def test_places_are_uniform_and_inside(photos: Path, targets: Path, small: Preprocessing) -> None:
    pool = pool_of(targets, small)
    plans = [c for c, *_ in drawn(stream_of(photos, pool, small, per_class=500, batch_size=300)).values()]
    assert {(plan.width, plan.height) for plan in plans} == {(OVERLAY, OVERLAY)}
    for along in ("x", "y"):
        counts = Counter(getattr(plan, along) for plan in plans)
        # Twenty places, 75 composites at each on average, give or take 8.
        assert sorted(counts) == list(range(SIDE - OVERLAY + 1))
        assert 40 < min(counts.values()) <= max(counts.values()) < 110
    assert abs(np.corrcoef([plan.x for plan in plans], [plan.y for plan in plans])[0, 1]) < 0.1
    assert sorted(Counter(plan.target for plan in plans)) == list(range(9))


# Overlays


def test_pool_takes_everything_or_a_sample(targets: Path, small: Preprocessing) -> None:
    whole = pool_of(targets, small, overlays=9)
    assert whole.items.tolist() == list(range(9))
    assert whole.pixels.shape == (9, 3, OVERLAY, OVERLAY)
    assert whole.pixels.is_contiguous(memory_format=torch.channels_last)
    some = [pool_of(targets, small, overlays=4, seed=seed) for seed in range(5)]
    for pool in some:
        items = pool.items.tolist()
        assert len(set(items)) == 4 == pool.record.images
        assert items == sorted(items)
        assert torch.equal(pool.pixels, whole.pixels[pool.items])
    assert len({tuple(pool.items.tolist()) for pool in some}) > 2


def test_sampled_overlays_are_named_by_item(photos: Path, targets: Path, small: Preprocessing) -> None:
    pool = pool_of(targets, small, overlays=3, seed=1)
    whole = pool_of(targets, small)
    for composite, pixels, *_ in drawn(stream_of(photos, pool, small)).values():
        assert composite.target in pool.items.tolist()
        window = pixels[:, composite.y : composite.y + OVERLAY, composite.x : composite.x + OVERLAY]
        assert torch.equal(window, whole.pixels[composite.target])


def test_unreadable_overlay_is_left_out(photos: Path, targets: Path, small: Preprocessing) -> None:
    (targets / "004.png").write_bytes(b"\x89PNG\r\n\x1a\n nothing")
    pool = pool_of(targets, small)
    assert pool.items.tolist() == [0, 1, 2, 3, 5, 6, 7, 8]
    assert [skipped.file for skipped in pool.record.skipped] == ["004.png"]
    assert {c.target for c, *_ in drawn(stream_of(photos, pool, small)).values()} == set(pool.items.tolist())
    with pytest.raises(DataError, match=r"1 files cannot be used, and none may be skipped: 004\.png"):
        pool_of(targets, small, strict=True)


def test_no_overlay_is_left(tmp_path: Path, small: Preprocessing) -> None:
    (tmp_path / "broken.png").write_bytes(b"nothing")
    with pytest.raises(DataError, match="none of 1 images can be used"):
        pool_of(tmp_path, small)


def test_single_target_image(photos: Path, tmp_path: Path, small: Preprocessing) -> None:
    pool = pool_of(paint(tmp_path / "one", 1), small)
    found = drawn(stream_of(photos, pool, small))
    assert {composite.target for composite, *_ in found.values()} == {0}
    assert len({(composite.x, composite.y) for composite, *_ in found.values()}) > 20


def test_pictures_of_one_pixel(tmp_path: Path, small: Preprocessing) -> None:
    (tmp_path / "source" / "ant").mkdir(parents=True)
    Image.new("RGB", (1, 1), (200, 10, 30)).save(tmp_path / "source" / "ant" / "dot.png")
    (tmp_path / "target").mkdir()
    Image.new("RGB", (1, 1), (0, 250, 90)).save(tmp_path / "target" / "dot.png")
    pool = pool_of(tmp_path / "target", small)
    for _, pixels, on_grey, around in drawn(stream_of(tmp_path / "source", pool, small, (ANT,))).values():
        assert pixels[:, around].unique(dim=1).flatten().tolist() == [200, 10, 30]
        assert pixels[:, ~around].unique(dim=1).flatten().tolist() == [0, 250, 90]
        assert on_grey[:, around].unique().tolist() == [GREY]
        assert int((~around).sum()) == OVERLAY**2


@pytest.mark.parametrize(
    ("resize", "crop", "scale", "expected"),
    [(256, 224, 0.4, (102, 90)), (224, 224, 0.5, (112, 112)), (256, 224, 0.001, (1, 1)), (16, 32, 0.5, (16, 16))],
)
def test_overlay_preprocessing(
    small: Preprocessing, resize: int, crop: int, scale: float, expected: tuple[int, int]
) -> None:
    view = overlay_preprocessing(small.model_copy(update={"resize": resize, "crop": crop}), scale)
    assert view.geometry == (*expected, "bilinear")


@pytest.mark.parametrize("scale", [0, 1, -1, 2, float("nan"), float("inf")])
def test_refuses_impossible_scale(targets: Path, small: Preprocessing, scale: float) -> None:
    with pytest.raises(UsageError, match="expected an overlay scale between 0 and 1, both excluded, got"):
        pool_of(targets, small, scale=scale)


def test_refuses_scale_without_background(targets: Path, small: Preprocessing) -> None:
    with pytest.raises(UsageError, match="hides all of a picture of 32 x 32 pixels"):
        pool_of(targets, small, scale=0.99)
    with pytest.raises(UsageError, match="hides all of a picture of 1 x 1 pixels"):
        pool_of(targets, small.model_copy(update={"crop": 1}))


def test_refuses_impossible_counts(photos: Path, targets: Path, small: Preprocessing) -> None:
    with pytest.raises(UsageError, match="at least 1 overlay, got 0"):
        pool_of(targets, small, overlays=0)
    with pytest.raises(UsageError, match="at least 1 composite a class, got 0"):
        stream_of(photos, pool_of(targets, small), small, per_class=0)


# Source images that cannot be used


def test_unusable_images_are_left_out_of_the_plan(photos: Path, targets: Path, small: Preprocessing) -> None:
    pool = pool_of(targets, small)
    names = [item.name for item in source_of(photos)[0].items]
    known = {names[0], names[2]}
    stream = stream_of(photos, pool, small, unusable=known)
    found = drawn(stream)
    assert len(found) == len(stream) == 60
    assert not {names[composite.source] for composite, *_ in found.values()} & known
    assert stream.record.images == 21
    untouched = drawn(stream_of(photos, pool, small, (BEE,)))
    assert_equal(untouched, {name: found[name] for name in untouched})


def test_class_without_usable_image_has_no_composites(photos: Path, targets: Path, small: Preprocessing) -> None:
    pool = pool_of(targets, small)
    ants = {item.name for item in source_of(photos)[0].items if item.folder == "ant"}
    stream = stream_of(photos, pool, small, unusable=ants)
    assert len(stream) == 40
    assert {composite.class_index for composite, *_ in drawn(stream).values()} == {BEE, CAT}
    with pytest.raises(DataError, match="none of the 2 classes asked for has an image that can be used"):
        stream_of(photos, pool, small, (ANT, 99), unusable=ants)


@pytest.mark.parametrize("batch_size", [1, 3, 50])
def test_image_found_unreadable_midway(photos: Path, targets: Path, small: Preprocessing, batch_size: int) -> None:
    pool = pool_of(targets, small)
    expected = drawn(stream_of(photos, pool, small))
    images, _ = source_of(photos)
    broken = [3, 9, 22]
    for item in broken:
        images.items[item].path.write_bytes(b"nothing")
    stream = stream_of(photos, pool, small, batch_size=batch_size)
    found = drawn(stream)
    assert_equal(found, {name: row for name, row in expected.items() if row[0].source not in broken})
    assert len(found) < len(stream) == 60
    assert {skipped.file for skipped in stream.record.skipped} == {images.items[item].name for item in broken}
    with pytest.raises(DataError, match="3 files cannot be used, and none may be skipped"):
        drawn(stream_of(photos, pool, small, batch_size=batch_size, strict=True))


# The folder they are written to

HOSTILE = ['=1+1, "mug"', "line\nbreak", "return\rnaïve 猫 \x00", ""]


def describe(composite: Composite) -> CompositeRow:
    return CompositeRow(
        class_name=HOSTILE[composite.number % 3],
        source_image=f"-ant,/{composite.source}.png",
        target_image=HOSTILE[(composite.number + 1) % 3],
        target_label=HOSTILE[composite.number % 4],
    )


@pytest.fixture
def batches(photos: Path, targets: Path, small: Preprocessing) -> list[CompositeBatch]:
    return list(stream_of(photos, pool_of(targets, small), small, (BEE, CAT), per_class=10, batch_size=7))


def read_manifest(folder: Path) -> list[dict[str, str]]:
    with (folder / "composites.csv").open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


def test_saved_composites_read_back(batches: list[CompositeBatch], tmp_path: Path) -> None:
    with CompositeFolder(tmp_path / "new") as folder:
        for batch in batches:
            folder.add(batch, describe)
    rows = read_manifest(tmp_path / "new")
    pairs = [pair for b in batches for pair in zip(b.composites, b.pixels, strict=True)]
    for row, (composite, pixels) in zip(rows, pairs, strict=True):
        assert row["file"] == f"{composite.class_index:04d}/{composite.id}.png"
        with Image.open(tmp_path / "new" / row["file"]) as picture:
            assert (picture.format, picture.mode) == ("PNG", "RGB")
            assert torch.equal(torch.from_numpy(np.array(picture)).permute(2, 0, 1), pixels)
        numbers = ("class_index", "x", "y", "width", "height")
        assert [row[name] for name in numbers] == [str(getattr(composite, name)) for name in numbers]
        assert row["id"] == composite.id
        assert {name: row[name] for name in CompositeRow._fields} == describe(composite)._asdict()
    assert (tmp_path / "new" / "composites.csv").read_text(encoding="utf-8").split("\n")[0] == ",".join(COLUMNS)
    assert sorted(path.name for path in (tmp_path / "new").iterdir()) == ["0002", "0007", "composites.csv"]
    assert len(list((tmp_path / "new").rglob("*.png"))) == 20


def test_half_a_surrogate_pair_is_written(batches: list[CompositeBatch], tmp_path: Path) -> None:
    with CompositeFolder(tmp_path / "new") as folder:
        folder.add(batches[0], lambda _: CompositeRow("caf\udce9", "a", "b", ""))
    assert {row["class_name"] for row in read_manifest(tmp_path / "new")} == {r"caf\udce9"}


def test_nothing_to_save_is_an_empty_manifest(tmp_path: Path) -> None:
    folder = CompositeFolder(tmp_path / "new")
    folder.close()
    folder.close()
    assert read_manifest(tmp_path / "new") == []
    assert [path.name for path in (tmp_path / "new").iterdir()] == ["composites.csv"]


def test_nothing_is_left_of_a_broken_off_run_and_an_earlier_one_is_as_it_was(
    batches: list[CompositeBatch], tmp_path: Path
) -> None:
    here = tmp_path / "here"
    here.mkdir()

    def interrupted() -> None:
        with CompositeFolder(here / "new") as folder:
            folder.add(batches[0], describe)
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        interrupted()
    assert list(here.iterdir()) == []
    with CompositeFolder(here / "new") as folder:
        folder.add(batches[1], describe)
    before = sorted(here.rglob("*"))
    with pytest.raises(KeyboardInterrupt):
        interrupted()
    assert sorted(here.rglob("*")) == before


def test_composites_of_an_earlier_run_are_replaced(batches: list[CompositeBatch], tmp_path: Path) -> None:
    here = tmp_path / "here"
    here.mkdir()
    for batch in batches[:2]:
        with CompositeFolder(here / "there") as folder:
            folder.add(batch, describe)
    expected = {composite.id for composite in batches[1].composites}
    assert {row["id"] for row in read_manifest(here / "there")} == expected
    assert {path.stem for path in here.rglob("*.png")} == expected
    assert [path.name for path in here.iterdir()] == ["there"]


def test_missing_parents_are_made(batches: list[CompositeBatch], tmp_path: Path) -> None:
    with CompositeFolder(tmp_path / "no" / "where" / "new") as folder:
        folder.add(batches[0], describe)
    assert len(read_manifest(tmp_path / "no" / "where" / "new")) == 7


@pytest.mark.parametrize(
    "stranger", ["notes.txt", "0001/mine.png", "0001/0001-0002.png", "0002/0002-0001.png", "0001/0001-0001.png/x"]
)
def test_what_is_not_ours_is_not_touched(tmp_path: Path, stranger: str) -> None:
    (tmp_path / "mine" / stranger).parent.mkdir(parents=True)
    (tmp_path / "mine" / stranger).write_text("mine")
    (tmp_path / "mine" / "composites.csv").write_text(",".join(COLUMNS) + '\n"0001-0001","0001/0001-0001.png"\n')
    held = Path(stranger).parts[0]
    if stranger.endswith("/x"):
        (tmp_path / "mine" / "0001" / "notes").touch()
    with pytest.raises(UsageError, match=rf"or one of an earlier run; this one holds {held}"):
        CompositeFolder(tmp_path / "mine")
    assert (tmp_path / "mine" / stranger).read_text() == "mine"


@pytest.mark.parametrize(
    ("mine", "held"),
    [
        ("2024/2024-0001.png", "2024"),
        ("2024/", "2024"),
        ("composites.csv", "composites.csv"),
    ],
    ids=["a picture of the same form", "an empty folder", "a table of the same name"],
)
def test_what_only_looks_like_ours_is_not_touched(tmp_path: Path, mine: str, held: str) -> None:
    path = tmp_path / "years" / mine
    (path if mine.endswith("/") else path.parent).mkdir(parents=True)
    if not mine.endswith("/"):
        path.write_text("id,file\nholiday,0001/0001-0001.png\n")
    with pytest.raises(UsageError, match=rf"years: expected a new or empty folder .*; this one holds {held}$"):
        refuse_folder(tmp_path / "years")
    assert path.exists()


@pytest.mark.parametrize("linked", ["composites.csv", "0001/0001-0001.png", "0001"])
def test_links_among_composites_are_not_ours(batches: list[CompositeBatch], tmp_path: Path, linked: str) -> None:
    with CompositeFolder(tmp_path / "there") as folder:
        folder.add(batches[0], describe)
    refuse_folder(tmp_path / "there")
    first = min((tmp_path / "there").glob("*/*.png"))
    entry = {"composites.csv": tmp_path / "there" / linked, "0001": first.parent}.get(linked, first)
    entry.rename(tmp_path / "elsewhere")
    entry.symlink_to(tmp_path / "elsewhere")
    with pytest.raises(UsageError, match=r"or one of an earlier run; this one holds "):
        refuse_folder(tmp_path / "there")
    assert entry.is_symlink()


def test_refuses_places_it_cannot_write_to(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "file").write_text("mine")
    with pytest.raises(UsageError, match="expected a folder for the composites, this is a file"):
        CompositeFolder(tmp_path / "file")
    with pytest.raises(UsageError, match=r"file is no folder"):
        CompositeFolder(tmp_path / "file" / "new")
    with pytest.raises(UsageError, match="composites cannot be written there: File name too long"):
        CompositeFolder(tmp_path / ("x" * 300))
    monkeypatch.setattr("tlaudit.data.composite_files.os.access", lambda *_: False)
    with pytest.raises(UsageError, match=r"composites cannot be written there: .* is not writable"):
        CompositeFolder(tmp_path / "new")
    assert [path.name for path in tmp_path.rglob("*")] == ["file"]


def test_refusing_makes_nothing(tmp_path: Path) -> None:
    refuse_folder(tmp_path / "new")
    assert list(tmp_path.iterdir()) == []


def test_empty_folder_is_taken(batches: list[CompositeBatch], tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    with CompositeFolder(tmp_path / "empty") as folder:
        folder.add(batches[0], describe)
    assert len(read_manifest(tmp_path / "empty")) == 7


def test_failing_disk_is_told(batches: list[CompositeBatch], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: Any, **__: Any) -> None:
        raise OSError(28, "No space left on device")

    folder = CompositeFolder(tmp_path / "here" / "a")
    with monkeypatch.context() as patch:
        patch.setattr(Image.Image, "save", full)
        with pytest.raises(DataError, match="composites cannot be written: No space left on device"), folder:
            folder.add(batches[0], describe)
    assert list((tmp_path / "here").iterdir()) == []
    folder = CompositeFolder(tmp_path / "here" / "b")
    monkeypatch.setattr("tlaudit.data.composite_files.os.fsync", full)
    with pytest.raises(DataError, match="composites cannot be written: No space left on device"), folder:
        folder.add(batches[0], describe)
    assert list((tmp_path / "here").iterdir()) == []
