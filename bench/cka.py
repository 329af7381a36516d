"""CKA of all stages of two ResNet-18, beside bare forward passes and torch_cka, in one run.

Ours is what the erosion check makes of batches: taps, Gram matrices, all pairs of ten and ten stages, and the spectra
of the pooled features. The bare pass runs both networks and keeps nothing. torch_cka compares the same stages on the
same batches. They take turns, batch by batch, so that a busy machine slows them alike. Networks and batches lie
channels-last in memory, as the checks have them; torch_cka is timed both as its documentation uses it and with that,
without gradients.

Memory is the operating system's own count: the largest resident set of a process that does nothing but our pass, less
that of one that does nothing but the bare pass, beside the bytes of one batch's features of both networks.

    python bench/cka.py --images 256 --rounds 1
"""

from __future__ import annotations

import argparse
import json
import resource
import statistics
import subprocess
import sys
import time
from pathlib import Path

import torch
import torchvision

from tlaudit.checks.followed import Follower
from tlaudit.measure.similarity import CkaAccumulator
from tlaudit.models.runtime import Execution, resolve_device
from tlaudit.models.taps import tapped

STAGES = (
    "conv1", "maxpool", "layer1.0", "layer1.1", "layer2.0", "layer2.1", "layer3.0", "layer3.1", "layer4.0", "layer4.1"
)  # fmt: skip


def networks(execution: Execution) -> list[torch.nn.Module]:
    made = []
    for seed in (0, 1):
        torch.manual_seed(seed)
        made.append(torchvision.models.resnet18().eval().requires_grad_(requires_grad=False))
    return [execution.place(network) for network in made]


def batch(execution: Execution, side: int, number: int = 0) -> torch.Tensor:
    # Patches of colour: of fine noise random networks make nearly the same features, and torch_cka, which computes in
    # single precision, divides zero by zero.
    generator = torch.Generator().manual_seed(number)
    coarse = 2 * torch.randn(execution.batch_size, 3, 8, 8, generator=generator)
    pixels = torch.nn.functional.interpolate(coarse, size=(side, side), mode="bilinear")
    return pixels.to(execution.device, memory_format=torch.channels_last)


class Ours:
    """Two networks followed at ten stages, and what is known of them."""

    def __init__(self, execution: Execution) -> None:
        self.execution = execution
        self.networks = networks(execution)
        self.followers = [Follower(STAGES, "pooled", keep=False) for _ in self.networks]
        self.cka = CkaAccumulator(STAGES, STAGES)

    def __call__(self, pixels: torch.Tensor) -> None:
        with self.execution.inference():
            grams = [f.look(n, pixels)[1] for f, n in zip(self.followers, self.networks, strict=True)]
        self.cka.add(*grams)


class Bare:
    def __init__(self, execution: Execution) -> None:
        self.execution, self.networks = execution, networks(execution)

    def __call__(self, pixels: torch.Tensor) -> None:
        with self.execution.inference():
            for network in self.networks:
                network(pixels)


class TorchCka:
    """The peer: as its documentation uses it, or with everything done for it that can be."""

    def __init__(self, execution: Execution, *, usual: bool) -> None:
        from torch_cka import CKA

        self.usual = usual
        ours = networks(execution)
        if usual:
            ours = [n.to(memory_format=torch.contiguous_format).requires_grad_(requires_grad=True) for n in ours]
        self.cka = CKA(*ours, "one", "two", list(STAGES), list(STAGES), device=str(execution.device))

    def __call__(self, pixels: torch.Tensor) -> None:
        if self.usual:
            pixels = pixels.contiguous()
            self.cka.compare(_Loader(pixels), _Loader(pixels))
        else:
            with torch.no_grad():
                self.cka.compare(_Loader(pixels), _Loader(pixels))


class _Loader:
    """One batch, as torch_cka wants to be given it."""

    def __init__(self, pixels: torch.Tensor) -> None:
        self.pixels, self.dataset = pixels, "noise"

    def __len__(self) -> int:
        return 1

    def __iter__(self):
        return iter([(self.pixels, None)])


def measure(options: argparse.Namespace) -> dict[str, object]:
    execution = Execution(resolve_device(options.device), "fp32", options.batch_size, workers=0)
    passes = {
        "bare": Bare(execution),
        "ours": Ours(execution),
        "torch_cka": TorchCka(execution, usual=True),
        "  no_grad, channels-last": TorchCka(execution, usual=False),
    }
    seconds: dict[str, list[float]] = {name: [] for name in passes}
    steps = options.rounds * options.images // options.batch_size
    for number in range(options.warmup + steps):
        pixels = batch(execution, options.side, number)
        for name, run in passes.items():
            started = time.perf_counter()
            run(pixels)
            if execution.device.type == "cuda":
                torch.cuda.synchronize()
            if number >= options.warmup:
                seconds[name].append(time.perf_counter() - started)
    ours = seconds["ours"]
    agreement = (passes["torch_cka"].cka.hsic_matrix - _last_alone(execution, pixels)).abs().max()
    return {
        "images": steps * options.batch_size,
        "threads": torch.get_num_threads(),
        "seconds_per_batch": {name: round(statistics.median(taken), 4) for name, taken in seconds.items()},
        # Of passes that ran one after the other, so that a slow moment is in both.
        "over_ours": {
            name: round(statistics.median(theirs / own for theirs, own in zip(taken, ours, strict=True)), 3)
            for name, taken in seconds.items()
            if name != "ours"
        },
        # What it costs beyond running the networks.
        "beyond_the_bare_passes_over_ours": {
            name: round(_median_excess(seconds[name], seconds["bare"]) / _median_excess(ours, seconds["bare"]), 2)
            for name in ("torch_cka", "  no_grad, channels-last")
        },
        "largest_difference_from_torch_cka_on_the_last_batch": float(agreement),
    }


def _median_excess(taken: list[float], bare: list[float]) -> float:
    return statistics.median(one - other for one, other in zip(taken, bare, strict=True))


def _last_alone(execution: Execution, pixels: torch.Tensor) -> torch.Tensor:
    ours = Ours(execution)
    ours(pixels)
    return ours.cka.matrix()


def memory(options: argparse.Namespace) -> dict[str, float]:
    """Largest resident sets, each of a process of its own, in MiB."""
    found = {}
    for what in ("Bare", "Ours"):
        command = [sys.executable, __file__, "--peak", what, "--images", str(options.images)]
        command += ["--batch-size", str(options.batch_size), "--side", str(options.side), "--device", options.device]
        found[what.lower()] = float(subprocess.run(command, check=True, capture_output=True, text=True).stdout)
    execution = Execution(resolve_device(options.device), "fp32", options.batch_size, workers=0)
    features = 0
    for network in networks(execution):
        sizes: list[int] = []
        with tapped(network, STAGES, lambda _path, output, sizes=sizes: sizes.append(output.numel())):
            network(batch(execution, options.side)[:1])
        features += 4 * sum(sizes) * options.batch_size
    return found | {"features_of_one_batch": features / 2**20, "ours_less_bare": found["ours"] - found["bare"]}


def peak(options: argparse.Namespace) -> float:
    execution = Execution(resolve_device(options.device), "fp32", options.batch_size, workers=0)
    run = {"Bare": Bare, "Ours": Ours}[options.peak](execution)
    for number in range(options.images // options.batch_size):
        run(batch(execution, options.side, number))
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--images", type=int, default=256)
    parser.add_argument("--rounds", type=int, default=1, help="passes over the images that are timed")
    parser.add_argument("--warmup", type=int, default=1, help="batches of each pass before that")
    parser.add_argument("--batch-size", type=int, default=32)
    parser.add_argument("--side", type=int, default=224, help="pixels")
    parser.add_argument("--device", default="auto")
    parser.add_argument("--json", type=Path, help="write the figures to this file, too")
    parser.add_argument("--peak", choices=["Bare", "Ours"], help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.peak:
        print(peak(options))
        return
    row = measure(options) | {"memory_mib": memory(options)}
    for name, value in row.items():
        print(f"{name}: {value}")
    if options.json:
        options.json.write_text(json.dumps(row, indent=2) + "\n")


if __name__ == "__main__":
    main()
