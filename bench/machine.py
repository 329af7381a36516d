"""Where a run was made."""

from __future__ import annotations

import importlib.metadata
import os
import platform

import torch

from tlaudit.models.runtime import resolve_device


def facts(device: str) -> dict[str, str | int]:
    found = resolve_device(device)
    return {
        "device": torch.cuda.get_device_name(found) if found.type == "cuda" else found.type,
        "cpu_capability": torch.backends.cpu.get_cpu_capability(),
        "architecture": platform.machine(),
        "cores": len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1,
        "threads": torch.get_num_threads(),
        "python": platform.python_version(),
        **{name: importlib.metadata.version(name) for name in ("torch", "torchvision", "pillow", "tlaudit")},
    }
