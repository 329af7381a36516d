from __future__ import annotations

import dataclasses
import gc
import hashlib
import logging
import multiprocessing
import os
import random
import shutil
import signal
import struct
import subprocess
import sys
import time
from collections import namedtuple
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pytest
import torch
from PIL import Image
from torchvision.transforms import CenterCrop, Compose, PILToTensor, Resize

from tlaudit.data import workers as workers_module
from tlaudit.data.account import fingerprint
from tlaudit.data.images import Batch, ImageSet, ImageStream
from tlaudit.errors import DataError, UsageError

if TYPE_CHECKING:
    from collections.abc import Callable

    from tlaudit.results import DataRecord, Preprocessing

    Draw = Callable[..., Image.Image]

REFERENCE = Compose([Resize(36), CenterCrop(32), PILToTensor()])


def read_all(stream: ImageStream) -> tuple[torch.Tensor, torch.Tensor, DataRecord]:
    """All indices, all pixels of the first geometry, and the record."""
    batches = list(stream)
    pixels = torch.cat([next(iter(batch.pixels.values())) for batch in batches])
    return torch.cat([batch.index for batch in batches]), pixels, stream.record()


def stream_of(root: Path, small: Preprocessing, *, batch_size: int = 4, workers: int = 0, **more: bool) -> ImageStream:
    return ImageStream(ImageSet.scan(root, labelled=False), [small], batch_size=batch_size, workers=workers, **more)


def open_files() -> int:
    return len(list(Path("/proc/self/fd").iterdir()))


# Finding images


def test_scan_of_a_labelled_set(photos: Path) -> None:
    (photos / "empty").mkdir()
    (photos / "notes.txt").touch()
    images = ImageSet.scan(photos, labelled=True)
    assert (images.folders, images.empty_folders) == (("ant", "bee", "cat"), ("empty",))
    assert (images.available, images.other_files, images.unread) == (23, 1, ())
    assert [item.name for item in images.items] == sorted(item.name for item in images.items)
    assert all(item.path == photos / item.name and item.name.startswith(f"{item.folder}/") for item in images.items)


def test_unlabelled_set_may_be_flat_or_mixed(photos: Path, noise: Draw) -> None:
    noise().save(photos / "loose.png")
    images = ImageSet.scan(photos, labelled=False)
    assert images.folders == ("ant", "bee", "cat")
    assert [item.folder for item in images.items].count(None) == 1


def test_labelled_set_with_loose_images_is_refused(photos: Path, noise: Draw) -> None:
    noise().save(photos / "loose.png")
    with pytest.raises(UsageError, match=r"expected a folder for each class .*, but loose\.png has none; move"):
        ImageSet.scan(photos, labelled=True)


@pytest.mark.parametrize("labelled", [True, False])
def test_nothing_to_read(tmp_path: Path, labelled: bool) -> None:
    (tmp_path / "a" / "b").mkdir(parents=True)
    (tmp_path / "a" / "x.txt").touch()
    with pytest.raises(DataError, match=r"expected images \(\.jpg, .*\), found none; 1 other files"):
        ImageSet.scan(tmp_path, labelled=labelled)
    with pytest.raises(
        UsageError,
        match=r"expected a folder of images, tar shards \(\.tar\) or a manifest .*, got nothing of that name",
    ):
        ImageSet.scan(tmp_path / "nowhere", labelled=labelled)
    with pytest.raises(UsageError, match="expected a folder of images, tar shards .*, got a file"):
        ImageSet.scan(tmp_path / "a" / "x.txt", labelled=labelled)


def test_limit(photos: Path) -> None:
    everything = ImageSet.scan(photos, labelled=True)
    some = ImageSet.scan(photos, labelled=True, limit=7, seed=3)
    assert (len(some.items), some.available, some.folders) == (7, 23, everything.folders)
    assert set(some.items) < set(everything.items)
    assert some.items == ImageSet.scan(photos, labelled=True, limit=7, seed=3).items
    with pytest.raises(UsageError, match="at least 1, got 0"):
        ImageSet.scan(photos, labelled=True, limit=0)


# Reading them


def test_pixels_are_torchvisions_in_order(photos: Path, small: Preprocessing) -> None:
    images = ImageSet.scan(photos, labelled=True)
    index, pixels, _ = read_all(ImageStream(images, [small], batch_size=5, workers=2))
    assert index.tolist() == list(range(23))
    for item, found in zip(images.items, pixels, strict=True):
        assert torch.equal(found, REFERENCE(Image.open(item.path).convert("RGB")))


@pytest.mark.parametrize(("batch_size", "workers"), [(1, 0), (5, 1), (5, 3), (7, 2), (23, 2), (100, 2)])
def test_nothing_depends_on_batch_size_or_workers(
    photos: Path, small: Preprocessing, batch_size: int, workers: int
) -> None:
    (photos / "bee" / "broken.jpg").write_bytes(b"\xff\xd8\xff nothing")
    index, pixels, record = read_all(stream_of(photos, small, batch_size=4))
    other_index, other_pixels, other_record = read_all(stream_of(photos, small, batch_size=batch_size, workers=workers))
    assert torch.equal(index, other_index)
    assert torch.equal(pixels, other_pixels)
    assert record == other_record
    assert (record.images, len(record.skipped)) == (23, 1)


@pytest.mark.parametrize("method", multiprocessing.get_all_start_methods())
def test_every_start_method(photos: Path, small: Preprocessing, monkeypatch: pytest.MonkeyPatch, method: str) -> None:
    context = multiprocessing.get_context(method)
    monkeypatch.setattr(workers_module.multiprocessing, "get_context", lambda: context)
    _, expected, record = read_all(stream_of(photos, small))
    _, found, other = read_all(stream_of(photos, small, workers=2))
    assert torch.equal(expected, found)
    assert record == other


def test_one_tensor_for_each_geometry(photos: Path, small: Preprocessing) -> None:
    images = ImageSet.scan(photos, labelled=True)
    same = small.model_copy(update={"mean": (0.1, 0.2, 0.3)})
    large = small.model_copy(update={"resize": 40, "crop": 39, "interpolation": "bicubic"})
    for workers in (0, 2):
        batches = list(ImageStream(images, [small, same, large], batch_size=10, workers=workers))
        for batch in batches:
            assert list(batch.pixels) == [small.geometry, large.geometry]
            assert batch.pixels[large.geometry].shape == (len(batch.index), 3, 39, 39)
        alone = torch.cat([b.pixels[large.geometry] for b in ImageStream(images, [large], batch_size=9, workers=0)])
        assert torch.equal(torch.cat([batch.pixels[large.geometry] for batch in batches]), alone)


def test_batches_are_uint8_channels_last_and_the_callers_own(photos: Path, small: Preprocessing) -> None:
    for workers in (0, 2):
        batches = list(stream_of(photos, small, workers=workers))
        copies = [batch.pixels[small.geometry].clone() for batch in batches]
        for batch, copy in zip(batches, copies, strict=True):
            pixels = batch.pixels[small.geometry]
            assert (pixels.dtype, batch.index.dtype) == (torch.uint8, torch.int64)
            assert pixels.is_contiguous(memory_format=torch.channels_last)
            assert torch.equal(pixels, copy)
        batches[0].pixels[small.geometry].zero_()
        assert torch.equal(batches[1].pixels[small.geometry], copies[1])


def test_length_counts_batches(photos: Path, small: Preprocessing) -> None:
    assert [len(stream_of(photos, small, batch_size=size)) for size in (1, 4, 22, 23, 24)] == [23, 6, 2, 1, 1]


def test_random_numbers_are_left_alone(photos: Path, small: Preprocessing) -> None:
    before = torch.get_rng_state(), random.getstate(), np.random.get_state()[1].tolist()
    ImageSet.scan(photos, labelled=True, limit=9, seed=1)
    list(stream_of(photos, small, workers=2))
    assert torch.equal(before[0], torch.get_rng_state())
    assert before[1:] == (random.getstate(), np.random.get_state()[1].tolist())


def test_a_stream_is_read_once_and_recorded_at_its_end(photos: Path, small: Preprocessing) -> None:
    stream = stream_of(photos, small)
    with pytest.raises(RuntimeError, match="run the pass to its end first"):
        stream.record()
    next(iter(stream))
    with pytest.raises(RuntimeError, match="run the pass to its end first"):
        stream.record()
    with pytest.raises(RuntimeError, match="read once"):
        iter(stream)


@pytest.mark.parametrize(("batch_size", "workers"), [(0, 1), (4, -1)])
def test_refuses_batch_size_and_workers_out_of_range(
    photos: Path, small: Preprocessing, batch_size: int, workers: int
) -> None:
    with pytest.raises(UsageError, match="expected a batch size of at least 1"):
        stream_of(photos, small, batch_size=batch_size, workers=workers)


# Fingerprint


def test_fingerprint_is_that_of_names_and_contents(photos: Path, small: Preprocessing) -> None:
    record = read_all(stream_of(photos, small, workers=2))[2]
    assert record.fingerprint == fingerprint(ImageSet.scan(photos, labelled=True))
    by_hand = hashlib.sha256()
    for name in sorted(str(path.relative_to(photos)) for path in photos.rglob("*.*")):
        content = (photos / name).read_bytes()
        by_hand.update(f"{name}\t{len(content)}\t{hashlib.sha256(content).hexdigest()}\n".encode())
    assert record.fingerprint == by_hand.hexdigest()


def test_fingerprint_is_blind_to_place_and_time(photos: Path, tmp_path: Path) -> None:
    shutil.copytree(photos, tmp_path / "moved" / "elsewhere", copy_function=shutil.copyfile)
    os.utime(photos / "ant" / "00.jpg", (1, 1))
    assert fingerprint(ImageSet.scan(photos, labelled=True)) == fingerprint(
        ImageSet.scan(tmp_path / "moved" / "elsewhere", labelled=True)
    )


def test_fingerprint_sees_names_contents_and_the_sample(photos: Path) -> None:
    seen = {fingerprint(ImageSet.scan(photos, labelled=True))}
    seen.add(fingerprint(ImageSet.scan(photos, labelled=True, limit=9)))
    (photos / "ant" / "00.jpg").rename(photos / "ant" / "000.jpg")
    seen.add(fingerprint(ImageSet.scan(photos, labelled=True)))
    with (photos / "ant" / "000.jpg").open("ab") as file:
        file.write(b"\0")
    seen.add(fingerprint(ImageSet.scan(photos, labelled=True)))
    assert len(seen) == 4


# What cannot be read


@pytest.fixture
def hostile(photos: Path, noise: Draw) -> Path:
    """The photographs, and beside them one of everything that somebody who means ill would send."""
    folder = photos / "evil"
    folder.mkdir()
    noise().save(folder / "a.png")
    data = (folder / "a.png").read_bytes()
    (folder / "a.png").unlink()
    (folder / "cut.png").write_bytes(data[:200])
    (folder / "empty.jpg").touch()
    (folder / "png.jpg").write_bytes(data)
    (folder / "page.gif").write_bytes(b"<html></html>")
    (folder / "bomb.bmp").write_bytes(b"BM" + bytes(12) + struct.pack("<IIIHH", 40, 60_000, 60_000, 1, 24) + bytes(24))
    noise(30_000, 1).save(folder / "thin.png")
    os.mkfifo(folder / "pipe.jpg")
    (folder / "gone.jpg").symlink_to(folder / "nowhere.jpg")
    (folder / "zero.jpg").symlink_to("/dev/zero")
    (folder / "self.png").symlink_to(folder / "self.png")
    (folder / "new\nline \u202e.tif").write_bytes(b"II*\0")
    with open(os.fsencode(folder) + b"/\xff.jpg", "wb") as file:  # noqa: PTH123 - a name that is no UTF-8
        file.write(b"\xff\xd8\xff")
    (folder / "loop").symlink_to(photos)
    (folder / "folder.jpg").mkdir()
    return photos


SKIPPED = {
    "evil/\\xff.jpg": "broken: ",
    "evil/bomb.bmp": "decompression bomb: ",
    "evil/cut.png": "broken: ",
    "evil/empty.jpg": "the file is empty",
    "evil/gone.jpg": "cannot be read: No such file or directory",
    "evil/loop/": "leads back to a folder that was read already",
    "evil/new\\x0aline \\u202e.tif": "broken: ",
    "evil/page.gif": "the name says GIF, the content is no JPEG",
    "evil/pipe.jpg": "not a regular file",
    "evil/png.jpg": "the name says JPEG, the content is PNG",
    "evil/self.png": "cannot be read: Too many levels of symbolic links",
    "evil/thin.png": "30000x1 pixels, which a short side of 36 would enlarge to",
    "evil/zero.jpg": "not a regular file",
}


@pytest.mark.parametrize("workers", [0, 2])
def test_hostile_files_are_skipped_counted_and_named(
    hostile: Path, small: Preprocessing, workers: int, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tlaudit.data.decoding.MAX_PIXELS", 1_000_000)
    with caplog.at_level(logging.WARNING):
        index, _, record = read_all(stream_of(hostile, small, workers=workers))
    assert len(index) == record.images == 23
    assert {skipped.file for skipped in record.skipped} == set(SKIPPED)
    for skipped in record.skipped:
        assert skipped.reason.startswith(SKIPPED[skipped.file]), skipped
    assert record.available == 23 + len(SKIPPED) - 1
    lines = [entry.message for entry in caplog.records]
    assert len([line for line in lines if line.startswith("skipped evil/")]) == 10
    assert lines[-1] == f"skipped {len(SKIPPED) - 10} more files; the result names them all"
    assert all(line.isprintable() for line in lines)
    assert record == type(record).model_validate_json(record.model_dump_json())


def test_unreadable_file_is_skipped(photos: Path, small: Preprocessing, monkeypatch: pytest.MonkeyPatch) -> None:
    stat = os.stat

    def refuse(path: object, *rest: object, **more: object) -> os.stat_result:
        if str(path).endswith("00.jpg"):
            raise PermissionError(13, "Permission denied")
        return stat(path, *rest, **more)  # type: ignore[arg-type]

    images = ImageSet.scan(photos, labelled=True)
    monkeypatch.setattr(os, "stat", refuse)
    stream = ImageStream(images, [small], batch_size=4, workers=2)
    _, _, record = read_all(stream)
    assert [(s.file, s.reason) for s in stream.skipped] == [("ant/00.jpg", "cannot be read: Permission denied")]
    assert record.fingerprint == fingerprint(images)


@pytest.mark.parametrize("workers", [0, 2])
def test_strict_names_all_skipped_files_and_gives_no_batch_after_the_first(
    photos: Path, small: Preprocessing, workers: int
) -> None:
    (photos / "bee" / "00.jpg").touch()
    (photos / "cat" / "zz.jpg").touch()
    given: list[Batch] = []
    with pytest.raises(DataError, match=r"2 files cannot be used.*bee/00\.jpg \(the file is empty\), cat/zz\.jpg \("):
        given.extend(stream_of(photos, small, workers=workers, strict=True))
    assert torch.cat([batch.index for batch in given]).tolist() == list(range(8))
    list(stream_of(photos, small, workers=workers, strict=False))


def test_nothing_left_is_an_error(tmp_path: Path, small: Preprocessing) -> None:
    for number in range(12):
        (tmp_path / f"{number:02d}.jpg").touch()
    with pytest.raises(DataError, match=r"none of 12 images can be used: 00\.jpg \(the file is empty\).* and 2 more"):
        list(stream_of(tmp_path, small))


def test_a_batch_with_nothing_left_is_not_given(tmp_path: Path, small: Preprocessing, noise: Draw) -> None:
    for number in range(6):
        (tmp_path / f"{number}.png").touch()
    noise().save(tmp_path / "5.png")
    [batch] = stream_of(tmp_path, small, batch_size=2)
    assert batch.index.tolist() == [5]


def test_remarks_of_pillow_are_passed_on(
    tmp_path: Path, small: Preprocessing, noise: Draw, caplog: pytest.LogCaptureFixture
) -> None:
    for number in range(4):
        noise(mode="P").save(tmp_path / f"{number}.png", transparency=bytes(range(250)))
    with caplog.at_level(logging.INFO):
        list(stream_of(tmp_path, small, batch_size=2, workers=2))
    remarks = [entry.message for entry in caplog.records if "Palette images with Transparency" in entry.message]
    assert [remark.split(":")[0] for remark in remarks] == ["0.png", "1.png", "2.png", "3.png"]


# Workers


def test_one_batch_starts_no_process(photos: Path, small: Preprocessing, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(workers_module, "ProcessPoolExecutor", lambda *_: pytest.fail("started"))
    read_all(stream_of(photos, small, batch_size=23, workers=2))


def test_without_room_for_shared_memory_no_process_is_started(
    photos: Path, small: Preprocessing, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    expected = read_all(stream_of(photos, small, workers=2))[1]
    usage = namedtuple("usage", "total used free")(1, 1, 1000)
    monkeypatch.setattr(shutil, "disk_usage", lambda _: usage)
    monkeypatch.setattr(workers_module, "ProcessPoolExecutor", lambda *_: pytest.fail("started"))
    with caplog.at_level(logging.WARNING):
        found = read_all(stream_of(photos, small, workers=2))[1]
    assert torch.equal(expected, found)
    assert "images are decoded in the main process" in caplog.text


@pytest.mark.parametrize("leave", ["break", "exception"])
def test_leaving_early_ends_the_workers(photos: Path, small: Preprocessing, leave: str) -> None:
    def work() -> None:
        for _ in stream_of(photos, small, batch_size=2, workers=2):
            assert multiprocessing.active_children()
            if leave == "break":
                break
            raise KeyError

    if leave == "break":
        work()
    else:
        with pytest.raises(KeyError):
            work()
    assert multiprocessing.active_children() == []


def test_a_killed_worker_is_an_error_not_a_hang(photos: Path, small: Preprocessing) -> None:
    def work() -> None:
        for _ in stream_of(photos, small, batch_size=1, workers=1):
            for child in multiprocessing.active_children():
                os.kill(child.pid or 0, signal.SIGKILL)

    with pytest.raises(DataError, match="a process that decodes images died"):
        work()
    assert multiprocessing.active_children() == []


SCRIPT = """
import multiprocessing, signal, sys, time
from pathlib import Path
from tlaudit.data.workers import decode_all
signal.signal(signal.SIGINT, signal.default_int_handler)  # a job in the background begins with it ignored
files = [[str(path)] for path in sorted(Path(sys.argv[1]).rglob("*.*"))]
for decoded, pixels in decode_all(files, [(36, 32, "bilinear")], 1, 2):
    print(*[child.pid for child in multiprocessing.active_children()], flush=True)
    time.sleep(60)
"""


@pytest.mark.parametrize("end", [signal.SIGINT, signal.SIGKILL])
def test_workers_end_with_the_main_process(photos: Path, end: signal.Signals) -> None:
    main = subprocess.Popen(
        [sys.executable, "-c", SCRIPT, str(photos)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    assert main.stdout is not None
    children = [int(pid) for pid in main.stdout.readline().split()]
    assert len(children) == 2
    # Ctrl-C goes to the whole group, a kill to one process.
    os.killpg(main.pid, end) if end is signal.SIGINT else os.kill(main.pid, end)
    _, errors = main.communicate(timeout=30)
    assert main.returncode == -end
    assert errors.count("Traceback") == (end is signal.SIGINT), "no worker adds its own"
    deadline = time.monotonic() + 20
    while any(Path(f"/proc/{pid}").exists() for pid in children) and time.monotonic() < deadline:
        time.sleep(0.05)
    assert not any(Path(f"/proc/{pid}").exists() for pid in children)


def test_memory_and_file_handles_do_not_grow(photos: Path, small: Preprocessing) -> None:
    images = ImageSet.scan(photos, labelled=True)
    long = dataclasses.replace(images, items=tuple(images.items) * 20)
    read_all(ImageStream(images, [small], batch_size=4, workers=2))
    before = open_files()
    peak = 0
    for batch in ImageStream(long, [small], batch_size=4, workers=2):
        peak = max(peak, open_files())
        del batch
    gc.collect()
    # 115 batches: were anything kept for each of them, it would show.
    assert peak < before + 30
    assert open_files() <= before + 2


# Real photographs


@pytest.mark.realdata
@pytest.mark.skipif("TLAUDIT_REAL_DATA" not in os.environ, reason="TLAUDIT_REAL_DATA does not say where real data lie")
def test_real_photographs() -> None:
    root = Path(os.environ["TLAUDIT_REAL_DATA"]) / "dogs-vs-cats" / "val"
    from tlaudit.models.preprocess import IMAGENET

    images = ImageSet.scan(root, labelled=True)
    assert (len(images.items), images.folders) == (500, ("cat", "dog"))
    transform = Compose([Resize(256), CenterCrop(224), PILToTensor()])
    stream = ImageStream(images, [IMAGENET], batch_size=64, workers=2)
    seen = 0
    for batch in stream:
        seen += len(batch.index)
        for row in range(0, len(batch.index), 16):
            expected = transform(Image.open(images.items[int(batch.index[row])].path).convert("RGB"))
            assert torch.equal(batch.pixels[IMAGENET.geometry][row], expected)
    assert (seen, stream.skipped) == (500, ())
    assert stream.record().fingerprint == fingerprint(images)


@pytest.mark.parametrize("workers", [0, 1])
def test_order_changes_the_batches_and_nothing_that_is_said(photos: Path, small: Preprocessing, workers: int) -> None:
    images = ImageSet.scan(photos, labelled=False)
    order = list(reversed(range(len(images.items))))
    streams = [ImageStream(images, [small], batch_size=4, workers=workers, order=o) for o in (None, order)]
    plain, turned = ([(batch.index, batch.pixels[small.geometry]) for batch in stream] for stream in streams)
    assert torch.cat([index for index, _ in turned]).tolist() != sorted(torch.cat([i for i, _ in turned]).tolist())
    by_index = dict(zip(torch.cat([i for i, _ in turned]).tolist(), torch.cat([p for _, p in turned]), strict=True))
    for index, pixels in zip(torch.cat([i for i, _ in plain]).tolist(), torch.cat([p for _, p in plain]), strict=True):
        assert torch.equal(by_index[index], pixels)
    assert streams[0].record() == streams[1].record()
