"""Faults of all kinds in every command that writes: so many injected, so many survived, so many lost.

    python -m hardening.faults                          # about ten minutes on one core
    python -m hardening.faults --rounds 1 --only kills  # one kind, one fault a command

A fault is survived when results are whole or absent, the next run of the same command gives what a run that nothing
disturbed gives, and nothing is left over. The exit code is 1 if anything was lost, or nothing was injected where it
should have been.
"""

from __future__ import annotations

import argparse
import importlib
import json
import os
import signal
import sys
import tempfile
import time
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from hardening.commands import Command
    from hardening.outcomes import Outcome
    from hardening.world import World

    Inject = Callable[[World, Sequence[Command], int, int], list[Outcome]]


def _injection(name: str) -> Inject:
    return lambda *given: importlib.import_module(f"hardening.injections.{name}").inject(*given)


INJECTIONS: dict[str, Inject] = {
    name: _injection(name) for name in ("kills", "interrupts", "runs", "workers", "disks", "places", "clocks")
}
"""One file of the folder `injections` each; the order is that of the table."""


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m hardening.faults", description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=2, help="faults of each kind a command (default %(default)s)")
    parser.add_argument("--only", action="append", choices=INJECTIONS, metavar="NAME", help="repeatable: %(choices)s")
    parser.add_argument("--command", action="append", metavar="NAME", help="repeatable; default all that write")
    parser.add_argument("--seed", type=int, default=0, help="of the moments (default %(default)s)")
    parser.add_argument(
        "--output", type=Path, default=Path("build/faults.json"), help="JSON file (default %(default)s)"
    )
    options = parser.parse_args(arguments)
    if options.rounds < 1:
        parser.error("--rounds: expected at least 1")
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
        # As in the background of a shell. Commands started from here are to hear Ctrl-C as in the foreground.
        signal.signal(signal.SIGINT, signal.default_int_handler)
    # One thread: processes are forked, and threads of torch do not come along.
    os.environ["OMP_NUM_THREADS"] = "1"
    from hardening import commands, world
    from tlaudit.files import write_atomically

    chosen = [command for name, command in commands.COMMANDS.items() if name in (options.command or commands.COMMANDS)]
    if not chosen:
        parser.error(f"no such command; known are {', '.join(commands.COMMANDS)}")
    begun, outcomes, idle = time.monotonic(), [], []
    with tempfile.TemporaryDirectory(prefix="tlaudit-faults-") as folder:
        place = world.build(Path(folder) / "world")
        sys.stdout.write(f"{'injection':14}{'command':14}{'injected':>10}{'survived':>10}{'lost':>8}\n")
        for name in options.only or INJECTIONS:
            found = INJECTIONS[name](place, chosen, options.rounds, options.seed)
            # Not every kind touches a command that was chosen, but every kind touches some.
            idle += [name] if not found and not options.command else []
            for outcome in found:
                outcomes.append(outcome)
                sys.stdout.write(_row(outcome.injection, outcome.command, [outcome]))
                sys.stdout.flush()
    seconds = time.monotonic() - begun
    sys.stdout.write(_row("all", "", outcomes))
    lost = [line for outcome in outcomes for line in outcome.lost]
    sys.stdout.writelines(f"lost: {line}\n" for line in lost)
    idle += [f"{one.injection}, {one.command}" for one in outcomes if not one.injected] or ["all"] * (not outcomes)
    sys.stdout.writelines(f"{what}: nothing was injected\n" for what in idle)
    options.output.parent.mkdir(parents=True, exist_ok=True)
    document = {"seed": options.seed, "seconds": round(seconds, 1), "outcomes": [asdict(one) for one in outcomes]}
    write_atomically(options.output, json.dumps(document, indent=2).encode())
    return int(bool(lost or idle) or any(outcome.survived < outcome.injected for outcome in outcomes))


def _row(injection: str, command: str, outcomes: Sequence[Outcome]) -> str:
    injected, survived = (sum(getattr(one, name) for one in outcomes) for name in ("injected", "survived"))
    return f"{injection:14}{command:14}{injected:10}{survived:10}{injected - survived:8}\n"


if __name__ == "__main__":
    sys.exit(main())
