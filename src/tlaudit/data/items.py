"""The images of a set as a few long columns, so that a million of them take tens of megabytes, not hundreds."""

from __future__ import annotations

import hashlib
import os
from array import array
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple, overload

import numpy as np

from tlaudit.data.decoding import extension
from tlaudit.data.locations import file_of, of_member

if TYPE_CHECKING:
    from collections.abc import Iterable

    from numpy.typing import NDArray


@dataclass(frozen=True, slots=True)
class ImageItem:
    """One image.

    Attributes:
        location: What the decoder reads: a file, or a piece of a shard (`tlaudit.data.locations`).
        name: What it is called; printable, odd characters and bytes escaped, and of no other image of the set. In a
            folder it is the path relative to the root with ``/``.
        folder: Its class as written: of a folder the first part of ``name``; None where nothing says it.
    """

    location: str
    name: str
    folder: str | None

    @property
    def path(self) -> Path:
        """The file that holds it: its own, or a shard."""
        return Path(file_of(self.location))

    @property
    def content(self) -> str:
        """Where its bytes lie, links followed: equal for two items that are one image."""
        file = file_of(self.location)
        return os.path.realpath(file) + self.location[len(file) :]


class Member(NamedTuple):
    """A piece of a shard: number of the shard, first byte and length."""

    shard: int
    at: int
    size: int


class Roll:
    """Columns that are written image by image; `Items` reads them.

    Attributes:
        base: Folder that paths are meant from.
        shards: Files that members lie in.
        folders: Classes met, in the order in which they were met.
        folder: Number of each image's class among them, -1 for none.
    """

    def __init__(self, base: str = "") -> None:
        """Begin with no image."""
        self.base = base
        self.shards: list[str] = []
        self.folders: list[str] = []
        self.folder = array("i")
        self._numbers: dict[str, int] = {}
        self._names = bytearray()
        self._ends = array("q", [0])
        # Paths that are not written as their names are; few, because only odd characters are escaped.
        self._odd: dict[int, str] = {}
        self._shard, self._at, self._size = array("i"), array("q"), array("q")

    def __len__(self) -> int:
        return len(self.folder)

    def number_of(self, folder: str | None) -> int:
        """Number a class."""
        if folder is None:
            return -1
        number = self._numbers.setdefault(folder, len(self.folders))
        if number == len(self.folders):
            self.folders.append(folder)
        return number

    def add(self, name: str, folder: str | None, *, path: str | None = None, member: Member | None = None) -> None:
        """Write down one image.

        Args:
            name: Printable.
            folder: Its class, or None.
            path: Of its file, relative to the base or absolute; as its name where left out.
            member: Where it lies in a shard; all images of one roll do, or none.
        """
        if path is not None and path != name:
            self._odd[len(self)] = path
        if member is not None:
            self._shard.append(member.shard)
            self._at.append(member.at)
            self._size.append(member.size)
        self._names += name.encode()
        self._ends.append(len(self._names))
        self.folder.append(self.number_of(folder))

    def name(self, number: int) -> str:
        """Give the name of an image."""
        return str(memoryview(self._names)[self._ends[number] : self._ends[number + 1]], "utf-8")

    def item(self, number: int) -> ImageItem:
        """Give an image."""
        name, folder = self.name(number), self.folder[number]
        if self._shard:
            shard = self.shards[self._shard[number]]
            location = of_member(shard, self._at[number], self._size[number], extension(name))
        else:
            location = os.path.join(self.base, self._odd.get(number, name) if self._odd else name)  # noqa: PTH118
        return ImageItem(location, name, self.folders[folder] if folder >= 0 else None)

    def like(self, other: Roll) -> bool:
        """Whether another roll lists the same images."""
        return all(
            getattr(self, column) == getattr(other, column)
            for column in ("base", "shards", "folders", "folder", "_ends", "_names", "_odd", "_shard", "_at", "_size")
        )


class Items(Sequence[ImageItem]):
    """Images in order. Each is put together when it is asked for; a part of them takes eight bytes an image more."""

    def __init__(self, roll: Roll, numbers: Sequence[int] | None = None) -> None:
        """See the images of a roll.

        Args:
            roll: Complete.
            numbers: Those that are meant, in order; all where left out.
        """
        self._roll = roll
        self._numbers = range(len(roll)) if numbers is None else numbers

    def __len__(self) -> int:
        return len(self._numbers)

    @overload
    def __getitem__(self, index: int) -> ImageItem: ...

    @overload
    def __getitem__(self, index: slice) -> Items: ...

    def __getitem__(self, index: int | slice) -> ImageItem | Items:
        if isinstance(index, slice):
            return Items(self._roll, self._numbers[index])
        return self._roll.item(self._numbers[index])

    def __iter__(self) -> Iterator[ImageItem]:
        return map(self._roll.item, self._numbers)

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Sequence) or len(self) != len(other):
            return False
        if isinstance(other, Items) and self._numbers == other._numbers and self._roll.like(other._roll):
            return True
        return all(mine == theirs for mine, theirs in zip(self, other, strict=True))

    def __hash__(self) -> int:
        return hash((len(self), self[0] if len(self) else None))

    def take(self, numbers: Iterable[int]) -> Items:
        """Give some of the images.

        Args:
            numbers: Of these, in the order wanted.
        """
        return Items(self._roll, array("q", (self._numbers[number] for number in numbers)))

    def folder_numbers(self) -> NDArray[np.int32]:
        """Number the class of each image, ``(N,)``: equal where the classes are; -1 for none."""
        column = np.frombuffer(self._roll.folder, dtype=np.int32) if len(self._roll) else np.empty(0, np.int32)
        return column if isinstance(self._numbers, range) and len(self) == len(column) else column[self._numbers]

    def folders(self) -> list[str]:
        """Name the classes of these images, sorted."""
        return sorted(self._roll.folders[number] for number in np.unique(self.folder_numbers()) if number >= 0)


def shorthand(text: str) -> int:
    """64 bits of a digest of a text, by which a million of them are compared in little memory."""
    digest = hashlib.blake2b(text.encode("utf-8", "surrogateescape"), digest_size=8).digest()
    return int.from_bytes(digest, "little", signed=True)


def repeated(shorthands: array[int]) -> NDArray[np.int64]:
    """Say which entries are equal to an earlier one.

    Returns:
        Their numbers, rising.
    """
    values = np.frombuffer(shorthands, dtype=np.int64) if shorthands else np.empty(0, np.int64)
    order = np.argsort(values, kind="stable")
    again = np.flatnonzero(values[order][1:] == values[order][:-1]) + 1
    return np.sort(order[again])
