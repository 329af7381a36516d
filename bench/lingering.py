"""How much of the bare forward pass's speed `tlaudit lingering` keeps, and of the rate at which files can be decoded.

The check looks at every target image through the source network, and at every source image through the source network
and the hybrid: files are found, hashed, decoded, resized, normalised, and judged. The bare pass runs the same networks
as often, at the same batch size, precision and memory format, on tensors that are in memory already.
"""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

from tlaudit.checks.lingering import LingeringCheck

from .networks import BarePasses, of_lingering, pair, subject
from .pictures import decode_alone, draw_photographs
from .rounds import take_turns

if TYPE_CHECKING:
    from .options import Options
    from .rows import Row

BARE, PILLOW = "bare forward passes", "Pillow alone"


def measure(options: Options) -> list[Row]:
    arch, images = ("squeezenet1_1", 24) if options.quick else ("resnet18", 128)
    rows = []
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        files = draw_photographs(folder / "source", 50, images) + draw_photographs(folder / "target", 2, images)
        networks = pair(folder, arch)
        for precision in ("fp32", "bf16"):
            run = {"precision": precision, "device": options.device, "batch_size": 64}
            given, settings = subject(networks, folder / "source", folder / "target", run)
            workers = given.execution.workers
            rounds = take_turns(
                {
                    "check": lambda given=given, settings=settings: LingeringCheck().run(given, settings.lingering),
                    BARE: BarePasses(given, of_lingering(given, images)),
                    PILLOW: lambda workers=workers: decode_alone(files, workers),
                },
                rounds=options.size(3, 1),
                warmup=0,
                device=options.kind,
            )
            what = f"{arch} {precision}, {images} + {images} files"
            rows += [
                rounds.row("lingering", what, "check", unit="passes/s", work=3 * images, bound=BARE),
                rounds.row("lingering", what, "check", unit="files/s", work=2 * images, bound=PILLOW),
            ]
    return rows
