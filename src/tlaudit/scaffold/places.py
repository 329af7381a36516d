"""How a path is written into a configuration file, whose relative paths are meant from its own folder."""

from __future__ import annotations

import os
from pathlib import Path

from tlaudit.errors import UsageError
from tlaudit.reading import is_file


def place(path: str | os.PathLike[str], folder: Path) -> str:
    """Write a path so that it is found from a folder.

    What lies below the folder, and what was named by a relative path, is named from there, so that file and images can
    move together. Everything else keeps its full name.

    Args:
        path: As it was given, meant from the current folder.
        folder: In which the configuration file will lie.

    Returns:
        A relative or an absolute path.

    Raises:
        UsageError: If the path holds bytes that are no text, which no TOML file can hold.
    """
    given, home = Path(path), Path(os.path.abspath(folder))  # noqa: PTH100 - resolve() would follow links
    full = Path(os.path.abspath(given))  # noqa: PTH100
    _refuse_bytes(full)
    if given.is_absolute() and not full.is_relative_to(home):
        return str(full)
    near = os.path.relpath(full, home)
    # A step up from a linked folder leads elsewhere.
    return near if os.path.realpath(home / near) == os.path.realpath(full) else str(full)


def model_place(spec: str, folder: Path) -> str:
    """Write what names a network: a file as `place` does, a name as it is.

    In the file a network is looked for beside it only where everything before the first colon is a file.
    """
    path = Path(spec)
    if not is_file(path):
        _refuse_bytes(path)
        return spec
    near = place(path, folder)
    return near if ":" not in near else os.path.abspath(spec)  # noqa: PTH100


def factory_place(arch: str, folder: Path) -> str:
    """Write what names an architecture: ``file.py:factory`` with the file as `model_place` does, a name as it is."""
    file, colon, factory = arch.rpartition(":")
    return f"{model_place(file, folder)}{colon}{factory}" if is_file(Path(file)) else model_place(arch, folder)


def _refuse_bytes(path: Path) -> None:
    try:
        str(path).encode()
    except UnicodeEncodeError:
        raise UsageError(
            f"{os.fsencode(path)!r}: expected a path of text, got bytes that are none, which a TOML file cannot hold; "
            "rename it"
        ) from None
