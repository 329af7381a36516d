"""Ctrl-C at random moments, once and twice: 130, one line, no traceback, no half results; then the same with SIGTERM.

Also in the first moments of a process of its own, in which Python and torch are imported.
"""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING

from hardening.outcomes import Outcome, left
from hardening.trial import LONGEST, Trial, trials

if TYPE_CHECKING:
    from collections.abc import Sequence

    from hardening.commands import Command
    from hardening.world import World

LINE = "tlaudit: interrupted"
_READY = (
    "import sys; from tlaudit.__main__ import interrupts, main; sys.argv[0] = 'tlaudit'; interrupts.listen();"
    "sys.stdout.write('.'); sys.stdout.flush(); main()"
)
"""What the console script does; it says when its first line is over, before which Python itself answers signals."""


def inject(world: World, commands: Sequence[Command], rounds: int, seed: int) -> list[Outcome]:
    """Interrupt each command so many times: once, twice in a row, before a write; and end it from outside."""
    found = []
    for trial in trials("interrupts", world, commands, seed):
        for number in range(rounds):
            for how in ("once", "twice", "at a write"):
                interrupt(trial, how, older=bool(number % 2))
            end(trial, (signal.SIGTERM, signal.SIGHUP)[number % 2])
        found.append(trial.outcome())
    found.append(starts(rounds * 4, seed))
    return found


def interrupt(trial: Trial, how: str, *, older: bool) -> None:
    """Interrupt the command, and count what became of it."""
    folder = trial.place(older=older)
    if how == "at a write":
        write = trial.rng.randrange(trial.writes)
        before = trial.at_write(folder, write, lambda: os.kill(os.getpid(), signal.SIGINT))
        process = trial.start(folder, before)
    else:
        process = trial.start(folder)
        _sleep_until(process, trial.rng.random() * trial.seconds)
        for _ in range(2 if how == "twice" else 1):
            if not process.ended():
                os.killpg(process.pid, signal.SIGINT)
            time.sleep(trial.rng.random() / 20)
    status = process.wait(LONGEST)
    if status == 0:
        return  # over before its time had come
    faults = [] if status == 130 else [f"{trial.command.name}: an interrupted run ends with {status}"]
    faults += [f"{trial.command.name}: {line!r} is said" for line in unexpected(process.said())]
    faults += trial.after(folder, process, older=older)
    trial.count([*faults, *trial.again(folder)])


def end(trial: Trial, number: signal.Signals) -> None:
    """End the command from outside, as systems do; nobody catches that, and it is as safe as any other end."""
    folder = trial.place(older=False)
    process = trial.start(folder)
    _sleep_until(process, trial.rng.random() * trial.seconds)
    if process.ended():
        return
    os.kill(process.pid, number)
    status = process.wait(LONGEST)
    if status == 0:
        # It had just done its work: all of it has to be there.
        trial.count(left(folder, trial.command, trial.reference))
        return
    faults = [] if status == -number else [f"{trial.command.name}: ends with {status} after {number.name}"]
    faults += trial.after(folder, process, older=False)
    trial.count([*faults, *trial.again(folder)])


def unexpected(said: str) -> list[str]:
    """Lines that an interrupted command should not say: it says once that it was, and nothing Python would."""
    lines = said.splitlines()
    known = [line for line in lines if line == LINE]
    strange = [line for line in lines if "Traceback" in line or "KeyboardInterrupt" in line or "crashed" in line]
    return strange + ([f"{len(known)} times {LINE}"] if len(known) != 1 else [])


def starts(rounds: int, seed: int) -> Outcome:
    """Interrupt the console script in its first moments, the imports among them."""
    rng, lost = random.Random(f"{seed} starts"), []
    for _ in range(rounds):
        lost += start(rng.random() ** 2 * 3)
    return Outcome("interrupts", "a start", rounds, rounds - len(lost), tuple(lost))


def start(seconds: float) -> list[str]:
    """Interrupt a new process so many seconds after it could hear it, and say what was wrong."""
    words = [sys.executable, "-c", _READY, "inspect", "torchvision:resnet152"]
    source = Path(__file__).parents[2] / "src"
    process = subprocess.Popen(
        words,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, "PYTHONPATH": str(source)},
        start_new_session=True,
    )
    assert process.stdout is not None
    process.stdout.read(1)
    time.sleep(seconds)
    os.killpg(process.pid, signal.SIGINT)
    _, said = process.communicate(timeout=LONGEST)
    if (process.returncode, said.splitlines()) == (130, [LINE]) or (process.returncode, said) == (0, ""):
        return []
    return [f"a start interrupted after {seconds:.3f} s ends with {process.returncode}: {said[-300:]!r}"]


def _sleep_until(process: object, seconds: float) -> None:
    until = time.monotonic() + seconds
    while not process.ended() and time.monotonic() < until:  # type: ignore[attr-defined]
        time.sleep(0.001)
