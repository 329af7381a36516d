"""What the bits of an answer depend on beside the question: this program, its libraries, this machine."""

from __future__ import annotations

import functools
import hashlib
import importlib.metadata
import os
import platform
import sys
from functools import partial
from operator import attrgetter, methodcaller
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import PIL
import torch
from PIL import features

if TYPE_CHECKING:
    from collections.abc import Callable

_PACKAGE = Path(__file__).parents[1]
_VARIABLES = (
    *("ATEN_", "CUBLAS_", "CUDNN_", "DNNL_", "MKL_", "NVIDIA_", "ONEDNN_", "OPENBLAS_"),
    *("PYTORCH_TUNABLEOP_", "TORCH_", "TORCHINDUCTOR_"),
)
"""Beginnings of the names by which the environment tells libraries of numbers how to compute."""
_OF_NO_MATTER = ("TORCH_HOME", "TORCH_LOGS", "TORCH_NCCL_", "TORCH_SHOW_")
"""What torch or torchrun say there that moves no bit."""
_DECODERS = ("jpg", "jpg_2000", "libjpeg_turbo", "libtiff", "webp", "zlib", "zlib_ng")
_PRECISIONS = ("fp32_precision", *(f"{of}.fp32_precision" for of in ("mkldnn.matmul", "mkldnn.conv", "mkldnn.rnn")))
_REDUCTIONS = ("allow_fp16_reduced_precision_reduction", "allow_bf16_reduced_precision_reduction")
_ATTENTION = ("flash", "mem_efficient", "math", "cudnn")


def surroundings(device: torch.device) -> dict[str, str]:
    """Say all that may move the last bit of a forward pass, or a pixel of a decoded picture.

    Args:
        device: Where networks run.
    """
    return {**_libraries(), **_switches(), "device": _name(device), "code": CODE}


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


CODE = code()
"""Of this package when it was loaded: what is written into its files later is not what this process runs."""


@functools.cache
def _libraries() -> dict[str, str]:
    """Versions of what computes and decodes, and the processor they run on."""
    return {
        "python": platform.python_version(),
        "torch": torch.__version__,
        "torchvision": importlib.metadata.version("torchvision"),
        "numpy": np.__version__,
        "pillow": PIL.__version__,
        "codecs": ", ".join(f"{name} {features.version(name)}" for name in _DECODERS),
        "machine": f"{platform.machine()} {_processor()}",
        "capability": torch.backends.cpu.get_cpu_capability(),
    }


def _switches() -> dict[str, str]:
    """What a program or its environment can change from run to run."""
    cudnn, cuda, matmul = torch.backends.cudnn, torch.backends.cuda, torch.backends.cuda.matmul
    named = sorted(
        f"{name}={value}"
        for name, value in os.environ.items()
        if name.startswith(_VARIABLES) and not name.startswith(_OF_NO_MATTER)
    )
    return {
        # Loaded by some networks only, and perhaps later than the rest.
        "timm": importlib.metadata.version("timm") if "timm" in sys.modules else "",
        "threads": str(torch.get_num_threads()),
        "dtype": str(torch.get_default_dtype()),
        "denormal": str((torch.tensor([1e-40], dtype=torch.float32) * 0.5).item()),
        "mkldnn": _read(lambda: torch.backends.mkldnn.enabled),
        "deterministic": str(torch.are_deterministic_algorithms_enabled()),
        "matmul": _read(torch.get_float32_matmul_precision),
        "precisions": " ".join(_read(partial(attrgetter(name), torch.backends)) for name in _PRECISIONS),
        "reductions": " ".join(_read(partial(getattr, matmul, name)) for name in _REDUCTIONS),
        "attention": " ".join(_read(partial(methodcaller(f"{name}_sdp_enabled"), cuda)) for name in _ATTENTION),
        "cudnn": f"{cudnn.enabled} {cudnn.benchmark} {cudnn.deterministic}",
        "environment": " ".join(named),
    }


def _read(switch: Callable[[], object]) -> str:
    """Say how a switch stands; some versions of torch do not have it, or will not tell once it was set in two ways."""
    try:
        return str(switch())
    except (AttributeError, RuntimeError) as error:
        return type(error).__name__


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
