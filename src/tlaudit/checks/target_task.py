"""The task the network was finetuned for: how well it and the baseline do on held-out images."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch

from tlaudit.checks.recognition import Recognition, recognise
from tlaudit.data.classes import target_labels
from tlaudit.errors import ClassMatchError

if TYPE_CHECKING:
    from torch import Tensor

    from tlaudit.checks.base import Subject
    from tlaudit.checks.measured import Recorder
    from tlaudit.models.pair import Pair
    from tlaudit.results import Measurement

NO_BASELINE = "no baseline was given (--baseline)"
NO_VALIDATION = "no validation images were given (--val-data)"


def no_baseline(pair: Pair) -> str | None:
    """Why the pair has no baseline, or None if it has one: none was given, or the one that was does not fit."""
    if pair.baseline is not None:
        return None
    return NO_BASELINE if pair.baseline_left_out is None else f"the baseline is left out: {pair.baseline_left_out}"


@dataclass(frozen=True)
class TargetClasses:
    """Which class of the finetuned network each target image shows.

    Attributes:
        labels: Class of each item of the target set, ``(N,)`` int64; -1 where it is not known.
        names: Name of each class of the finetuned network; its index where nothing names it.
        unknown: Why no class is known, or None if they are.
    """

    labels: Tensor
    names: tuple[str, ...]
    unknown: str | None


def target_classes(subject: Subject) -> TargetClasses:
    """Match the folders of the target images to the finetuned network's classes, as far as they do."""
    images, model = subject.target, subject.pair.finetuned
    indices: dict[str, int] = {}
    unknown = None
    try:
        if images.folders:
            indices = target_labels(images.folders, images.folders, model.num_classes, model.classes)
        else:
            unknown = "the target images lie in no class folders, so that nothing says what they show"
    except ClassMatchError as error:
        unknown = f"the folders of the target images are not the finetuned network's classes: {error}"
    folders = {index: folder for folder, index in indices.items()}
    names = model.classes or tuple(folders.get(index, str(index)) for index in range(model.num_classes))
    labels = [indices.get(item.folder, -1) if item.folder is not None else -1 for item in images.items]
    return TargetClasses(torch.tensor(labels, dtype=torch.int64), names, unknown)


def recognise_target(subject: Subject) -> Recognition | None:
    """Ask finetuned network and baseline about images neither was trained on; None without such images."""
    if subject.val is None:
        return None
    networks = {"finetuned": subject.network(subject.pair.finetuned.module, "finetuned")}
    if subject.pair.baseline is not None and other_task(subject.pair) is None:
        networks["baseline"] = subject.network(subject.pair.baseline.module, "baseline")
    return recognise(subject, subject.val, networks, "validation images")


def other_task(pair: Pair) -> str | None:
    """Why the baseline's outputs cannot be compared with the finetuned network's, or None if they can."""
    if pair.baseline is None:
        return no_baseline(pair)
    ours, theirs = pair.finetuned, pair.baseline
    if theirs.num_classes != ours.num_classes:
        return f"the baseline has {theirs.num_classes} classes, the finetuned network {ours.num_classes}"
    if ours.classes and theirs.classes and ours.classes != theirs.classes:
        return "the baseline's classes have other names, or another order, than the finetuned network's"
    return None


def accuracies(pair: Pair, val: Recognition | None, recorder: Recorder) -> list[Measurement]:
    """Accuracy on the target task, of the finetuned and the from-scratch network.

    Args:
        pair: The networks.
        val: What `recognise_target` found.
        recorder: Knows ``target.accuracy`` and ``baseline.target_accuracy``.
    """
    found = []
    for name, network in (("target.accuracy", "finetuned"), ("baseline.target_accuracy", "baseline")):
        if val is None or network not in val.right:
            reason = NO_VALIDATION if val is None else other_task(pair) or no_baseline(pair) or NO_BASELINE
            found.append(recorder.absent(name, reason))
        elif pair.finetuned.num_classes == 1:
            found.append(recorder.absent(name, "with one class every prediction is right"))
        else:
            right = val.right[network]
            found.append(recorder.share(name, int(right.sum()), len(right), if_none=NO_VALIDATION))
    return found
