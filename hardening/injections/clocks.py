"""Clocks that jump: by hours and by decades, during a run and between two, and dates that are none."""

from __future__ import annotations

import datetime as dt
import json
import os
import sys
import time
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from hardening.injections.trials import INPUTS, PICTURES, Allowed, Bench, Count, at_first_input, judged, taking

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from hardening.commands import Command
    from hardening.outcomes import Outcome
    from hardening.world import World

_NOW = time.time
_HOUR, _YEAR = 3600.0, 365.25 * 86400
_DONE = Allowed(frozenset({0}))
_WITHOUT_PICTURES = ("gate", "compare", "inspect", "init")
_LONGEST = 600
"""Seconds that no run takes here: what says it took longer, or less than none, has asked the wrong clock."""


def _to(year: int) -> Callable[[], float]:
    """Give the way from now to the middle of a year."""
    return lambda: dt.datetime(year, 7, 1, tzinfo=dt.UTC).timestamp() - _NOW()


JUMPS: dict[str, Callable[[], float]] = {
    "3 h back": lambda: -3 * _HOUR,
    "3 h on": lambda: 3 * _HOUR,
    "20 y back": lambda: -20 * _YEAR,
    "to 1970": _to(1970),
    "to 2100": _to(2100),
}
"""Seconds that the clock jumps by, by name."""
DATES = ("-1", "nonsense", "", "99999999999999999999")
"""What stands for SOURCE_DATE_EPOCH, and is no date."""

WAIVED = """
[[policy.rules]]
metric = "lingering.fraction"
max = -1.0
severity = "error"
waive = { until = 2050-06-30, reason = "known, and being worked on" }
"""


def inject(world: World, commands: Sequence[Command], rounds: int, seed: int) -> list[Outcome]:
    """Let the clock jump under each command.

    Args:
        world: What they work on.
        commands: Which.
        rounds: Jumps tried of each command, beginning with one that the seed says.
        seed: Says which.
    """
    bench, counts, names = Bench(world), [], list(JUMPS)
    for number, command in enumerate(commands):
        count = Count("clock jumps", command.name)
        for step in range(min(rounds, len(JUMPS))):
            name = names[(seed + number + step) % len(names)]
            count.add(jumping(bench, command, JUMPS[name]), name)
        dates = Count("no date", command.name)
        text = DATES[(seed + number) % len(DATES)]
        dates.add(without_date(bench, command, text), repr(text))
        counts += [count, dates]
    for command in taking(commands, ("cache",)):
        counts.append(Count("old cache", command.name))
        for when, told in old_caches(bench, command):
            counts[-1].add(told, when)
    for command in taking(commands, ("repair", "stress")):
        counts.append(Count("old state", command.name))
        for name in ("to 1970", "to 2100")[: max(1, rounds // 2)]:
            counts[-1].add(going_on(bench, command, JUMPS[name]), name)
    for command in taking(commands, ("gate",)):
        counts.append(Count("waiver", command.name))
        for when, told in waivers(bench, command):
            counts[-1].add(told, when)
    return [count.outcome() for count in counts if count.injected]


def jumping(bench: Bench, command: Command, by: Callable[[], float]) -> list[str]:
    """The clock jumps while a command is at work: the same result, and it took as long as it took."""
    place = bench.folder()
    inputs = INPUTS if command.name in _WITHOUT_PICTURES else PICTURES
    ended = bench.run(command, place, at_first_input(partial(_jump, by()), inputs))
    return [*judged(bench, command, place, ended, _DONE), *untrue(place)]


def without_date(bench: Bench, command: Command, text: str) -> list[str]:
    """What no date is stands where builds look for the date: nothing here does."""
    place = bench.folder()
    return judged(bench, command, place, bench.run(command, place, SOURCE_DATE_EPOCH=text), _DONE)


def old_caches(bench: Bench, command: Command) -> Iterator[tuple[str, list[str]]]:
    """Entries of the cache seem to be of another century: they are found all the same, and nothing is computed anew."""
    for name, by in JUMPS.items():
        place = bench.folder()
        told = judged(bench, command, place, bench.run(command, place), _DONE)
        entries = sorted((place / "cache").iterdir())
        before = [entry.stat().st_ino for entry in entries]
        _set_times(place / "cache", by())
        for document in place.glob("*.*"):
            document.unlink()
        told += judged(bench, command, place, bench.run(command, place, partial(_jump, -by())), _DONE)
        if [entry.stat().st_ino for entry in sorted((place / "cache").iterdir())] != before:
            told.append("entries were written again")
        yield name, told


def going_on(bench: Bench, command: Command, by: Callable[[], float]) -> list[str]:
    """A command is stopped, and goes on decades away: it ends with what it would have had."""
    place = bench.folder()
    ended = bench.run(command, place, partial(_stop_midway, place))
    told = [] if ended[0] == -9 else [f"it was to be stopped and ended with {ended[0]}: {ended[1][-300:]}"]
    _set_times(place, by())
    kept = sorted(path.name for path in place.rglob("*") if path.suffix == ".state" or path.parent.name == "runs")
    if not kept:
        told.append("nothing was kept to go on from")
    ended = bench.run(command, place, partial(_jump, -by()))
    if "begins anew" in ended[1] and "plain" in ended[1].partition("begins anew")[0]:
        told.append("it did not go on")
    return [*told, *judged(bench, command, place, ended, _DONE), *untrue(place)]


def waivers(bench: Bench, command: Command) -> Iterator[tuple[str, list[str]]]:
    """A waiver counts to the end of its day, whatever the clock says of other things."""
    policy = bench.folder() / "policy.toml"
    policy.write_text(WAIVED, encoding="utf-8")
    for date, code in (("1970-01-02", 0), ("2050-06-30", 0), ("2050-07-01", 1), ("2100-01-01", 1)):
        place = bench.folder()
        noon = dt.datetime.fromisoformat(f"{date}T12:00:00+00:00").timestamp()
        ended = bench.run(command, place, partial(_jump, noon - _NOW()), ("--policy", str(policy)))
        told = [] if ended[0] == code else [f"exit code {ended[0]}, expected {code}: {ended[1][-300:]}"]
        document = (
            json.loads((place / "gate.json").read_text(encoding="utf-8")) if (place / "gate.json").is_file() else {}
        )
        if document.get("judged_on") != date:
            told.append(f"judged on {document.get('judged_on')}")
        yield date, told


def untrue(place: Path) -> list[str]:
    """Say what documents say of how long a run took that cannot be, and whether they can be read back."""
    from tlaudit.documents import read_report
    from tlaudit.errors import TlauditError

    told = []
    for path in sorted(place.glob("*.json")):
        document = json.loads(path.read_text(encoding="utf-8"))
        lasted = [run["seconds"] for run in _runs(document)]
        told += [f"{path.name} took {seconds} s" for seconds in lasted if not 0 <= seconds < _LONGEST]
        if "checks" in document or "measurements" in document:
            try:
                read_report(path)
            except TlauditError as error:
                told.append(f"{path.name} is not read back: {error}")
    return told


def _runs(value: Any) -> Iterator[dict[str, Any]]:
    if isinstance(value, dict):
        if "seconds" in value and "started_at" in value:
            yield value
        value = list(value.values())
    if isinstance(value, list):
        for one in value:
            yield from _runs(one)


def _jump(by: float) -> None:
    """Let the clock of this process go wrong by so many seconds; those that only go forwards are as they were."""
    wrong = type("datetime", (_Wrong,), {"by": by})
    for module in list(sys.modules.values()):
        if getattr(module, "__name__", "").startswith("tlaudit") and getattr(module, "datetime", None) is _RIGHT:
            module.datetime = wrong  # type: ignore[attr-defined]
    dt.datetime = wrong  # type: ignore[misc]
    real, exact = time.time, time.time_ns
    time.time = lambda: real() + by
    time.time_ns = lambda: exact() + int(by * 1e9)
    touch = os.utime

    def touched(path: Any, times: Any = None, **named: Any) -> None:
        touch(path, (time.time(), time.time()) if times is None and not named else times, **named)

    os.utime = touched  # type: ignore[assignment]


_RIGHT = dt.datetime


class _Wrong(dt.datetime):
    """Tells another time."""

    by = 0.0

    @classmethod
    def now(cls, tz: dt.tzinfo | None = None) -> Any:
        return _RIGHT.fromtimestamp(_NOW() + cls.by, tz)


def _stop_midway(place: Path) -> None:
    """Have this process killed once it has kept something to go on from."""
    real = os.replace

    def replace(source: Any, target: Any) -> None:
        real(source, target)
        if str(target).endswith(".state") or Path(os.fsdecode(target)).parent.name == "runs":
            kept = [*place.glob("*.state"), *place.glob("runs/*.json")]
            os.kill(os.getpid(), 9 if kept else 0)

    os.replace = replace


def _set_times(place: Path, by: float) -> None:
    for path in place.rglob("*"):
        os.utime(path, (_NOW() + by, _NOW() + by))
