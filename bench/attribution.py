"""Composites per second of Grad-CAM, beside the bare forward pass, pytorch-grad-cam and captum, in one run.

Ours is all that the distraction check makes of a batch: the maps, their upsampling, the top pixels over the background
and their overlap with given masks, batch norms folded into convolutions as the check folds them. The bare forward pass,
nothing folded, gives logits and nothing else; the other two give maps at the size of the images. All explain one
ResNet-18 with random weights on one batch, and take turns, batch by batch, so that a busy machine slows them alike. The
network and the batch lie channels-last in memory, as the checks have them; pytorch-grad-cam is timed both with that and
with what torchvision and a data loader give, which is how it is used.

    python bench/attribution.py --rounds 10 --precision fp32 bf16
"""

from __future__ import annotations

import argparse
import json
import statistics
import time
from pathlib import Path

import torch
import torchvision
from captum.attr import LayerAttribution, LayerGradCam
from pytorch_grad_cam import GradCAM
from pytorch_grad_cam.utils.model_targets import ClassifierOutputTarget

from tlaudit.measure.overlap import overlap, top_pixels
from tlaudit.models.attribution import Attributor, upsampled
from tlaudit.models.folding import folded
from tlaudit.models.runtime import Execution, resolve_device

LAYER = "layer4"


class Contest:
    """The passes over one batch, each a method without arguments."""

    def __init__(self, execution: Execution, side: int) -> None:
        torch.manual_seed(0)
        network = torchvision.models.resnet18().eval()
        self.execution, self.size = execution, (side, side)
        self.frozen = execution.place(network)
        # The libraries need parameters that ask for gradients.
        self.trainable = execution.place(network).requires_grad_(True)
        self.usual = network.to(execution.device)
        generator = torch.Generator().manual_seed(0)
        pixels = torch.randn(execution.batch_size, 3, side, side, generator=generator)
        self.usual_pixels = pixels.to(execution.device)
        self.pixels = self.usual_pixels.to(memory_format=torch.channels_last)
        # Overlays of 0.4 of width and height, as the check pastes them.
        self.background = torch.ones(execution.batch_size, side, side, dtype=torch.bool, device=execution.device)
        self.background[:, : int(0.4 * side), : int(0.4 * side)] = False
        given = torch.rand(self.background.shape, generator=generator).to(execution.device)
        self.given = top_pixels(given, self.background)
        self.attributor = Attributor(folded(self.frozen, self.pixels[:2], keep=(LAYER,)), LAYER)
        self.library = self._library(self.trainable)
        self.library_as_usual = self._library(self.usual)
        self.captum = LayerGradCam(self.trainable, self.trainable.get_submodule(LAYER))
        with execution.attribution():
            self.predicted = self.frozen(self.pixels).argmax(1)

    def bare(self) -> torch.Tensor:
        with self.execution.inference():
            return self.frozen(self.pixels)

    def ours(self) -> torch.Tensor:
        with self.execution.attribution():
            maps = upsampled(self.attributor(self.pixels).maps, self.size)
            return overlap(top_pixels(maps, self.background), self.given).values

    def maps_alone(self) -> torch.Tensor:
        with self.execution.attribution():
            return upsampled(self.attributor(self.pixels).maps, self.size)

    def pytorch_grad_cam(self) -> torch.Tensor:
        return self._by_the_library(self.library_as_usual, self.usual_pixels)

    def pytorch_grad_cam_channels_last(self) -> torch.Tensor:
        return self._by_the_library(self.library, self.pixels)

    def _by_the_library(self, library: GradCAM, pixels: torch.Tensor) -> torch.Tensor:
        targets = [ClassifierOutputTarget(index) for index in self.predicted.tolist()]
        with self._autocast():
            return torch.from_numpy(library(pixels, targets))

    def _library(self, network: torch.nn.Module) -> GradCAM:
        # It turns activations to NumPy as they are, and NumPy has no bfloat16: it gets float32 there.
        arrange = None if self.execution.precision == "fp32" else torch.Tensor.float
        return GradCAM(network, [network.get_submodule(LAYER)], reshape_transform=arrange)

    def captum_grad_cam(self) -> torch.Tensor:
        with self._autocast():
            maps = self.captum.attribute(self.pixels, target=self.predicted, relu_attributions=True)
            return LayerAttribution.interpolate(maps, self.size, "bilinear").detach()

    def _autocast(self) -> torch.autocast:
        half = self.execution.precision != "fp32"
        return torch.autocast(self.execution.device.type, dtype=torch.bfloat16, enabled=half)


def measure(precision: str, options: argparse.Namespace) -> dict[str, object]:
    device = resolve_device(options.device)
    contest = Contest(Execution(device, precision, options.batch_size, workers=0), options.side)
    passes = {
        "bare": contest.bare,
        "ours": contest.ours,
        "ours, maps alone": contest.maps_alone,
        "pytorch-grad-cam": contest.pytorch_grad_cam,
        "  channels-last": contest.pytorch_grad_cam_channels_last,
        "captum": contest.captum_grad_cam,
    }
    seconds: dict[str, list[float]] = {name: [] for name in passes}
    for number in range(options.warmup + options.rounds):
        for name, run in passes.items():
            started = time.perf_counter()
            run()
            if device.type == "cuda":
                torch.cuda.synchronize()
            if number >= options.warmup:
                seconds[name].append(time.perf_counter() - started)
    ours = seconds["ours"]
    return {
        "precision": precision,
        "device": device.type,
        "threads": torch.get_num_threads(),
        "composites_per_second": {
            name: round(options.batch_size / statistics.median(taken), 1) for name, taken in seconds.items()
        },
        # Of passes that ran one after the other, so that a slow moment is in both.
        "ours_over": {
            name: round(statistics.median(theirs / own for theirs, own in zip(taken, ours, strict=True)), 3)
            for name, taken in seconds.items()
            if name != "ours"
        },
    }


def show(row: dict) -> None:
    print(f"{row['precision']} on {row['device']}, threads: {row['threads']}")
    print(f"  {'':18} {'composites/s':>12} {'ours is':>9}")
    for name, rate in row["composites_per_second"].items():
        ratio = row["ours_over"].get(name)
        print(f"  {name:18} {rate:12.1f} {'' if ratio is None else f'{ratio:8.2f}x'}")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=10, help="batches of each pass that are timed")
    parser.add_argument("--warmup", type=int, default=2, help="batches of each pass before that")
    parser.add_argument("--precision", nargs="+", default=["fp32", "bf16"], choices=["fp32", "bf16"])
    parser.add_argument("--batch-size", type=int, default=32)
    parser.add_argument("--side", type=int, default=224, help="pixels")
    parser.add_argument("--device", default="auto")
    parser.add_argument("--json", type=Path, help="write the figures to this file, too")
    options = parser.parse_args()
    rows = []
    for precision in options.precision:
        rows.append(measure(precision, options))
        show(rows[-1])
    if options.json:
        options.json.write_text(json.dumps(rows, indent=2) + "\n")


if __name__ == "__main__":
    main()
