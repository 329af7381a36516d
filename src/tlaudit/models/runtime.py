"""Where networks run: the device, the precision, the memory format, and nothing left behind.

`python -m tlaudit.models.runtime` says whether the installed torch and torchvision belong together.
"""

from __future__ import annotations

import contextlib
import copy
import ctypes
import logging
import os
import sys
from dataclasses import dataclass
from importlib import metadata
from typing import TYPE_CHECKING

import torch

from tlaudit.errors import InstallationError, UsageError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from torch import Tensor, nn

log = logging.getLogger(__name__)

_AUTOCAST = {"bf16": torch.bfloat16, "fp16": torch.float16}


@dataclass(frozen=True)
class Execution:
    """How forward passes are made. What a network gives for an image depends on it through rounding alone.

    Attributes:
        device: Where the networks run.
        precision: ``fp32``, or ``bf16`` / ``fp16`` by autocast.
        batch_size: Images in one forward pass.
        workers: Processes that decode images; 0 decodes in the main process.
        fuse: Whether passes for predictions alone run with batch norms folded into convolutions.
        compile: Whether they run compiled by torch.compile.
    """

    device: torch.device
    precision: str
    batch_size: int
    workers: int
    fuse: bool = False
    compile: bool = False

    @contextlib.contextmanager
    def inference(self) -> Iterator[None]:
        """No gradients, the asked precision, and fp32 that is fp32: TF32 is off inside and as it was afterwards."""
        with _without_tf32(), torch.inference_mode(), self._autocast():
            yield

    @contextlib.contextmanager
    def attribution(self) -> Iterator[None]:
        """As `inference`, but gradients can be switched on within, which inference mode rules out."""
        with _without_tf32(), torch.no_grad(), self._autocast():
            yield

    def _autocast(self) -> contextlib.AbstractContextManager[object]:
        if self.precision == "fp32":
            # A program may have called us within an autocast of its own.
            return torch.autocast(self.device.type, enabled=False)
        return torch.autocast(self.device.type, dtype=_AUTOCAST[self.precision])

    def place(self, module: nn.Module) -> nn.Module:
        """Give a copy of a network on the device, weights channels-last, which convolutions on images want.

        The copy shares what it can with the given network, which stays where and as it is.
        """
        placed = shared_copy(module)
        return placed.to(device=self.device, memory_format=torch.channels_last)  # type: ignore[call-overload,no-any-return]


@contextlib.contextmanager
def _without_tf32() -> Iterator[None]:
    before = torch.backends.cudnn.allow_tf32, torch.backends.cuda.matmul.allow_tf32
    torch.backends.cudnn.allow_tf32 = torch.backends.cuda.matmul.allow_tf32 = False
    try:
        yield
    finally:
        torch.backends.cudnn.allow_tf32, torch.backends.cuda.matmul.allow_tf32 = before


def class_scores(module: Callable[[Tensor], object], pixels: Tensor) -> Tensor:
    """Run a network, and make sure that it classifies.

    Args:
        module: A network in eval mode, or what runs one.
        pixels: Normalised images, ``(N, 3, H, W)`` on its device.

    Returns:
        Logits, ``(N, K)``, in the precision they were computed in.

    Raises:
        ValueError: If the network gives anything but one vector of logits for each image.
    """
    logits = module(pixels)
    if not isinstance(logits, torch.Tensor) or logits.ndim != 2 or len(logits) != len(pixels):
        got = tuple(logits.shape) if isinstance(logits, torch.Tensor) else type(logits).__name__
        raise ValueError(f"expected logits (N, K) with N = {len(pixels)}, got {got}")
    return logits


def shared_copy(module: nn.Module) -> nn.Module:
    """Give a copy of a network whose frozen parameters and buffers lie in the same memory as the given ones.

    What is done to the skeleton of the copy (hooks, modules replaced, another device) leaves the given network alone.
    """
    shared: dict[int, object] = {id(p): torch.nn.Parameter(p.detach(), False) for p in module.parameters()}
    shared |= {id(buffer): buffer.detach() for buffer in module.buffers()}
    return copy.deepcopy(module, shared)


def keep_memory() -> None:
    """Keep freed memory in this process, where the C library is glibc; for programs of our own, not for libraries.

    Each batch, and each step of a training, frees and asks for the same large blocks. glibc gives them back to the
    system, which clears their pages anew: seen to take up to a quarter of a step, and a fifth of a forward pass.
    """
    options = {"M_TRIM_THRESHOLD": (-1, 2**31 - 1), "M_TOP_PAD": (-2, 2**28), "M_MMAP_MAX": (-4, 0)}
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None) if sys.platform == "linux" else None
    if mallopt is None:
        return
    for name, (number, value) in options.items():
        if mallopt(number, value) != 1:
            log.info("mallopt refuses %s", name)


def resolve_device(name: str) -> torch.device:
    """Turn ``auto``, ``cpu``, ``cuda``, ``cuda:1`` or ``mps`` into a device that is there.

    Raises:
        UsageError: If the name is no device, or that device is not on this machine.
    """
    if name == "auto":
        name = "cuda" if torch.cuda.is_available() else "mps" if torch.backends.mps.is_available() else "cpu"
    try:
        device = torch.device(name)
    except RuntimeError:
        raise UsageError(f"unknown device {name!r}; known are auto, cpu, cuda, cuda:N, mps") from None
    if device.type == "cuda" and (device.index or 0) >= torch.cuda.device_count():
        raise UsageError(f"device {name!r} is not there: {torch.cuda.device_count()} CUDA devices found")
    if device.type == "mps" and not torch.backends.mps.is_available():
        raise UsageError("device 'mps' is not available on this machine")
    if device.type not in {"cpu", "cuda", "mps"}:
        raise UsageError(f"device {name!r} is not supported; known are auto, cpu, cuda, cuda:N, mps")
    return device


def default_workers(device: torch.device, processes: int = 1) -> int:
    """How many processes should decode images.

    On the CPU they compete with the forward pass for the same cores, and one for two cores keeps up; an accelerator
    waits for nothing else, so all cores decode.

    Args:
        device: Where the networks run.
        processes: How many run networks on this machine, and share its cores.
    """
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    most = cores // 2 if device.type == "cpu" else cores
    return max(1, min(most // processes, 16 if device.type != "cpu" else most))


def check_installation() -> str:
    """Make sure that torch and torchvision are of one build.

    Returns:
        A sentence naming both versions.

    Raises:
        InstallationError: If torchvision's compiled operators do not load with this torch.
    """
    versions = f"torch {metadata.version('torch')} and torchvision {metadata.version('torchvision')}"
    try:
        import torchvision

        torchvision.ops.nms(torch.zeros(1, 4), torch.zeros(1), 0.5)
    except (RuntimeError, ImportError, AttributeError) as error:
        raise InstallationError(
            f"{versions} are of different builds ({error}). Remove both and install torchvision alone, which brings "
            "the torch it was built with: pip uninstall -y torch torchvision && pip install torchvision"
        ) from None
    return f"{versions} belong together"


if __name__ == "__main__":
    try:
        logging.basicConfig(level=logging.INFO, format="%(message)s")
        log.info(check_installation())
    except InstallationError as problem:
        raise SystemExit(str(problem)) from None
