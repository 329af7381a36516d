"""Files are written whole or not at all."""

from __future__ import annotations

import contextlib
import errno
import hashlib
import os
import platform
import re
import secrets
import shutil
import stat
import tempfile
import traceback
from pathlib import Path
from typing import TYPE_CHECKING

from tlaudit.errors import UsageError

fcntl: ModuleType | None
try:
    import fcntl
except ImportError:  # no such locks on Windows, where nothing is cleared away
    fcntl = None

if TYPE_CHECKING:
    from collections.abc import Iterator
    from types import ModuleType

_LONGEST_NAME = 200
"""Bytes of a file's name that are kept in that of its unfinished state; file systems take 255 in all."""


def refuse_unwritable(path: Path) -> None:
    """Find out before the work starts, not after, that a result cannot be written.

    Args:
        path: File that is going to be written or replaced.

    Raises:
        UsageError: If its folder is missing or read-only, the path is a folder, a device or a pipe, or no file can have
            it for a name. Of a link what it leads to is looked at.
    """
    try:
        target = Path(os.path.realpath(path)) if path.is_symlink() else path
        if target.is_symlink():
            raise UsageError(f"{path}: cannot be written: {os.strerror(errno.ELOOP)}")
        _refuse_special(path)
        folder = target.parent
        if not folder.is_dir():
            raise UsageError(f"{path}: the folder {folder} does not exist; create it first")
        if not os.access(folder, os.W_OK | os.X_OK):
            raise UsageError(f"{path}: the folder {folder} is not writable")
    except OSError as error:
        # Such as a name that is too long.
        raise UsageError(f"{path}: cannot be written: {error.strerror or error}") from None


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
    with replacing(path) as temporary, temporary.open("wb") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())


@contextlib.contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """Give an empty file to write to, beside a file; when all went well it becomes the file, with the mode of the old.

    Args:
        path: The file. A symbolic link is followed, its target replaced.

    Raises:
        UsageError: If there is something of that name that is no ordinary file.
        OSError: If the folder is not writable.
    """
    _refuse_special(path)
    target = Path(os.path.realpath(path))
    with unfinished(target) as temporary:
        mode = _mode(target) if target.exists() else _mode(temporary)
        # Who may not read the old content may not read the new one either, not even while it is written.
        _give_mode(temporary, mode | stat.S_IWUSR)
        yield temporary
        _give_mode(temporary, mode)
        temporary.replace(target)


def _mode(path: Path) -> int:
    return path.stat().st_mode & 0o777


def _give_mode(path: Path, mode: int) -> None:
    # Where a file system knows no modes all files have one, and giving it may be refused.
    if _mode(path) != mode:
        path.chmod(mode)


@contextlib.contextmanager
def unfinished(target: Path, *, folder: bool = False) -> Iterator[Path]:
    """Make an empty file, or folder, beside a target, for this process alone; it is removed unless it was renamed.

    What runs of this host that were killed left beside the target is cleared away first.

    Args:
        target: What it is going to be. Its folder is there.
        folder: Whether a folder is wanted.

    Raises:
        OSError: If it cannot be made.
    """
    clear_away(target.parent)
    path, lock = _claimed(target, folder=folder)
    try:
        yield path
    finally:
        # Removed while it is locked, so that nobody else finds it.
        _remove(path)
        os.close(lock)


def clear_away(folder: Path) -> None:
    """Remove what runs that were killed left unfinished directly in a folder.

    What a run is still writing is locked and stays; so does everything where the file system knows no locks. What
    another host left stays too: on some network file systems its locks are not seen here.
    """
    if fcntl is None:
        return
    # What cannot be looked at or removed stays; the next run tries again.
    ours = re.compile(rf"\..*\.{_host()}-[0-9a-f]{{8}}\.tlaudit-tmp", re.DOTALL)
    with contextlib.suppress(OSError), os.scandir(folder) as entries:
        for name in [entry.name for entry in entries if ours.fullmatch(entry.name)]:
            with contextlib.suppress(OSError):
                path = folder / name
                lock = _opened(path)
                try:
                    fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
                    _remove(path)
                finally:
                    os.close(lock)


def unfinished_name(name: str) -> str:
    """Give a new name for what is going to have a name, until it is whole; it tells which host writes it."""
    kept = os.fsdecode(os.fsencode(name)[:_LONGEST_NAME])
    return f".{kept}.{_host()}-{secrets.token_hex(4)}.tlaudit-tmp"


def _host() -> str:
    return hashlib.sha256(os.fsencode(platform.node())).hexdigest()[:8]


def _claimed(target: Path, *, folder: bool) -> tuple[Path, int]:
    """Make an empty file or folder of a new name and lock it."""
    while True:
        path = target.with_name(unfinished_name(target.name))
        lock = _made(path, folder=folder)
        # Another run may take it for a left-over in the moment before it is locked.
        if lock is not None:
            if _is_mine(path, lock):
                return path, lock
            os.close(lock)


def _made(path: Path, *, folder: bool) -> int | None:
    """Make an empty file or folder and open it; None where somebody has cleared it away already."""
    if not folder:
        # In one call: the file may be of a mode that lets nobody open it.
        return os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL, 0o666)
    path.mkdir()
    try:
        return _opened(path)
    except FileNotFoundError:
        return None
    except OSError:
        path.rmdir()
        raise


def _opened(path: Path) -> int:
    return os.open(path, os.O_RDONLY | getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_NONBLOCK", 0))


def _is_mine(path: Path, lock: int) -> bool:
    """Lock what was just made; False where somebody has cleared it away, or is about to."""
    try:
        if fcntl is not None:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        return path.stat().st_ino == os.fstat(lock).st_ino
    except (BlockingIOError, FileNotFoundError):
        return False
    except OSError:
        return True  # a file system without locks, where nothing is cleared away


def _remove(path: Path) -> None:
    """Remove a file or a folder that may be gone already."""
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path, ignore_errors=True)
    else:
        path.unlink(missing_ok=True)


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
