"""Whatever files are called and however they lie: names are told apart, listings complete, samples even."""

from __future__ import annotations

import os
import shutil
import tempfile
from collections import Counter
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from hypothesis import example, given
from hypothesis import strategies as st

from tlaudit.data.decoding import EXTENSIONS
from tlaudit.data.folders import list_images, printable, shortened, spread
from tlaudit.data.items import Items, Roll

if TYPE_CHECKING:
    from collections.abc import Iterator

ANYTHING = st.text(st.characters(), max_size=12)
"""Text with any character, surrogates among them, as names that are no UTF-8 have."""

SAFE = st.characters(codec="utf-8", exclude_categories=["C", "Z"], exclude_characters="\\") | st.just(" ")

NAMES = (
    st.binary(min_size=1, max_size=40)
    .map(lambda raw: raw.replace(b"/", b"|").replace(b"\0", b"0"))
    .filter(lambda raw: raw not in (b".", b".."))
)
ENDINGS = st.sampled_from([b"", b".jpg", b".PNG", b".tif", b".txt", b".tar", b".jpg.bak"])
FILES = st.builds(lambda folders, name, ending: (*folders, name + ending), st.lists(NAMES, max_size=3), NAMES, ENDINGS)


@given(ANYTHING)
@example("\u202e\x00\n\x1b\u200d\ud800\udcff\\")
def test_what_is_printed_is_printable_and_encodes(name: str) -> None:
    assert printable(name).isprintable()
    assert printable(name).encode().decode() == printable(name)


@given(ANYTHING, ANYTHING)
@example("\udcff", "\\xff")
@example("\xff", "\udcff")
@example("\x85", "\udc85")
@example("\\", "\\\\")
def test_what_differs_is_printed_differently(one: str, other: str) -> None:
    assert (printable(one) == printable(other)) == (one == other)


@given(st.text(SAFE, max_size=30))
def test_what_is_safe_is_left_as_it_is(name: str) -> None:
    assert printable(name) == name == printable(printable(name))


@given(st.text(max_size=3000))
@example("x" * 1024)
@example("x" * 1025)
def test_a_message_shows_all_of_a_text_or_says_that_it_is_cut(text: str) -> None:
    shown = shortened(text)
    assert shown == text or (shown.endswith("…") and text.startswith(shown[:-1]) and len(shown) == 1025 <= len(text))


def test_the_longest_name_of_a_file_is_shown_whole() -> None:
    assert len(shortened(printable("\udcff" * 255))) == 4 * 255


@contextmanager
def grown(files: list[tuple[bytes, ...]]) -> Iterator[Path]:
    """A folder with these files, as far as they do not stand in each other's way."""
    root = tempfile.mkdtemp()
    try:
        for parts in files:
            path = Path(root, *map(os.fsdecode, parts))
            try:
                path.parent.mkdir(parents=True, exist_ok=True)
                path.touch(exist_ok=False)
            except OSError:
                continue
        yield Path(root)
    finally:
        shutil.rmtree(os.fsencode(root))


def by_hand(root: Path) -> tuple[list[str], int, set[str]]:
    """Printed names of the images, how many other files there are, and the shards, the plainest way."""
    images, others, shards = [], 0, set()
    for folder, _, files in os.walk(root):
        for file in files:
            parts = Path(folder, file).relative_to(root).parts
            if any(part.startswith(".") or part == "__MACOSX" for part in parts):
                continue
            ending = "." + file.rpartition(".")[2].lower() if "." in file else ""
            name = "/".join(map(printable, parts))
            if ending in EXTENSIONS:
                images.append(name)
            elif ending == ".tar":
                shards.add(name)
            else:
                others += 1
    return sorted(images), others, shards


@given(st.lists(FILES, max_size=25))
@example([(b".hidden", b"a.jpg"), (b"x", b".a.jpg"), (b"__MACOSX", b"a.jpg"), (b"a.jpg", b"b.png")])
@example([(b"a", b"1.jpg"), (b"a-b", b"1.jpg"), (b"a b", b"1.jpg"), (b"a\xff", b"1.jpg"), (b"a\n", b"1.jpg")])
def test_a_listing_is_what_a_walk_finds(files: list[tuple[bytes, ...]]) -> None:
    with grown(files) as root:
        listing, (images, others, shards) = list_images(root), by_hand(root)
        assert [item.name for item in listing.items] == images
        assert (listing.other_files, set(map(printable, listing.shards))) == (others, shards)
        assert len({item.name for item in listing.items}) == len(images)
        assert all(Path(item.location).is_file() for item in listing.items)
        assert all(item.folder == (item.name.partition("/")[0] if "/" in item.name else None) for item in listing.items)
        assert listing.folders == sorted(listing.folders)
        assert not listing.unread


@given(st.lists(st.sampled_from("abcdef") | st.none(), min_size=1, max_size=60), st.integers(1, 70), st.integers(0, 9))
def test_a_sample_is_as_even_as_the_classes_allow(classes: list[str | None], limit: int, seed: int) -> None:
    roll = Roll()
    for number, folder in enumerate(classes):
        roll.add(f"{number}.jpg", folder)
    chosen = spread(Items(roll), limit, seed)
    assert chosen == sorted(set(chosen)) == spread(Items(roll), limit, seed)
    assert len(chosen) == min(limit, len(classes))
    sizes, taken = Counter(classes), Counter(classes[number] for number in chosen)
    whole = max(taken.values())
    # A class that gives fewer than another one by more than one has given all it has.
    assert all(taken[folder] >= whole - 1 or taken[folder] == size for folder, size in sizes.items())
