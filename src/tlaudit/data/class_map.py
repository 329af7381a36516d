"""The file a user writes to say which class a folder shows: JSON or CSV, folder to class index or class name."""

from __future__ import annotations

import csv
import io
import json
from typing import TYPE_CHECKING, NamedTuple

from tlaudit.data.folders import printable, shortened
from tlaudit.errors import ClassMatchError
from tlaudit.reading import whole

if TYPE_CHECKING:
    from pathlib import Path

MOST_BYTES = 1 << 26
"""Larger class maps are not read: it has room for millions of folders, and a device never ends."""

_HEADER = ["folder", "class"]


class Entry(NamedTuple):
    """One line of a class map: the class as written, an index or a name, and where it is written."""

    written: int | str
    place: str


def read_class_map(path: Path) -> dict[str, Entry]:
    """Read a class map.

    A JSON object maps folders to class indices (numbers) or names (strings); a CSV file has two columns, folder and
    class, with or without the header ``folder,class``. The extension decides, or else whether the text begins with a
    brace. UTF-8, with or without a byte order mark. Folders are written as this program prints them.

    Returns:
        By folder, the class as written. Nothing has been looked up.

    Raises:
        ClassMatchError: If the file cannot be read or is malformed, with line or entry.
    """
    where = f"class map {printable(str(path))}"
    try:
        text = whole(path, MOST_BYTES).decode("utf-8-sig")
    except OSError as error:
        raise ClassMatchError(f"{where}: cannot be read: {error.strerror}") from None
    except UnicodeDecodeError as error:
        raise ClassMatchError(f"{where}: expected UTF-8, got {error}") from None
    suffix = path.suffix.lower()
    is_json = suffix == ".json" or (suffix != ".csv" and text.lstrip().startswith("{"))
    entries = _read_json(text, where) if is_json else _read_csv(text, where)
    if not entries:
        raise ClassMatchError(f"{where}: expected at least one folder with its class, got none")
    return entries


def _read_json(text: str, where: str) -> dict[str, Entry]:
    try:
        pairs = json.loads(text, object_pairs_hook=lambda pairs: pairs)
    except (json.JSONDecodeError, RecursionError, ValueError) as error:
        raise ClassMatchError(f"{where}: not valid JSON: {error}") from None
    # Objects arrive as lists of pairs, so that a folder named twice is seen; a JSON array holds no tuples.
    if not isinstance(pairs, list) or not all(isinstance(pair, tuple) for pair in pairs) or not text.strip()[0] == "{":
        raise ClassMatchError(f'{where}: expected a JSON object such as {{"folder": 207, "other": "tench"}}')
    entries: dict[str, Entry] = {}
    for folder, written in pairs:
        place = f"{where}, folder {shortened(folder)!r}"
        if isinstance(written, bool) or not isinstance(written, int | str):
            # Of what may be nested as deeply as it likes the kind is said, not the content.
            got = "a list or an object" if isinstance(written, list) else json.dumps(written)
            raise ClassMatchError(f"{place}: expected a class index or name, got {got}")
        _add(entries, folder, Entry(written, place))
    return entries


def _read_csv(text: str, where: str) -> dict[str, Entry]:
    entries: dict[str, Entry] = {}
    reader = csv.reader(io.StringIO(text, newline=""), strict=True, skipinitialspace=True)
    try:
        for number, row in enumerate(reader):
            cells = [cell.strip() for cell in row]
            place = f"{where}, line {reader.line_num}"
            if not any(cells) or (number == 0 and [cell.casefold() for cell in cells] == _HEADER):
                continue
            if len(cells) != len(_HEADER) or not all(cells):
                got = shortened(str(row))
                raise ClassMatchError(f"{place}: expected folder,class (names with commas in quotes), got {got}")
            _add(entries, cells[0], Entry(cells[1], place))
    except csv.Error as error:
        raise ClassMatchError(f"{where}, line {reader.line_num}: not valid CSV: {error}") from None
    return entries


def _add(entries: dict[str, Entry], folder: str, entry: Entry) -> None:
    if folder in entries:
        first = entries[folder].place
        raise ClassMatchError(f"{entry.place}: folder {shortened(folder)!r} has a class already ({first})")
    entries[folder] = entry
