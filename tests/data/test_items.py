"""Columns of images: what is put together from them is what was written, and each image takes little."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tracemalloc
from array import array
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import tiny
from tlaudit.data.folders import list_images
from tlaudit.data.images import ImageSet
from tlaudit.data.items import Items, Member, Roll, repeated, shorthand
from tlaudit.data.locations import file_of, of_member, piece_of

MANY = 100_000


def rolled(count: int, *, shards: int = 0) -> Roll:
    roll = Roll("/data")
    roll.shards = [f"/data/{number}.tar" for number in range(shards)]
    for number in range(count):
        member = Member(number % shards, 1024 * number, number + 1) if shards else None
        roll.add(f"class{number % 10}/image{number:07d}.jpg", f"class{number % 10}", member=member)
    return roll


def test_items_are_what_was_written() -> None:
    roll = Roll("/data")
    roll.add("a/1.jpg", "a")
    roll.add("new\\x0aline.png", None, path="new\nline.png")
    roll.add("é/2.jpg", "é", path="/else/2.jpg")
    items = Items(roll)
    assert [(item.location, item.name, item.folder) for item in items] == [
        ("/data/a/1.jpg", "a/1.jpg", "a"),
        ("/data/new\nline.png", "new\\x0aline.png", None),
        ("/else/2.jpg", "é/2.jpg", "é"),
    ]
    assert (items[-1], items[0].path, items[1:][0]) == (items[2], Path("/data/a/1.jpg"), items[1])
    assert items.folder_numbers().tolist() == [0, -1, 1]
    assert items.take([2, 0]).folders() == ["a", "é"]


def test_members_lie_in_shards() -> None:
    item = Items(rolled(5, shards=2))[3]
    assert (item.path, item.name) == (Path("/data/1.tar"), "class3/image0000003.jpg")
    assert piece_of(item.location) == ("/data/1.tar", 3072, 4)
    assert item.location == of_member("/data/1.tar", 3072, 4, ".jpg")
    assert (piece_of("/data/x.jpg"), file_of("/data/x.jpg")) == (None, "/data/x.jpg")


def test_parts_of_parts() -> None:
    items = Items(rolled(100))
    part = items[10:90:2].take(np.array([3, 1, 0]))
    assert [item.name for item in part] == [items[number].name for number in (16, 12, 10)]
    assert part.folder_numbers().tolist() == [6, 2, 0]
    assert list(part[1:]) == list(part)[1:]
    with pytest.raises(IndexError):
        part[3]


def test_equal_are_those_with_the_same_images() -> None:
    items, same = Items(rolled(20)), Items(rolled(20))
    assert items == same
    assert hash(items) == hash(same)
    assert items == tuple(same)
    assert items[::2] == same.take(range(0, 20, 2))
    assert items != same[1:]
    assert items != Items(rolled(20, shards=1))
    assert items.take([1, 0]) != same[:2]


def test_one_image_reached_two_ways_has_one_content(tmp_path: Path) -> None:
    (tmp_path / "real").mkdir()
    (tmp_path / "real" / "a.jpg").touch()
    (tmp_path / "link").symlink_to(tmp_path / "real")
    real, link = (list_images(tmp_path / name).items[0] for name in ("real", "link"))
    assert real.location != link.location
    assert real.content == link.content
    pieces = [Items(rolled(2, shards=1))[number].content for number in (0, 1)]
    assert pieces[0] != pieces[1]


def test_repeated() -> None:
    words = ["b", "a", "b", "c", "a", "b"]
    assert repeated(array("q", map(shorthand, words))).tolist() == [2, 4, 5]
    assert repeated(array("q")).tolist() == []


@pytest.mark.parametrize(("shards", "most"), [(0, 50), (7, 80)])
def test_an_image_takes_some_tens_of_bytes(shards: int, most: int) -> None:
    count = MANY // 5
    tracemalloc.start()
    try:
        roll = rolled(count, shards=shards)
        size, peak = tracemalloc.get_traced_memory()
        part = Items(roll).take(range(0, count, 2))
        with_part, _ = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert len(part) == count // 2
    assert size < most * count, "a path and two strings would take more than 300"
    assert peak < 2 * most * count
    assert with_part - size < 9.5 * count / 2


def test_listing_a_folder_holds_names_of_one_folder_at_a_time(tmp_path: Path) -> None:
    """What listing takes at most, beyond what the list then takes, does not grow with the number of folders."""
    each, folders = 200, 20
    for number in range(folders):
        (tmp_path / str(number)).mkdir()
        for image in range(each):
            (tmp_path / str(number) / f"{image:020d}.jpg").touch()
    list_images(tmp_path)
    tracemalloc.start()
    try:
        listing = list_images(tmp_path)
        size, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert len(listing.items) == each * folders
    assert size < 80 * each * folders
    assert peak - size < 300 * each + 40 * each * folders, "an object for each image would take more"


LOOK = """
import sys
from tlaudit.cli.app import main
place, sys.argv[:] = sys.argv[1], ["tlaudit", *sys.argv[2:]]
try:
    main()
except SystemExit as ended:
    assert not ended.code, ended.code
status = open("/proc/self/status").read()
open(place, "w").write(status.partition("VmHWM:")[2].split()[0])
"""


@pytest.mark.slow
@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="this system does not say what a process took")
def test_memory_of_lingering_with_a_hundred_thousand_images(tmp_path: Path) -> None:
    """Of the process itself, by the system's count; that of workers does not depend on the number of images."""
    tiny.saved(tmp_path / "source.pth", tiny.own(10))
    tiny.saved(tmp_path / "finetuned.pth", tiny.nudged(tiny.own(10)))
    pictures = [np.random.default_rng(n).integers(0, 256, (8, 8, 3), dtype=np.uint8) for n in range(8)]
    for count in (1000, MANY // 10, MANY):
        for label in range(10):
            folder = tmp_path / str(count) / str(label)
            folder.mkdir(parents=True)
            Image.fromarray(pictures[label % 8]).save(folder / "0000000.png")
            for number in range(1, count // 10):
                os.link(folder / "0000000.png", folder / f"{number:07d}.png")
    peaks = {}
    for count in (MANY // 10, MANY):
        command = ["lingering", "--source", "source.pth", "--finetuned", "finetuned.pth", "--arch", tiny.OWN]
        command += ["--source-data", "1000", "--target-data", str(count), "--resize", "8", "--crop", "8"]
        command += ["--device", "cpu", "--no-cache", "-j", "1", "--p-lo", "0.5", "-q", "-o", "result.json"]
        subprocess.run([sys.executable, "-c", LOOK, "peak.txt", *command], cwd=tmp_path, check=True)
        result = json.loads((tmp_path / "result.json").read_text())
        assert result["provenance"]["data"]["target"]["images"] == count
        peaks[count] = int((tmp_path / "peak.txt").read_text()) * 1024
    each = (peaks[MANY] - peaks[MANY // 10]) / (MANY - MANY // 10)
    assert each < 400, f"{each:.0f} bytes an image; names, sizes and digests take about 100"


def test_a_set_of_many_is_found_through_its_public_face(tmp_path: Path) -> None:
    for number in range(30):
        (tmp_path / f"{number:02d}.jpg").touch()
    images = ImageSet.scan(tmp_path, labelled=False)
    part = images.part([3, 4], available=2)
    assert ([item.name for item in part.items], part.available) == (["03.jpg", "04.jpg"], 2)
    of_tuple = ImageSet(**{**vars(images), "items": tuple(images.items)}).part([3, 4], available=2)
    assert part.items == of_tuple.items
