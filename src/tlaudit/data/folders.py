"""Which image files lie below a folder, and which of them are taken; nothing is opened here.

The order is that of the relative names, so that it is the same on every file system.
"""

from __future__ import annotations

import os
import random
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from tlaudit.data.decoding import EXTENSIONS, extension
from tlaudit.data.items import Items, Roll
from tlaudit.results import SkippedImage

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from numpy.typing import NDArray

SHARD = ".tar"
"""How the name of a shard ends."""

MOST_NAME_CHARACTERS = 4096
"""Longer names in shards and manifests are refused, as a file system would."""

_ARCHIVER_LITTER = "__MACOSX"
_SHOWN_CHARACTERS = 1024


@dataclass
class Listing:
    """What lies below a folder, in shards or in a manifest.

    Attributes:
        items: Everything that has the extension of an image; of a folder sorted by name.
        other_files: How many files have another extension. Hidden ones are not counted.
        folders: Printable names of the folders directly below the root, sorted; of shards and manifests the classes.
        unread: What could not be listed, or leads back to something already read.
        shards: Paths of shards found, relative to the root, sorted by their printable names.
        wanted: What gives each image its class.
        advice: What to do where images have none.
    """

    items: Items = field(default_factory=lambda: Items(Roll()))
    other_files: int = 0
    folders: list[str] = field(default_factory=list)
    unread: list[SkippedImage] = field(default_factory=list)
    shards: list[str] = field(default_factory=list)
    wanted: str = "a folder for each class with its images in it"
    advice: str = "move images into class folders"

    def pass_over(self, name: str, reason: str) -> None:
        """Note something that holds images, perhaps, which cannot be had."""
        self.unread.append(SkippedImage(file=name, reason=reason))


def printable(name: str) -> str:
    r"""Escape what would break a line, a terminal or an encoding, and the backslash itself; no two names become one.

    Example:
        >>> print(printable("new\nline"), printable("caf\udce9"), printable("naïve"))
        new\x0aline caf\xe9 naïve
    """
    if name.isprintable() and "\\" not in name:
        return name
    return "".join(_escape(character) for character in name)


def _escape(character: str) -> str:
    if character == "\\":
        return "\\\\"
    if character.isprintable():
        return character
    code = ord(character)
    if 0xDC80 <= code <= 0xDCFF:
        # A byte that is no UTF-8, as Python smuggles it through a string; the character of that number is another name.
        return f"\\x{code - 0xDC00:02x}"
    return f"\\x{code:02x}" if code < 0x80 else f"\\u{code:04x}" if code < 0x10000 else f"\\U{code:08x}"


def shortened(text: str) -> str:
    """What a message shows of a text: all of it, unless it is longer than the printed name of any file on a disk."""
    return text if len(text) <= _SHOWN_CHARACTERS else f"{text[:_SHOWN_CHARACTERS]}…"


def is_hidden(name: str) -> bool:
    """Whether a file or folder of that name is passed over: a hidden one, or the litter of archivers."""
    return name.startswith(".") or name == _ARCHIVER_LITTER


class _Level(NamedTuple):
    """A folder that is being read: its path relative to the root as it is and as it is printed, and what is left."""

    path: str
    name: str
    entries: Iterator[str]


def list_images(root: Path) -> Listing:
    """Walk a folder and everything below it.

    Hidden files and folders, and the litter of archivers, are passed over. Linked folders are followed; below one first
    folder each real folder is read at most once, so that a loop ends.

    Args:
        root: A folder.

    Returns:
        The listing, sorted.

    Raises:
        OSError: If the root itself cannot be listed.
    """
    listing, base = Listing(), os.fspath(root)
    roll = Roll(base)
    identity = _identity(base)
    seen, top = {identity}, ""
    # Names of one folder at a time are held: put in order there, with the slash, they come in the order of whole names.
    levels = [_Level("", "", iter(_entries(base, listing)))]
    while levels:
        level = levels[-1]
        entry = next(level.entries, None)
        if entry is None:
            levels.pop()
            continue
        path, name = level.path + entry, level.name + printable(entry)
        if not entry.endswith("/"):
            if extension(entry) == SHARD:
                listing.shards.append(path)
            else:
                roll.add(name, top if len(levels) > 1 else None, path=path)
            continue
        if len(levels) == 1:
            seen, top = {identity}, name[:-1]
            listing.folders.append(top)
        entries = _entered(os.path.join(base, path[:-1]), name, seen, listing)  # noqa: PTH118
        if entries:
            levels.append(_Level(path, name, iter(entries)))
    listing.items = Items(roll)
    listing.folders.sort()
    listing.unread.sort(key=lambda skipped: skipped.file)
    return listing


def _entered(location: str, name: str, seen: set[tuple[int, int]], listing: Listing) -> list[str]:
    """What lies in a folder below a first one, unless it was read already or cannot be."""
    try:
        identity = _identity(location)
        if identity in seen:
            listing.pass_over(name, "leads back to a folder that was read already")
            return []
        seen.add(identity)
        return _entries(location, listing)
    except OSError as error:
        listing.pass_over(name, f"cannot be listed: {error.strerror or type(error).__name__}")
        return []


def _entries(location: str, listing: Listing) -> list[str]:
    """Images, shards and folders, these with a slash, directly in a folder, in order; other files are counted."""
    found: list[str] = []
    with os.scandir(location) as entries:
        for entry in entries:
            raw = entry.name
            if is_hidden(raw):
                continue
            if _is_folder(entry):
                found.append(f"{raw}/")
            elif (ending := extension(raw)) in EXTENSIONS or ending == SHARD:
                found.append(raw)
            else:
                listing.other_files += 1
    found.sort(key=printable)
    return found


def _is_folder(entry: os.DirEntry[str]) -> bool:
    try:
        return entry.is_dir()
    except OSError:
        # A link to itself, for example. Where its name promises an image, reading it will tell.
        return False


def _identity(location: str) -> tuple[int, int]:
    """Tell folders apart by what they are, not by how they were reached."""
    status = Path(location).stat()
    return status.st_dev, status.st_ino


def spread(items: Items, limit: int, seed: int) -> list[int]:
    """Choose images evenly over the classes, or first folders, at random within each.

    Every class gives the same number, one with fewer gives all it has, and what is then left of the limit goes one each
    to classes drawn by the seed. What one class gives depends on no other one's name.

    Args:
        items: In order.
        limit: How many to choose, at least 1.
        seed: Of both draws.

    Returns:
        At most ``limit`` numbers of items, rising.
    """
    groups = _groups(items)
    chosen: list[int] = []
    for folder, share in _shares({folder: len(group) for folder, group in groups.items()}, limit, seed).items():
        drawn = random.Random(f"{seed}/{folder or ''}").sample(range(len(groups[folder])), share)  # noqa: S311
        chosen += groups[folder][drawn].tolist()
    return sorted(chosen)


def _groups(items: Items) -> dict[str | None, NDArray[np.int64]]:
    """Numbers of the images of each class, the classes in the order in which they first occur."""
    numbers = items.folder_numbers()
    order = np.argsort(numbers, kind="stable")
    firsts = np.flatnonzero(np.diff(numbers[order], prepend=-2))
    groups = sorted(np.split(order, firsts[1:]), key=lambda group: int(group[0]))
    return {items[int(group[0])].folder: group for group in groups}


def _shares(sizes: Mapping[str | None, int], limit: int, seed: int) -> dict[str | None, int]:
    """Deal a limit out over folders of given sizes, as evenly as the sizes allow."""
    order = list(sizes)
    random.Random(seed).shuffle(order)  # noqa: S311 - a sample, no secret
    # From the smallest folder on, so that what it cannot give falls to the larger ones.
    order.sort(key=lambda folder: sizes[folder])
    shares = {}
    for position, folder in enumerate(order):
        shares[folder] = min(sizes[folder], limit // (len(order) - position))
        limit -= shares[folder]
    return shares
