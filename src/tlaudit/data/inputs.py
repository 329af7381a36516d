"""Files, folders, shards and manifests named one by one, as one set of images that remembers what it could not take."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from tlaudit.data.account import SHOWN
from tlaudit.data.decoding import EXTENSIONS, extension
from tlaudit.data.folders import SHARD, printable
from tlaudit.data.images import ImageSet
from tlaudit.data.items import ImageItem
from tlaudit.data.kinds import is_pattern, is_set
from tlaudit.errors import DataError, UsageError
from tlaudit.results import SkippedImage

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

_NAMED = 3


@dataclass(frozen=True)
class Inputs:
    """What was named, in that order; the images of a folder in the order of their names.

    Attributes:
        images: All images as one set, so that they share batches; each is called as the user called it.
        refused: What holds no image that could be opened, each with the number of images before it.
    """

    images: ImageSet
    refused: tuple[tuple[int, SkippedImage], ...]


def gather(paths: Sequence[Path]) -> Inputs:
    """Find the images that are named, folder by folder and file by file. No image is opened.

    Args:
        paths: Image files; folders that are searched with everything below them; tar shards, patterns of them and
            manifests (docs/data.md). One named twice counts twice.

    Raises:
        UsageError: If nothing is named, or something does not exist; all of that are given.
        DataError: If there is no image at all.
    """
    if not paths:
        raise UsageError("name images to screen: files, or folders that hold them")
    missing = [printable(str(path)) for path in paths if not (os.path.lexists(path) or is_pattern(path))]
    if missing:
        more = f" and {len(missing) - SHOWN} more" if len(missing) > SHOWN else ""
        raise UsageError(f"no such file or folder: {', '.join(missing[:SHOWN])}{more}")
    items: list[ImageItem] = []
    refused: list[tuple[int, SkippedImage]] = []
    available = other_files = 0
    for path in paths:
        found = _folder(path) if is_set(path) else _file(path)
        items += found.items
        refused += [(len(items), skipped) for skipped in found.unread]
        available += found.available
        other_files += found.other_files
    if not items:
        reasons = "; ".join(f"{skipped.file}: {skipped.reason}" for _, skipped in refused[:SHOWN])
        raise DataError(f"there is no image to screen: {reasons}")
    return Inputs(_set(_together(paths), items, available, other_files), tuple(refused))


def _folder(path: Path) -> ImageSet:
    """The images below a folder, or of another set, under the names the user would give them."""
    name = printable(str(path))
    try:
        found = ImageSet.scan(path, labelled=False)
    except (DataError, UsageError) as error:
        # A table beside the images, for one, that is no manifest.
        return _set(path, [], 0, 0, [SkippedImage(file=name, reason=str(error).removeprefix(f"{name}: "))])
    # Names of shards are part of the names in them already; what a manifest names may lie anywhere.
    above = name if path.is_dir() or path.suffix.lower() != SHARD else printable(str(path.parent))
    items = [ImageItem(item.location, f"{above}/{item.name}", item.folder) for item in found.items]
    unread = [SkippedImage(file=f"{above}/{skipped.file}", reason=skipped.reason) for skipped in found.unread]
    return _set(path, items, found.available, found.other_files, unread)


def _file(path: Path) -> ImageSet:
    name = printable(str(path))
    if extension(path.name) in EXTENSIONS:
        return _set(path, [ImageItem(os.fspath(path), name, None)], 1, 0)
    reason = f"its name does not end like an image's ({', '.join(EXTENSIONS)})"
    return _set(path, [], 0, 1, [SkippedImage(file=name, reason=reason)])


def _set(
    root: Path, items: Iterable[ImageItem], available: int, other_files: int, unread: Iterable[SkippedImage] = ()
) -> ImageSet:
    return ImageSet(
        root=root,
        items=tuple(items),
        folders=(),
        empty_folders=(),
        available=available,
        other_files=other_files,
        unread=tuple(unread),
    )


def _together(paths: Sequence[Path]) -> Path:
    """What the set as a whole is called."""
    more = f" and {len(paths) - _NAMED} more" if len(paths) > _NAMED else ""
    return Path(", ".join(str(path) for path in paths[:_NAMED]) + more)
