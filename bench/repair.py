"""Seconds per step of each repair method beside `plain`, in one run.

What is timed is a step of the training loop, as `tlaudit repair` makes it: batch, forward and backward pass, clipping,
AdamW. The methods take turns, step by step, so that a busy machine slows them alike; a ratio is the median of those of
steps that were made one after the other. Beside the clock stands the time that the program's own threads computed,
which other programs on the machine change less. A forward pass of the source in eval mode is timed, too: no method that
asks the source can do with less than the passes up to what it asks for. Networks have random weights, pictures are
noise; neither changes what a step costs.

    python bench/repair.py --network squeezenet1_1 --methods ldifs,l2sp --rounds 20
"""

from __future__ import annotations

import argparse
import json
import statistics
import tempfile
import time
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from torchvision import models

from tlaudit.checks.base import LabelledImages
from tlaudit.data.images import ImageSet
from tlaudit.data.training import TrainingImages
from tlaudit.models.preprocess import IMAGENET, Normalizer
from tlaudit.models.runtime import Execution, keep_memory, resolve_device
from tlaudit.models.sources import Model, load_model
from tlaudit.options import RepairOptions, TrainingOptions
from tlaudit.repair import METHODS
from tlaudit.repair.base import Bench, Setup
from tlaudit.training.loop import Training
from tlaudit.training.objective import CrossEntropy

NETWORKS = ("resnet18", "squeezenet1_1")


def pictures(folder: Path, count: int, side: int) -> LabelledImages:
    rng = np.random.default_rng(0)
    for number in range(count):
        place = folder / str(number % 2)
        place.mkdir(exist_ok=True)
        Image.fromarray(rng.integers(0, 256, (side, side, 3), dtype=np.uint8)).save(place / f"{number}.png")
    images = ImageSet.scan(folder, labelled=True)
    return LabelledImages(images, torch.tensor([int(item.folder or 0) for item in images.items]))


def source(name: str, folder: Path) -> Model:
    torch.manual_seed(0)
    path = folder / f"{name}.pth"
    torch.save(models.get_model(name).state_dict(), path)
    return load_model(path, arch=name)


def bench(name: str, folder: Path, images: LabelledImages, options: argparse.Namespace) -> Bench:
    preprocessing = IMAGENET.model_copy(update={"resize": options.side, "crop": options.side})
    execution = Execution(resolve_device(options.device), options.precision, options.batch_size, workers=0)
    begun = models.get_model(name, num_classes=2).eval().requires_grad_(requires_grad=False)
    loaded = source(name, folder)
    # A rate at which nothing diverges: what is learnt is of no interest.
    training = TrainingOptions(
        epochs=options.warmup + options.rounds, batch_size=options.batch_size, learning_rate=1e-6
    )
    return Bench(
        source=loaded,
        head=loaded.head,
        start=begun,
        finetuned=begun,
        training=TrainingImages(images.images, images.labels, preprocessing, workers=0),
        source_images=images,
        lingering=(0, 1),
        options=RepairOptions(training=training),
        preprocessing=preprocessing,
        execution=execution,
        normalizer=Normalizer(preprocessing, execution.device),
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
        pixels = torch.randn(given.execution.batch_size, 3, given.preprocessing.crop, given.preprocessing.crop)
        self._pixels = pixels.to(given.execution.device, memory_format=torch.channels_last)

    def __call__(self) -> None:
        with self._execution.inference():
            self._placed(self._pixels)


def measure(name: str, options: argparse.Namespace) -> dict[str, object]:
    chosen = options.methods.split(",") if options.methods else [method for method in METHODS if method != "plain"]
    with tempfile.TemporaryDirectory() as folder:
        given = bench(name, Path(folder), pictures(Path(folder), options.batch_size, options.side), options)
        plain = Setup(given.start, given.training, CrossEntropy())
        runs = {"plain": Steps(given, plain), "source pass": SourcePass(given)}
        setups = {method: METHODS[method].setup(given) for method in chosen}
        runs |= {method: Steps(given, setup) for method, setup in setups.items() if setup.objective is not None}
        clock: dict[str, list[float]] = {run: [] for run in runs}
        computing: dict[str, list[float]] = {run: [] for run in runs}
        for number in range(options.warmup + options.rounds):
            for run, step in runs.items():
                started, before = time.perf_counter(), time.process_time()
                step()
                if given.execution.device.type == "cuda":
                    torch.cuda.synchronize()
                if number >= options.warmup:
                    clock[run].append(time.perf_counter() - started)
                    computing[run].append(time.process_time() - before)
    return {
        "seconds_per_step": {run: round(statistics.median(taken), 4) for run, taken in clock.items()},
        "over_plain": over_plain(clock),
        "over_plain_by_time_computed": over_plain(computing),
    }


def over_plain(seconds: dict[str, list[float]]) -> dict[str, float]:
    return {
        run: round(statistics.median(one / plain for one, plain in zip(taken, seconds["plain"], strict=True)), 3)
        for run, taken in seconds.items()
        if run != "plain"
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--network", choices=NETWORKS, help="default both")
    parser.add_argument("--methods", help="separated by commas; default all; those that do not train are left out")
    parser.add_argument("--rounds", type=int, default=9, help="steps of each that are timed")
    parser.add_argument("--warmup", type=int, default=2, help="steps of each before that")
    parser.add_argument("--batch-size", type=int, default=32)
    parser.add_argument("--side", type=int, default=224, help="pixels")
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--precision", choices=["fp32", "bf16", "fp16"], default="fp32")
    parser.add_argument("--json", type=Path, help="write the figures to this file, too")
    options = parser.parse_args()
    keep_memory()  # as the command does
    found = {
        "threads": torch.get_num_threads(),
        "batch_size": options.batch_size,
        "networks": {name: measure(name, options) for name in ([options.network] if options.network else NETWORKS)},
    }
    print(json.dumps(found, indent=2))
    if options.json:
        options.json.write_text(json.dumps(found, indent=2) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
