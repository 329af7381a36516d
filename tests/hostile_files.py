"""Files that are not what they should be, whatever is read from them: contents, names and kinds."""

from __future__ import annotations

import os
import random
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path

NAMES = {
    "a line break": "a\nb",
    "a terminal's colours": "a\x1b[31mb",
    "markup": "<b onclick=x>&amp;",
    "rich's markup": "[red]x[bold]",
    "a leading dash": "-o",
    "written from right to left": "a\u202egnp",
    "no text": os.fsdecode(b"\xff\xfe"),
    "quotes": "\"a' b`c",
    "an equals sign": "a=b",
    "a colon": "a:b",
    "a percent sign": "%s %(x)s {x}",
    "two blanks": " a  b ",
}
"""Of files; a suffix comes on top."""
LONGEST = 255


def damaged(content: bytes) -> dict[str, bytes]:
    """What no reader of text takes for the text that it was."""
    return {
        "a NUL byte at the end": content + b"\0",
        "a NUL byte within": content[:40] + b"\0" + content[40:],
        "NUL bytes alone": b"\0" * 5000,
        "UTF-16": content.decode().encode("utf-16"),
        "UTF-16 without a mark": content.decode().encode("utf-16-le"),
        "UTF-32": content.decode().encode("utf-32"),
        "a byte that is no UTF-8": content[:30] + b"\xff" + content[30:],
        "Latin-1": "caf\xe9 = 'x'".encode("latin-1"),
        "half a character": content + "é".encode()[:1],
        "a surrogate in UTF-8": content[:30] + b"\xed\xa0\x80" + content[30:],
        "an overlong slash": content[:30] + b"\xc0\xaf" + content[30:],
        "a program": b"\x7fELF\x02\x01\x01" + bytes(range(256)) * 20,
        "a zip": b"PK\x03\x04" + bytes(200),
        "a pickle": b"\x80\x04\x95\x1d\x00\x00\x00\x00\x00\x00\x00\x8c\x02os\x94",
        "YAML": b"lingering:\n  k: 5\n  - x\n",
        "XML": b"<?xml version='1.0'?>\n<a/>\n",
        "brackets 100 000 deep": b"[" * 100_000,
        "a value in brackets 100 000 deep": b"a = " + b"[" * 100_000 + b"]" * 100_000,
        "objects 100 000 deep": b'{"a":' * 100_000,
        "inline tables 100 000 deep": b"a = " + b"{a = " * 100_000,
        "50 MB of brackets": b"[" * 50_000_000,
        "an open text": b'"' + b"x" * 100_000,
        "an open text of several lines": b'a = """' + b"x\n" * 10_000,
    }


def cut(content: bytes, step: int = 50) -> list[bytes]:
    """The beginning of a text, up to every so many bytes."""
    return [content[:end] for end in range(1, len(content) - 1, step)]


def flipped(content: bytes, count: int, seed: int = 0) -> list[bytes]:
    """The text with one bit the other way round, in so many places."""
    rng = random.Random(seed)
    found = []
    for _ in range(count):
        copy = bytearray(content)
        copy[rng.randrange(len(copy))] ^= 1 << rng.randrange(8)
        found.append(bytes(copy))
    return found


def build(folder: Path) -> None:
    """Make the places of `REASONS` in a folder."""
    (folder / "folder.json").mkdir()
    (folder / "loop.json").symlink_to("loop.json")
    (folder / "there.json").symlink_to("back.json")
    (folder / "back.json").symlink_to("there.json")
    (folder / "dangling.json").symlink_to("nowhere.json")
    (folder / "file").write_text("x")
    os.mkfifo(folder / "pipe.json")


REASONS = {
    "folder.json": "Is a directory",
    "loop.json": "Too many levels of symbolic links",
    "there.json": "Too many levels of symbolic links",
    "dangling.json": "No such file|does not exist",
    "nowhere.json": "No such file|does not exist",
    "nowhere/a.json": "No such file|does not exist",
    "file/a.json": "Not a directory",
    "x" * (LONGEST + 1): "File name too long",
    "/".join(["x" * 200] * 30): "File name too long",
    "pipe.json": "a pipe, and nobody writes to it",
    "a\0b.json": "NUL character",
}
"""Paths at which nothing can be read, each with a pattern of the reason."""
