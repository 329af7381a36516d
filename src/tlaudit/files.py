"""Files are written whole or not at all."""

from __future__ import annotations

import contextlib
import os
import secrets
import stat
import tempfile
import traceback
from pathlib import Path
from typing import TYPE_CHECKING

from tlaudit.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Iterator


def refuse_unwritable(path: Path) -> None:
    """Find out before the work starts, not after, that a result cannot be written.

    Args:
        path: File that is going to be written or replaced.

    Raises:
        UsageError: If its folder is missing or read-only, or the path is a folder, a device or a pipe.
    """
    folder = path.parent
    _refuse_special(path)
    if not folder.is_dir():
        raise UsageError(f"{path}: the folder {folder} does not exist; create it first")
    if not os.access(folder, os.W_OK | os.X_OK):
        raise UsageError(f"{path}: the folder {folder} is not writable")


def _refuse_special(path: Path) -> None:
    """Replacing a device or a pipe by a file would break what others use it for."""
    if path.is_dir():
        raise UsageError(f"{path}: expected a file to write, this is a folder")
    if path.exists() and not stat.S_ISREG(path.stat().st_mode):
        raise UsageError(
            f"{path}: expected an ordinary file, this is a device or a pipe; leave it out to write to stdout"
        )


def write_atomically(path: Path, content: bytes) -> None:
    """Write a file so that at any moment either the old or the new content is there.

    Args:
        path: The file. A symbolic link is followed, its target replaced.
        content: All of it.

    Raises:
        UsageError: If there is something of that name that is no ordinary file.
        OSError: If the disk is full or the folder not writable; the old file then is as it was.
    """
    with replacing(path) as temporary, temporary.open("xb") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())


@contextlib.contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """Give another name to write to, beside a file; when all went well it becomes the file.

    Args:
        path: The file. A symbolic link is followed, its target replaced.

    Raises:
        UsageError: If there is something of that name that is no ordinary file.
        OSError: If the folder is not writable.
    """
    _refuse_special(path)
    target = path.resolve()
    temporary = target.with_name(f".{target.name}.{secrets.token_hex(4)}.tmp")
    try:
        yield temporary
        temporary.replace(target)
    finally:
        temporary.unlink(missing_ok=True)


def crash_line(error: BaseException) -> str:
    """Say in one line what crashed."""
    return f"crashed: {type(error).__name__}: {' '.join(str(error).split())[:300]}"


def keep_traceback(error: BaseException) -> Path | None:
    """Write the traceback of a crash to a file of its own, in the folder for temporary files.

    Returns:
        Its name; None where it cannot be written: what is said of a crash must not be the next one.
    """
    try:
        with tempfile.NamedTemporaryFile(
            "w", prefix="tlaudit-crash-", suffix=".log", encoding="utf-8", errors="backslashreplace", delete=False
        ) as file:
            traceback.print_exception(error, file=file)
    except OSError:
        return None
    return Path(file.name)


def crash_details(error: BaseException) -> str:
    """Keep the traceback of a crash, and say where, to go on from a line about it; nothing where it is not kept."""
    kept = keep_traceback(error)
    return "" if kept is None else f" (details: {kept})"
