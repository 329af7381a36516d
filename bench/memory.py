"""How the memory of a check grows with the number of images: tiny ones, so that there may be many.

The check is `lingering` on target images without number and a few source images, in a process of its own. Its largest
resident set holds Python, torch, the network, the batches in work; what is left of it is what each image costs. Worker
processes are not counted: they hold one batch each, whatever comes.
"""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

from tlaudit.checks import CHECKS
from tlaudit.models.runtime import keep_memory

from .apart import call
from .networks import pair, subject
from .pictures import draw_tiny
from .rows import Comparison, Row

if TYPE_CHECKING:
    from .options import Options

SIDE = 24


def measure(options: Options) -> list[Row]:
    few, many = (200, 1000) if options.quick else (10_000, 100_000)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        draw_tiny(folder / "source", 10, 100, SIDE)
        peaks = {}
        for images in (few, many):
            draw_tiny(folder / str(images), 2, images, SIDE)
            peaks[images] = call("memory", "look", folder=name, images=images, device=options.device).peak
    what = f"largest resident set, lingering, {many} tiny files"
    small, large = peaks[few], peaks[many]
    if small is None or large is None:
        return [Row("memory", what, absent="this system does not count a process's memory where we look")]
    ratio = small / large
    bound = Comparison(f"{few} tiny files", small / 2**20, ratio, ratio, ratio)
    grown = f"what an image more takes, from {few} to {many}"
    each = Row("memory", grown, "bytes", (large - small) / (many - few), rounds=1)
    if large <= small:
        # What reading the weights took for a moment was more than all that came later.
        each = Row("memory", grown, absent="too little to be told by largest resident sets")
    return [Row("memory", what, "MiB", large / 2**20, bound=bound, rounds=1), each]


def look(folder: str, images: int, device: str) -> None:
    """Look for what lingers, in this process."""
    keep_memory()  # as the commands do it
    place = Path(folder)
    preprocess = {"resize": SIDE, "crop": SIDE}
    # Both runs draw the same weights into the same files, one after the other.
    networks = pair(place, "squeezenet1_1")
    run = {"device": device, "batch_size": 64}
    given, settings = subject(networks, place / "source", place / str(images), run, preprocess=preprocess)
    CHECKS["lingering"].run(given, settings.lingering)
