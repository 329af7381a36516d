"""Where the bytes of an image lie, in one line of text: a file, or a piece of a shard.

A file is named by its path. A piece of a shard by the path, the first byte, the length and the extension of the
member's name, with the one character between them that no path holds.
"""

from __future__ import annotations

from typing import NamedTuple

_BETWEEN = "\0"


class Piece(NamedTuple):
    """Bytes of a file: its path, the first byte and how many."""

    file: str
    at: int
    size: int


def of_member(shard: str, at: int, size: int, extension: str) -> str:
    """Write down a piece of a shard.

    Args:
        shard: Path of the shard.
        at: First byte, counted from 0.
        size: How many bytes.
        extension: Of the member's name, with its dot: the location ends with it as a path would.
    """
    return _BETWEEN.join((shard, str(at), str(size), extension))


def file_of(location: str) -> str:
    """Give the path of the file in which an image lies."""
    return location.partition(_BETWEEN)[0]


def piece_of(location: str) -> Piece | None:
    """Give the piece of a shard that a location names; None if it names a file of its own."""
    if _BETWEEN not in location:
        return None
    file, at, size, _ = location.split(_BETWEEN)
    return Piece(file, int(at), int(size))
