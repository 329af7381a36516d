"""Tables of any rows: what was written is read, and anything else is refused in one printable line."""

from __future__ import annotations

import csv
import io
import os
import tempfile
from pathlib import Path

import pyarrow as pa
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from pyarrow import parquet

from tlaudit.data.folders import printable
from tlaudit.data.manifests import list_manifest
from tlaudit.errors import DataError, TlauditError, UsageError

TEXT = st.characters(exclude_categories=["Cs"], exclude_characters="\0")
PATHS = st.text(TEXT, min_size=1, max_size=20).map(lambda stem: f"{stem}.png")
LABELS = st.text(TEXT, max_size=10)
ROWS = st.lists(
    st.tuples(PATHS, LABELS), min_size=1, max_size=10, unique_by=lambda row: os.path.normpath("/r/" + row[0])
)


def written(name: str, rows: list[tuple[str, str]]) -> bytes:
    if name.endswith(".parquet"):
        stream = io.BytesIO()
        parquet.write_table(pa.table({"path": [p for p, _ in rows], "label": [c for _, c in rows]}), stream)
        return stream.getvalue()
    text = io.StringIO(newline="")
    # All cells in quotes: Python 3.11 leaves a carriage return bare otherwise.
    table = csv.writer(text, delimiter="\t" if name.endswith(".tsv") else ",", quoting=csv.QUOTE_ALL)
    table.writerows([("path", "label"), *rows])
    return text.getvalue().encode()


def listed(name: str, data: bytes):
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, name)
        path.write_bytes(data)
        return list_manifest(path)


@pytest.mark.parametrize("name", ["m.csv", "m.tsv", "m.parquet"])
@given(rows=ROWS)
@example(rows=[("=cmd()|'a'!b.png", "@x"), ('"\r\n,\t.png', "-1"), ("\ufeff.png", "\u202e"), ("\x85.png", "\xa0")])
def test_what_is_written_is_read(name: str, rows: list[tuple[str, str]]) -> None:
    listing = listed(name, written(name, rows))
    assert [item.name for item in listing.items] == [printable(path) for path, _ in rows]
    assert [item.folder for item in listing.items] == [printable(label.strip()) or None for _, label in rows]
    assert all(item.location.endswith(path) for item, (path, _) in zip(listing.items, rows, strict=True))


SOUND = {name: written(name, [(f"{n}.png", "ab"[n % 2]) for n in range(30)]) for name in ("m.csv", "m.parquet")}


def read_or_refused(name: str, data: bytes) -> None:
    try:
        listing = listed(name, data)
    except TlauditError as error:
        assert str(error).isprintable()  # noqa: PT017 - what is not refused is looked at below
        assert len(str(error)) < 20_000  # noqa: PT017
    else:
        assert all(item.name.isprintable() for item in listing.items)


@settings(max_examples=200)
@given(
    st.sampled_from(sorted(SOUND)),
    st.lists(st.tuples(st.integers(0, 3000), st.binary(max_size=4), st.booleans()), min_size=1, max_size=4),
)
def test_damage_is_read_or_refused(name: str, changes: list[tuple[int, bytes, bool]]) -> None:
    data = SOUND[name]
    for at, new, longer in changes:
        at %= len(data)
        data = data[:at] + new + data[at + (0 if longer else len(new)) :]
    read_or_refused(name, data)


@given(st.sampled_from(["m.csv", "m.tsv", "m.parquet"]), st.sampled_from([b"", b"path\n", b"PAR1"]), st.binary())
def test_bytes_at_random_are_read_or_refused(name: str, start: bytes, data: bytes) -> None:
    read_or_refused(name, start + data)


def table(**columns: object) -> bytes:
    stream = io.BytesIO()
    parquet.write_table(pa.table(columns), stream)
    return stream.getvalue()


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (table(path=pa.array([b"\xff.png"], pa.binary()).view(pa.string())), "'utf-8' codec can't decode byte 0xff"),
        (table(path=["a.png"], label=pa.array([2**30], pa.date32())), "days=1073741824; must have magnitude"),
        (table(path=["a.png"], label=pa.array([2**62], pa.duration("s"))), "too large"),
    ],
    ids=["no UTF-8", "a day beyond the calendar", "a span beyond all"],
)
def test_values_that_python_does_not_have_are_refused(data: bytes, reason: str) -> None:
    with pytest.raises(DataError, match=f"m\\.parquet: cannot be read as Parquet: .*({reason})"):
        listed("m.parquet", data)


@pytest.mark.parametrize(("path", "label"), [("x" * 4093 + ".png", "a"), ("a.png", "x" * 4097)])
def test_names_longer_than_any_file_system_has_are_refused(path: str, label: str) -> None:
    for name in ("m.csv", "m.parquet"):
        with pytest.raises(UsageError, match=r"1|2: expected paths and classes of at most 4096 characters, got 4097"):
            listed(name, written(name, [(path, label)]))


def test_a_header_is_not_repeated_without_end() -> None:
    with pytest.raises(UsageError, match="expected a column with the paths of images") as caught:
        listed("m.csv", b"x" * 100_000)
    assert len(str(caught.value)) < 1500
