"""The second run of a command beside the first, which left predictions behind."""

from __future__ import annotations

import shutil
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING

from .commands import lingering_of, run, seconds
from .rounds import Rounds

if TYPE_CHECKING:
    from .options import Options
    from .rows import Row

FIRST, SECOND = "the first run", "the second run"


def measure(options: Options) -> list[Row]:
    arch, images = ("squeezenet1_1", 12) if options.quick else ("resnet18", 192)
    whole: dict[str, list[float]] = {FIRST: [], SECOND: []}
    check: dict[str, list[float]] = {FIRST: [], SECOND: []}
    with tempfile.TemporaryDirectory() as name:
        kept = Path(name) / "kept"
        words = [*lingering_of(Path(name), arch, images, options.device), "--cache-dir", str(kept)]
        for _ in range(options.size(2, 1)):
            shutil.rmtree(kept, ignore_errors=True)
            for which in (FIRST, SECOND):
                started = time.perf_counter()
                run(words)
                whole[which].append(time.perf_counter() - started)
                check[which].append(seconds(Path(name) / "result.json"))
    what = f"lingering, {arch}, {images} + {images} files"
    return [
        Rounds(taken, {}).row("cache", f"{what}, {told}", SECOND, unit="s", bound=FIRST)
        for told, taken in (("command from start to end", whole), ("check alone", check))
    ]
