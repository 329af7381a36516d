"""Steps of each repair method beside those of `plain`.

What is timed is a step of the training loop, as `tlaudit repair` makes it: batch, forward and backward pass, clipping,
AdamW. The methods take turns, step by step. A forward pass of the source in eval mode is timed, too: no method that
asks the source can do with less than the passes up to what it asks for.
"""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

import torch

from tlaudit.checks.base import LabelledImages
from tlaudit.data.images import ImageSet
from tlaudit.data.training import TrainingImages
from tlaudit.models.preprocess import IMAGENET, Normalizer
from tlaudit.models.sources import load_model
from tlaudit.options import RepairOptions, TrainingOptions
from tlaudit.repair import METHODS
from tlaudit.repair.base import Bench, Setup
from tlaudit.training.loop import Training
from tlaudit.training.objective import CrossEntropy

from .networks import execution, network, noise, save_pair
from .pictures import draw_photographs
from .rounds import take_turns

if TYPE_CHECKING:
    from .options import Options
    from .rows import Row

PLAIN = "plain"


def measure(options: Options) -> list[Row]:
    rows: list[Row] = []
    for arch in ("squeezenet1_1",) if options.quick else ("resnet18", "squeezenet1_1"):
        rows += _of(arch, options)
    return rows


def _of(arch: str, options: Options) -> list[Row]:
    rounds, warmup = options.size(3, 1), 1
    with tempfile.TemporaryDirectory() as name:
        given = _bench(arch, Path(name), options, epochs=rounds + warmup)
        setups = {method: METHODS[method].setup(given) for method in METHODS if method != "plain"}
        trained = {method: setup for method, setup in setups.items() if setup.objective is not None}
        runs = {
            PLAIN: Steps(given, Setup(given.start, given.training, CrossEntropy())),
            "source pass": SourcePass(given),
            **{method: Steps(given, setup) for method, setup in trained.items()},
        }
        found = take_turns(runs, rounds=rounds, warmup=warmup, device=options.kind)
    size = given.execution.batch_size
    told = {"source pass": "source's forward pass"} | {method: method for method in trained}
    return [
        found.row("repair", f"{what}, {arch}, batch of {size}", run, unit="steps/s", bound=PLAIN)
        for run, what in told.items()
    ]


def _bench(arch: str, folder: Path, options: Options, *, epochs: int) -> Bench:
    given = execution(options.device, batch_size=options.size(8, 4))
    side = options.size(224, 64)
    draw_photographs(folder / "images", 2, given.batch_size)
    found = ImageSet.scan(folder / "images", labelled=True)
    images = LabelledImages(found, torch.tensor([int(item.folder or 0) for item in found.items]))
    preprocessing = IMAGENET.model_copy(update={"resize": side, "crop": side})
    source = load_model(save_pair(folder, arch)[0], arch=arch)
    begun = network(arch, 2)
    # A rate at which nothing diverges: what is learnt is of no interest.
    training = TrainingOptions(epochs=epochs, batch_size=given.batch_size, learning_rate=1e-6)
    return Bench(
        source=source,
        head=source.head,
        start=begun,
        finetuned=begun,
        training=TrainingImages(images.images, images.labels, preprocessing, workers=0),
        source_images=images,
        lingering=(0, 1),
        options=RepairOptions(training=training),
        preprocessing=preprocessing,
        execution=given,
        normalizer=Normalizer(preprocessing, given.device),
        seed=0,
    )


class Steps:
    """A training, a step at a time."""

    def __init__(self, given: Bench, setup: Setup) -> None:
        made = Training(
            setup.network,
            setup.images,
            given.options.training,
            execution=given.execution,
            normalizer=given.normalizer,
            seed=given.seed,
            objective=setup.objective,
        )
        self._steps = made.run()

    def __call__(self) -> None:
        next(self._steps)


class SourcePass:
    """What asking the source costs at least."""

    def __init__(self, given: Bench) -> None:
        self._execution, self._placed = given.execution, given.execution.place(given.source.module)
        self._pixels = noise(given.execution, given.preprocessing.crop)

    def __call__(self) -> None:
        with self._execution.inference():
            self._placed(self._pixels)
