"""Two and five runs that write to one place at one time: every file is whole, and nobody removes what others write."""

from __future__ import annotations

from typing import TYPE_CHECKING

from hardening.outcomes import left
from hardening.trial import LONGEST, Trial, orphans, trials

if TYPE_CHECKING:
    from collections.abc import Sequence

    from hardening.commands import Command
    from hardening.outcomes import Outcome
    from hardening.world import World

REFUSED = (2, 3)


def inject(world: World, commands: Sequence[Command], rounds: int, seed: int) -> list[Outcome]:
    """Run each command twice and five times at once, so many times, in a new folder and over old results."""
    found = []
    for trial in trials("runs", world, commands, seed):
        for number in range(rounds):
            together(trial, (2, 5)[number % 2], older=number % 4 >= 2)
        found.append(trial.outcome())
    return found


def together(trial: Trial, size: int, *, older: bool) -> None:
    """Run the command so many times at once, and count what became of it."""
    folder, name = trial.place(older=older), trial.command.name
    processes = [trial.start(folder, said=f"said-{number}.txt") for number in range(size)]
    statuses = [process.wait(LONGEST * size) for process in processes]
    faults = []
    for process, status in zip(processes, statuses, strict=True):
        said = process.said()
        if status not in {0, *REFUSED} or "crashed" in said or "Traceback" in said:
            faults.append(f"{name}: one of {size} runs ends with {status}: {said.strip().splitlines()[-1:]}")
        faults += [f"{name}: process {pid} is left over" for pid in orphans(process.pid)]
    if 0 not in statuses:
        faults.append(f"{name}: none of {size} runs comes to its end: {statuses}")
    faults += left(folder, trial.command, trial.reference)
    trial.count([*faults, *trial.again(folder)])
