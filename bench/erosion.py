"""`tlaudit erosion` from files to the result, beside the bare forward passes of the two networks that it follows."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

from tlaudit.checks import CHECKS

from .networks import BarePasses, pair, subject
from .pictures import draw_photographs
from .rounds import take_turns

if TYPE_CHECKING:
    from .options import Options
    from .rows import Row

BARE = "bare forward passes"


def measure(options: Options) -> list[Row]:
    arch, images = ("squeezenet1_1", 24) if options.quick else ("resnet18", 128)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        draw_photographs(folder / "source", 10, images)
        networks = pair(folder, arch)
        # Source images in class folders are recognised in the same pass in which features are compared.
        run = {"device": options.device, "batch_size": options.size(64, 8)}
        given, settings = subject(networks, folder / "source", None, run)
        passes = [(networks.source.module, "source", images), (networks.hybrid(), "finetuned", images)]
        rounds = take_turns(
            {"check": lambda: CHECKS["erosion"].run(given, settings.erosion), BARE: BarePasses(given, passes)},
            rounds=options.size(3, 1),
            warmup=0,
            device=options.kind,
        )
    what = f"{arch} fp32, {images} files, stages: {len(networks.stages)}"
    return [rounds.row("erosion", what, "check", unit="passes/s", work=2 * images, bound=BARE)]
