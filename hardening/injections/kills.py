"""kill -9 at random moments and right before writes: results are whole or absent, and the next run is as the first.

Half of the runs find older results in place, which have to be there afterwards, as they were or replaced.
"""

from __future__ import annotations

import os
import signal
import time
from typing import TYPE_CHECKING

from hardening.trial import LONGEST, Trial, trials

if TYPE_CHECKING:
    from collections.abc import Sequence

    from hardening.commands import Command
    from hardening.forked import Process
    from hardening.outcomes import Outcome
    from hardening.world import World


def inject(world: World, commands: Sequence[Command], rounds: int, seed: int) -> list[Outcome]:
    """Kill each command so many times at any moment, and as often before a write."""
    found = []
    for trial in trials("kills", world, commands, seed):
        for number in range(2 * rounds):
            kill(trial, older=number % 4 >= 2, at_write=bool(number % 2))
        found.append(trial.outcome())
    return found


def kill(trial: Trial, *, older: bool, at_write: bool) -> None:
    """Kill the command once, and count what became of it."""
    folder = trial.place(older=older)
    if at_write:
        write = trial.rng.randrange(trial.writes)
        process = trial.start(folder, trial.at_write(folder, write, lambda: os.kill(os.getpid(), signal.SIGKILL)))
        process.wait(LONGEST)
    else:
        process = trial.start(folder)
        _kill_after(process, trial.rng.random() * trial.seconds)
    if process.status == 0:
        return  # over before its time had come: nothing was injected
    faults = list(trial.after(folder, process, older=older))
    trial.count([*faults, *trial.again(folder)])


def _kill_after(process: Process, seconds: float) -> None:
    until = time.monotonic() + seconds
    while not process.ended() and time.monotonic() < until:
        time.sleep(0.001)
    if not process.ended():
        os.kill(process.pid, signal.SIGKILL)
        process.wait(LONGEST)
