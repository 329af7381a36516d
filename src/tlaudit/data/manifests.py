"""Images named one by one in a table, CSV or Parquet, and what class each is of."""

from __future__ import annotations

import csv
import os
from array import array
from typing import TYPE_CHECKING, NamedTuple

from tlaudit.data.decoding import EXTENSIONS, extension
from tlaudit.data.folders import MOST_NAME_CHARACTERS, Listing, printable, shortened
from tlaudit.data.items import Items, Roll, repeated, shorthand
from tlaudit.errors import DataError, UsageError

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

MANIFESTS = (".csv", ".tsv", ".parquet")
"""How the name of a manifest ends."""

PATH_COLUMNS = ("path", "file", "filename", "file_name", "filepath", "image", "image_path")
CLASS_COLUMNS = ("label", "class", "class_name", "target", "wnid")
"""What the columns may be called, in any case."""

_ROWS = 8192
_SHOWN = 10


class _Row(NamedTuple):
    """One image: where in the manifest it is named, its path, and its class if there is a column for it."""

    place: str
    path: object
    label: object


class _Columns(NamedTuple):
    """Which columns are read, by number; no class where there is no column for one."""

    path: int
    label: int | None


def list_manifest(manifest: Path) -> Listing:
    """Find the images that a manifest names, in its order. No image is opened.

    Args:
        manifest: A table with a column of `PATH_COLUMNS`, relative to the manifest's folder or absolute, and perhaps
            one of `CLASS_COLUMNS`, a class index or a name.

    Returns:
        The listing; rows whose file does not end like an image's are in `unread`.

    Raises:
        UsageError: If the table has no such column or several, a cell holds something else, or an image is named twice.
        DataError: If it cannot be read.
    """
    where, listing = printable(str(manifest)), Listing()
    roll, met = Roll(os.fspath(manifest.parent)), array("q")
    for row in _of_parquet(manifest, where) if manifest.suffix.lower() == ".parquet" else _of_text(manifest, where):
        path, label = _path(row, where), _label(row, where)
        if extension(path) not in EXTENSIONS:
            listing.other_files += 1
            listing.pass_over(printable(path), f"its name does not end like an image's ({', '.join(EXTENSIONS)})")
            continue
        met.append(shorthand(os.path.normpath(os.path.join(roll.base, path))))  # noqa: PTH118
        roll.add(printable(path), label, path=path)
    twice = repeated(met)
    if len(twice):
        more = f" and {len(twice) - _SHOWN} more" if len(twice) > _SHOWN else ""
        names = ", ".join(roll.name(number) for number in twice[:_SHOWN].tolist())
        raise UsageError(f"{where}: expected each image once, got again: {names}{more}; remove the rows that repeat")
    listing.items = Items(roll)
    if not len(roll) and not listing.unread:
        listing.pass_over(where, "has 0 rows")
    listing.folders = listing.items.folders()
    listing.wanted = f"a class for each image, in a column {_either(CLASS_COLUMNS)}"
    listing.advice = "give each row its class, an index or a name"
    return listing


def _of_text(manifest: Path, where: str) -> Iterator[_Row]:
    """Read CSV, or TSV, row by row."""
    delimiter = "\t" if manifest.suffix.lower() == ".tsv" else ","
    try:
        with manifest.open(encoding="utf-8-sig", newline="") as file:
            rows = csv.reader(file, delimiter=delimiter, strict=True)
            header = next(rows, None)
            if not header:
                raise UsageError(f"{where}: expected a header with the names of the columns, got no text")
            columns = _columns(header, where)
            for row in rows:
                if not row:
                    continue
                place = f"line {rows.line_num}"
                if len(row) != len(header):
                    raise UsageError(f"{where}: {place}: expected {len(header)} cells, got {len(row)}")
                yield _Row(place, row[columns.path], None if columns.label is None else row[columns.label])
    except UnicodeDecodeError as error:
        raise UsageError(f"{where}: expected UTF-8, got {error}; save it as UTF-8") from None
    except csv.Error as error:
        raise UsageError(f"{where}: cannot be read as {manifest.suffix[1:].upper()}: {error}") from None
    except OSError as error:
        raise DataError(f"{where}: cannot be read: {error.strerror}") from None


def _of_parquet(manifest: Path, where: str) -> Iterator[_Row]:
    """Read Parquet a few thousand rows at a time."""
    try:
        import pyarrow as pa
        from pyarrow.parquet import ParquetFile
    except ImportError:
        raise UsageError(
            f"{where}: reading Parquet needs pyarrow: pip install 'tlaudit[parquet]', or write a .csv file"
        ) from None
    try:
        with ParquetFile(manifest) as file:
            names = file.schema_arrow.names
            columns = _columns(names, where)
            wanted = [names[number] for number in columns if number is not None]
            number = 0
            for batch in file.iter_batches(batch_size=_ROWS, columns=wanted):
                read = [batch.column(name).to_pylist() for name in wanted]
                for row in zip(*read, strict=True):
                    number += 1
                    yield _Row(f"row {number}", row[0], row[1] if len(row) > 1 else None)
    except (pa.ArrowException, OSError, ValueError, ArithmeticError) as error:
        # Errors of the system and of a broken page are both OSErrors; the latter have no number. Text that is no UTF-8,
        # and days beyond all calendars, are found when they become values of Python's.
        reason = getattr(error, "strerror", None) or shortened(printable(" ".join(str(error).split())))
        raise DataError(f"{where}: cannot be read as Parquet: {reason}") from None


def _columns(names: Sequence[str], where: str) -> _Columns:
    """Find the columns by their names."""
    there = [str(name).strip().casefold() for name in names]
    found = {
        what: [number for number, name in enumerate(there) if name in known]
        for what, known in (("image", PATH_COLUMNS), ("class", CLASS_COLUMNS))
    }
    shown = shortened(
        ", ".join(printable(str(name)) for name in names[:_SHOWN]) + (" …" if len(names) > _SHOWN else "")
    )
    if not found["image"]:
        raise UsageError(
            f"{where}: expected a column with the paths of images, {_either(PATH_COLUMNS)}; there are: {shown}"
        )
    for what, numbers in found.items():
        if len(numbers) > 1:
            several = shortened(" and ".join(printable(str(names[number])) for number in numbers[:_SHOWN]))
            raise UsageError(
                f"{where}: expected one column for the {what}, got {several}; rename those that do not say it "
                f"(there are: {shown})"
            )
    return _Columns(found["image"][0], found["class"][0] if found["class"] else None)


def _path(row: _Row, where: str) -> str:
    if not isinstance(row.path, str) or not row.path.strip() or "\0" in row.path:
        odd = isinstance(row.path, str) and "\0" in row.path
        got = "a character that no path holds" if odd else "none" if isinstance(row.path, str) else "no text"
        raise UsageError(f"{where}: {row.place}: expected the path of an image, got {got}")
    _require_short(row.path, row, where)
    return row.path


def _label(row: _Row, where: str) -> str | None:
    """The class of a row as text; None for an empty cell."""
    if row.label is None:
        return None
    if isinstance(row.label, bool) or not isinstance(row.label, int | str):
        got = type(row.label).__name__
        raise UsageError(f"{where}: {row.place}: expected a class as a whole number or text, got {got}")
    _require_short(str(row.label), row, where)
    return printable(str(row.label).strip()) or None


def _require_short(text: str, row: _Row, where: str) -> None:
    if len(text) > MOST_NAME_CHARACTERS:
        raise UsageError(
            f"{where}: {row.place}: expected paths and classes of at most {MOST_NAME_CHARACTERS} characters, "
            f"got {len(text)}"
        )


def _either(names: Sequence[str]) -> str:
    return f"{', '.join(names[:-1])} or {names[-1]}"
