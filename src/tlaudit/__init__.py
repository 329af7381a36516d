"""tlaudit: audit finetuned image classifiers before they are released.

    from tlaudit import load_pair, lingering

    pair = load_pair("imagenet.pth", "cats-vs-dogs.pth", baseline="scratch.pth")
    result = lingering(pair, "imagenet-samples/", "cats-vs-dogs/train/", "cats-vs-dogs/val/")
    result.table("classes")

Names are loaded when they are first used, so that `import tlaudit` needs no torch.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from tlaudit.api import distraction, erosion, lingering, stress
    from tlaudit.errors import TlauditError
    from tlaudit.models.detector import InferenceDetector
    from tlaudit.models.pair import Pair, hybrid, load_pair
    from tlaudit.models.sources import Model, load_model
    from tlaudit.results import CheckResult, Measurement

__all__ = [
    "CheckResult",
    "InferenceDetector",
    "Measurement",
    "Model",
    "Pair",
    "TlauditError",
    "distraction",
    "erosion",
    "hybrid",
    "lingering",
    "load_model",
    "load_pair",
    "stress",
]

_HOMES = {
    "CheckResult": "tlaudit.results",
    "InferenceDetector": "tlaudit.models.detector",
    "Measurement": "tlaudit.results",
    "Model": "tlaudit.models.sources",
    "Pair": "tlaudit.models.pair",
    "TlauditError": "tlaudit.errors",
    "distraction": "tlaudit.api",
    "erosion": "tlaudit.api",
    "hybrid": "tlaudit.models.pair",
    "lingering": "tlaudit.api",
    "load_model": "tlaudit.models.sources",
    "load_pair": "tlaudit.models.pair",
    "stress": "tlaudit.api",
}


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module 'tlaudit' has no attribute {name!r}")
    return getattr(importlib.import_module(_HOMES[name]), name)


def __dir__() -> list[str]:
    return sorted(__all__)
