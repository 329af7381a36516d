"""Shards of any members: what was put in is found, and nothing that is damaged is an exception."""

from __future__ import annotations

import io
import tarfile
import tempfile
from pathlib import Path

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from tlaudit.data.decoding import read
from tlaudit.data.folders import printable
from tlaudit.data.shards import list_shards

PARTS = st.text(st.characters(exclude_characters="/\0", exclude_categories=["Cs"]), min_size=1, max_size=8).filter(
    lambda part: not part.startswith(".") and part != "__MACOSX"
)
NAMES = st.builds(lambda folders, stem: "/".join((*folders, stem)), st.lists(PARTS, max_size=2), PARTS)
ENDINGS = st.sampled_from([".jpg", ".PNG", ".x.webp", ".cls", ".json", ".txt", ""])
MEMBERS = st.lists(st.tuples(NAMES, ENDINGS, st.binary(max_size=700)), max_size=8, unique_by=lambda m: m[0] + m[1])
FORMATS = st.sampled_from([tarfile.PAX_FORMAT, tarfile.GNU_FORMAT])


def packed(members: list[tuple[str, bytes]], form: int) -> bytes:
    stream = io.BytesIO()
    with tarfile.open(fileobj=stream, mode="w", format=form) as tar:
        for name, data in members:
            info = tarfile.TarInfo(name)
            info.size = len(data)
            tar.addfile(info, io.BytesIO(data))
    return stream.getvalue()


def listed(data: bytes, folder: str):
    Path(folder, "a.tar").write_bytes(data)
    return list_shards(folder, ["a.tar"])


@given(MEMBERS, FORMATS)
def test_images_are_found_with_their_bytes(members: list[tuple[str, str, bytes]], form: int) -> None:
    images = {name + ending: data for name, ending, data in members if ending in {".jpg", ".PNG", ".x.webp"}}
    with tempfile.TemporaryDirectory() as folder:
        listing = listed(packed([(name + ending, data) for name, ending, data in members], form), folder)
        found = {item.name: read(item.location)[1] or b"" for item in listing.items}
    assert found == {f"a.tar/{printable(name)}": data for name, data in images.items()}
    assert listing.other_files == sum(ending in {".txt", ""} for _, ending, _ in members)


LABELS = st.text(st.characters(exclude_categories=["Cs"]), max_size=20)


@given(LABELS)
@example("\u202e=cmd()|x\x1b[2J")
@example("\ufeff7")
@example("a\x85b")
def test_a_class_that_is_said_is_the_class(label: str) -> None:
    with tempfile.TemporaryDirectory() as folder:
        data = packed([("1.jpg", b"1"), ("1.cls", label.encode())], tarfile.PAX_FORMAT)
        listing = listed(data, folder)
    said = label.encode().decode("utf-8-sig").strip()
    wanted = printable(said) if said and "\n" not in said else None
    assert [item.folder for item in listing.items] == [wanted]
    assert bool(listing.unread) == (wanted is None)


WHOLE = packed(
    [
        ("x/1.jpg", b"1" * 600),
        ("x/1.cls", b"3"),
        ("x/2.json", b'{"label": "tench"}'),
        ("x/2.jpg", b"2"),
        ("n" * 300 + ".png", b"3"),
        ("é.gif", b"4" * 512),
    ],
    tarfile.PAX_FORMAT,
)
LONG = packed([("n" * 300 + ".png", b"3"), ("x.jpg", b"1")], tarfile.GNU_FORMAT)


@settings(max_examples=300)
@given(
    st.sampled_from([WHOLE, LONG]),
    st.lists(st.tuples(st.integers(0, 8000), st.binary(max_size=24), st.booleans()), min_size=1, max_size=5),
    st.booleans(),
)
def test_damage_is_never_an_exception_and_no_piece_lies_outside(
    data: bytes, changes: list[tuple[int, bytes, bool]], summed: bool
) -> None:
    for at, new, cut in changes:
        at %= len(data)
        data = data[:at] if cut and at > 512 else data[:at] + new + data[at + len(new) :]
    with tempfile.TemporaryDirectory() as folder:
        listing = listed(_summed(data) if summed else data, folder)
        for item in listing.items:
            digest, content, _ = read(item.location)
            assert digest.size == len(content or b"")
        assert all(item.name.isprintable() for item in listing.items)
        assert all((skipped.file + skipped.reason).isprintable() for skipped in listing.unread)


def _summed(data: bytes) -> bytes:
    """Make the checksum of each block right that looks like a header, so that damage behind it is believed."""
    blocks = [data[at : at + 512] for at in range(0, len(data), 512)]
    for number, block in enumerate(blocks):
        if len(block) == 512 and b"ustar" in block:
            total = sum(block[:148] + b" " * 8 + block[156:])
            blocks[number] = block[:148] + b"%06o\0 " % total + block[156:]
    return b"".join(blocks)


@given(st.binary(max_size=2000))
def test_bytes_at_random_are_named_and_hold_nothing(data: bytes) -> None:
    with tempfile.TemporaryDirectory() as folder:
        listing = listed(data, folder)
    assert not len(listing.items)
    assert [skipped.file for skipped in listing.unread] == ["a.tar"]


@pytest.mark.parametrize("data", [WHOLE, LONG])
def test_what_is_damaged_there_was_whole(data: bytes, tmp_path: Path) -> None:
    listing = listed(data, str(tmp_path))
    assert len(listing.items) >= 2
    assert not listing.unread


def test_a_class_longer_than_any_name_is_none(tmp_path: Path) -> None:
    said = b'{"label": "' + b"x" * 5000 + b'"}'
    listing = listed(packed([("1.jpg", b"1"), ("1.json", said)], tarfile.PAX_FORMAT), str(tmp_path))
    assert [item.folder for item in listing.items] == [None]
    [skipped] = listing.unread
    assert skipped.reason == "says no class: expected at most 4096 characters as label"
