"""A configuration with every key, the rules between its keys, and what of it may be otherwise."""

from __future__ import annotations

from typing import Any

import hostile_documents
from tlaudit.metrics import METRICS
from tlaudit.options import Settings

SCHEMA = hostile_documents.Schema(Settings.model_json_schema())

_COMMON_TRAINING = {
    "epochs": 3,
    "learning_rate": 3e-4,
    "weight_decay": 0.01,
    "warmup": 0.1,
    "clip": 1.0,
    "batch_norm": "frozen",
    "flip": False,
    "crop_scale": 0.5,
    "jitter": 0.2,
    "batch_size": 32,
}
_ADAMW = {"beta1": 0.9, "beta2": 0.99, "eps": 1e-8, "amsgrad": True}
_SGD = {"momentum": 0.5, "dampening": 0.1, "nesterov": False}
_INTERVALS = {"bootstrap": 200, "confidence": 0.9}
_PICTURE = {"resize": 64, "crop": 48, "interpolation": "bicubic", "mean": [0.5, 0.4, 0.3], "std": [0.2, 0.3, 0.4]}

COMPLETE: dict[str, Any] = {
    "models": {
        "source": "torchvision:resnet18",
        "finetuned": "f.pth",
        "baseline": "b.pth",
        "arch": "resnet18",
        "source_arch": "resnet18",
        "baseline_arch": "resnet18",
        "head": "fc",
        "use_ema": True,
        "allow_pickle": False,
    },
    "data": {"source": "s", "target": "t", "val": "v", "class_map": "m.csv", "strict": True, "limit": 10},
    "preprocess": {**_PICTURE, "source": dict(_PICTURE), "finetuned": dict(_PICTURE), "baseline": dict(_PICTURE)},
    "execution": {
        "device": "cpu",
        "precision": "fp32",
        "batch_size": 8,
        "workers": 0,
        "seed": 1,
        "cache": False,
        "cache_dir": "c",
        "cache_size": 1.5,
        "fuse": False,
        "compile": False,
    },
    "lingering": {**_INTERVALS, "k": 3, "v_lo_count": 2, "p_lo": 0.2},
    "distraction": {
        **_INTERVALS,
        "per_class": 5,
        "max_classes": 6,
        "class_choice": "sample",
        "common_classes": 2,
        "overlay_scale": 0.3,
        "overlays": 7,
        "margin": 0.1,
        "percentile": 70.0,
        "method": "gradcam",
        "layer": "layer4",
        "gallery": 4,
        "lingering": "l.json",
        "save_composites": "composites",
        "save_rows": "rows.csv",
    },
    "screen": {
        **_INTERVALS,
        "lingering": "l.json",
        "calibrate": "clean",
        "alpha": 0.02,
        "per_class": 3,
        "overlay_scale": 0.3,
        "overlays": 9,
        "summary": "s.json",
        "fail_on_flag": True,
    },
    "erosion": {
        **_INTERVALS,
        "data": "images",
        "stages": ["layer1"],
        "full_matrix": True,
        "features": "flat",
        "probe": True,
    },
    "stress": {
        **_INTERVALS,
        "ratios": [0.0, 0.5],
        "square": 0.2,
        "bisect": 0.1,
        "plasticity": True,
        "stages": ["layer1"],
        "test": "test",
        "runs": "runs",
        "training": {**_COMMON_TRAINING, "optimizer": "adamw", **_ADAMW},
    },
    "audit": {"checks": ["lingering", "erosion"]},
    "repair": {
        "methods": ["ldifs", "plain"],
        "init": "source",
        "train": "train",
        "keep": "last",
        "patience": 1,
        "save_every": 5,
        "training": {**_COMMON_TRAINING, "optimizer": "sgd", **_SGD},
        "judge": {**_INTERVALS, "classes": 5, "per_class": 2, "probe": "probe"},
        "ldifs": {"weight": 2.0, "reduction": "sum", "stages": ["layer1"]},
        "l2sp": {"alpha": 0.2, "beta": 0.3},
        "lwf": {"weight": 0.5, "temperature": 3.0},
        "wise_ft": {"alpha": 0.4, "sweep": [0.1, 0.9]},
        "composites": {"share": 0.4, "overlay_scale": 0.3},
        "unlearn": {"weight": 0.5},
        "l1": {"weight": 0.001},
        "prune": {"percentile": 80.0, "stages": ["layer1"]},
    },
    "policy": {
        "rules": [
            {
                "metric": "distraction.flip_rate",
                "id": "flips",
                "min": 0.0,
                "max": 0.5,
                "max_increase": 0.1,
                "max_decrease": 0.2,
                "max_relative_increase": 0.3,
                "max_relative_decrease": 0.4,
                "severity": "warn",
                "on_missing": "skip",
                "if_any": "lingering.count",
                "min_samples": 10,
                "use": "upper",
                "waive": {"until": "2027-03-31", "reason": "known"},
            },
            {"metric": "erosion.cka.*", "min": 0.1},
        ]
    },
}

EXCLUDED: dict[tuple[str, ...], Any] = {
    ("lingering", "v_lo"): 0.1,
    ("screen", "threshold"): 0.5,
    **{("stress", "training", key): value for key, value in _SGD.items()},
    **{("repair", "training", key): value for key, value in _ADAMW.items()},
}
"""Keys that nobody may give beside those that are there."""

_LISTS = {"stages", "methods", "checks", "ratios", "sweep"}
"""Lists that may be written as one text, as on the command line."""
_NUMBERS = {"ratios", "sweep"}
_LONGEST = 1000


def is_legal(variant: hostile_documents.Variant) -> bool:
    """Whether a changed configuration keeps to its schema and to the rules between its keys."""
    key = variant.path[-1]
    document, legal = variant.document, variant.legal
    value = _at(document, variant.path)
    if key in _LISTS and isinstance(value, str):
        words = [part.strip() for part in value.split(",") if part.strip()]
        document = hostile_documents.changed(document, variant.path, _numbers(words) if key in _NUMBERS else words)
        legal = SCHEMA.allows(document)
    return legal and _rules_between(document)


def _numbers(words: list[str]) -> Any:
    try:
        return [float(word) for word in words]
    except ValueError:
        return words


def _rules_between(document: dict[str, Any]) -> bool:
    lingering, screen = document.get("lingering", {}), document.get("screen", {})
    trainings = [(document.get(name) or {}).get("training", {}) for name in ("stress", "repair")]
    rules = (document.get("policy") or {}).get("rules", ())
    return (
        None in (lingering.get("v_lo"), lingering.get("v_lo_count"))
        and None in (screen.get("threshold"), screen.get("calibrate"))
        and (screen.get("calibrate") is not None or "alpha" not in screen)
        and all(map(_is_training, trainings))
        and (document.get("policy") is None or bool(rules))
        and all(map(_is_rule, rules))
        and len({rule.get("id") or rule["metric"] for rule in rules}) == len(rules)
    )


def _is_training(training: dict[str, Any]) -> bool:
    others = _SGD if training.get("optimizer", "adamw") == "adamw" else _ADAMW
    moving = training.get("momentum", 0.9) and not training.get("dampening", 0.0)
    return not set(others) & set(training) and not (training.get("nesterov") and not moving)


def _is_rule(rule: dict[str, Any]) -> bool:
    thresholds = ("min", "max", "max_increase", "max_decrease", "max_relative_increase", "max_relative_decrease")
    low, high = rule.get("min"), rule.get("max")
    waiver, lines = rule.get("waive"), [rule.get("id")]
    if waiver is not None:
        if not hostile_documents.is_day(waiver["until"]):
            return False
        lines.append(waiver["reason"])
    return (
        rule["metric"] in {*METRICS, "erosion.cka.*"}
        and rule.get("if_any") in {None, *METRICS}
        and any(rule.get(key) is not None for key in thresholds)
        and (low is None or high is None or low <= high)
        and all(line is None or (line.strip() and line.isprintable() and len(line) <= _LONGEST) for line in lines)
    )


def _at(document: Any, path: tuple[str | int, ...]) -> Any:
    for part in path:
        try:
            document = document[part]
        except (KeyError, IndexError):
            return None
    return document
