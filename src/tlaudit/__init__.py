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
    from tlaudit.api import audit, distraction, erosion, lingering, stress
    from tlaudit.comparison import compare
    from tlaudit.errors import TlauditError
    from tlaudit.models.detector import InferenceDetector
    from tlaudit.models.pair import Pair, hybrid, load_pair
    from tlaudit.models.sources import Model, load_model
    from tlaudit.policy import gate
    from tlaudit.results import AuditReport, CheckResult, Measurement

__all__ = [
    "AuditReport",
    "CheckResult",
    "InferenceDetector",
    "Measurement",
    "Model",
    "Pair",
    "TlauditError",
    "audit",
    "compare",
    "distraction",
    "erosion",
    "gate",
    "hybrid",
    "lingering",
    "load_model",
    "load_pair",
    "stress",
]

_HOMES = {
    "AuditReport": "tlaudit.results",
    "CheckResult": "tlaudit.results",
    "InferenceDetector": "tlaudit.models.detector",
    "Measurement": "tlaudit.results",
    "Model": "tlaudit.models.sources",
    "Pair": "tlaudit.models.pair",
    "TlauditError": "tlaudit.errors",
    "audit": "tlaudit.api",
    "compare": "tlaudit.comparison",
    "distraction": "tlaudit.api",
    "erosion": "tlaudit.api",
    "gate": "tlaudit.policy",
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
