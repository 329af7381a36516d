"""`tlaudit lingering` as one process and as two under torchrun.

Beside one process with one thread, two with one thread each show what the program itself loses by sharing the work:
twice as fast would be perfect. Beside one process with all threads they show what is gained on one machine, where
torch's threads use the cores already. Times are those the result states, without importing and loading.
"""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

import torch

from .commands import lingering_of, run, seconds
from .rounds import take_turns
from .rows import Row

if TYPE_CHECKING:
    from .options import Options

OURS = "2 processes"
ALONE, THREADS = "1 process, 1 thread", "1 process, 2 threads"


def measure(options: Options) -> list[Row]:
    if options.kind != "cpu" and torch.accelerator.device_count() < 2:
        return [Row("processes", OURS, absent="each process needs an accelerator of its own, and there is one")]
    arch, images = "squeezenet1_1", options.size(128, 12)
    with tempfile.TemporaryDirectory() as name:
        words = lingering_of(Path(name), arch, images, options.device)
        words += ["--no-cache", "--batch-size", str(options.size(32, 4))]

        def timed(processes: int, threads: int) -> float:
            run(words, processes=processes, threads=threads)
            return seconds(Path(name) / "result.json")

        rounds = take_turns(
            {OURS: lambda: timed(2, 1), ALONE: lambda: timed(0, 1), THREADS: lambda: timed(0, 2)},
            rounds=options.size(2, 1),
            warmup=0,
        )
    what = f"lingering, {arch}, {images} + {images} files, 2 processes of 1 thread"
    return [
        rounds.row("processes", what, OURS, unit="files/s", work=2 * images, bound=bound) for bound in (ALONE, THREADS)
    ]
