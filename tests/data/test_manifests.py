"""Manifests: which columns are read, how, and what is refused."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

import pytest
import torch

from tlaudit.data.account import fingerprint
from tlaudit.data.images import ImageSet, ImageStream
from tlaudit.errors import ClassMatchError, DataError, UsageError

if TYPE_CHECKING:
    from pathlib import Path


def write(path: Path, text: str, encoding: str = "utf-8") -> Path:
    path.write_bytes(text.encode(encoding))
    return path


def parquet(to: Path, /, **columns: list[object]) -> Path:
    import pyarrow as pa
    from pyarrow.parquet import write_table

    write_table(pa.table(columns), to, row_group_size=2)
    return to


def found(path: Path, *, labelled: bool = False) -> list[tuple[str, str | None]]:
    return [(item.name, item.folder) for item in ImageSet.scan(path, labelled=labelled).items]


@pytest.mark.parametrize("column", ["path", "FILE", " filename", "file_name", "filepath", "image", "image_path"])
@pytest.mark.parametrize("label", ["label", "class", "target", "wnid", "Class_Name"])
def test_columns_go_by_several_names(tmp_path: Path, column: str, label: str) -> None:
    manifest = write(tmp_path / "m.csv", f"width,{label},{column}\n7,3,b.jpg\n7,tench,a/a.jpg\n\n")
    images = ImageSet.scan(manifest, labelled=True)
    assert [(item.name, item.folder) for item in images.items] == [("b.jpg", "3"), ("a/a.jpg", "tench")]
    assert (images.folders, images.available, images.root) == (("3", "tench"), 2, manifest)
    assert [item.path for item in images.items] == [tmp_path / "b.jpg", tmp_path / "a" / "a.jpg"]


def test_every_format_gives_the_same(photos: Path, tmp_path: Path, small) -> None:
    names = sorted(path.relative_to(photos).as_posix() for path in photos.rglob("*.*"))
    labels = [name.partition("/")[0] for name in names]
    text = "".join(f"{name}\t{label}\n" for name, label in zip(names, labels, strict=True))
    write(photos / "m.tsv", f"path\tlabel\n{text}")
    write(photos / "m.csv", f"path\tlabel\n{text}".replace("\t", ",").replace("\n", "\r\n"), "utf-8-sig")
    parquet(photos / "m.parquet", path=names, label=labels)
    folder = ImageSet.scan(photos, labelled=True)
    expected = torch.cat([b.pixels[small.geometry] for b in ImageStream(folder, [small], batch_size=4, workers=0)])
    for ending in ("tsv", "csv", "parquet"):
        images = ImageSet.scan(photos / f"m.{ending}", labelled=True)
        assert images.items == folder.items
        assert (images.folders, fingerprint(images)) == (folder.folders, fingerprint(folder))
        pixels = [b.pixels[small.geometry] for b in ImageStream(images, [small], batch_size=5, workers=2)]
        assert torch.equal(torch.cat(pixels), expected)


def test_paths_may_be_absolute_and_odd(tmp_path: Path) -> None:
    there = tmp_path / "else" / "x.png"
    manifest = write(tmp_path / "m.csv", f'path\n{there}\n"new\nline, ""q"".png"\n../up.png\n')
    items = ImageSet.scan(manifest, labelled=False).items
    assert [item.path for item in items] == [there, tmp_path / 'new\nline, "q".png', tmp_path / "../up.png"]
    assert items[1].name == 'new\\x0aline, "q".png'


def test_missing_files_are_skipped_like_broken_ones(photos: Path, small) -> None:
    write(photos / "m.csv", "path\nant/00.jpg\nnowhere.jpg\nnotes.txt\n")
    stream = ImageStream(ImageSet.scan(photos / "m.csv", labelled=False), [small], batch_size=4, workers=0)
    list(stream)
    assert [(skipped.file, skipped.reason.partition(" (")[0]) for skipped in stream.skipped] == [
        ("notes.txt", "its name does not end like an image's"),
        ("nowhere.jpg", "cannot be read: No such file or directory"),
    ]
    record = stream.record()
    assert (record.images, record.available, record.other_files) == (1, 2, 1)


def test_limit_is_spread_over_classes(tmp_path: Path) -> None:
    rows = "".join(f"{n}.jpg,{'rare' if n < 3 else 'common'}\n" for n in range(50))
    images = ImageSet.scan(write(tmp_path / "m.csv", f"path,label\n{rows}"), labelled=True, limit=6, seed=1)
    assert [item.folder for item in images.items] == ["rare"] * 3 + ["common"] * 3


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "expected a header with the names of the columns"),
        ("a.jpg\nb.jpg\n", "expected a column with the paths of images, path, .* or image_path; there are: a.jpg"),
        ("path,file\na.jpg,b.jpg\n", "expected one column for the image, got path and file; .*there are: path, file"),
        ("path,label,wnid\na.jpg,1,n1\n", "expected one column for the class, got label and wnid"),
        ("path,label\na.jpg\n", "line 2: expected 2 cells, got 1"),
        ("path\na.jpg\n \n", "line 3: expected the path of an image, got none"),
        ("path\na\0.jpg\n", "line 2: expected the path of an image, got a character that no path holds"),
        ('path\n"a.jpg\nb.jpg\n', "cannot be read as CSV: unexpected end of data"),
        (f"path\n{'x' * 200_000}.jpg\n", "cannot be read as CSV: field larger than field limit"),
        ("path\na.jpg\nb.jpg\n./a.jpg\n", r"expected each image once, got again: \./a\.jpg; remove the rows"),
    ],
)
def test_refuses_what_is_written_wrong(tmp_path: Path, text: str, message: str) -> None:
    with pytest.raises(UsageError, match=message) as caught:
        ImageSet.scan(write(tmp_path / "m.csv", text), labelled=False)
    assert "m.csv" in str(caught.value)


def test_refuses_what_is_no_text(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"m\.csv: expected UTF-8, got 'utf-8' codec .*; save it as UTF-8"):
        ImageSet.scan(write(tmp_path / "m.csv", "path\né.jpg\n", "latin-1"), labelled=False)


def test_no_rows_is_no_image(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"expected images \(.*\), found none; .*m\.csv has 0 rows"):
        ImageSet.scan(write(tmp_path / "m.csv", "path,label\n"), labelled=False)
    with pytest.raises(DataError, match="found none"):
        ImageSet.scan(parquet(tmp_path / "m.parquet", path=[]), labelled=False)


def test_labelled_needs_a_class_in_each_row(tmp_path: Path) -> None:
    some = write(tmp_path / "some.csv", "path,label\na.jpg,1\nb.jpg,\n")
    with pytest.raises(ClassMatchError, match=r"in a column label, .*, but b\.jpg has none; give each row its class"):
        ImageSet.scan(some, labelled=True)
    assert found(some) == [("a.jpg", "1"), ("b.jpg", None)]
    with pytest.raises(ClassMatchError, match=r"but a\.jpg, b\.jpg have none"):
        ImageSet.scan(write(tmp_path / "none.csv", "path\na.jpg\nb.jpg\n"), labelled=True)


def test_parquet_has_numbers_text_and_categories(tmp_path: Path) -> None:
    import pyarrow as pa

    paths = ["a.jpg", "b.jpg", "c.jpg"]
    whole = parquet(tmp_path / "whole.parquet", file=paths, label=[1, 2, None])
    assert found(whole) == [("a.jpg", "1"), ("b.jpg", "2"), ("c.jpg", None)]
    named = parquet(tmp_path / "named.parquet", file=paths, label=pa.array(["x", "y", "x"]).dictionary_encode())
    assert found(named, labelled=True) == [("a.jpg", "x"), ("b.jpg", "y"), ("c.jpg", "x")]
    for labels in ([1.0, 2.0, 3.0], [True, False, True]):
        wrong = parquet(tmp_path / "wrong.parquet", file=paths, label=labels)
        with pytest.raises(UsageError, match="row 1: expected a class as a whole number or text, got"):
            found(wrong)
    with pytest.raises(UsageError, match="row 2: expected the path of an image, got no text"):
        found(parquet(tmp_path / "wrong.parquet", file=["a.jpg", None]))


def test_damaged_parquet_is_an_error(tmp_path: Path) -> None:
    whole = parquet(tmp_path / "m.parquet", path=[f"{n}.jpg" for n in range(100)])
    data = whole.read_bytes()
    for damaged in (b"", b"PAR1", data[:200], data[4:]):
        whole.write_bytes(damaged)
        with pytest.raises(DataError, match=r"m\.parquet: cannot be read as Parquet: "):
            ImageSet.scan(whole, labelled=False)


def test_parquet_without_its_library(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    manifest = parquet(tmp_path / "m.parquet", path=["a.jpg"])
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    with pytest.raises(UsageError, match=r"needs pyarrow: pip install 'tlaudit\[parquet\]', or write a \.csv file"):
        ImageSet.scan(manifest, labelled=False)
