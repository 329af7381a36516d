"""Where the cache lies, and whether there is one."""

from __future__ import annotations

import logging
import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from tlaudit.cache.store import Cache

if TYPE_CHECKING:
    from tlaudit.options import ExecutionOptions

log = logging.getLogger(__name__)

VARIABLE = "TLAUDIT_CACHE_DIR"
"""Names the folder where no option does; if it is there and empty, there is no cache then."""


def opened(options: ExecutionOptions) -> Cache | None:
    """Give the cache that the options ask for; nothing is read or written yet.

    Args:
        options: Whether there is one, where, and how large it may become.

    Returns:
        The cache; None where none is wanted, or nothing says where it could lie.
    """
    if not options.cache:
        return None
    folder = options.cache_dir or default_folder()
    if folder is None:
        log.info("no cache: no folder is named for it (--cache-dir)")
        return None
    return Cache(folder, int(options.cache_size * 2**30))


def default_folder() -> Path | None:
    """Give the folder of a user who names none, as the system has it; None where the user has no home or wants none."""
    named = os.environ.get(VARIABLE)
    if named is not None:
        return Path(named) if named else None
    ours = os.environ.get("XDG_CACHE_HOME", "")
    # What is not absolute has to be ignored, says the rule of that variable.
    if Path(ours).is_absolute():
        return Path(ours) / "tlaudit"
    try:
        home = Path.home()
    except RuntimeError:
        return None
    if sys.platform == "darwin":
        return home / "Library" / "Caches" / "tlaudit"
    if sys.platform == "win32":
        return Path(os.environ.get("LOCALAPPDATA", home / "AppData" / "Local")) / "tlaudit" / "Cache"
    return home / ".cache" / "tlaudit"
