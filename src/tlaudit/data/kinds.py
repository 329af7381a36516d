"""Where images are looked for: in a folder, in tar shards, or in the files that a manifest names."""

from __future__ import annotations

import logging
import os
import re
import stat
from pathlib import Path
from typing import TYPE_CHECKING

from tlaudit.data.folders import SHARD, Listing, list_images, printable
from tlaudit.data.manifests import MANIFESTS, list_manifest
from tlaudit.data.shards import list_shards
from tlaudit.errors import DataError, UsageError

if TYPE_CHECKING:
    from collections.abc import Sequence

log = logging.getLogger(__name__)

KINDS = f"a folder of images, tar shards ({SHARD}) or a manifest ({', '.join(MANIFESTS)})"
"""What a set of images may be, in words."""

MOST_SHARDS = 100_000
"""So many shards a pattern may stand for."""

_COMPRESSED = (".tgz", ".tbz2", ".txz", *(f".tar.{end}" for end in ("gz", "bz2", "xz", "zst", "lz4", "z")))
_RANGE = re.compile(r"(\d{1,9})\.\.(\d{1,9})")
_BRACES = re.compile(r"\{([^{}]*)\}")
_SHOWN = 3


def is_set(path: Path) -> bool:
    """Whether images may be looked for there: a folder, or a file or pattern of the kinds taken."""
    mode = _mode(path)
    if mode is None:
        return is_pattern(path)
    return stat.S_ISDIR(mode) or path.suffix.lower() in (SHARD, *MANIFESTS)


def is_pattern(path: Path) -> bool:
    """Whether a path stands for several shards, such as ``train-{0000..0031}.tar``, and is none itself."""
    return path.suffix.lower() == SHARD and _BRACES.search(os.fspath(path)) is not None and _mode(path) is None


def what_is(path: Path) -> str:
    """What lies where a set of images should, for a message."""
    try:
        mode = path.stat().st_mode
    except (FileNotFoundError, NotADirectoryError, ValueError):
        return "a link that leads nowhere" if os.path.lexists(path) else "nothing of that name"
    except OSError as error:
        return f"what cannot be looked at ({error.strerror})"
    kinds = {stat.S_IFDIR: "a folder", stat.S_IFREG: "a file"}
    return kinds.get(stat.S_IFMT(mode), "neither a folder nor a regular file")


def _mode(path: Path) -> int | None:
    """What kind of thing a path is, links followed; None where nothing is, or nothing can be seen."""
    try:
        return path.stat().st_mode
    except (OSError, ValueError):
        return None


def set_in(folder: Path, name: str) -> Path | None:
    """Find a set of images of that name in a folder: the folder, shard or manifest ``name``; None if there is none.

    Args:
        folder: Holds it.
        name: Without the extension.
    """
    found = (folder / f"{name}{ending}" for ending in ("", SHARD, *MANIFESTS))
    return next((path for path in found if is_set(path)), None)


def listing_of(root: Path) -> Listing:
    """Find the images of a set, whatever its kind.

    Args:
        root: A folder, a shard, a pattern of shards or a manifest. In a folder without images its shards are taken.

    Raises:
        UsageError: If it is none of these, or a manifest is malformed.
        DataError: If it cannot be read.
    """
    name, where, mode = root.name.lower(), printable(str(root)), _mode(root)
    if mode is not None and stat.S_ISDIR(mode):
        return _in_folder(root)
    if is_pattern(root):
        return _in_pattern(root)
    if mode is not None and stat.S_ISREG(mode) and root.suffix.lower() in MANIFESTS:
        return list_manifest(root)
    if mode is not None and root.suffix.lower() == SHARD:
        return list_shards(os.fspath(root.parent), [root.name])
    if mode is not None and name.endswith(_COMPRESSED):
        raise UsageError(f"{where}: expected {KINDS}, got a compressed archive; unpack it to {SHARD}, or to a folder")
    raise UsageError(f"{where}: expected {KINDS}, got {what_is(root)}")


def _in_folder(root: Path) -> Listing:
    where = printable(str(root))
    try:
        listing = list_images(root)
    except OSError as error:
        raise DataError(f"{where}: cannot be listed: {error.strerror}") from None
    if not listing.shards:
        return listing
    if len(listing.items):
        listing.other_files += len(listing.shards)
        named = ", ".join(map(printable, listing.shards[:_SHOWN])) + (" …" if len(listing.shards) > _SHOWN else "")
        log.warning("%s: holds images; tar shards beside them are not read: %s", where, named, extra={"about": where})
        return listing
    found = list_shards(os.fspath(root), listing.shards)
    found.other_files += listing.other_files
    found.unread += listing.unread
    return found


def _in_pattern(pattern: Path) -> Listing:
    where = printable(str(pattern))
    paths = expanded(str(pattern))
    missing = [printable(path) for path in paths if not os.path.lexists(path)]
    if missing:
        more = f" and {len(missing) - _SHOWN} more" if len(missing) > _SHOWN else ""
        raise UsageError(
            f"{where}: stands for {len(paths)} shards, of which {len(missing)} are missing: "
            f"{', '.join(missing[:_SHOWN])}{more}"
        )
    try:
        base = os.path.commonpath([os.path.dirname(path) for path in paths])  # noqa: PTH120
        # By the parts of the names, because ".." behind a link is not the folder above the link.
        names = [os.fspath(Path(path).relative_to(base)) for path in paths]
    except ValueError:
        # Some are absolute, others are not: each is called as it is written.
        base, names = "", paths
    return list_shards(base, names)


def expanded(pattern: str) -> list[str]:
    """Write out a pattern of paths.

    ``{a..b}`` stands for the whole numbers from a to b, with as many digits as a has; ``{x,y}`` for x and for y. Braces
    do not lie in braces.

    Raises:
        UsageError: If it is written otherwise, stands for too many shards, or for one of them twice.

    Example:
        >>> expanded("{a,b}-{08..10}.tar")
        ['a-08.tar', 'a-09.tar', 'a-10.tar', 'b-08.tar', 'b-09.tar', 'b-10.tar']
    """
    pieces = _BRACES.split(pattern)
    paths = [pieces[0]]
    for inside, behind in zip(pieces[1::2], pieces[2::2], strict=True):
        choices = _choices(inside, pattern)
        if len(paths) * len(choices) > MOST_SHARDS:
            raise UsageError(f"{printable(pattern)}: expected at most {MOST_SHARDS} shards, the pattern has more")
        paths = [f"{path}{choice}{behind}" for path in paths for choice in choices]
    if len(set(paths)) < len(paths):
        raise UsageError(f"{printable(pattern)}: the pattern names a shard twice")
    return paths


def _choices(inside: str, pattern: str) -> Sequence[str]:
    ends = _RANGE.fullmatch(inside)
    if ends is None and "," in inside:
        return inside.split(",")
    first, last = (int(ends[1]), int(ends[2])) if ends else (1, 0)
    if ends is None or last < first:
        raise UsageError(
            f"{printable(pattern)}: expected braces such as {{0000..0031}} or {{a,b}}, got {{{printable(inside)}}}"
        )
    if last - first >= MOST_SHARDS:
        raise UsageError(f"{printable(pattern)}: expected at most {MOST_SHARDS} shards, the pattern has more")
    return [f"{number:0{len(ends[1])}d}" for number in range(first, last + 1)]
