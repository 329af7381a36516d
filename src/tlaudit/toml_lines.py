"""Where in a TOML file the tables of an array begin; the reader of the standard library does not say."""

from __future__ import annotations

import tomllib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Sequence


def lines_of(text: str, path: Sequence[str]) -> list[int]:
    """Find the lines at which the tables of an array of tables begin.

    A line begins one if it is its header and what stands before it is TOML that ends there: so comments and strings of
    several lines confuse nothing.

    Args:
        text: A valid TOML document, its lines ended by line feeds.
        path: Keys that lead to the array, such as ``["policy", "rules"]``.

    Returns:
        Line numbers counted from 1, one for each table in order. All are that of the key where the array is written
        inline. Empty if there is no such array.
    """
    tables = _at(tomllib.loads(text), path)
    if not isinstance(tables, list):
        return []
    lines = text.split("\n")
    found: list[int] = []
    begin = 0
    for index, line in enumerate(lines):
        if line.lstrip(" \t").startswith("[[") and isinstance(_at(_parsed(line), path), list):
            # What stands between two headers is short; only where it cannot stand alone everything before is read.
            between, before = "\n".join(lines[begin:index]), lines[:index]
            if _parsed(between) is not None or _parsed("\n".join(before)) is not None:
                found.append(index + 1)
                begin = index
    return found if len(found) == len(tables) else [_line_of_key(lines, path)] * len(tables)


def _line_of_key(lines: Sequence[str], path: Sequence[str]) -> int:
    """The line of the first key that leads to what is written inline; 1 if it is hidden too well."""
    for index, line in enumerate(lines):
        key, equals, _ = line.partition("=")
        if not equals or not any(part in key for part in path):
            continue
        before = _parsed("\n".join(lines[:index]))
        here = _parsed("\n".join([*lines[:index], f"{key}= 0"]))
        if before is not None and here is not None and _ends(here, path) and not _ends(before, path):
            return index + 1
    return 1


def _ends(document: dict[str, Any], path: Sequence[str]) -> bool:
    """Whether the path comes to a number on its way or at its end."""
    return any(_at(document, path[: length + 1]) == 0 for length in range(len(path)))


def _at(document: Any, path: Sequence[str]) -> Any:
    for key in path:
        document = document.get(key) if isinstance(document, dict) else None
    return document


def _parsed(text: str) -> dict[str, Any] | None:
    try:
        return tomllib.loads(text)
    except tomllib.TOMLDecodeError:
        return None
