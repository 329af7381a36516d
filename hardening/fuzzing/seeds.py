"""Valid inputs, and a few hostile ones, that fuzzing begins with; small, because they are read thousands of times."""

from __future__ import annotations

import io
import json
import pickle
import struct
from collections import OrderedDict
from datetime import date
from typing import TYPE_CHECKING, Any

import safetensors.torch
import torch
from torchvision import models

import compared
import gated
import samples
import tiny

from .archives import members, packed
from .documents import texts_of

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from tlaudit.results import AuditReport, CheckResult

_NETWORKS = ("squeezenet1_1", "resnet18", "mobilenet_v3_small")
_LARGEST = 40_000
"""Bytes of a report to begin with."""


def saved(content: object, *, legacy: bool = False) -> bytes:
    """What torch writes."""
    buffer = io.BytesIO()
    torch.save(content, buffer, _use_new_zipfile_serialization=not legacy)
    return buffer.getvalue()


def outline(name: str, num_classes: int = 2) -> dict[str, torch.Tensor]:
    """The weights of one of torchvision's networks, all of them one number: keys and shapes in a few bytes."""
    with torch.device("meta"):
        state = models.get_model(name, num_classes=num_classes).state_dict()
    numbers = {dtype: torch.tensor(0.01).to(dtype) for dtype in {tensor.dtype for tensor in state.values()}}
    return {key: numbers[tensor.dtype].expand(tensor.shape) for key, tensor in state.items()}


def checkpoints() -> list[bytes]:
    """Of all kinds of files and containers, and with what training scripts put beside weights."""
    own = tiny.own(2).state_dict()
    plain = dict(own)
    small = {"stem.0.weight": torch.zeros(2, 3), "fc.weight": torch.ones(2, 2), "fc.bias": torch.zeros(2)}
    ours = OrderedDict(small)
    ours.tlaudit = {"tlaudit.classes": '["a", "b"]', "tlaudit.architecture": "resnet18"}  # type: ignore[attr-defined]
    marked = {
        "tlaudit.classes": '["a", "b"]',
        "tlaudit.preprocessing": json.dumps(
            {"resize": 8, "crop": 8, "interpolation": "bilinear", "mean": [0.5] * 3, "std": [0.5] * 3}
        ),
        "tlaudit.parents": '{"source": "00"}',
        "tlaudit.recipe": '{"seed": 0}',
    }
    contents: list[object] = [
        own,
        {"state_dict": small, "classes": ["a", "b"], "epoch": 3, "optimizer": {"state": {0: {"step": 1}}}},
        {"model": {f"module.{key}": value for key, value in plain.items()}, "class_to_idx": {"a": 0, "b": 1}},
        {"net": {"state_dict": small}, "model_ema": small, "class_names": ["a", "b"]},
        {f"_orig_mod.model.{key}": value for key, value in plain.items()} | {"loss.weight": torch.ones(1)},
        ours,
        {key: value.half() for key, value in small.items()} | {"a": torch.nn.Parameter(torch.ones(1))},
        {"sparse": torch.eye(3).to_sparse(), "complex": torch.ones(2, dtype=torch.complex64)},
        {"meta": torch.empty(3, device="meta"), "n_averaged": torch.tensor(3), "module.w": torch.zeros(2, 2).t()},
        *[outline(name) for name in _NETWORKS],
    ]
    files = [saved(content) for content in contents]
    files += [saved(content, legacy=True) for content in contents[:3]]
    files += [safetensors.torch.save(small, metadata=marked), safetensors.torch.save(plain)]
    return [*files, *_hostile(files[1])]


class _Deed:
    """Pickled as a call."""

    def __init__(self, function: Callable[..., object], *arguments: object) -> None:
        self.call = (function, arguments)

    def __reduce__(self) -> tuple[Any, ...]:
        return self.call


def _hostile(valid: bytes) -> list[bytes]:
    """Files whose pickles run code, in the place where the valid file has its own."""
    import os

    deeds = [
        _Deed(os.system, "touch tlaudit-was-here"),
        _Deed(eval, "open('tlaudit-was-here', 'w')"),
        _Deed(os.mkdir, "tlaudit-was-here"),
    ]
    files = members(valid)
    found = []
    for deed in deeds:
        wicked = pickle.dumps({"state_dict": deed}, protocol=2)
        found.append(packed([(name, wicked if name.endswith("data.pkl") else one) for name, one in files]))
    # A tensor of 2**40 numbers in a storage that is said to hold as many.
    program = next(content for name, content in files if name.endswith("data.pkl"))
    huge = program.replace(b"K\x06", b"\x8a\x06" + struct.pack("<q", 2**40)[:6])
    found.append(packed([(name, huge if name.endswith("data.pkl") else one) for name, one in files]))
    return found


def reports() -> list[bytes]:
    """Of every check and of whole audits."""
    study = compared.a_study()
    results: list[CheckResult | AuditReport] = [
        samples.a_result(),
        samples.a_distraction().model_copy(update={"exhibits": samples.a_distraction().exhibits[:1]}),
        gated.flips(),
        gated.a_check("lingering", gated.number("lingering.fraction", 0.2, low=0.1, high=0.3)),
        gated.a_check("erosion", gated.number("erosion.rank_ratio.min", absent="no images"), failure="no images"),
        gated.a_repair(plain="d" * 64),
        *study.values(),
        gated.an_audit(gated.flips(), left_out={"stress": "not asked for"}),
    ]
    texts = [json.dumps(one.model_dump(mode="json"), ensure_ascii=False).encode() for one in results]
    return [text for text in texts if len(text) <= _LARGEST]


def policies() -> list[bytes]:
    """Configuration files with and without rules, at the head of a file and in that of a project."""
    from importlib import resources

    default = resources.files("tlaudit.policy").joinpath("default.toml").read_bytes()
    return [default, *(text.encode() for text in (_RULES, _SETTINGS, _PROJECT))]


_RULES = """[policy]
rules = [{ metric = "erosion.cka.*", min = 0.5, use = "lower" }, { metric = "target.accuracy", max_decrease = 0.01 }]
"""
_SETTINGS = f"""[models]
source = "torchvision:resnet18"
finetuned = "model.pth"
use_ema = true
[data]
source = "images"
target = "target"
limit = 100
[preprocess]
resize = 256
mean = [0.5, 0.5, 0.5]
[preprocess.baseline]
std = [0.3, 0.3, 0.3]
[execution]
batch_size = 8
seed = 3
cache_size = 0.5
[lingering]
k = 3
v_lo_count = 1
confidence = 0.9
[distraction]
margin = 0.1
percentile = 90
save_rows = "rows.csv"
[erosion]
stages = ["features.2", "features.5"]
[stress]
ratios = [0.0, 0.5]
bisect = 0.05
[stress.training]
optimizer = "sgd"
learning_rate = 1e-3
nesterov = true
[screen]
calibrate = "clean"
alpha = 0.02
[audit]
checks = ["lingering", "erosion"]
[repair.judge]
probe = "probe"
[[policy.rules]]
metric = "distraction.flip_rate"
id = "flips"
max = 0.05
waive = {{ until = {date(2027, 3, 31)}, reason = "known" }}
[[policy.rules]]
metric = "distraction.*"
max_relative_increase = 0.5
severity = "warn"
on_missing = "skip"
if_any = "lingering.count"
min_samples = 20
"""
_PROJECT = """[project]
name = "x"
[tool.tlaudit.lingering]
k = 5
[tool.tlaudit.screen]
threshold = 0.5
[[tool.tlaudit.policy.rules]]
metric = "lingering.fraction"
min = 0
max = 1
"""

SEEDS: Mapping[str, Callable[[], Sequence[bytes]]] = {
    "checkpoint": checkpoints,
    "report": reports,
    "policy": policies,
}
"""What each target begins with."""


def words(trees: Sequence[object]) -> list[str]:
    """Texts that mean something to the readers of reports and policies."""
    from tlaudit import metrics

    stars = ["distraction.*", "erosion.*", "*", "lingering.*" + "*" * 20 + "x"]
    ours = {*metrics.METRICS, *metrics.FAMILIES, *stars, "policy", "rules", "tlaudit", "tool", "1.4"}
    return sorted(texts_of(trees) | ours)


def dictionary(tokens: Sequence[str]) -> str:
    """Tokens as libFuzzer takes them: what it puts in where it changes bytes."""
    lines = []
    for token in tokens:
        content = token.encode("utf-8", "replace")
        if 0 < len(content) < 60:
            lines.append('"' + "".join(f"\\x{byte:02x}" for byte in content) + '"')
    return "\n".join(lines) + "\n"
