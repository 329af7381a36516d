"""Places that cannot be written to, or that change while a command runs."""

from __future__ import annotations

import contextlib
import ctypes
import dataclasses
import errno
import fcntl
import os
import shutil
import struct
import tempfile
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, NoReturn

from hardening import commands as commanded
from hardening.injections import mounts
from hardening.injections.trials import SECONDS, Allowed, Bench, Count, at_first_input, judged, taking

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from hardening.commands import Command
    from hardening.outcomes import Outcome
    from hardening.world import World

NOBODY = 65534
"""A user who owns nothing."""
_CAPABILITIES, _OVERRIDE, _OWNER = 0x20080522, 1, 3
"""Of Linux: the version of its capabilities; to write whatever the rights say, and to change them."""
_CACHING = ("lingering", "distraction", "erosion", "audit")
_DONE = Allowed(frozenset({0}))


def inject(world: World, commands: Sequence[Command], rounds: int, seed: int) -> list[Outcome]:
    """Give each command places it cannot write to, or take them away while it runs.

    Args:
        world: What they work on.
        commands: Which.
        rounds: How often each is tried; nothing here is left to chance.
        seed: Of no matter.
    """
    del seed
    bench, counts = Bench(world), []
    for command in commands:
        for name, trial in TRIALS.items():
            count = Count(name, command.name)
            for _ in range(min(rounds, 1)):
                with contextlib.suppress(NotHereError):
                    count.add(trial(bench, command))
            counts.append(count)
    for command in taking(commands, _CACHING):
        count = Count("cache denied", command.name)
        for when, told in denied_caches(bench, command):
            count.add(told, when)
        counts.append(count)
    return [count.outcome() for count in counts if count.injected]


class NotHereError(Exception):
    """This trial says nothing about this command, or cannot be made on this machine."""


def read_only(bench: Bench, command: Command) -> list[str]:
    """A folder with earlier results on a file system that is read-only: refused before the work."""
    if not mounts.allowed():
        return not_mine(bench, command)
    place = bench.folder()
    with mounts.memory(place, size=1 << 26):
        bench.leave_earlier(command, place)
        mounts.close(place)
        ended = bench.run(command, place)
        return judged(bench, command, place, ended, _refused("is not writable", place), earlier=True)


def read_only_midway(bench: Bench, command: Command) -> list[str]:
    """The same, turned read-only when the work has begun."""
    if not mounts.allowed():
        raise NotHereError
    place = bench.folder()
    with mounts.memory(place, size=1 << 26):
        bench.leave_earlier(command, place)
        ended = bench.run(command, place, at_first_input(partial(mounts.close, place)))
        return judged(bench, command, place, ended, _failed("Read-only file system", place), earlier=True)


def not_mine(bench: Bench, command: Command) -> list[str]:
    """A folder with earlier results that belongs to somebody else."""
    place = bench.folder()
    bench.leave_earlier(command, place)
    for folder, _, _ in os.walk(place):
        _give_away(Path(folder))
    ended = bench.run(command, place, _as_anybody)
    return judged(bench, command, place, ended, _refused("is not writable|cannot be written", place), earlier=True)


def removed(bench: Bench, command: Command) -> list[str]:
    """The folder is removed while the command works."""
    place = bench.folder()
    ended = bench.run(command, place, at_first_input(partial(shutil.rmtree, place)))
    return judged(bench, command, place, ended, _failed("No such file or directory", place, moved=True))


def renamed(bench: Bench, command: Command) -> list[str]:
    """The folder, with earlier results, gets another name; they must stay as they are."""
    place = bench.folder()
    there = place.with_name(f"{place.name}-elsewhere")
    bench.leave_earlier(command, place)
    ended = bench.run(command, place, at_first_input(partial(os.rename, place, there)))
    told = judged(bench, command, place, ended, _failed("No such file or directory", place, moved=True), earlier=True)
    # What it says of its folder is said; now look at what was in it.
    return told + judged(bench, command, there, (0, ""), Allowed(frozenset({0}), gaps=True), earlier=True)


def folders_in_place(bench: Bench, command: Command) -> list[str]:
    """Folders take the names of the files while the command works; they and what is in them must stay."""
    place = bench.folder()
    names = _documents(bench, command)

    def take() -> None:
        for name in names:
            (place / name).mkdir(parents=True)
            (place / name / "mine.txt").write_text("mine")

    ended = bench.run(command, place, at_first_input(take))
    told = judged(bench, command, place, ended, _failed("this is a folder|Is a directory", place))
    told = [line for line in told if not any(line == f"{name}/mine.txt is left over" for name in names)]
    return told + [f"{name} is gone" for name in names if not (place / name / "mine.txt").is_file()]


def links(bench: Bench, command: Command) -> list[str]:
    """Every file is a link to one elsewhere, which is not there yet: the link stays, its target is written."""
    place, there = bench.folder(), bench.folder()
    for name in _documents(bench, command):
        (place / name).symlink_to(there / name)
    ended = bench.run(command, place)
    told = judged(bench, command, place, ended, _DONE)
    gone = [name for name in _documents(bench, command) if not (place / name).is_symlink()]
    return told + [f"the link {name} is gone" for name in gone]


def links_to_nowhere(bench: Bench, command: Command) -> list[str]:
    """Every file is a link into a folder that is not there."""
    place = bench.folder()
    for name in _documents(bench, command):
        (place / name).symlink_to(place / "nowhere" / name)
    ended = bench.run(command, place)
    told = judged(bench, command, place, ended, _refused("does not exist|No such file", place))
    return _but_links(bench, command, told)


def links_in_a_loop(bench: Bench, command: Command) -> list[str]:
    """Every file is a link to itself."""
    place = bench.folder()
    for name in _documents(bench, command):
        (place / name).symlink_to(place / name)
    ended = bench.run(command, place)
    return _but_links(bench, command, judged(bench, command, place, ended, _refused("link", place)))


def links_to_read_only(bench: Bench, command: Command) -> list[str]:
    """Every file is a link to one on a read-only file system."""
    if not mounts.allowed():
        raise NotHereError
    place, there = bench.folder(), bench.folder()
    with mounts.memory(there, size=1 << 26):
        for name in _documents(bench, command):
            (place / name).symlink_to(there / name)
        mounts.close(there)
        ended = bench.run(command, place)
        told = judged(bench, command, place, ended, _refused("is not writable|Read-only", place))
        return _but_links(bench, command, told)


def below_a_file(bench: Bench, command: Command) -> list[str]:
    """What should be a folder is a file."""
    place = bench.folder()
    (place / "file").write_text("mine")
    ended = bench.run(command, place / "file")
    told = judged(bench, command, place / "file", ended, _refused("does not exist|is no folder", place, moved=True))
    return told + ["the file is gone"] * ((place / "file").read_text() != "mine")


def too_long(bench: Bench, command: Command) -> list[str]:
    """Names longer than file systems take."""
    place = bench.folder()

    def arguments(world: World, folder: Path) -> list[str]:
        words = command.arguments(world, folder)
        return [word.replace(f"{folder}/", f"{folder}/{'x' * 260}") for word in words]

    ended = bench.run(dataclasses.replace(command, arguments=arguments), place)
    return judged(bench, command, place, ended, _refused("File name too long", place))


def no_current_folder(bench: Bench, command: Command) -> list[str]:
    """The current folder is gone, and with it the configuration and the images."""
    place = bench.folder()

    def leave() -> None:
        os.chdir(tempfile.mkdtemp())
        os.rmdir(os.getcwd())  # noqa: PTH106, PTH109

    # What the demonstration takes of the configuration, which moves the last digits of its numbers.
    more = ("--batch-size", "8") if command.name == "demo" else ()
    ended = bench.run(command, place, leave, more)
    reason = "No such file or directory|missing|no such|does not exist|expected|current folder|not found|neither"
    allowed = Allowed(frozenset({0, 2, 3}), reason)
    return judged(bench, command, place, ended, allowed)


def no_temporary_folder(bench: Bench, command: Command) -> list[str]:
    """TMPDIR names a folder that is not there."""
    place = bench.folder()
    return judged(bench, command, place, bench.run(command, place, TMPDIR=str(place / "none")), _DONE)


def no_rights_for_files(bench: Bench, command: Command) -> list[str]:
    """A umask that takes all rights from new files: root may go on, others are told."""
    place, own = bench.folder(), bench.folder()
    told = judged(bench, command, place, bench.run(command, place, partial(os.umask, 0o777)), _DONE)

    def ready() -> None:
        _as_anybody()
        os.umask(0o777)

    ended = bench.run(command, own, ready)
    allowed = Allowed(frozenset({0, 2, 3}), "Permission denied|is not writable", str(own), gaps=True)
    return told + judged(bench, command, own, ended, allowed)


def no_locks(bench: Bench, command: Command) -> list[str]:
    """Two runs at once write to one place, where no locks are known: what is there is that of one of them."""
    place = bench.folder()
    said = [bench.folder() / "said.txt" for _ in range(2)]
    runs = [commanded.start(command, bench.world, place, file, _without_locks) for file in said]
    told: list[str] = []
    for run in runs:
        code = run.wait(SECONDS)
        if code not in {0, 3} or "crashed:" in run.said():
            told.append(f"exit code {code}: {run.said()[-300:]}")
    if not any(run.status == 0 for run in runs):
        told.append(f"neither came to its end: {runs[0].said()[-300:]} {runs[1].said()[-300:]}")
    return told + judged(bench, command, place, (0, ""), _DONE)


def denied_caches(bench: Bench, command: Command) -> list[tuple[str, list[str]]]:
    """Caches that cannot be written, and homes that are not there: the answer is the same."""
    found = []
    file = bench.folder() / "file"
    file.write_text("mine")
    homes: dict[str, tuple[tuple[str, ...], dict[str, str]]] = {
        "the cache is a file": (("--cache-dir", str(file)), {}),
        "the cache lies below a file": (("--cache-dir", str(file / "cache")), {}),
        "no name is that long": (("--cache-dir", str(file.parent / ("x" * 300))), {}),
        "no home": ((), {"HOME": str(file / "home"), "XDG_CACHE_HOME": ""}),
    }
    for when, (more, environment) in homes.items():
        place = bench.folder()
        ended = bench.run(command, place, _named_by_nobody if not more else None, ("--cache", *more), **environment)
        found.append((when, judged(bench, command, place, ended, _DONE)))
    if mounts.allowed():
        cache, place = bench.folder(), bench.folder()
        with mounts.memory(cache, size=mounts.PAGE):
            mounts.close(cache)
            ended = bench.run(command, place, None, ("--cache", "--cache-dir", str(cache)))
            found.append(("the cache is read-only", judged(bench, command, place, ended, _DONE)))
    return found


TRIALS: dict[str, Callable[[Bench, Command], list[str]]] = {
    "read-only": read_only,
    "turns r/o": read_only_midway,
    "not mine": not_mine,
    "removed": removed,
    "renamed": renamed,
    "folders": folders_in_place,
    "links": links,
    "dangling": links_to_nowhere,
    "loops": links_in_a_loop,
    "links r/o": links_to_read_only,
    "below a file": below_a_file,
    "too long": too_long,
    "no cwd": no_current_folder,
    "no TMPDIR": no_temporary_folder,
    "umask 0777": no_rights_for_files,
    "no locks": no_locks,
}
"""By the name in the table."""


def _refused(says: str, place: Path, *, moved: bool = False) -> Allowed:
    return Allowed(frozenset({2}), says, str(place), moved=moved)


def _failed(says: str, place: Path, *, moved: bool = False) -> Allowed:
    """In the middle of the work; what is looked at only then is refused as if it had never been there."""
    # Where a command makes its folder anew all has to be there.
    codes = {0, 2, 3} if moved else {2, 3}
    return Allowed(frozenset(codes), f"{says}|does not exist|is not writable", str(place), moved=moved)


def _documents(bench: Bench, command: Command) -> list[str]:
    """Files that a command writes directly to its folder."""
    return [name for name in bench.reference(command) if "/" not in name]


def _but_links(bench: Bench, command: Command, told: list[str]) -> list[str]:
    """Links that are there from the beginning are no half-written files."""
    names = _documents(bench, command)
    return [line for line in told if not any(line.startswith(f"{name} is not what it should be (0 ") for name in names)]


def _give_away(folder: Path) -> None:
    """Let a folder be one that this process may not write to, once it is `_as_anybody`."""
    folder.chmod(0o555)
    if not os.geteuid():
        os.chown(folder, NOBODY, NOBODY)


def _as_anybody() -> None:
    """Hold root to the rights of files, for writing; what Python has to read for the command it may still read."""
    if os.geteuid():
        return
    header = struct.pack("Ii", _CAPABILITIES, 0)
    kept = (1 << 41) - 1 & ~(1 << _OVERRIDE | 1 << _OWNER)
    low, high = kept & 0xFFFFFFFF, kept >> 32
    libc = ctypes.CDLL(None, use_errno=True)
    known = ctypes.create_string_buffer(struct.calcsize("6I"))
    libc.capget(header, known)
    mine = struct.unpack("6I", known.raw)
    lasting = [value & kind for value, kind in zip(mine, (low, low, low, high, high, high), strict=True)]
    if libc.capset(header, struct.pack("6I", *lasting)):
        error = ctypes.get_errno()
        raise OSError(error, os.strerror(error))


def _named_by_nobody() -> None:
    """Only the home says where the cache lies."""
    os.environ.pop("TLAUDIT_CACHE_DIR", None)


def _without_locks() -> None:
    fcntl.flock = _no_lock  # type: ignore[assignment]


def _no_lock(*_: object) -> NoReturn:
    raise OSError(errno.ENOLCK, os.strerror(errno.ENOLCK))
