"""The program as a user starts it, alone or as several processes."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from typing import TYPE_CHECKING

from .networks import save_pair
from .pictures import draw_photographs

if TYPE_CHECKING:
    from pathlib import Path


def lingering_of(folder: Path, arch: str, images: int, device: str) -> list[str]:
    """Draw images and networks into a folder, and give the words that `python -m` is to be followed by."""
    source, finetuned = save_pair(folder, arch)
    draw_photographs(folder / "source", 20, images)
    draw_photographs(folder / "target", 2, images)
    words = ["tlaudit", "lingering", "--source", str(source), "--finetuned", str(finetuned), "--quiet"]
    words += ["--source-data", str(folder / "source"), "--target-data", str(folder / "target")]
    return [*words, "--device", device, "--format", "json", "--output", str(folder / "result.json")]


def run(words: list[str], *, processes: int = 0, threads: int | None = None) -> None:
    """Run a command to its end.

    Args:
        words: After ``python -m``.
        processes: Under torchrun, so many; 0 without it.
        threads: Of each process; the system's own choice where left out.

    Raises:
        subprocess.CalledProcessError: If it fails; what it said is on stderr.
    """
    launcher = ["torch.distributed.run", "--standalone", f"--nproc-per-node={processes}", "-m"] if processes else []
    environment = {**os.environ} if threads is None else {**os.environ, "OMP_NUM_THREADS": str(threads)}
    subprocess.run([sys.executable, "-m", *launcher, *words], check=True, env=environment, stdout=subprocess.DEVNULL)


def seconds(result: Path) -> float:
    """How long a check took by its own account, which begins when all is imported and loaded."""
    return float(json.loads(result.read_text(encoding="utf-8"))["run"]["seconds"])
