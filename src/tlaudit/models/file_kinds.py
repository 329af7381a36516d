"""What a checkpoint file is, by its name and its content, before anything in it is believed."""

from __future__ import annotations

import contextlib
import os
import stat
import zipfile
from typing import IO, TYPE_CHECKING

from tlaudit.errors import CheckpointError, UsageError
from tlaudit.models.wording import listed, nearest, shown

if TYPE_CHECKING:
    from collections.abc import Iterator
    from io import BufferedReader
    from pathlib import Path

EXTENSIONS = (".pt", ".pth", ".th", ".ckpt", ".safetensors")
SAFETENSORS = ".safetensors"
_LEGACY_MAGIC = b"\x80\x02\x8a\x0al\xfc\x9cF\xf9 j\xa8P\x19."
_ZIP_MAGIC = b"PK\x03\x04"
_LONGEST_HEADER = 100_000_000  # bytes; the limit of the safetensors format
_TAR_OFFSET = 257
_FOREIGN = (
    (b"version https://git-lfs", "a git-LFS pointer; fetch the real file with `git lfs pull`"),
    (b"<!doctype", "an HTML page, as a failed download leaves behind; download it again"),
    (b"<html", "an HTML page, as a failed download leaves behind; download it again"),
    (b"<?xml", "an XML document"),
    (b"\x89hdf", "an HDF5 file (Keras?); convert it to a torch state_dict"),
    (b"\x1f\x8b", "gzip-compressed; unpack it first"),
    (b"gguf", "a GGUF file, not an image classifier"),
    (b"\x89png", "a PNG image"),
    (b"\xff\xd8\xff", "a JPEG image"),
    (b"{", "a JSON document"),
)


def where(path: Path) -> str:
    """Give a path as messages show it."""
    return shown(str(path), None)


@contextlib.contextmanager
def opened(path: Path) -> Iterator[BufferedReader]:
    """Open a checkpoint file for reading, and make sure that it is the same when it has been read.

    Raises:
        UsageError: If there is no such file, it is a folder, a device or a pipe, or its extension is unknown.
        CheckpointError: If it cannot be read, or somebody wrote to it meanwhile.
    """
    _refuse_wrong_path(path)
    try:
        with open_without_waiting(path) as file:
            before = os.fstat(file.fileno())
            _refuse_special(path, before.st_mode)
            yield file
            after, named = os.fstat(file.fileno()), path.stat()
            if not os.path.samestat(before, named) or _written(before) != _written(after):
                raise CheckpointError(f"{where(path)}: changed while it was read; try again when nobody writes to it")
    except OSError as error:
        raise CheckpointError(f"{where(path)}: cannot be read ({error.strerror or shown(str(error))})") from None


def open_without_waiting(path: Path) -> BufferedReader:
    """Open a file; a pipe that has taken its place since it was looked at is not waited for."""
    return os.fdopen(os.open(path, os.O_RDONLY | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_BINARY", 0)), "rb")


def _written(status: os.stat_result) -> tuple[int, int]:
    return status.st_size, status.st_mtime_ns


def _refuse_wrong_path(path: Path) -> None:
    try:
        mode = path.stat().st_mode
    except (FileNotFoundError, NotADirectoryError):
        raise UsageError(_no_such_file(path)) from None
    except PermissionError as error:
        raise CheckpointError(f"{where(path)}: cannot be looked at ({error.strerror})") from None
    except (OSError, ValueError) as error:
        # A link that leads to itself, a name that is too long or holds a zero.
        reason = getattr(error, "strerror", None) or error
        raise UsageError(f"{where(path)}: can be no file ({reason}); expected a checkpoint file") from None
    if stat.S_ISDIR(mode):
        raise UsageError(f"{where(path)}: expected a checkpoint file, this is a folder")
    _refuse_special(path, mode)
    if path.suffix.lower() not in EXTENSIONS:
        raise UsageError(
            f"{where(path)}: unknown extension {shown(path.suffix)!r}; accepted are {', '.join(EXTENSIONS)}"
        )


def _refuse_special(path: Path, mode: int) -> None:
    if not stat.S_ISREG(mode):
        raise UsageError(
            f"{where(path)}: expected a checkpoint file, this is a device or a pipe; save it as a file first"
        )


def _no_such_file(path: Path) -> str:
    if path.is_symlink():
        return f"{where(path)}: a link to {where(path.readlink())}, where there is no file"
    siblings: list[str] = []
    with contextlib.suppress(OSError):
        siblings = sorted(one.name for one in path.parent.iterdir() if one.suffix in EXTENSIONS)
    hint = f"; in that folder there is {nearest(path.name, siblings)}" if siblings else ""
    return f"{where(path)}: no such file{hint}. Or give torchvision:NAME[:WEIGHTS] or timm:NAME"


def recognise(file: IO[bytes], path: Path) -> str:
    """Say what the file is by its content.

    Raises:
        CheckpointError: If it is nothing that can hold weights, or not what its name says.
    """
    file.seek(0)
    head = file.read(512)
    if not head:
        raise CheckpointError(f"{where(path)}: the file is empty")
    is_named_safetensors = path.suffix.lower() == SAFETENSORS
    by_torch = head.startswith((_ZIP_MAGIC, _LEGACY_MAGIC))
    if head[8:9] == b"{" and not by_torch:
        length = int.from_bytes(head[:8], "little")
        if is_named_safetensors and length > _LONGEST_HEADER:
            raise CheckpointError(
                f"{where(path)}: damaged or cut off: says that its header has {length} bytes, at most "
                f"{_LONGEST_HEADER} can be"
            )
        if length <= _LONGEST_HEADER:
            if not is_named_safetensors:
                raise CheckpointError(f"{where(path)}: holds safetensors; rename it to {shown(path.stem)}{SAFETENSORS}")
            return "safetensors"
    if by_torch and is_named_safetensors:
        raise CheckpointError(f"{where(path)}: named .safetensors, but was saved by torch; rename it to .pth")
    if not by_torch:
        raise CheckpointError(f"{where(path)}: not a checkpoint. It looks like {_foreign(head)}")
    return _recognise_archive(file, path) if head.startswith(_ZIP_MAGIC) else "torch legacy pickle"


def _recognise_archive(file: IO[bytes], path: Path) -> str:
    try:
        with zipfile.ZipFile(file) as archive:
            names = archive.namelist()
            unpacked = sum(entry.file_size for entry in archive.infolist())
            compressed = [entry.filename for entry in archive.infolist() if entry.compress_type != zipfile.ZIP_STORED]
    except (zipfile.BadZipFile, ValueError, NotImplementedError):
        raise CheckpointError(
            f"{where(path)}: begins like a torch archive, but its end is missing: cut off while it was written or "
            "downloaded?"
        ) from None
    if any("/code/" in name or name.endswith("constants.pkl") for name in names):
        raise CheckpointError(
            f"{where(path)}: a TorchScript archive, which holds a program; save its weights instead: "
            "torch.save(torch.jit.load(FILE).state_dict(), 'weights.pth')"
        )
    if not any(name.endswith("/data.pkl") for name in names):
        raise CheckpointError(f"{where(path)}: a zip archive that torch did not write; it holds {listed(names, 3)}")
    if compressed:
        raise CheckpointError(
            f"{where(path)}: compressed by another program, torch does not compress what it saves; unpack it and save "
            "it again with torch.save"
        )
    size = os.fstat(file.fileno()).st_size
    if unpacked > size:
        raise CheckpointError(
            f"{where(path)}: {size} bytes that unpack to {unpacked}; no archive of torch's has entries that overlap; "
            "read it where you trust it and save it again with torch.save"
        )
    _refuse_other_bits(file, path)
    return "torch zip archive"


def _refuse_other_bits(file: IO[bytes], path: Path) -> None:
    """Hold every entry against its checksum, which torch writes and does not read; it may be told to write none."""
    try:
        with zipfile.ZipFile(file) as archive:
            if not any(entry.CRC for entry in archive.infolist()):
                return
            wrong = archive.testzip()
    except (zipfile.BadZipFile, EOFError, NotImplementedError, RuntimeError, ValueError) as error:
        raise CheckpointError(f"{where(path)}: damaged or cut off ({shown(str(error))})") from None
    if wrong is not None:
        raise CheckpointError(
            f"{where(path)}: damaged or cut off: the checksum of {shown(wrong)} is another one; fetch it again"
        )


def _foreign(head: bytes) -> str:
    start = head.lstrip().lower()
    for magic, description in _FOREIGN:
        if start.startswith(magic):
            return description
    if head[_TAR_OFFSET : _TAR_OFFSET + 5] == b"ustar":
        return "a tar archive; unpack it first"
    if head.startswith(b"\x80"):
        return "a plain pickle; load it where you trust it and re-save it with torch.save(state_dict, ...)"
    if head.isascii() and not head.count(b"\0"):
        return "text"
    return "nothing that is known here"
