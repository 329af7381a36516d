"""Disks that are full, or fail, at every moment: those of results, temporary files, the cache, and of shared memory."""

from __future__ import annotations

import contextlib
import errno
import os
import pathlib
import random
import resource
import shutil
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from hardening.injections import mounts
from hardening.injections.trials import Allowed, Bench, Count, judged, spread, taking

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from hardening.commands import Command
    from hardening.outcomes import Outcome
    from hardening.world import World

_AMPLE = 1 << 28
_FULL = "No space left on device|File too large"
_FAILS = "Input/output error"
_CACHING = ("lingering", "distraction", "erosion", "audit")
_WORKING = ("lingering", "distraction", "erosion", "stress", "audit", "screen", "repair", "demo")


def inject(world: World, commands: Sequence[Command], rounds: int, seed: int) -> list[Outcome]:
    """Fill disks and let them fail under each command.

    Args:
        world: What they work on.
        commands: Which.
        rounds: Fillings tried of each, spread from none to nearly enough.
        seed: Of the exact ones.
    """
    bench = Bench(world)
    counts: list[Count] = []
    for command in commands:
        counts += [full(bench, command, rounds, seed), no_names(bench, command, rounds)]
        counts += [failing(bench, command, call, rounds) for call in CALLS]
        counts += [no_temporary_room(bench, command)]
    for command in taking(commands, _CACHING):
        counts.append(full_cache(bench, command, rounds))
    for command in taking(commands, _WORKING):
        counts.append(no_shared_room(bench, command))
    return [count.outcome() for count in counts if count.injected]


def full(bench: Bench, command: Command, rounds: int, seed: int) -> Count:
    """Let the disk have room for less than the command writes; every other time over what an earlier run left."""
    on_disk = mounts.allowed()
    count = Count("disk full" if on_disk else "file limit", command.name)
    sizes, chance, disk = _pages(bench, command), random.Random(seed), bench.folder()
    # A limit is one of each file, and as hard as the largest one feels it.
    needed = sum(sizes) if on_disk else max(sizes)
    for number, about in enumerate(spread(rounds, needed - 1)):
        earlier = bool(number % 2)
        pages = max(0, min(needed - 1, about + chance.randint(-2, 2)))
        with _disk(disk) if on_disk else contextlib.nullcontext():
            place = _place(disk)
            if earlier:
                bench.leave_earlier(command, place)
            before = None if on_disk else partial(_limit, pages * mounts.PAGE)
            if on_disk:
                # No disk is so small that it has no page; one is taken.
                (disk / "filling").write_bytes(bytes(mounts.PAGE))
                mounts.shrink(disk, size=mounts.used(disk)[0] + pages * mounts.PAGE)
            ended = bench.run(command, place, before)
            allowed = _disk_full(command, place, roomier=earlier and on_disk)
            told = judged(bench, command, place, ended, allowed, earlier=earlier)
            count.add(told, f"{pages} of {needed} pages{', earlier results' if earlier else ''}")
    return count


def no_names(bench: Bench, command: Command, rounds: int) -> Count:
    """Let the disk have room for bytes but for no, or few, new files."""
    count = Count("no inodes", command.name)
    if not mounts.allowed():
        return count
    disk, files = bench.folder(), len(bench.reference(command))
    for names in spread(min(rounds, files), files - 1):
        with _disk(disk):
            place = _place(disk)
            mounts.shrink(disk, size=_AMPLE, names=mounts.used(disk)[1] + names)
            ended = bench.run(command, place)
            count.add(judged(bench, command, place, ended, _disk_full(command, place)), f"room for {names} files")
    return count


def no_temporary_room(bench: Bench, command: Command) -> Count:
    """Fill the folder for temporary files, which no result needs."""
    count = Count("TMPDIR full", command.name)
    if not mounts.allowed():
        return count
    place, temporary = bench.folder(), bench.folder()
    with _disk(temporary, mounts.PAGE):
        mounts.fill(temporary)
        ended = bench.run(command, place, None, (), TMPDIR=str(temporary))
        count.add(judged(bench, command, place, ended, Allowed(frozenset({0}))))
    return count


def full_cache(bench: Bench, command: Command, rounds: int) -> Count:
    """Fill the folder of the cache, which costs a warning and nothing else."""
    count = Count("cache full", command.name)
    if not mounts.allowed():
        return count
    place, cache = bench.folder(), bench.folder()
    more = ("--cache", "--cache-dir", str(cache))
    for pages in spread(min(rounds, 3), 2):
        # A size of no page at all would mean no limit.
        with _disk(cache, (pages + 1) * mounts.PAGE):
            (cache / "filling").write_bytes(bytes(mounts.PAGE))
            ended = bench.run(command, place, None, more)
            told = judged(bench, command, place, ended, Allowed(frozenset({0})))
            if unfinished := [path.name for path in cache.iterdir() if path.name.startswith(".")]:
                told.append(f"left over in the cache: {unfinished}")
            if not pages and "nothing is kept for later runs in the cache" not in ended[1]:
                told.append("nobody was told that the cache is full")
            count.add(told, f"{pages} pages")
        shutil.rmtree(place)
        place.mkdir()
    return count


def no_shared_room(bench: Bench, command: Command) -> Count:
    """Fill /dev/shm and the temporary folder, in a world of mounts of its own: workers share memory there."""
    count = Count("shm full", command.name)
    if not mounts.allowed():
        return count
    place, temporary = bench.folder(), bench.folder()

    def fill() -> None:
        for folder in (Path("/dev/shm"), temporary):
            mounts.filled_for_myself(folder)

    ended = bench.run(command, place, fill, ("-j", "2"), TMPDIR=str(temporary))
    count.add(judged(bench, command, place, ended, Allowed(frozenset({0}))))
    return count


def failing(bench: Bench, command: Command, call: str, rounds: int) -> Count:
    """Let one of the calls fail that bring a file to the disk: the first one, the second one, and so on."""
    count, place = Count(f"{call} fails", command.name), bench.folder()
    for number in range(1, rounds + 1):
        earlier = bool(number % 2)
        shutil.rmtree(place)
        place.mkdir()
        if earlier:
            bench.leave_earlier(command, place)
        ended = bench.run(command, place, partial(CALLS[call], number, place))
        if (
            not ended[0]
            and not judged(bench, command, place, ended, Allowed(frozenset({0})))
            and command.name != "cache"
        ):
            break  # there are no more such calls
        codes = frozenset({0, 3}) if command.name == "cache" else frozenset({3})
        allowed = Allowed(codes, _FAILS, str(place), gaps=True)
        count.add(judged(bench, command, place, ended, allowed, earlier=earlier), f"call {number}")
    return count


def _fail_call(name: str, number: int, place: Path) -> None:
    """Have the call of this number fail of those that are about the place."""
    real, left = getattr(os, name), [number]

    def failing(*arguments: Any, **named: Any) -> Any:
        about = f"/proc/self/fd/{arguments[0]}" if isinstance(arguments[0], int) else arguments[0]
        if Path(os.fsdecode(about)).resolve().is_relative_to(place):
            left[0] -= 1
            if not left[0]:
                raise OSError(errno.EIO, os.strerror(errno.EIO))
        return real(*arguments, **named)

    setattr(os, name, failing)


def _fail_rename(number: int, place: Path) -> None:
    left = [number]
    for name in ("rename", "replace"):
        real = getattr(os, name)

        def failing(source: Any, target: Any, real: Callable[..., None] = real) -> None:
            if Path(os.fsdecode(target)).is_relative_to(place):
                left[0] -= 1
                if not left[0]:
                    raise OSError(errno.EIO, os.strerror(errno.EIO))
            real(source, target)

        setattr(os, name, failing)


def _fail_close(number: int, place: Path) -> None:
    """Files are closed, and only then does the disk say that what was written is lost."""
    real, left = pathlib.Path.open, [number]

    def opening(self: Path, mode: str = "r", *arguments: Any, **named: Any) -> Any:
        file = real(self, mode, *arguments, **named)
        if set(mode) & set("wx+") and self.is_relative_to(place):
            left[0] -= 1
            if not left[0]:
                file.close = partial(_closed_badly, file, file.close)
        return file

    pathlib.Path.open = opening  # type: ignore[method-assign,assignment]


def _closed_badly(file: Any, close: Callable[[], None]) -> None:
    if not file.closed:
        close()
        raise OSError(errno.EIO, os.strerror(errno.EIO))


CALLS: dict[str, Callable[[int, Path], None]] = {
    "fsync": partial(_fail_call, "fsync"),
    "rename": _fail_rename,
    "close": _fail_close,
}
"""What can fail between a command and its disk."""


def _disk_full(command: Command, place: Path, *, roomier: bool = False) -> Allowed:
    """A full disk is no answer, but for the cache; files that are replaced make a little room."""
    cached = command.name == "cache"
    return Allowed(frozenset({0, 3} if cached or roomier else {3}), _FULL, str(place), gaps=cached)


def _pages(bench: Bench, command: Command) -> list[int]:
    """Pages that each of the files of a command takes."""
    place = bench.folder()
    ended = bench.run(command, place)
    sizes = [path.stat().st_size for path in place.rglob("*") if path.is_file()]
    shutil.rmtree(place)
    if ended[0]:
        raise RuntimeError(f"{command.name} ended with {ended[0]} undisturbed: {ended[1]}")
    return [-(-size // mounts.PAGE) for size in sizes]


def _limit(size: int) -> None:
    # Python has the signal ignored that would end the process.
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, resource.RLIM_INFINITY))


@contextlib.contextmanager
def _disk(place: Path, size: int = _AMPLE) -> Iterator[None]:
    """A disk of its own, with room for all if not said otherwise."""
    with mounts.memory(place, size=size):
        yield


def _place(disk: Path) -> Path:
    """A new empty folder on it."""
    place = disk / "results"
    shutil.rmtree(place, ignore_errors=True)
    place.mkdir()
    return place
