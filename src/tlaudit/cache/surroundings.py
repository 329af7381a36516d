"""What the bits of an answer depend on beside the question: this program, its libraries, this machine."""

from __future__ import annotations

import functools
import hashlib
import importlib.metadata
import os
import platform
import sys
from pathlib import Path

import numpy as np
import PIL
import torch
from PIL import features

_PACKAGE = Path(__file__).parents[1]
_VARIABLES = ("ATEN_", "CUBLAS_", "DNNL_", "MKL_", "NVIDIA_", "ONEDNN_")
"""Beginnings of the names by which the environment tells libraries of numbers how to compute."""


def surroundings(device: torch.device) -> dict[str, str]:
    """Say all that may move the last bit of a forward pass, or a pixel of a decoded picture.

    Args:
        device: Where networks run.
    """
    return {**_libraries(), **_switches(), "device": _name(device), "code": code()}


@functools.cache
def code(package: Path = _PACKAGE) -> str:
    """SHA-256 over names and contents of all source files of this package: 64 hexadecimal digits.

    Args:
        package: The folder that holds them.
    """
    result = hashlib.sha256()
    for path in sorted(package.rglob("*.py")):
        data = path.read_bytes()
        result.update(f"{path.relative_to(package).as_posix()}\t{len(data)}\n".encode())
        result.update(data)
    return result.hexdigest()


@functools.cache
def _libraries() -> dict[str, str]:
    """Versions of what computes and decodes, and the processor they run on."""
    return {
        "python": platform.python_version(),
        "torch": torch.__version__,
        "torchvision": importlib.metadata.version("torchvision"),
        "numpy": np.__version__,
        "pillow": PIL.__version__,
        "codecs": ", ".join(f"{name} {features.version(name)}" for name in ("jpg", "libjpeg_turbo", "zlib", "webp")),
        "machine": f"{platform.machine()} {_processor()}",
        "capability": torch.backends.cpu.get_cpu_capability(),
    }


def _switches() -> dict[str, str]:
    """What a program or its environment can change from run to run."""
    cudnn = torch.backends.cudnn
    named = sorted(f"{name}={value}" for name, value in os.environ.items() if name.startswith(_VARIABLES))
    return {
        # Loaded by some networks only, and perhaps later than the rest.
        "timm": importlib.metadata.version("timm") if "timm" in sys.modules else "",
        "threads": str(torch.get_num_threads()),
        "mkldnn": str(getattr(torch.backends.mkldnn, "enabled", None)),
        "deterministic": str(torch.are_deterministic_algorithms_enabled()),
        "matmul": torch.get_float32_matmul_precision(),
        "cudnn": f"{cudnn.enabled} {cudnn.benchmark} {cudnn.deterministic}",
        "environment": " ".join(named),
    }


def _name(device: torch.device) -> str:
    """The kind of device; of a CUDA device which one, and what drives it."""
    if device.type != "cuda":
        return device.type
    return f"cuda {torch.cuda.get_device_name(device)} {torch.version.cuda} {torch.backends.cudnn.version()}"  # type: ignore[no-untyped-call]


def _processor() -> str:
    """The model of the processor, as far as the system says it."""
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError:
        return platform.processor()
    return next((line.partition(":")[2].strip() for line in lines if line.startswith("model name")), "")
