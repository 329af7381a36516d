"""Whether two results of a check are about the same thing, so that one number may be held against the other.

What may differ is what is compared: the audited networks, their architecture and the images they were finetuned on.
"""

from __future__ import annotations

from fnmatch import fnmatchcase
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from tlaudit.records import Cell
    from tlaudit.results import CheckResult, DataRecord, ModelRecord

    _Value = Cell | list[Cell]

_TOLD_BY_IMAGES = {"limit", "strict_data", "train", "test", "judge.probe"}
"""Options about which images are taken; their fingerprints tell more."""
_SHOWN = {"gallery", "full_matrix", "square_pixels", "save_every"}
"""Options on which no number depends, or that follow from others."""
_ASKED_FOR = {"probe", "plasticity"}
"""Options that only add numbers; a number that was not asked for is absent, with its reason."""
_DRAWN = {
    "bootstrap": "other numbers of resamples of bootstrap intervals",
    "confidence": "intervals of another confidence",
    "overlays": "another limit of target images that serve as overlays",
    "fuse": "batch norms folded into convolutions or not",
    "compile": "networks compiled or not",
}
"""Options that change the precision of a number and not what it is of, each with what to tell the reader."""
_OF_NETWORK = {"stages", "layer"}
"""Options that follow from the architecture by default."""
_COUNTS = {"v_lo_count", "lingering.v_lo_count"}
"""Numbers of images that follow from the number of target images by default."""
_CHANCES = {"p_lo", "lingering.p_lo"}
"""Probabilities that follow from the number of source classes by default."""
_MADE = {"repair", "continual"}
"""Checks that train the networks they compare: how they do is what may differ."""
_MADE_SAME = ("judge.", "lingering.", "tasks")
"""Beginnings of those of their options that say how the networks are judged."""
_VARIES = {"target", "overlays", "composites", "training"}
"""Images that belong to the audited network, or are drawn."""
_STANDS_IN = {
    ("erosion", "source"): ("data", "erosion.source_accuracy_before"),
    ("repair", "probe"): ("source", "repair.before.delta_lp"),
}
"""Images that others stand in for where none were given, and a number that tells whether they do."""
_ON_VALIDATION = ("target.accuracy", "baseline.target_accuracy", "repair.*.target_accuracy*")
"""Measurements that are taken on the validation images alone, and are of the target task."""
_OF_TASK = ("target.accuracy", "distraction.composite_accuracy")
_KINDS = {"val": "validation", "data": "compared"}
_PREPROCESSING_KEYS = {"resize", "crop", "interpolation", "mean", "std"}
_UNSAID = "not stated"


def incomparable(one: CheckResult, other: CheckResult, metric: str | None = None) -> list[str]:
    """Say why numbers of two results are not numbers of the same thing.

    Definitions, source images, validation images and all others the numbers are taken on must be the same. The audited
    networks, their architecture, the images they were finetuned on, the seed and the machine may differ. What follows
    from them by default may differ with them: the stages and the layer of an architecture, ``p_lo`` as a multiple of
    chance, ``v_lo_count`` as a share of the target images.

    Args:
        one: Result of a check.
        other: Another.
        metric: Name of the measurement that is asked about; all of them if left out. What it does not depend on may
            differ: accuracy on validation images depends on them and on the task, and no other number of a check of one
            network does.

    Returns:
        A phrase for each reason, empty if the results can be compared, or if one is of a check that could not be made
        and has no numbers. Values are given in the order of the arguments.
    """
    if one.check != other.check:
        return [f"results of other checks: {one.check} and {other.check}"]
    if one.failure is not None or other.failure is not None:
        return []
    told_by_validation = metric is not None and any(fnmatchcase(metric, pattern) for pattern in _ON_VALIDATION)
    of_task = told_by_validation or any(_measured(one, name) and _measured(other, name) for name in _OF_TASK)
    on_validation = [*_other_images(one, other, ["val"]), *(_other_task(one, other) if of_task else ())]
    if told_by_validation:
        return on_validation
    roles = [role for role in dict.fromkeys((*one.provenance.data, *other.provenance.data)) if role != "val"]
    found = [*_other_definitions(one, other), *_other_source(one, other), *_other_images(one, other, roles)]
    # What repairs and sequences of tasks make is chosen by validation images, too.
    apart = metric is not None and one.check == "lingering"
    return found if apart else [*found, *on_validation]


def remarks(one: CheckResult, other: CheckResult) -> list[str]:
    """Say what does not forbid a comparison of two results of a check, and may still explain a difference.

    Args:
        one: Result of a check.
        other: Another that is comparable.

    Returns:
        A phrase for each remark. Values are given in the order of the arguments.
    """
    first, second = one.provenance, other.provenance
    found = [
        f"another {name}: {left} and {right}"
        for name, left, right in (
            ("precision", first.precision, second.precision),
            ("device", first.device, second.device),
            ("seed", first.seed, second.seed),
        )
        if left != right
    ]
    for package in ("tlaudit", "torch", "torchvision", "pillow"):
        left, right = first.versions.get(package, _UNSAID), second.versions.get(package, _UNSAID)
        if left != right:
            found.append(f"another version of {package}: {left} and {right}")
    return [*found, *_other_networks(one, other), *_other_target(one, other), *_other_draws(one, other)]


def _other_definitions(one: CheckResult, other: CheckResult) -> Iterator[str]:
    """Options that say what the numbers are of, and differ."""
    for key, (left, right) in _differing(one, other):
        if one.check in _MADE and not key.startswith(_MADE_SAME):
            continue
        if key.removeprefix("judge.") in _DRAWN or key in _TOLD_BY_IMAGES | _SHOWN | _ASKED_FOR:
            continue
        if key in _OF_NETWORK and _architecture(one) != _architecture(other):
            continue
        if key in _COUNTS and _one_share(one, other, left, right):
            continue
        if key in _CHANCES and _one_multiple(one, other, left, right):
            continue
        if key == "bisect" and None in (left, right):
            continue
        if key == "class_choice" and one.provenance.options.get("max_classes") is None:
            # All classes are taken either way; another max_classes has its own line.
            continue
        if key == "threshold" and one.provenance.options.get("threshold_origin") == "calibrated":
            continue
        yield f"another {key}: {_said(left)} and {_said(right)}"


def _differing(one: CheckResult, other: CheckResult) -> Iterator[tuple[str, tuple[_Value, _Value]]]:
    first, second = one.provenance.options, other.provenance.options
    for key in dict.fromkeys((*first, *second)):
        left, right = first.get(key, _UNSAID), second.get(key, _UNSAID)
        if left != right:
            yield key, (left, right)


def _one_share(one: CheckResult, other: CheckResult, left: _Value, right: _Value) -> bool:
    """Whether one share of the target images, rounded down, gives both counts."""
    sizes = [_images(result, "target") for result in (one, other)]
    shares = [
        (count / size, (count + 1) / size)
        for count, size in zip((left, right), sizes, strict=True)
        if isinstance(count, int) and size
    ]
    return len(shares) == 2 and max(low for low, _ in shares) < min(high for _, high in shares)


def _one_multiple(one: CheckResult, other: CheckResult, left: _Value, right: _Value) -> bool:
    """Whether both probabilities are the same multiple of chance among the source classes."""
    source = [result.provenance.models.get("source") for result in (one, other)]
    multiples = [
        round(value * model.num_classes, 9)
        for value, model in zip((left, right), source, strict=True)
        if isinstance(value, float | int) and model is not None
    ]
    return len(multiples) == 2 and multiples[0] == multiples[1]


def _other_source(one: CheckResult, other: CheckResult) -> Iterator[str]:
    """What makes two source networks no like networks."""
    first, second = one.provenance.models.get("source"), other.provenance.models.get("source")
    if first and second and first.architecture == second.architecture and _numbers(first) != _numbers(second):
        yield f"another preprocessing of the source network: {_geometry(first)} and {_geometry(second)}"


def _other_task(one: CheckResult, other: CheckResult) -> Iterator[str]:
    """Target tasks of different numbers of classes, on which an accuracy is not the same thing."""
    tasks = [result.provenance.models.get("finetuned") for result in (one, other)]
    if tasks[0] is not None and tasks[1] is not None and tasks[0].num_classes != tasks[1].num_classes:
        yield f"finetuned networks of other tasks: {tasks[0].num_classes} and {tasks[1].num_classes} classes"


def _other_images(one: CheckResult, other: CheckResult, roles: Iterable[str]) -> Iterator[str]:
    """Images of these roles the numbers are taken on, and differ."""
    for role in roles:
        varies = (_VARIES - {"training"}) if one.check == "stress" else _VARIES
        if role in varies:
            continue
        first, second = _data(one, other, role), _data(other, one, role)
        if first is None or second is None:
            continue
        kind = _KINDS.get(role, role)
        if first.fingerprint != second.fingerprint:
            yield f"other {kind} images: {_counted(first)} and {_counted(second)}"
        elif None not in (first.labels, second.labels) and first.labels != second.labels:
            yield f"other classes of the same {kind} images (a class map, or renamed classes)"


def _data(result: CheckResult, beside: CheckResult, role: str) -> DataRecord | None:
    """Images of a result, or those that stand in for them."""
    found = result.provenance.data.get(role)
    if found is None and (result.check, role) in _STANDS_IN:
        instead, number = _STANDS_IN[result.check, role]
        if _measured(result, number) and _measured(beside, number):
            return result.provenance.data.get(instead)
    return found


def _other_networks(one: CheckResult, other: CheckResult) -> Iterator[str]:
    """Networks beside the audited one that are others although they could be the same."""
    for role in ("source", "baseline"):
        first, second = one.provenance.models.get(role), other.provenance.models.get(role)
        if "finetuned" not in one.provenance.models or first is None or second is None:
            continue
        if role == "source" and first.num_classes != second.num_classes:
            yield f"source networks of other classes: {first.num_classes} and {second.num_classes}"
        if first.architecture == second.architecture and first.sha256 != second.sha256:
            what = {"source": "source", "baseline": "from-scratch"}[role]
            yield f"another {what} network of the same architecture: {first.spec} and {second.spec}"
    first, second = one.provenance.models.get("finetuned"), other.provenance.models.get("finetuned")
    if first is not None and second is not None and _numbers(first) != _numbers(second):
        yield f"another preprocessing of the finetuned network: {_geometry(first)} and {_geometry(second)}"


def _other_target(one: CheckResult, other: CheckResult) -> Iterator[str]:
    first, second = one.provenance.data.get("target"), other.provenance.data.get("target")
    if first is not None and second is not None and first.fingerprint != second.fingerprint:
        yield f"other target images: {_counted(first)} and {_counted(second)}"
    if one.check == "distraction":
        counts = [
            next((m.value for m in result.measurements if m.name == "distraction.classes"), None)
            for result in (one, other)
        ]
        if counts[0] != counts[1]:
            yield f"composites of each network's own lingering classes: {_said(counts[0])} and {_said(counts[1])}"


def _other_draws(one: CheckResult, other: CheckResult) -> Iterator[str]:
    """Options that change how precise a number is, and those by which networks were made."""
    for key, (left, right) in _differing(one, other):
        drawn = _DRAWN.get(key.removeprefix("judge."))
        if drawn is not None:
            yield f"{drawn}: {_said(left)} and {_said(right)}"
        elif one.check in _MADE and not key.startswith(_MADE_SAME) and key not in _TOLD_BY_IMAGES | _SHOWN:
            yield f"networks made with another {key}: {_said(left)} and {_said(right)}"


def _architecture(result: CheckResult) -> str | None:
    """Of the audited network."""
    models = result.provenance.models
    model = models.get("finetuned") or next(iter(models.values()), None)
    return model.architecture if model else None


def _images(result: CheckResult, role: str) -> int:
    data = result.provenance.data.get(role)
    return data.images if data else 0


def _measured(result: CheckResult, name: str) -> bool:
    return any(one.name == name and one.value is not None for one in result.measurements)


def _numbers(model: ModelRecord) -> dict[str, object] | None:
    return model.preprocessing.model_dump(include=_PREPROCESSING_KEYS) if model.preprocessing else None


def _geometry(model: ModelRecord) -> str:
    one = model.preprocessing
    if one is None:
        return _UNSAID
    return f"{one.resize} to {one.crop} pixels ({one.interpolation}, mean {_few(one.mean)}, std {_few(one.std)})"


def _few(values: Iterable[float]) -> str:
    return " ".join(f"{value:.3g}" for value in values)


def _counted(data: DataRecord) -> str:
    return f"{data.images} of {data.path} ({data.fingerprint[:12]})"


def _said(value: _Value) -> str:
    if isinstance(value, float):
        return f"{value:g}"
    return "none" if value is None else str(value)
