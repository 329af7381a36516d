"""Which image files lie below a folder, and which of them are taken; nothing is opened here.

The order is that of the relative names, so that it is the same on every file system.
"""

from __future__ import annotations

import os
import random
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from tlaudit.data.decoding import EXTENSIONS, extension
from tlaudit.results import SkippedImage

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

_ARCHIVER_LITTER = "__MACOSX"


class FoundFile(NamedTuple):
    """An image file: where it is, its printable name relative to the root, and the first folder of that name."""

    location: str
    name: str
    folder: str | None


@dataclass
class Listing:
    """What lies below a folder.

    Attributes:
        files: Everything that has the extension of an image and is no folder, sorted by name once complete.
        other_files: How many files have another extension. Hidden ones are not counted.
        folders: Printable names of the folders directly below the root.
        unread: Folders that could not be listed, or that lead back to one already read.
    """

    files: list[FoundFile] = field(default_factory=list)
    other_files: int = 0
    folders: list[str] = field(default_factory=list)
    unread: list[SkippedImage] = field(default_factory=list)


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
        # A byte that is no UTF-8, as Python smuggles it through a string.
        code -= 0xDC00
    return f"\\x{code:02x}" if code < 0x100 else f"\\u{code:04x}" if code < 0x10000 else f"\\U{code:08x}"


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
    listing = Listing()
    identity = _identity(os.fspath(root))
    for location, name in _list_one(os.fspath(root), "", None, listing):
        listing.folders.append(name)
        _list_below(location, name, {identity}, listing)
    listing.files.sort(key=lambda file: file.name)
    listing.folders.sort()
    listing.unread.sort(key=lambda skipped: skipped.file)
    return listing


def _list_below(location: str, top: str, seen: set[tuple[int, int]], listing: Listing) -> None:
    """List a first folder and all below it; in name order, so that of two links to one folder the same one is read."""
    pending = [(location, top)]
    while pending:
        location, name = pending.pop()
        try:
            identity = _identity(location)
            if identity in seen:
                reason = "leads back to a folder that was read already"
                listing.unread.append(SkippedImage(file=f"{name}/", reason=reason))
                continue
            seen.add(identity)
            below = _list_one(location, f"{name}/", top, listing)
        except OSError as error:
            reason = f"cannot be listed: {error.strerror or type(error).__name__}"
            listing.unread.append(SkippedImage(file=f"{name}/", reason=reason))
            continue
        pending += sorted(below, key=lambda pair: pair[1], reverse=True)


def _list_one(location: str, prefix: str, top: str | None, listing: Listing) -> list[tuple[str, str]]:
    """Note the files of one folder; give location and name of the folders in it."""
    below = []
    with os.scandir(location) as entries:
        for entry in entries:
            raw = entry.name
            if raw.startswith(".") or raw == _ARCHIVER_LITTER:
                continue
            name = prefix + printable(raw)
            if _is_folder(entry):
                below.append((entry.path, name))
            elif extension(raw) in EXTENSIONS:
                listing.files.append(FoundFile(entry.path, name, top))
            else:
                listing.other_files += 1
    return below


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


def spread(files: Sequence[FoundFile], limit: int, seed: int) -> list[FoundFile]:
    """Choose files evenly over the first folders, at random within each.

    Every folder gives the same number, a folder with fewer gives all it has, and what is then left of the limit goes
    one each to folders drawn by the seed. What one folder gives depends on no other folder's names.

    Args:
        files: In order.
        limit: How many to choose, at least 1.
        seed: Of both draws.

    Returns:
        At most ``limit`` files, in the order given.
    """
    groups: dict[str | None, list[int]] = {}
    for number, file in enumerate(files):
        groups.setdefault(file.folder, []).append(number)
    chosen: list[int] = []
    for folder, share in _shares({folder: len(group) for folder, group in groups.items()}, limit, seed).items():
        chosen += random.Random(f"{seed}/{folder or ''}").sample(groups[folder], share)  # noqa: S311
    return [files[number] for number in sorted(chosen)]


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
