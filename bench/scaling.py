"""How cost grows with images, source classes and stages: each doubled or more, beside what it was before."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

from tlaudit.checks import CHECKS

from .networks import BarePasses, pair, subject
from .pictures import draw_photographs, draw_tiny
from .rounds import take_turns

if TYPE_CHECKING:
    from collections.abc import Callable

    from tlaudit.models.pair import Pair

    from .options import Options
    from .rows import Row

TINY = {"resize": 32, "crop": 32}
STAGES = {"1 stage": ("layer4",), "4 stages": ("layer1", "layer2", "layer3", "layer4"), "all stages": None}
BARE = "bare forward passes"


def measure(options: Options) -> list[Row]:
    return [*_images(options), *_classes(options), *_stages(options)]


def _images(options: Options) -> list[Row]:
    """Time a file, with so many of them, twice as many and four times as many."""
    some = options.size(32, 8)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        networks, runs, works = pair(folder, "squeezenet1_1"), {}, {}
        for count in (some, 2 * some, 4 * some):
            place = folder / str(count)
            draw_photographs(place / "source", 20, count)
            draw_photographs(place / "target", 2, count)
            which = f"{count} + {count} files"
            runs[which], works[which] = _lingering(networks, place, options, batch_size=16), 2 * count
        rounds = take_turns(runs, rounds=options.size(3, 1), warmup=0, device=options.kind)
    before, *rest = runs
    return [
        rounds.row("scaling", f"lingering, {more}", more, unit="files/s", work=works[more], bound=before, works=works)
        for more in rest
    ]


def _classes(options: Options) -> list[Row]:
    """The same number of tiny images of ten times the classes."""
    few, many, images = (20, 200, 400) if options.quick else (100, 1000, 5000)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        target, runs = folder / "target", {}
        draw_tiny(target, 2, images // 5)
        for classes in (few, many):
            draw_tiny(folder / str(classes) / "source", classes, images)
            (folder / str(classes) / "target").symlink_to(target, target_is_directory=True)
            networks = pair(folder, "squeezenet1_1", (classes, 2))
            runs[f"{classes} classes"] = _lingering(networks, folder / str(classes), options, preprocess=TINY)
        rounds = take_turns(runs, rounds=options.size(3, 1), warmup=0, device=options.kind)
    before, more = runs
    what = f"lingering, {images} tiny files of {more}"
    return [rounds.row("scaling", what, more, unit="files/s", work=images + images // 5, bound=before)]


def _stages(options: Options) -> list[Row]:
    """Erosion of so many stages, beside the forward passes that it follows."""
    images = options.size(64, 8)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        draw_photographs(folder / "source", 4, images)
        networks = pair(folder, "resnet18")
        runs: dict[str, Callable[[], object]] = {}
        for which, stages in STAGES.items():
            run = {"device": options.device, "batch_size": options.size(32, 8)}
            sections = {"erosion": {"stages": stages}} if stages is not None else {}
            given, settings = subject(networks, folder / "source", None, run, **sections)
            runs[which] = lambda given=given, settings=settings: CHECKS["erosion"].run(given, settings.erosion)
        passes = [(networks.source.module, "source", images), (networks.hybrid(), "finetuned", images)]
        runs[BARE] = BarePasses(given, passes)
        rounds = take_turns(runs, rounds=options.size(3, 1), warmup=0, device=options.kind)
    return [
        rounds.row("scaling", f"erosion, resnet18, {which}", which, unit="passes/s", work=2 * images, bound=BARE)
        for which in STAGES
    ]


def _lingering(
    networks: Pair, folder: Path, options: Options, *, batch_size: int = 64, preprocess: dict[str, int] | None = None
) -> Callable[[], object]:
    run = {"device": options.device, "batch_size": batch_size}
    given, settings = subject(networks, folder / "source", folder / "target", run, preprocess=preprocess or {})
    return lambda: CHECKS["lingering"].run(given, settings.lingering)
