"""How much of the bare forward pass's speed `tlaudit lingering` keeps, as a ratio in one run.

The check looks at every target image through the source network, and at every source image through the source network
and the hybrid: files are found, hashed, decoded, resized, normalised, and judged. The bare pass runs the same networks
as often, at the same batch size, precision and memory format, on tensors that are in memory already. Both are measured
in turn in the same process, so that a busy machine slows them alike.

    python bench/lingering.py --images 512 --rounds 3
"""

from __future__ import annotations

import argparse
import json
import statistics
import tempfile
import time
from pathlib import Path

import numpy as np
import psutil
import torch
import torchvision
from PIL import Image, ImageFilter

from tlaudit import load_pair
from tlaudit.checks.base import assemble
from tlaudit.checks.lingering import LingeringCheck
from tlaudit.config import settle


def draw_images(folder: Path, classes: list[str], images: int) -> None:
    """Photographs-like JPEG files, 341 x 256 pixels: blurred noise with some grain, about 20 kB each."""
    generator = np.random.default_rng(0)
    for number in range(images):
        place = folder / classes[number % len(classes)]
        place.mkdir(parents=True, exist_ok=True)
        coarse = Image.fromarray(generator.integers(0, 255, (32, 43, 3), dtype=np.uint8))
        picture = coarse.resize((341, 256), Image.Resampling.BICUBIC).filter(ImageFilter.GaussianBlur(1))
        grain = generator.normal(0, 6, (256, 341, 3))
        pixels = np.clip(np.asarray(picture) + grain, 0, 255).astype(np.uint8)
        Image.fromarray(pixels).save(place / f"{number}.jpg", quality=90)


def prepare(folder: Path, arch: str, images: int, precision: str, options: argparse.Namespace):
    """A pair of networks with random weights, and the subject of a check on drawn images."""
    for name, classes in (("source", 1000), ("finetuned", 2)):
        torch.manual_seed(0)
        network = torchvision.models.get_model(arch, weights=None, num_classes=classes)
        torch.save(network.state_dict(), folder / f"{name}.pth")
    if not (folder / "images").exists():
        draw_images(folder / "images" / "source", [str(index) for index in range(50)], images)
        draw_images(folder / "images" / "target", ["cat", "dog"], images)
    execution = {"precision": precision, "device": options.device, "batch_size": options.batch_size}
    settings = settle(
        {
            "data": {"source": folder / "images" / "source", "target": folder / "images" / "target"},
            "execution": execution | ({} if options.workers is None else {"workers": options.workers}),
        }
    )
    pair = load_pair(str(folder / "source.pth"), str(folder / "finetuned.pth"))
    return assemble(pair, settings.data, preprocess=settings.preprocess, execution=settings.execution), settings


def bare_seconds(subject, images: int) -> float:
    """As many forward passes as the check makes, on one batch that is in memory."""
    execution = subject.execution
    networks = [subject.network(subject.pair.source.module, "source").module] * 2
    networks.append(subject.network(subject.pair.hybrid(), "finetuned").module)
    batch = torch.randn(execution.batch_size, 3, 224, 224, device=execution.device)
    batch = batch.to(memory_format=torch.channels_last)
    with execution.inference():
        networks[0](batch)
        started = time.perf_counter()
        for network in networks:
            for start in range(0, images, execution.batch_size):
                network(batch[: min(execution.batch_size, images - start)])
        if execution.device.type == "cuda":
            torch.cuda.synchronize()
    return time.perf_counter() - started


def measure(arch: str, precision: str, options: argparse.Namespace, folder: Path) -> dict[str, object]:
    subject, settings = prepare(folder, arch, options.images, precision, options)
    process, ratios, rates, bare_rates, memory = psutil.Process(), [], [], [], []
    passes = 3 * options.images
    for _ in range(options.rounds):
        bare = bare_seconds(subject, options.images)
        started = time.perf_counter()
        LingeringCheck().run(subject, settings.lingering)
        seconds = time.perf_counter() - started
        ratios.append(bare / seconds)
        rates.append(passes / seconds)
        bare_rates.append(passes / bare)
        memory.append(process.memory_info().rss >> 20)
    return {
        "arch": arch,
        "precision": precision,
        "images": options.images,
        "workers": subject.execution.workers,
        "bare_passes_per_second": round(statistics.median(bare_rates), 1),
        "lingering_passes_per_second": round(statistics.median(rates), 1),
        "ratio": round(statistics.median(ratios), 3),
        "ratios": [round(ratio, 3) for ratio in ratios],
        "rss_mb_after_each_round": memory,
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--arch", default="resnet18")
    parser.add_argument("--images", type=int, default=512, help="source images, and as many target images")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--precision", nargs="+", default=["fp32", "bf16"])
    parser.add_argument("--batch-size", type=int, default=64)
    parser.add_argument("--workers", type=int, default=None)
    parser.add_argument("--device", default="auto")
    parser.add_argument("--json", type=Path, help="write the figures to this file, too")
    options = parser.parse_args()
    rows = []
    with tempfile.TemporaryDirectory() as folder:
        for precision in options.precision:
            rows.append(measure(options.arch, precision, options, Path(folder)))
            print(json.dumps(rows[-1]))
    if options.json:
        options.json.write_text(json.dumps(rows, indent=2) + "\n")


if __name__ == "__main__":
    main()
