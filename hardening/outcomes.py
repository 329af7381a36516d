"""What a fault left of a command's files, beside a run that nothing disturbed."""

from __future__ import annotations

import hashlib
import json
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from hardening.commands import Command

_CLOCK = re.compile(r"<time\b.*?</time>|[Tt]ook [\d.,]+ (?:s|min|h)\b", re.DOTALL)
"""What pages say of the clock; of documents it is the section `run`."""

_UNFINISHED = re.compile(r"\..*tmp(\.earlier)?", re.DOTALL)
_STATE = ".state"


@dataclass(frozen=True)
class Outcome:
    """What became of a command under one kind of fault.

    Attributes:
        injection: Kind of fault.
        command: Name in `hardening.commands.COMMANDS`.
        injected: How many faults there were.
        survived: After how many of them nothing was lost.
        lost: What was, a line each.
    """

    injection: str
    command: str
    injected: int
    survived: int
    lost: tuple[str, ...]


def left(
    folder: Path,
    command: Command,
    reference: Path,
    *,
    finished: bool = True,
    older: Path | None = None,
) -> tuple[str, ...]:
    """Say what is half-written, missing or left over in a folder that a command wrote to.

    Args:
        folder: Where it wrote.
        command: Which.
        reference: A folder that it wrote to undisturbed.
        finished: Whether the last run came to its end: nothing may be missing or unfinished then. Otherwise files may
            be missing, and so may be there what the next run clears away or goes on from.
        older: What was in the folder before the run, where something was; a file that was there may still be that one,
            and may not be missing.

    Returns:
        A line for each file that is not as it has to be; none where all is well.
    """
    return tuple(_faults(folder, command, reference, finished, older))


def _faults(folder: Path, command: Command, reference: Path, finished: bool, older: Path | None) -> Iterator[str]:
    expected, before = contents(reference), contents(older) if older is not None else {}
    for name, found in contents(folder).items():
        parts = name.split("/")
        if any(_UNFINISHED.fullmatch(part) for part in parts) or name.endswith(_STATE):
            if finished:
                yield f"{command.name}: {name} is left over"
        elif not finished and name in {*command.grows, *(f"{folder}/" for folder in command.writes)}:
            continue
        elif name not in expected and name not in before:
            yield f"{command.name}: {name} is none of its files"
        elif found != expected.get(name) and (finished or found != before.get(name)):
            yield f"{command.name}: {name} is neither whole nor as it was"
    there = contents(folder).keys()
    for name in expected:
        if name not in there and (finished or name in before):
            yield f"{command.name}: {name} is missing"


def contents(folder: Path) -> dict[str, str]:
    """Give a digest of each file below a folder, by name; of documents and pages without what the clock touches."""
    found = {}
    for path in sorted(folder.rglob("*")):
        # What is being written vanishes as one looks.
        try:
            if path.is_file():
                found[path.relative_to(folder).as_posix()] = hashlib.sha256(_content(path, folder)).hexdigest()
            elif not any(path.iterdir()):
                found[f"{path.relative_to(folder).as_posix()}/"] = ""
        except FileNotFoundError:
            continue
    return found


def _content(path: Path, folder: Path) -> bytes:
    content = path.read_bytes()
    if path.suffix == ".safetensors":
        return _in_order(content)
    if path.suffix not in {".json", ".html", ".toml"}:
        return content
    text = content.decode("utf-8", "backslashreplace").replace(str(folder), "FOLDER")
    if path.suffix == ".html":
        return _CLOCK.sub("CLOCK", text).encode()
    if path.suffix == ".json":
        try:
            document = json.loads(text)
        except ValueError:
            return content
        document.pop("run", None)
        for check in document.get("checks", ()):
            check.pop("run", None)
        return json.dumps(document).encode()
    return text.encode()


def _in_order(content: bytes) -> bytes:
    """The bytes of a safetensors file with its header in one order, which is any when it is written."""
    end = 8 + int.from_bytes(content[:8], "little")
    try:
        return json.dumps(json.loads(content[8:end]), sort_keys=True).encode() + content[end:]
    except ValueError:
        return content
