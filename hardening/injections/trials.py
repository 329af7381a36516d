"""One command runs into one fault: what it said and what it left is held against what it may."""

from __future__ import annotations

import json
import os
import re
import shutil
import sys
import tempfile
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from hardening import commands as commanded
from hardening.outcomes import Outcome

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from hardening.commands import Command
    from hardening.world import World

EARLIER = b"what an earlier run left\n"
"""Stands in each file that a command is about to replace."""
SECONDS = 240
"""After which a command hangs."""
_OF_THE_CLOCK = {"run", "judged_on"}
"""Keys of documents whose values the clock may touch."""
INPUTS = re.compile(r"\.(pth|safetensors|png|jpg)$|/(audit|lingering|other)\.json$")
"""Names of files that commands read once they have found out that they can write."""
PICTURES = re.compile(r"\.(png|jpg)$")
"""Of these those that are read once the time is taken."""


@dataclass(frozen=True)
class Allowed:
    """How a command may end.

    Attributes:
        codes: Exit codes.
        says: Pattern of the last line where it ends otherwise than with 0.
        names: Text which that line holds: the place that is wrong. Nothing where it may be any.
        gaps: Whether what it writes beside its documents may be missing although it ended with 0.
        moved: Whether the folder may be gone.
    """

    codes: frozenset[int]
    says: str = ""
    names: str = ""
    gaps: bool = False
    moved: bool = False


@dataclass
class Count:
    """Adds up what became of a fault that was injected into a command again and again."""

    injection: str
    command: str
    injected: int = 0
    lost: list[str] = field(default_factory=list)

    def add(self, told: Sequence[str], when: str = "") -> None:
        """Count one, with what is to be said against how it went."""
        self.injected += 1
        if told:
            self.lost.append(f"{when}: {'; '.join(told)}" if when else "; ".join(told))

    def outcome(self) -> Outcome:
        """Give the row of the table."""
        survived = self.injected - len(self.lost)
        return Outcome(self.injection, self.command, self.injected, survived, tuple(self.lost))


class Bench:
    """A world with what each command makes of it where nothing disturbs it."""

    def __init__(self, world: World) -> None:
        self.world = world
        self._references: dict[str, dict[str, bytes]] = {}
        self.room = Path(tempfile.mkdtemp(prefix="trials-", dir=world.root))

    def folder(self) -> Path:
        """Make a new empty folder for a command to write into."""
        return Path(tempfile.mkdtemp(dir=self.room))

    def reference(self, command: Command, more: tuple[str, ...] = ()) -> dict[str, bytes]:
        """Give the content of all files that an undisturbed run leaves, by name, as `facts` tells them.

        Raises:
            RuntimeError: If it fails.
        """
        key = " ".join((command.name, *more))
        if key not in self._references:
            folder = self.folder()
            code, said = self.run(command, folder, more=more)
            if code:
                raise RuntimeError(f"{command.name} ended with {code} undisturbed: {said}")
            self._references[key] = contents(folder, self.world)
            shutil.rmtree(folder)
        return self._references[key]

    def run(
        self,
        command: Command,
        folder: Path,
        before: Callable[[], None] | None = None,
        more: tuple[str, ...] = (),
        **environment: str,
    ) -> tuple[int, str]:
        """Run a command to its end; give its exit status, and what it said."""
        said = self.room / "said.txt"
        process = commanded.start(command, self.world, folder, said, before, more, **environment)
        try:
            return process.wait(SECONDS), process.said()
        except TimeoutError as error:
            return -9, str(error)

    def leave_earlier(self, command: Command, folder: Path) -> None:
        """Put something into the place of every file that a command will write."""
        for name in self.reference(command):
            place = folder / name
            # Pictures of composites may be others the next time: the folder is replaced as a whole.
            if name.startswith("composites/") and place.name != "composites.csv":
                continue
            place.parent.mkdir(parents=True, exist_ok=True)
            place.write_bytes(_earlier(name, self.reference(command)[name]))


def _earlier(name: str, whole: bytes) -> bytes:
    """What an earlier run left; of tables that have to be recognised to be replaced, the line they begin with."""
    begins = name == "composites/composites.csv" or name.startswith("steps.")
    return whole.splitlines(keepends=True)[0] if begins else EARLIER


def judged(
    bench: Bench, command: Command, folder: Path, ended: tuple[int, str], allowed: Allowed, *, earlier: bool = False
) -> list[str]:
    """Say what is wrong with how a command ended and with what lies in its folder; nothing if nothing is.

    Args:
        bench: The world, with what an undisturbed run leaves.
        command: The command.
        folder: It wrote there.
        ended: Its exit status, and what it said.
        allowed: How it may end.
        earlier: Whether there were files of an earlier run.
    """
    code, said = ended
    wrong = []
    if code not in allowed.codes:
        wrong.append(f"exit code {code}, expected {' or '.join(map(str, sorted(allowed.codes)))}: {said[-300:]}")
    if "Traceback" in said or "crashed:" in said:
        wrong.append(f"it crashed: {said[-300:]}")
    last = said.rstrip("\n").rpartition("\n")[2]
    if code and not (last.startswith("tlaudit: ") and re.search(allowed.says, last) and allowed.names in last):
        wrong.append(f"the last line does not say why and where: {last!r}")
    if not folder.is_dir():
        return wrong if allowed.moved and code else [*wrong, "the folder is gone"]
    return wrong + left(bench, command, folder, done=code == 0 and not allowed.gaps, earlier=earlier)


def left(bench: Bench, command: Command, folder: Path, *, done: bool, earlier: bool) -> list[str]:
    """Say what in a folder is half-written, missing or left over.

    Args:
        bench: With what an undisturbed run leaves.
        command: The command.
        folder: It wrote there.
        done: Whether everything has to be there.
        earlier: Whether there were files of an earlier run, which stay until they are replaced.
    """
    reference, found, wrong = bench.reference(command), contents(folder, bench.world), []
    stays = earlier and not done
    for name in sorted(reference.keys() | found.keys()):
        whole = reference.get(name)
        if name not in found:
            # A folder of composites goes as a whole, and a broken entry of the cache in any case.
            if done or (stays and not name.startswith(("composites/", "cache/"))):
                wrong.append(f"{name} is missing")
        elif whole is None and (done or not _goes_on(command, name)):
            wrong.append(f"{name} is left over")
        elif (
            whole is not None
            and found[name] not in (whole, _earlier(name, whole) if stays else whole)
            and (done or not _is_growing(name, found[name], whole))
        ):
            wrong.append(f"{name} is not what it should be ({len(found[name])} bytes)")
    return wrong


def contents(folder: Path, world: World) -> dict[str, bytes]:
    """Give what stands in all files below a folder, by name, but for the time, the folder's name and the like."""
    return {
        path.relative_to(folder).as_posix(): facts(path, folder, world)
        for path in sorted(folder.rglob("*"))
        if path.is_file() or path.is_symlink() or (path.is_dir() and path.name.startswith("."))
    }


def facts(path: Path, folder: Path, world: World) -> bytes:
    """Give what a file says that does not depend on when and where it was written."""
    if path.is_dir() or not path.exists():
        return b""
    data = path.read_bytes()
    if data == EARLIER:
        return data
    for place in (str(folder), os.path.relpath(folder, world.root)):
        data = data.replace(place.encode(), b"FOLDER")
    if path.suffix == ".html":
        # Whole where it begins and ends as it should; its numbers are those of the document beside it.
        return b"a page" if data.startswith(b"<!doctype html>") and data.rstrip().endswith(b"</html>") else data
    if path.suffix == ".json" and path.parent == folder:
        try:
            return json.dumps(_timeless(json.loads(data)), sort_keys=True).encode()
        except ValueError:
            return data
    return _in_order(data) if path.parent.name == "cache" else data


def _in_order(data: bytes) -> bytes:
    """An entry of the cache with what it says of itself in order, in which it is not written."""
    end = 8 + int.from_bytes(data[:8], "little")
    try:
        return json.dumps(json.loads(data[8:end]), sort_keys=True).encode() + data[end:]
    except ValueError:
        return data


def _timeless(value: Any) -> Any:
    if isinstance(value, list):
        return [_timeless(one) for one in value]
    if isinstance(value, dict):
        return {key: _timeless(one) for key, one in value.items() if key not in _OF_THE_CLOCK}
    return value


def _goes_on(command: Command, name: str) -> bool:
    """Whether a file serves the next run, which goes on from it."""
    return command.resumes and name.endswith(".state")


def _is_growing(name: str, content: bytes, whole: bytes) -> bool:
    """Whether a file grows line by line under its own name, and ends with a whole line."""
    return name.startswith("steps.") and whole.startswith(content) and (not content or content.endswith(b"\n"))


def at_first_input(action: Callable[[], None], inputs: re.Pattern[str] = INPUTS) -> Callable[[], None]:
    """Give what has the process of a command act once, when it has found out that it can write and begins to read."""

    def ready() -> None:
        waiting = [action]

        def hook(event: str, arguments: tuple[Any, ...]) -> None:
            if event != "open" or not waiting or not isinstance(arguments[0], str | bytes | os.PathLike):
                return
            if inputs.search(os.fsdecode(arguments[0])):
                waiting.pop()()

        sys.addaudithook(hook)

    return ready


def taking(commands: Sequence[Command], names: Sequence[str]) -> list[Command]:
    """Give those of some commands that have one of these names."""
    return [command for command in commands if command.name in names]


def spread(count: int, last: int) -> list[int]:
    """Give whole numbers from 0 to the last one, evenly, at most so many."""
    return sorted({round(last * step / max(count - 1, 1)) for step in range(count)})


def texts(outcomes: Sequence[Outcome]) -> Mapping[str, int]:
    """Add up a table: injected, survived, lost."""
    return {
        "injected": sum(one.injected for one in outcomes),
        "survived": sum(one.survived for one in outcomes),
        "lost": sum(len(one.lost) for one in outcomes),
    }
