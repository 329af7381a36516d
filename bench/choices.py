"""What a user can choose that changes the time and not the question: precision, memory format, batch size, workers."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

from tlaudit.checks import CHECKS

from .networks import execution, network, noise, pair, subject
from .pictures import draw_photographs
from .rounds import take_turns

if TYPE_CHECKING:
    from collections.abc import Callable

    from .options import Options
    from .rows import Row


def measure(options: Options) -> list[Row]:
    return [*_passes(options), *_checks(options)]


def _passes(options: Options) -> list[Row]:
    """Forward passes alone: what precision and memory format are worth."""
    size, side = options.size(32, 4), options.size(224, 96)
    usual, last = "fp32, contiguous", "fp32, channels-last"
    fp32, bf16 = execution(options.device, "fp32", size), execution(options.device, "bf16", size)
    plain = network("resnet18").to(fp32.device)
    placed, pixels = fp32.place(plain), noise(fp32, side)
    as_given = pixels.contiguous()

    def contiguous() -> None:
        with fp32.inference():
            plain(as_given)

    def channels_last() -> None:
        with fp32.inference():
            placed(pixels)

    def half() -> None:
        with bf16.inference():
            placed(pixels)

    runs: dict[str, Callable[[], object]] = {usual: contiguous, last: channels_last, "bf16, channels-last": half}
    rounds = take_turns(runs, rounds=options.size(5, 1), warmup=options.size(1, 0), device=options.kind)
    return [
        rounds.row("choices", f"resnet18 alone, {which}", which, unit="passes/s", work=size, bound=before)
        for which, before in ((last, usual), ("bf16, channels-last", last))
    ]


def _checks(options: Options) -> list[Row]:
    """The whole check, files included: what workers and batch size are worth."""
    images, usual = options.size(48, 8), "as by default"
    choices: dict[str, dict[str, int]] = {usual: {}, "workers: 0": {"workers": 0}, "workers: 2": {"workers": 2}}
    choices |= {f"batch of {size}": {"batch_size": size} for size in (1, 8, 32)}
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        draw_photographs(folder / "source", 20, images)
        draw_photographs(folder / "target", 2, images)
        networks, runs = pair(folder, "squeezenet1_1"), {}
        for which, chosen in choices.items():
            run = {"device": options.device, "batch_size": 64, **chosen}
            given, settings = subject(networks, folder / "source", folder / "target", run)
            runs[which] = lambda given=given, settings=settings: CHECKS["lingering"].run(given, settings.lingering)
        rounds = take_turns(runs, rounds=options.size(3, 1), warmup=0, device=options.kind)
    return [
        rounds.row("choices", f"lingering, {which}", which, unit="files/s", work=2 * images, bound=usual)
        for which in choices
        if which != usual
    ]
