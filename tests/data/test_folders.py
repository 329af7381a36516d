from __future__ import annotations

import os
import random
from collections import Counter
from typing import TYPE_CHECKING

import pytest

from tlaudit.data.folders import list_images, printable, spread
from tlaudit.data.items import Items, Roll

if TYPE_CHECKING:
    from pathlib import Path


def touch(root: Path, *names: str) -> None:
    for name in names:
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).touch()


def names(root: Path) -> list[str]:
    return [file.name for file in list_images(root).items]


def test_every_extension_in_any_case_and_nothing_else(tmp_path: Path) -> None:
    images = ["a.jpg", "b.JPEG", "c.jpe", "d.jfif", "e.PNG", "f.webp", "g.Bmp", "h.gif", "i.tif", "j.TIFF", "k.x.jpg"]
    touch(tmp_path, *images, "read.me", "noextension", "labels.csv", "jpg", "trailing.jpg.bak")
    listing = list_images(tmp_path)
    assert [file.name for file in listing.items] == images
    assert listing.other_files == 5


def test_hidden_files_and_litter_are_passed_over(tmp_path: Path) -> None:
    touch(tmp_path, "a.jpg", ".b.jpg", "._a.jpg", ".cache/c.jpg", "__MACOSX/d.jpg", "x/.thumbs/e.jpg", "x/f.jpg")
    listing = list_images(tmp_path)
    assert [file.name for file in listing.items] == ["a.jpg", "x/f.jpg"]
    assert (listing.other_files, listing.folders) == (0, ["x"])


def test_order_is_that_of_names_and_folders_below_belong_to_the_first(tmp_path: Path) -> None:
    touch(tmp_path, "b/z.jpg", "b/deep/er/a.jpg", "a/1.jpg", "a-b/1.jpg", "a/10.jpg", "a/2.jpg", "top.jpg", "e/x.txt")
    listing = list_images(tmp_path)
    assert [(file.name, file.folder) for file in listing.items] == [
        ("a-b/1.jpg", "a-b"),
        ("a/1.jpg", "a"),
        ("a/10.jpg", "a"),
        ("a/2.jpg", "a"),
        ("b/deep/er/a.jpg", "b"),
        ("b/z.jpg", "b"),
        ("top.jpg", None),
    ]
    assert listing.folders == ["a", "a-b", "b", "e"]


def test_a_folder_named_like_an_image_is_a_folder(tmp_path: Path) -> None:
    touch(tmp_path, "x.jpg/y.png")
    assert names(tmp_path) == ["x.jpg/y.png"]


def test_linked_folders_are_followed(tmp_path: Path) -> None:
    touch(tmp_path, "elsewhere/one.jpg", "set/real/two.jpg")
    (tmp_path / "set" / "linked").symlink_to(tmp_path / "elsewhere")
    (tmp_path / "set" / "same").symlink_to(tmp_path / "elsewhere")
    assert names(tmp_path / "set") == ["linked/one.jpg", "real/two.jpg", "same/one.jpg"]


def test_loops_end_and_are_named(tmp_path: Path) -> None:
    touch(tmp_path, "a/one.jpg", "b/two.jpg")
    (tmp_path / "a" / "up").symlink_to(tmp_path)
    (tmp_path / "a" / "here").symlink_to(tmp_path / "a")
    (tmp_path / "b" / "across").symlink_to(tmp_path / "a")
    (tmp_path / "self").symlink_to(tmp_path / "self")
    listing = list_images(tmp_path)
    assert [file.name for file in listing.items] == ["a/one.jpg", "b/across/one.jpg", "b/two.jpg"]
    assert [skipped.file for skipped in listing.unread] == ["a/here/", "a/up/", "b/across/here/", "b/across/up/"]
    assert {skipped.reason for skipped in listing.unread} == {"leads back to a folder that was read already"}


def test_many_links_between_folders_do_not_multiply(tmp_path: Path) -> None:
    for level in range(30):
        touch(tmp_path, f"{level}/image.jpg")
        (tmp_path / str(level) / "left").symlink_to(tmp_path / str(level + 1))
        (tmp_path / str(level) / "right").symlink_to(tmp_path / str(level + 1))
    assert len(names(tmp_path)) == sum(range(31))


def test_a_folder_that_cannot_be_listed_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    touch(tmp_path, "good/one.jpg", "locked/two.jpg")
    scandir = os.scandir

    def refuse(location: str) -> object:
        if location.endswith("locked"):
            raise PermissionError(13, "Permission denied")
        return scandir(location)

    monkeypatch.setattr(os, "scandir", refuse)
    listing = list_images(tmp_path)
    assert [file.name for file in listing.items] == ["good/one.jpg"]
    assert [(s.file, s.reason) for s in listing.unread] == [("locked/", "cannot be listed: Permission denied")]


def test_odd_names_survive(tmp_path: Path) -> None:
    touch(tmp_path, "new\nline/a.jpg", "-dash/b.jpg", "\u202ertl/c.jpg", "ü ß/d.jpg", "x" * 251 + "/e.jpg")
    raw = os.fsencode(tmp_path) + b"/\xff\xfe"
    os.mkdir(raw)  # noqa: PTH102 - a name that is no UTF-8
    with open(raw + b"/f.jpg", "wb"):  # noqa: PTH123
        pass
    found = list_images(tmp_path)
    assert [file.name for file in found.items] == sorted(
        ["new\\x0aline/a.jpg", "-dash/b.jpg", "\\u202ertl/c.jpg", "ü ß/d.jpg", "x" * 251 + "/e.jpg", "\\xff\\xfe/f.jpg"]
    )
    assert all(file.name.isprintable() and file.name.encode() for file in found.items)
    assert all(os.path.exists(file.location) for file in found.items)  # noqa: PTH110


def test_no_two_names_are_printed_alike() -> None:
    tricky = ["a\nb", "a\\nb", "a\\x0ab", "a\\\\x0ab", "a\x0bb", "\udcff", "\xff", "\\xff", "\U000e0001", "\\U000e0001"]
    assert len({printable(name) for name in tricky}) == len(tricky)
    assert all(printable(name).isprintable() for name in tricky)


def files(**sizes: int) -> Items:
    roll = Roll()
    for folder, size in sizes.items():
        for number in range(size):
            roll.add(f"{folder}/{number}.jpg", folder)
    return Items(roll)


def drawn(items: Items, limit: int, seed: int) -> list[str]:
    """Names of the files that are chosen."""
    return [item.name for item in items.take(spread(items, limit, seed))]


@pytest.mark.parametrize(
    ("limit", "shares"),
    [
        (9, {"a": 3, "b": 3, "c": 3}),
        (20, {"a": 3, "b": 8, "c": 9}),
        (1000, {"a": 3, "b": 40, "c": 50}),
        (93, {"a": 3, "b": 40, "c": 50}),
        (92, {"a": 3, "b": 40, "c": 49}),
    ],
)
def test_limit_is_spread_evenly(limit: int, shares: dict[str, int]) -> None:
    items = files(a=3, b=40, c=50)
    chosen = spread(items, limit, seed=0)
    assert Counter(item.folder for item in items.take(chosen)) == shares
    assert chosen == sorted(set(chosen))


def test_limit_below_the_number_of_folders_draws_folders() -> None:
    many = files(**{f"class{number:02d}": 5 for number in range(50)})
    folders = [set(many.take(spread(many, 7, seed)).folders()) for seed in range(20)]
    assert all(len(some) == 7 for some in folders)
    assert len(set.union(*folders)) > 40


def test_sample_depends_on_the_seed_alone() -> None:
    some = files(a=30, b=30)
    assert drawn(some, 20, seed=1) == drawn(some, 20, seed=1)
    assert drawn(some, 20, seed=1) != drawn(some, 20, seed=2)
    with_other = [name for name in drawn(files(a=30, c=30), 20, seed=1) if name.startswith("a/")]
    assert with_other == [name for name in drawn(some, 20, seed=1) if name.startswith("a/")]


def test_sample_is_the_one_drawn_by_hand() -> None:
    """Of each class `random.sample` with the seed and its name: what was drawn once is drawn again by every version."""
    chosen = spread(files(a=30, b=30), 8, seed=5)
    by_hand = [sorted(random.Random(f"5/{name}").sample(range(30), 4)) for name in "ab"]
    assert chosen == by_hand[0] + [30 + number for number in by_hand[1]]


def test_shards_are_noted_beside_images(tmp_path: Path) -> None:
    touch(tmp_path, "a.jpg", "b/x.TAR", "b.tar", ".hidden.tar", "c.tar.gz")
    listing = list_images(tmp_path)
    assert (listing.shards, listing.other_files) == (["b.tar", "b/x.TAR"], 1)
