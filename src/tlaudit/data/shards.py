"""Images in tar shards, as WebDataset writes them: each shard is indexed once, header by header.

Nothing is ever unpacked: an image is a piece of the shard, read when it is its turn. What a shard holds that cannot be
had, because of its kind, its name or because the shard is damaged, is named with the reason and passed over.
"""

from __future__ import annotations

import json
import os
import stat
import tarfile
from array import array
from typing import TYPE_CHECKING, BinaryIO

import numpy as np

from tlaudit.data.decoding import EXTENSIONS, extension
from tlaudit.data.folders import MOST_NAME_CHARACTERS, Listing, is_hidden, printable
from tlaudit.data.items import Items, Member, Roll, repeated, shorthand

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

CLASS_FILE, JSON_FILE = "cls", "json"
"""Members that say the class of an image: ``KEY.cls``, or one of `JSON_KEYS` in ``KEY.json``."""

JSON_KEYS = ("label", "cls", "class")

MOST_CLASS_BYTES = {CLASS_FILE: 1 << 10, JSON_FILE: 1 << 20}
"""Larger ones are not read."""

_BLOCK = 512
_PADDING = 1 << 16
_NO_CLASS = -1
_SEVERAL = object()

# What tarfile lets out of a damaged or hostile archive.
TAR_ERRORS = (
    tarfile.TarError,
    OSError,
    ValueError,
    TypeError,
    LookupError,
    ArithmeticError,
    EOFError,
    MemoryError,
    RecursionError,
)


def list_shards(base: str, shards: Sequence[str]) -> Listing:
    """Find the images in shards, in the order of the shards and within one of its members.

    Args:
        base: Folder that the shards' paths are meant from.
        shards: Paths of the shards, which become part of the images' names.

    Returns:
        The listing. The class of an image is what ``KEY.cls`` says, else ``KEY.json``, else the first folder of its
        name; KEY is the name up to the first dot behind the last slash.
    """
    roll, listing = Roll(), Listing()
    refused: set[int] = set()
    for shard in shards:
        path = os.path.join(base, shard)  # noqa: PTH118
        roll.shards.append(path)
        refused |= _Shard(path, printable(shard), roll, listing).read()
    items = Items(roll)
    listing.items = items.take(n for n in range(len(roll)) if n not in refused) if refused else items
    listing.folders = listing.items.folders()
    if not len(listing.items) and not listing.unread:
        for shard in shards:
            listing.pass_over(printable(shard), "has no image among its members")
    listing.unread.sort(key=lambda skipped: skipped.file)
    listing.wanted = f"a class for each image (KEY.{CLASS_FILE}, KEY.{JSON_FILE}, or a folder in the shard)"
    listing.advice = f"add a member KEY.{CLASS_FILE} with its index or name beside each image KEY.jpg"
    return listing


class _Shard:
    """One shard while it is indexed."""

    def __init__(self, path: str, name: str, roll: Roll, listing: Listing) -> None:
        self._path, self._name, self._roll, self._listing = path, name, roll, listing
        self._first = len(roll)
        # By the shorthands of their keys images and classes find each other, wherever in the shard they lie.
        self._keys, self._names = array("q"), array("q")
        self._said: dict[str, tuple[array[int], array[int]]] = {
            kind: (array("q"), array("i")) for kind in (JSON_FILE, CLASS_FILE)
        }

    def read(self) -> set[int]:
        """Index the shard, and give the numbers of images that are not to be taken."""
        try:
            if not stat.S_ISREG(os.stat(self._path).st_mode):  # noqa: PTH116
                self._damaged("not a regular file")
                return set()
            with open(self._path, "rb") as stream:  # noqa: PTH123
                for member in self._members(stream):
                    self._take(member, stream)
        except OSError as error:
            self._damaged(f"cannot be read: {error.strerror or type(error).__name__}")
        self._give_classes()
        twice = {self._first + number for number in repeated(self._names).tolist()}
        for number in twice:
            self._listing.pass_over(self._roll.name(number), "a member of that name came before it in the shard")
        return twice

    def _damaged(self, reason: str) -> None:
        self._listing.pass_over(self._name, reason)

    def _members(self, stream: BinaryIO) -> Iterator[tarfile.TarInfo]:
        """Give the members one by one, keeping none; what ends the shard too early is named."""
        size, before = os.fstat(stream.fileno()).st_size, -1
        try:
            tar = tarfile.open(fileobj=stream, mode="r:", encoding="utf-8", errors="surrogateescape")  # noqa: SIM115
            while (member := tar.next()) is not None:
                # It would keep all of them, a kilobyte each.
                tar.members.clear()  # type: ignore[attr-defined]
                if member.offset_data <= before or member.size < 0:
                    self._damaged(f"damaged at byte {member.offset}; what follows is not read")
                    return
                before = member.offset_data
                if member.isreg() and not member.issparse() and member.offset_data + member.size > size:
                    self._damaged(f"cut off in {printable(member.name[:MOST_NAME_CHARACTERS])}")
                    return
                yield member
            self._look_behind(stream, tar.offset)
        except TAR_ERRORS as error:
            packed = _is_compressed(stream)
            reason = (
                "compressed; unpack it" if packed else f"{str(error) or type(error).__name__}; what follows is not read"
            )
            self._damaged(f"not a tar file that can be read: {printable(reason)}")

    def _look_behind(self, stream: BinaryIO, end: int) -> None:
        """Tell the end of a shard from a place where it is cut off or damaged, or goes on."""
        stream.seek(end)
        if not (rest := stream.read(_PADDING)):
            self._damaged("ends without the mark of its end: it may be cut off")
        elif any(rest[:_BLOCK]) or len(rest) < _BLOCK:
            self._damaged(f"damaged at byte {end}; what follows is not read")
        elif any(rest):
            self._damaged("goes on behind the mark of its end, as archives that were joined do; that is not read")

    def _take(self, member: tarfile.TarInfo, stream: BinaryIO) -> None:
        parts = [part for part in member.name.split("/") if part not in ("", ".")]
        if member.isdir() or not parts or any(is_hidden(part) and part != ".." for part in parts):
            return
        stem, _, ending = parts[-1].partition(".")
        key = "/".join((*parts[:-1], stem))
        name = f"{self._name}/{printable('/'.join(parts)[:MOST_NAME_CHARACTERS])}"
        if extension(parts[-1]) in EXTENSIONS:
            reason = _refusal(member, parts)
            if reason:
                self._listing.pass_over(name, reason)
                return
            folder = printable(parts[0]) if len(parts) > 1 else None
            where = Member(len(self._roll.shards) - 1, member.offset_data, member.size)
            self._keys.append(shorthand(key))
            self._names.append(shorthand(name))
            self._roll.add(name, folder, member=where)
        elif ending.lower() in self._said:
            self._hear(ending.lower(), key, name, member, stream)
        else:
            self._listing.other_files += 1

    def _hear(self, kind: str, key: str, name: str, member: tarfile.TarInfo, stream: BinaryIO) -> None:
        """Read what a small member says of the class of the images of that key."""
        if member.size > MOST_CLASS_BYTES[kind] or not member.isreg() or member.issparse():
            said, reason = None, f"says no class: expected a file of at most {MOST_CLASS_BYTES[kind]} bytes"
        else:
            stream.seek(member.offset_data)
            data = stream.read(member.size)
            said, reason = _class_of_json(data) if kind == JSON_FILE else _class_of_text(data)
        if said is None and not reason:
            return
        if reason:
            self._listing.pass_over(name, reason)
        keys, numbers = self._said[kind]
        keys.append(shorthand(key))
        numbers.append(_NO_CLASS if said is None else self._roll.number_of(printable(said)))

    def _give_classes(self) -> None:
        """Give each image the class said of its key, what `CLASS_FILE` says last, because it has the last word."""
        images = np.frombuffer(self._keys, dtype=np.int64) if self._keys else np.empty(0, np.int64)
        for kind, (keys, numbers) in self._said.items():
            if not keys or not len(images):
                continue
            every, heard = np.frombuffer(keys, dtype=np.int64), np.frombuffer(numbers, dtype=np.int32)
            said, first, which = np.unique(every, return_index=True, return_inverse=True)
            classes = heard[first]
            at_odds = np.zeros(len(said), dtype=bool)
            at_odds[which[heard != classes[which]]] = True
            at = np.searchsorted(said, images).clip(max=len(said) - 1)
            told = np.flatnonzero(said[at] == images)
            for number in told.tolist():
                self._roll.folder[self._first + number] = _NO_CLASS if at_odds[at[number]] else int(classes[at[number]])
            self._contradicted(kind, told[at_odds[at[told]]].tolist())

    def _contradicted(self, kind: str, images: Sequence[int]) -> None:
        """Name the members of one name that say several classes, once for all images that they are about."""
        folders = (self._roll.name(self._first + number).rpartition("/") for number in images)
        for name in sorted({f"{folder}{slash}{file.partition('.')[0]}.{kind}" for folder, slash, file in folders}):
            self._listing.pass_over(name, "several members of that name say different classes; none is taken")


def _refusal(member: tarfile.TarInfo, parts: Sequence[str]) -> str:
    """Why an image cannot be had, in words; empty if it can."""
    if ".." in parts or member.name.startswith("/"):
        return "its name leads out of the shard"
    if len(member.name) > MOST_NAME_CHARACTERS:
        return f"its name has more than {MOST_NAME_CHARACTERS} characters"
    if member.islnk() or member.issym():
        return "a link, whose content lies elsewhere"
    if member.issparse():
        return "stored with holes, which are not filled; write the shard without --sparse"
    return "" if member.isreg() else "not a regular file"


def _class_of_text(data: bytes) -> tuple[str | None, str]:
    """The class in a text, or why there is none."""
    try:
        text = data.decode("utf-8-sig").strip()
    except UnicodeDecodeError:
        return None, "says no class: expected UTF-8"
    if not text or "\n" in text:
        return None, f"says no class: expected one line with an index or a name, got {'more' if text else 'none'}"
    return text, ""


def _class_of_json(data: bytes) -> tuple[str | None, str]:
    """The class in a JSON object, None without a reason if it has no key for one."""
    try:
        found = json.loads(data, object_pairs_hook=_once)
    except (ValueError, RecursionError):
        return None, "says no class: not valid JSON"
    key = next((key for key in JSON_KEYS if key in found), None) if isinstance(found, dict) else None
    if key is None:
        return None, ""
    said = found[key]
    if said is _SEVERAL:
        return None, f"says no class: expected one {key}, got several that differ"
    if isinstance(said, bool) or not isinstance(said, int | str) or not str(said).strip():
        return None, f"says no class: expected an index or a name as {key}"
    if len(str(said)) > MOST_NAME_CHARACTERS:
        return None, f"says no class: expected at most {MOST_NAME_CHARACTERS} characters as {key}"
    return str(said).strip(), ""


def _once(pairs: list[tuple[str, object]]) -> dict[str, object]:
    """Make an object of JSON, which may have a key twice: no value of a class is better than the other then."""
    found = dict(pairs)
    if len(found) < len(pairs):
        for key in JSON_KEYS:
            if len({repr(value) for name, value in pairs if name == key}) > 1:
                found[key] = _SEVERAL
    return found


def _is_compressed(stream: BinaryIO) -> bool:
    stream.seek(0)
    return stream.read(6).startswith((b"\x1f\x8b", b"BZh", b"\xfd7zXZ", b"\x28\xb5\x2f\xfd", b"\x04\x22\x4d\x18"))
