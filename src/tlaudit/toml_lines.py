"""Where in a TOML file the tables of an array begin; the reader of the standard library does not say."""

from __future__ import annotations

import re
import tomllib
from typing import TYPE_CHECKING, Any, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

MOST_PARTS = 50
"""Parts of a dotted key. The reader's time and memory grow with their square: with 50 000 they would fill a machine."""

_PART = r"""(?:[A-Za-z0-9_-]++|"(?:[^"\\\n]|\\.)*+"|'[^'\n]*+')"""
_KEY = re.compile(rf"[ \t]*+({_PART}(?:[ \t]*+\.[ \t]*+{_PART})*+)[ \t]*+=")
_HEADER = re.compile(rf"[ \t]*+(\[\[?)[ \t]*+({_PART}(?:[ \t]*+\.[ \t]*+{_PART})*+)[ \t]*+\]")
_SHORT_PART = r"""(?:(?<![A-Za-z0-9_-])[A-Za-z0-9_-]{1,200}+|"(?:[^"\\\n]|\\.){0,200}+"|'[^'\n]{0,200}+')"""
_LONG = re.compile(rf"(?:{_SHORT_PART}[ \t]{{0,9}}+\.[ \t]{{0,9}}+){{{MOST_PARTS}}}")
"""Of text that may be no TOML, so that nothing in it may be looked at again and again without end."""
_TOKEN = re.compile(
    r'"{3}(?:[^"\\]|\\.|"(?!""))*+"{3,5}'
    r"|'{3}(?:[^']|'(?!''))*+'{3,5}"
    r'|"(?:[^"\\\n]|\\.)*+"'
    r"|'[^'\n]*+'"
    r"|\#[^\n]*+"
    r"|[\[\]{}\n]",
    re.DOTALL,
)
"""What brackets and line ends may hide in, and those."""


class _Statement(NamedTuple):
    """A header or a key with its value.

    Attributes:
        line: At which it begins, counted from 1.
        path: Keys that lead to what it sets.
        one_more: Whether it is the header of one more table of an array.
        header: Whether it is one at all.
    """

    line: int
    path: tuple[str, ...]
    one_more: bool
    header: bool


def lines_of(text: str, path: Sequence[str]) -> list[int]:
    """Find the lines at which the tables of an array of tables begin.

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
    wanted = tuple(path)
    statements = list(_statements(text))
    found = [one.line for one in statements if one.one_more and one.path == wanted]
    if found and len(found) == len(tables):
        return found
    inline = (one.line for one in statements if not one.header and one.path == wanted[: len(one.path)])
    return [next(inline, 1)] * len(tables)


def has_bomb(text: str) -> bool:
    """Whether a key has more parts than the reader of the standard library can bear (`MOST_PARTS`)."""
    return _LONG.search(text) is not None


def _statements(text: str) -> Iterator[_Statement]:
    """All headers and keys of a document, each of which begins a line outside of strings and brackets."""
    table: tuple[str, ...] = ()
    for line, begin in _beginnings(text):
        header = _HEADER.match(text, begin)
        if header is not None:
            table = _parts(header[2])
            yield _Statement(line, table, header[1] == "[[", header=True)
        elif (key := _KEY.match(text, begin)) is not None:
            yield _Statement(line, (*table, *_parts(key[1])), one_more=False, header=False)


def _beginnings(text: str) -> Iterator[tuple[int, int]]:
    """Lines that begin outside of strings and brackets: their numbers, and where in the text they begin."""
    line, depth = 1, 0
    yield 1, 0
    for token in _TOKEN.finditer(text):
        what = token[0]
        line += what.count("\n")
        if what in "[{":
            depth += 1
        elif what in "]}":
            depth -= 1
        elif what == "\n" and depth == 0:
            yield line, token.end()


def _parts(key: str) -> tuple[str, ...]:
    """The parts of a dotted key, without quotes."""
    found: list[str] = []
    place: Any = tomllib.loads(f"{key} = 0")
    while isinstance(place, dict):
        name, place = next(iter(place.items()))
        found.append(name)
    return tuple(found)


def _at(document: Any, path: Sequence[str]) -> Any:
    for key in path:
        document = document.get(key) if isinstance(document, dict) else None
    return document
