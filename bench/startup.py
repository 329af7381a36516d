"""How long a program has to wait before anything happens, beside a Python that does nothing."""

from __future__ import annotations

import subprocess
import sys
from functools import partial
from typing import TYPE_CHECKING

from .rounds import take_turns

if TYPE_CHECKING:
    from .options import Options
    from .rows import Row

BARE, TORCH = "python -c pass", "import torch, torchvision"
OURS = {
    "tlaudit --help": ["-m", "tlaudit", "--help"],
    "tlaudit lingering --help": ["-m", "tlaudit", "lingering", "--help"],
    "import tlaudit": ["-c", "import tlaudit"],
}
ALL = "all that a check imports"


def measure(options: Options) -> list[Row]:
    commands = {
        **OURS,
        ALL: ["-c", "from tlaudit import lingering"],
        BARE: ["-c", "pass"],
        TORCH: ["-c", "import torch, torchvision"],
    }
    runs = {name: partial(_run, arguments) for name, arguments in commands.items()}
    rounds = take_turns(runs, rounds=options.size(3, 1), warmup=options.size(1, 0))
    rows = [rounds.row("start-up", name, name, unit="ms", bound=BARE) for name in OURS]
    return [*rows, rounds.row("start-up", ALL, ALL, unit="ms", bound=TORCH)]


def _run(arguments: list[str]) -> None:
    subprocess.run([sys.executable, *arguments], check=True, stdout=subprocess.DEVNULL)
