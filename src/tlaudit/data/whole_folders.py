"""A folder takes the place of an earlier one, which is there until the new one is, however the program ends."""

from __future__ import annotations

import contextlib
import ctypes
import errno
import hashlib
import os
import shutil
import sys
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path

_HERE, _EXCHANGE = -100, 2
"""Of Linux: paths are relative to the current folder; two names are exchanged."""
_LONGEST_NAME = 200
"""Bytes of a folder's name that are kept in the one it is set aside under."""


def put_in_place(made: Path, target: Path) -> None:
    """Give a folder its name; what was there before is replaced.

    In one step where the system can exchange two names. Where it cannot, the earlier folder is set aside first, and
    `put_back` finds it should the program be killed just then.

    Args:
        made: The folder, beside the target. What is there afterwards, if anything, is the earlier one.
        target: Its name.

    Raises:
        OSError: If it cannot be done; what was there is as it was.
    """
    while not _renamed(made, target):
        if _exchanged(made, target):
            return
        # Another run may have taken it away just now.
        with contextlib.suppress(FileNotFoundError):
            _set_aside(target)
    shutil.rmtree(_aside(target), ignore_errors=True)


def put_back(target: Path) -> None:
    """Undo what a run that was killed left half done: give an earlier folder its name back, if nothing else has it."""
    # What cannot be looked at or moved stays; the next run tries again.
    with contextlib.suppress(OSError):
        aside = _aside(target)
        if not aside.is_dir():
            return
        if not os.path.lexists(target):
            aside.rename(target)
        elif target.is_dir():
            shutil.rmtree(aside, ignore_errors=True)


def _renamed(made: Path, target: Path) -> bool:
    """Rename it, where there is nothing, or an empty folder, in its way."""
    try:
        made.rename(target)
    except OSError as error:
        if error.errno in {errno.ENOTEMPTY, errno.EEXIST}:
            return False
        raise
    return True


def _exchanged(one: Path, other: Path) -> bool:
    """Exchange two names in one step; False where the system, or this file system, cannot."""
    rename = getattr(ctypes.CDLL(None), "renameat2", None) if sys.platform == "linux" else None
    return rename is not None and rename(_HERE, os.fsencode(one), _HERE, os.fsencode(other), _EXCHANGE) == 0


def _set_aside(target: Path) -> None:
    shutil.rmtree(_aside(target), ignore_errors=True)
    target.rename(_aside(target))


def _aside(target: Path) -> Path:
    name = os.fsencode(target.name)
    digest = hashlib.sha256(name).hexdigest()[:8]
    return target.with_name(f".{os.fsdecode(name[:_LONGEST_NAME])}.{digest}.earlier")
