"""Any class map, any names of folders and classes, any pattern: one meaning, or an error that says why not."""

from __future__ import annotations

import csv
import io
import json
import tempfile
from pathlib import Path

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from tlaudit.data.class_map import read_class_map
from tlaudit.data.classes import ClassNames, match_folders, target_labels
from tlaudit.data.folders import printable
from tlaudit.data.kinds import expanded
from tlaudit.errors import ClassMatchError, UsageError

TEXT = st.characters(exclude_categories=["Cs"])
WORDS = st.text(TEXT, min_size=1, max_size=12)
FEW = st.sampled_from(
    ["a", "A", "b", "0", "1", "01", "2", "a_b", "a b", "n01440764", "\u202e", "\\u202e", "é", "e\u0301"]
)
ENTRIES = st.dictionaries(WORDS, st.integers(0, 10**6) | WORDS, min_size=1, max_size=8)
CELLS = WORDS.filter(lambda text: text.strip() == text and "\n" not in text and "\r" not in text)


def read(name: str, content: bytes):
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, name)
        path.write_bytes(content)
        return {folder: entry.written for folder, entry in read_class_map(path).items()}


@given(ENTRIES, st.booleans(), st.booleans())
def test_json_is_read_as_written(entries: dict[str, int | str], ascii_only: bool, marked: bool) -> None:
    text = json.dumps(entries, ensure_ascii=ascii_only)
    assert read("m.json", text.encode("utf-8-sig" if marked else "utf-8")) == entries


@given(st.dictionaries(CELLS, CELLS, min_size=1, max_size=8))
@example({"=cmd()": "@x", "+1": "-1", '"': ","})
def test_csv_is_read_as_written(entries: dict[str, str]) -> None:
    text = io.StringIO(newline="")
    csv.writer(text, quoting=csv.QUOTE_ALL).writerows([("folder", "class"), *entries.items()])
    assert read("m.csv", text.getvalue().encode()) == entries


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inside: st.lists(inside, max_size=3) | st.dictionaries(st.text(max_size=5), inside, max_size=3),
    max_leaves=12,
)


def read_or_refused(name: str, content: bytes) -> None:
    try:
        entries = read(name, content)
    except ClassMatchError as error:
        assert len(str(error)) < 20_000  # noqa: PT017 - what is not refused is looked at below
        assert "m.json" in str(error) or "m.csv" in str(error)  # noqa: PT017
    else:
        assert entries
        assert all(isinstance(written, int | str) and not isinstance(written, bool) for written in entries.values())


@given(JSON)
def test_any_json_is_read_or_refused(content: object) -> None:
    read_or_refused("m.json", json.dumps(content).encode())


@settings(max_examples=150)
@given(
    st.sampled_from(["m.json", "m.csv"]), st.sampled_from([b"", b'{"', b"\xef\xbb\xbf", b"folder,class\n"]), st.binary()
)
def test_any_bytes_are_read_or_refused(name: str, start: bytes, content: bytes) -> None:
    read_or_refused(name, start + content)


@pytest.mark.parametrize("inside", ["1", "[1]"])
@pytest.mark.parametrize("depth", [300, 450, 600, 900, 100_000])
def test_however_deep_it_is_nested(depth: int, inside: str) -> None:
    with pytest.raises(
        ClassMatchError, match=r"m\.json(, folder 'a': expected a class index or name, got a list or an o|: n)"
    ):
        read("m.json", ('{"a":' * depth + inside + "}" * depth).encode())


@settings(max_examples=200)
@given(st.lists(FEW | WORDS, max_size=4), st.lists(FEW | WORDS, min_size=1, max_size=4, unique=True), st.booleans())
def test_each_folder_is_one_class_or_none_is_taken(names: list[str], folders: list[str], named: bool) -> None:
    classes = ClassNames.of_model(len(names) or 3, names if named and names else None)
    folders = [printable(folder) for folder in folders]
    try:
        match = match_folders(folders, classes)
    except ClassMatchError as error:
        assert str(error).isprintable()  # noqa: PT017
        return
    assert match.indices.keys() == set(folders)
    assert len(set(match.indices.values())) == len(folders), "two folders show one class"
    assert all(0 <= index < classes.count for index in match.indices.values())


@given(
    st.lists(WORDS.filter(lambda name: not name.isdigit()), min_size=1, max_size=5, unique_by=lambda n: n.casefold())
)
@example(["می\u200cخواهم", "👩\u200d💻", "back\\slash", "new\nline", "\u202egnp"])
def test_folders_called_as_the_classes_are_those_classes(names: list[str]) -> None:
    """However odd the names: a folder is called as it is printed, a class as the checkpoint says."""
    folders = [printable(name) for name in names]
    assert target_labels([], folders, len(names), names) == {folder: n for n, folder in enumerate(folders)}
    if len({" ".join(name.casefold().replace("_", " ").replace("-", " ").split()) for name in names}) == len(names):
        try:
            match = match_folders(folders, ClassNames.of_model(len(names), names))
        except ClassMatchError as error:
            assert "may be more than one class" in str(error)  # noqa: PT017 - "a, b" is a and b
        else:
            assert match.indices == {folder: n for n, folder in enumerate(folders)}


def test_a_class_of_a_name_with_joiners_is_found() -> None:
    names = ["می\u200cخواهم", "👩\u200d💻", "back\\slash"]
    match = match_folders([printable(name) for name in names], ClassNames.of_model(3, names))
    assert list(match.indices.values()) == [0, 1, 2]


def test_a_message_about_long_names_is_not_without_end(tmp_path: Path) -> None:
    (tmp_path / "m.json").write_text(json.dumps({"0": "x" * 10**6, "y" * 10**6: 1}))
    with pytest.raises(
        ClassMatchError, match=r"expected the name of a class or an index from 0 to 2, got 'xxx"
    ) as caught:
        match_folders(["0"], ClassNames.of_model(3), tmp_path / "m.json")
    assert len(str(caught.value)) < 2500


@settings(max_examples=150)
@given(
    st.lists(
        st.sampled_from(["a", "{0..3}", "{07..11}", "{x,y}", "{,}", "{x,x}", "{", "}", "..", "{9..1}", ","]), max_size=6
    )
)
def test_a_pattern_stands_for_different_paths_or_is_refused(pieces: list[str]) -> None:
    pattern = "".join(pieces) + ".tar"
    try:
        paths = expanded(pattern)
    except UsageError as error:
        assert str(error).startswith(pattern)  # noqa: PT017
        return
    assert len(set(paths)) == len(paths) >= 1
    assert all(path.endswith(".tar") for path in paths)


@given(st.integers(0, 500), st.integers(0, 60), st.integers(1, 5))
def test_a_range_counts_with_as_many_digits_as_it_begins_with(first: int, more: int, digits: int) -> None:
    paths = expanded(f"s-{{{first:0{digits}d}..{first + more}}}.tar")
    assert paths == [f"s-{number:0{max(digits, len(str(first)))}d}.tar" for number in range(first, first + more + 1)]
