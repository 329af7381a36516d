"""A process that decodes images is killed: exit code 3, one line, nothing half-written, nobody left behind."""

from __future__ import annotations

import os
import signal
import time
from typing import TYPE_CHECKING

from hardening.outcomes import left
from hardening.trial import LONGEST, Trial, trials

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from hardening.commands import Command
    from hardening.outcomes import Outcome
    from hardening.world import World

DIED = "a process that decodes images died"
WORKERS = ("--workers", "2")
_DECODING = {"lingering", "distraction", "erosion", "stress", "audit", "cache", "screen", "repair", "demo"}


def inject(world: World, commands: Sequence[Command], rounds: int, seed: int) -> list[Outcome]:
    """Kill a worker of each command that has some, so many times, and as often the main process."""
    found = []
    for trial in trials("workers", world, [one for one in commands if one.name in _DECODING], seed, WORKERS):
        for _ in range(rounds):
            kill(trial)
            kill_main(trial)
        found.append(trial.outcome())
    return found


def kill(trial: Trial) -> None:
    """Kill a worker by the batch it is given, which is one of the first."""
    folder, killed = trial.place(older=False), trial.base / "killed"
    killed.unlink(missing_ok=True)
    chosen = trial.rng.randrange(1, 8)
    process = trial.start(folder, lambda: _kill_worker(chosen, killed))
    status = process.wait(LONGEST)
    if not killed.exists():
        return  # there were fewer
    if status == 0:
        # What a pass for several checks fails of, each of them tries once more by itself; and a batch that was decoded
        # ahead may be one that nobody wanted. What is written then has to be all of it.
        trial.count([*left(folder, trial.command, trial.reference), *trial.again(folder)])
        return
    said = process.said()
    faults = [] if status == 3 else [f"{trial.command.name}: ends with {status} when a worker is killed"]
    if DIED not in said or "Traceback" in said or "crashed" in said:
        faults.append(f"{trial.command.name}: says {said.splitlines()[-3:]} when a worker is killed")
    for path in folder.glob("audit.*"):
        # Of a check that could not be made the report says so, and why.
        if DIED in path.read_text(encoding="utf-8"):
            path.unlink()
    faults += trial.after(folder, process, older=False)
    trial.count([*faults, *trial.again(folder)])


def kill_main(trial: Trial) -> None:
    """Kill the command itself while workers may be at work: they end too."""
    folder = trial.place(older=False)
    process = trial.start(folder)
    until = time.monotonic() + trial.rng.random() * trial.seconds
    while not process.ended() and time.monotonic() < until:
        time.sleep(0.001)
    if process.ended():
        return
    os.kill(process.pid, signal.SIGKILL)
    process.wait(LONGEST)
    faults = list(trial.after(folder, process, older=False))
    trial.count([*faults, *trial.again(folder)])


def _kill_worker(chosen: int, killed: Path) -> None:
    """Make the worker that is given the batch of this number die of it; batches are counted in the main process."""
    from tlaudit.data import workers

    submit, submitted = workers._submit, [0]  # noqa: SLF001 - where a worker gets its work

    def counted(pool, number, files):
        submitted[0] += 1
        if submitted[0] == chosen:
            killed.touch()
            return pool.submit(_die)
        return submit(pool, number, files)

    workers._submit = counted  # noqa: SLF001


def _die() -> None:
    os.kill(os.getpid(), signal.SIGKILL)
