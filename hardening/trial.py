"""A command that is disturbed again and again: an undisturbed run to compare with, and what has to hold afterwards."""

from __future__ import annotations

import os
import random
import shutil
import signal
import sys
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from hardening import commands
from hardening.outcomes import Outcome, left

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from hardening.commands import Command
    from hardening.forked import Process
    from hardening.world import World

LONGEST = 120
"""Seconds that a run may take, on a machine that does much else."""

_KEPT = (".state", "runs/", "cache/")
_OUTPUT = os.O_WRONLY | os.O_RDWR | os.O_CREAT


@dataclass
class Trial:
    """A command, the folders it writes to, and what was found of it.

    Attributes:
        injection: Kind of fault.
        world: What it works on.
        command: Which.
        base: Folder for everything.
        rng: Chooses the moments.
        more: Further words of the command.
        seconds: How long an undisturbed run takes.
        writes: How often it opens, renames, makes or removes something in its folder.
        injected: How many faults there were.
        survived: After how many nothing was lost.
        lost: What was.
    """

    injection: str
    world: World
    command: Command
    base: Path
    rng: random.Random
    more: tuple[str, ...] = ()
    seconds: float = 0
    writes: int = 0
    injected: int = 0
    survived: int = 0
    lost: list[str] = field(default_factory=list)

    @property
    def reference(self) -> Path:
        """Where it wrote undisturbed."""
        return self.base / "reference"

    @property
    def older(self) -> Path:
        """Results of an earlier run, of another content where that is possible."""
        return self.base / "older"

    @property
    def elsewhere(self) -> Path:
        """Its folder for temporary files."""
        return self.base / "elsewhere"

    def begin(self) -> None:
        """Run the command undisturbed, count its writes, and make older results.

        Raises:
            RuntimeError: If it does not end well.
        """
        for place in (self.reference, self.elsewhere):
            place.mkdir(parents=True)
        begun, log = time.monotonic(), self.base / "writes.txt"
        process = self.start(self.reference, lambda: _on_write(self.reference, _logging(log)))
        if status := process.wait(LONGEST):
            raise RuntimeError(f"{self.command.name} ended with {status}: {process.said()}")
        self.seconds, self.writes = time.monotonic() - begun, log.stat().st_size
        shutil.copytree(self.reference, self.older)
        for name in self.command.writes:
            path = self.older / name / "composites.csv" if name == "composites" else self.older / name
            if path.is_file():
                path.write_bytes(path.read_bytes() + b" ")

    def place(self, *, older: bool) -> Path:
        """Give a folder to write into, new or with older results."""
        folder = self.base / "here"
        shutil.rmtree(folder, ignore_errors=True)
        if older:
            shutil.copytree(self.older, folder)
        else:
            folder.mkdir()
        return folder

    def start(
        self,
        folder: Path,
        before: Callable[[], None] | None = None,
        *,
        said: str = "said.txt",
    ) -> Process:
        """Start it."""
        return commands.start(
            self.command, self.world, folder, self.base / said, before, self.more, TMPDIR=str(self.elsewhere)
        )

    def at_write(self, folder: Path, number: int, act: Callable[[], None]) -> Callable[[], None]:
        """Give what has to be called in the process for `act` to be called right before its write of this number."""
        left_over = [number]

        def count() -> None:
            left_over[0] -= 1
            if left_over[0] < 0:
                left_over[0] = sys.maxsize
                act()

        return lambda: _on_write(folder, count)

    def after(self, folder: Path, process: Process, *, older: bool) -> Iterator[str]:
        """Say what a fault did to the folder, to temporary files and to processes."""
        yield from left(folder, self.command, self.reference, finished=False, older=self.older if older else None)
        yield from (f"{self.command.name}: process {pid} is left over" for pid in orphans(process.pid))

    def again(self, folder: Path) -> Iterator[str]:
        """Run the same command once more, and say what is not as if nothing had happened."""
        kept = _kept(folder)
        process = self.start(folder, said="again.txt")
        try:
            status = process.wait(LONGEST)
        except TimeoutError as error:
            yield f"{self.command.name}: the next run hangs: {error}"
            return
        said = process.said()
        if status:
            yield f"{self.command.name}: the next run ends with {status}: {said.strip().splitlines()[-1:]}"
            return
        yield from left(folder, self.command, self.reference)
        yield from (
            f"{self.command.name}: {path.name} is left among temporary files" for path in self.elsewhere.iterdir()
        )
        now = _kept(folder)
        for name, inode in kept.items():
            if name.endswith(".state"):
                wrong = [line for line in said.splitlines() if f"{name}: " in line]
                yield from (f"{self.command.name}: {name} did not serve the next run: {line}" for line in wrong)
            elif now.get(name) != inode:
                yield f"{self.command.name}: {name} was kept, and made again by the next run"

    def count(self, faults: Sequence[str]) -> None:
        """Add one fault and what was found after it."""
        self.injected += 1
        self.survived += not faults
        self.lost += faults

    def outcome(self) -> Outcome:
        """What became of all of them."""
        return Outcome(self.injection, self.command.name, self.injected, self.survived, tuple(self.lost))


def trials(
    injection: str, world: World, chosen: Sequence[Command], seed: int, more: tuple[str, ...] = ()
) -> Iterator[Trial]:
    """Give a trial for each command, begun; its folders are removed when the next one is asked for."""
    for command in chosen:
        base = world.root.parent / injection / command.name
        trial = Trial(injection, world, command, base, random.Random(f"{seed} {injection} {command.name}"), more)
        trial.begin()
        yield trial
        shutil.rmtree(base, ignore_errors=True)


def orphans(session: int, seconds: float = 20) -> list[int]:
    """Give the processes of a session that are still there after some time; without any, at once."""
    until = time.monotonic() + seconds
    while (found := _members(session)) and time.monotonic() < until:
        time.sleep(0.01)
    for pid in found:
        os.kill(pid, signal.SIGKILL)
    return found


def _members(session: int) -> list[int]:
    found = []
    for entry in Path("/proc").iterdir():
        if not entry.name.isdigit():
            continue
        try:
            # After the name, which may hold anything: state, parent, group, session.
            state, _, _, its = (entry / "stat").read_text().rpartition(")")[2].split()[:4]
        except (FileNotFoundError, ProcessLookupError):
            continue
        if int(its) == session and state != "Z":
            found.append(int(entry.name))
    return found


def _kept(folder: Path) -> dict[str, int]:
    """Which files a stopped run has kept for the next one."""
    files = {path.relative_to(folder).as_posix(): path for path in folder.rglob("*") if path.is_file()}
    return {
        name: path.stat().st_ino
        for name, path in files.items()
        if name.endswith(_KEPT[0]) or (name.startswith(_KEPT[1:]) and not path.name.startswith("."))
    }


def _logging(file: Path) -> Callable[[], None]:
    log = os.open(file, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    return lambda: os.write(log, b".") and None


def _on_write(folder: Path, act: Callable[[], None]) -> None:
    """Call `act` in this process, for as long as it lives, right before it changes anything below a folder."""
    inside, busy = os.fspath(folder), [False]

    def hook(event: str, given: tuple[object, ...]) -> None:
        if busy[0] or event not in _EVENTS or not given:
            return
        if event == "open" and not (isinstance(given[2], int) and given[2] & _OUTPUT):
            return
        # Trees are removed by names relative to an open folder.
        relative = event in {"os.remove", "os.rmdir"} and given[-1] != -1
        if relative or str(given[0]).startswith(inside):
            busy[0] = True
            try:
                act()
            finally:
                busy[0] = False

    sys.addaudithook(hook)


_EVENTS = {"open", "os.rename", "os.mkdir", "os.remove", "os.rmdir"}
