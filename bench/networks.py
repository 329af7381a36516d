"""Networks with random weights, the subjects of checks, and bare forward passes. Weights change no step's cost."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import torch
import torchvision

from tlaudit import load_pair
from tlaudit.checks.assembly import assemble
from tlaudit.config import settle
from tlaudit.models.runtime import Execution, keep_memory, resolve_device

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from torch import Tensor, nn

    from tlaudit.checks.base import Subject
    from tlaudit.models.pair import Pair
    from tlaudit.options import Settings


def execution(device: str, precision: str = "fp32", batch_size: int = 32) -> Execution:
    keep_memory()  # as the commands do
    # Ours never computes in TF32; peers are timed without it, too.
    torch.backends.cudnn.allow_tf32 = torch.backends.cuda.matmul.allow_tf32 = False
    return Execution(resolve_device(device), precision, batch_size, workers=0)


def network(arch: str, classes: int = 1000, seed: int = 0) -> nn.Module:
    torch.manual_seed(seed)
    made = torchvision.models.get_model(arch, weights=None, num_classes=classes)
    return made.eval().requires_grad_(requires_grad=False)


def noise(execution: Execution, side: int = 224, seed: int = 0) -> Tensor:
    """A batch as the checks have it, channels-last in memory.

    Patches of colour: of fine noise random networks make nearly the same features.
    """
    generator = torch.Generator().manual_seed(seed)
    coarse = 2 * torch.randn(execution.batch_size, 3, 8, 8, generator=generator)
    pixels = torch.nn.functional.interpolate(coarse, size=(side, side), mode="bilinear")
    return pixels.to(execution.device, memory_format=torch.channels_last)


def save_pair(folder: Path, arch: str, classes: tuple[int, int] = (1000, 2)) -> tuple[Path, Path]:
    """Checkpoints of a source network and a finetuned one."""
    paths = (folder / f"{arch}-source-{classes[0]}.pth", folder / f"{arch}-finetuned.pth")
    for path, count in zip(paths, classes, strict=True):
        torch.save(network(arch, count).state_dict(), path)
    return paths


def pair(folder: Path, arch: str, classes: tuple[int, int] = (1000, 2)) -> Pair:
    source, finetuned = save_pair(folder, arch, classes)
    return load_pair(str(source), str(finetuned))


def subject(
    pair: Pair, source: Path, target: Path | None, run: dict[str, Any], **sections: dict[str, Any]
) -> tuple[Subject, Settings]:
    """What a check is given.

    Args:
        pair: The networks.
        source: Class folders of source images.
        target: Folder of target images.
        run: As in ``[execution]``.
        **sections: Other sections of the configuration.
    """
    keep_memory()
    # What an earlier round has computed must be computed again.
    sections |= {"data": {"source": source, "target": target}, "execution": {"cache": False, **run}}
    settings = settle(sections)
    needed = ("source",) if target is None else ("source", "target")
    options = {"preprocess": settings.preprocess, "execution": settings.execution, "needed": needed}
    return assemble(pair, settings.data, **options), settings


class BarePasses:
    """So many forward passes of networks over a batch that is in memory, in the checks' own precision and format."""

    def __init__(self, subject: Subject, passes: Sequence[tuple[nn.Module, str, int]], side: int = 224) -> None:
        """Place the networks.

        Args:
            subject: How they are run.
            passes: Network, role and number of images of each.
            side: Of the images, in pixels.
        """
        self._execution = subject.execution
        self._passes = [(subject.network(module, role).module, images) for module, role, images in passes]
        self._pixels = noise(self._execution, side)

    def __call__(self) -> None:
        size = self._execution.batch_size
        with self._execution.inference():
            for module, images in self._passes:
                for start in range(0, images, size):
                    module(self._pixels[: min(size, images - start)])


def of_lingering(subject: Subject, images: int) -> list[tuple[nn.Module, str, int]]:
    """The passes that `tlaudit lingering` needs for as many source as target images."""
    source, hybrid = subject.pair.source.module, subject.pair.hybrid()
    return [(source, "source", images), (source, "source", images), (hybrid, "finetuned", images)]
