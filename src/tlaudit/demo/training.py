"""Makes the embedded world anew: draws its pictures and trains its three networks.

``python -m tlaudit.demo.training FOLDER``, or ``make fixtures`` in a checkout. Everything is seeded, so that the same
machine with the same libraries makes the same files, byte for byte.
"""

from __future__ import annotations

import argparse
import logging
import math
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn
from torch.nn import functional
from torchvision.models import squeezenet1_1

from tlaudit.demo import world
from tlaudit.demo.pictures import draw_training_pictures, read_folders, write_pictures
from tlaudit.models.checkpoint import write_checkpoint
from tlaudit.models.preprocess import Normalizer
from tlaudit.models.sources import load_model
from tlaudit.results import Preprocessing

if TYPE_CHECKING:
    from collections.abc import Sequence

log = logging.getLogger(__name__)

ARCHITECTURE = "squeezenet1_1"
PREPROCESSING = Preprocessing(
    resize=world.IMAGE_SIZE,
    crop=world.IMAGE_SIZE,
    interpolation="bilinear",
    mean=(0.5, 0.5, 0.5),
    std=(0.25, 0.25, 0.25),
    origin="the embedded world",
)
THREADS = 2
"""Sums come out differently in the last digit with another number of threads."""


@dataclass(frozen=True)
class Recipe:
    """How one network is trained: AdamW, linear warm-up and cosine decay, gradients clipped at norm 1.

    Attributes:
        epochs: Passes over the pictures.
        batch: Pictures a step.
        rate: Highest learning rate.
        warm_up: Share of the steps until it is reached.
        smallest: Pictures are shrunk at random down to this share of their size, on grey.
        seed: Of weights, order, augmentation and dropout.
    """

    epochs: int
    batch: int
    rate: float
    warm_up: float
    smallest: float
    seed: int


TRAINING_PICTURES = 240
"""Pictures of each source class that the source network learns from."""
SOURCE = Recipe(epochs=12, batch=32, rate=1e-3, warm_up=0.1, smallest=0.5, seed=0)
FINETUNED = Recipe(epochs=16, batch=32, rate=3e-4, warm_up=0.1, smallest=0.35, seed=1)
BASELINE = Recipe(epochs=50, batch=16, rate=4e-4, warm_up=0.2, smallest=0.35, seed=2)


def make_world(files: world.WorldFiles) -> None:
    """Draw the pictures, train the networks and write everything.

    Args:
        files: Where to. What is there of an earlier world is replaced.
    """
    torch.set_num_threads(THREADS)
    write_pictures(files)
    files.source.parent.mkdir(exist_ok=True)
    log.info("training the source network")
    source = new_network(len(world.SOURCE_NAMES), SOURCE.seed)
    train(source, *draw_training_pictures(TRAINING_PICTURES), SOURCE)
    _write(files.source, source, world.SOURCE_NAMES)
    finish(files)


def finish(files: world.WorldFiles) -> None:
    """Train the two networks of the target task; the finetuned one begins with the source network as it was written.

    Args:
        files: Where the pictures and the source network are, and the others go.
    """
    source = load_model(files.source).module
    pixels, labels = read_folders(files.target_data, world.TARGET_CLASSES)
    log.info("finetuning it")
    finetuned = with_new_head(source, len(world.TARGET_CLASSES), FINETUNED.seed)
    train(finetuned, pixels, labels, FINETUNED)
    log.info("training the baseline from scratch")
    baseline = new_network(len(world.TARGET_CLASSES), BASELINE.seed)
    train(baseline, pixels, labels, BASELINE)
    _write(files.finetuned, finetuned, world.TARGET_CLASSES)
    _write(files.baseline, baseline, world.TARGET_CLASSES)


def new_network(classes: int, seed: int) -> nn.Module:
    """Build a network with random weights.

    A ReLU follows SqueezeNet's head: a class whose scores are negative everywhere early in training would never learn
    again. The head begins with scores around 1.
    """
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        network: nn.Module = squeezenet1_1(num_classes=classes)
        head = nn.Conv2d(512, classes, kernel_size=1)
    nn.init.ones_(head.get_parameter("bias"))
    network.set_submodule("classifier.1", head)
    return network


def with_new_head(network: nn.Module, classes: int, seed: int) -> nn.Module:
    """Copy a network, with a random head for other classes."""
    copy = new_network(classes, seed)
    backbone = {key: value for key, value in network.state_dict().items() if not key.startswith("classifier.")}
    copy.load_state_dict({**copy.state_dict(), **backbone})
    return copy


def train(network: nn.Module, pixels: Tensor, labels: Tensor, recipe: Recipe) -> None:
    """Train a network in place.

    Args:
        network: Left in eval mode, in float32.
        pixels: ``(N, 3, H, W)`` uint8.
        labels: ``(N,)`` class indices.
        recipe: How.
    """
    network.to(memory_format=torch.channels_last).train()
    optimizer = torch.optim.AdamW(network.parameters(), lr=recipe.rate, weight_decay=0.01)
    steps = recipe.epochs * math.ceil(len(pixels) / recipe.batch)
    scheduler = torch.optim.lr_scheduler.LambdaLR(optimizer, lambda step: _rate_share(step / steps, recipe.warm_up))
    normalize = Normalizer(PREPROCESSING, torch.device("cpu"))
    generator = torch.Generator().manual_seed(recipe.seed)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(recipe.seed)
        for epoch in range(recipe.epochs):
            total = 0.0
            for batch in torch.split(torch.randperm(len(pixels), generator=generator), recipe.batch):
                logits = network(moved_about(normalize(pixels[batch]), recipe.smallest, generator))
                loss = functional.cross_entropy(logits, labels[batch])
                optimizer.zero_grad()
                torch.autograd.backward(loss)
                nn.utils.clip_grad_norm_(network.parameters(), 1.0)
                optimizer.step()
                scheduler.step()
                total += loss.item() * len(batch)
            log.info("epoch %d of %d: loss %.3f", epoch + 1, recipe.epochs, total / len(pixels))
    network.eval()


def moved_about(images: Tensor, smallest: float, generator: torch.Generator) -> Tensor:
    """Scale, shift and mirror pictures at random; what comes in at the borders is the mean, a middle grey.

    Args:
        images: ``(N, 3, H, W)`` float.
        smallest: Least scale; the largest is 1.2.
        generator: Source of randomness.

    Returns:
        Pictures of the same shape, in channels-last memory.
    """
    count = len(images)
    low, high = math.log(smallest), math.log(1.2)
    scale = torch.exp(low + (high - low) * torch.rand(count, generator=generator))
    mirror = torch.where(torch.rand(count, generator=generator) < 0.5, -1.0, 1.0)
    shift = 0.4 * torch.rand(count, 2, generator=generator) - 0.2
    matrix = torch.zeros(count, 2, 3)
    matrix[:, 0, 0], matrix[:, 1, 1], matrix[:, :, 2] = mirror / scale, 1 / scale, shift
    grid = functional.affine_grid(matrix, list(images.shape), align_corners=False)
    moved = functional.grid_sample(images, grid, padding_mode="zeros", align_corners=False)
    return moved.contiguous(memory_format=torch.channels_last)


def _rate_share(done: float, warm_up: float) -> float:
    """Learning rate as a share of the highest, `done` being the share of the steps behind."""
    return min((done + 1e-3) / warm_up, 0.5 * (1 + math.cos(math.pi * done)))


def _write(path: Path, network: nn.Module, classes: Sequence[str]) -> None:
    """Write the weights in half precision."""
    state = {key: value.half() for key, value in network.state_dict().items()}
    write_checkpoint(path, state, classes=classes, preprocessing=PREPROCESSING, architecture=ARCHITECTURE)
    log.info("wrote %s", path)


def main() -> None:
    """Make the world in the folder named on the command line."""
    parser = argparse.ArgumentParser(description="Draw the embedded world and train its networks.")
    parser.add_argument("folder", type=Path, help="where to; what is there of an earlier world is replaced")
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    make_world(world.WorldFiles(parser.parse_args().folder))


if __name__ == "__main__":
    main()
