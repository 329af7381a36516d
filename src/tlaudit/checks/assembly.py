"""From networks and options to the subject of a check: images found, folders matched to classes, the device picked."""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING

import torch

from tlaudit.cache.place import opened
from tlaudit.checks.base import LabelledImages, Subject, settled
from tlaudit.data.classes import ClassNames, match_folders, target_labels
from tlaudit.data.images import NO_IMAGES, ImageSet
from tlaudit.distributed import ALONE
from tlaudit.errors import DataError, UsageError
from tlaudit.models.preprocess import resolve_preprocessing
from tlaudit.progress import silent
from tlaudit.results import Finding

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator, Mapping
    from pathlib import Path

    from tlaudit.distributed import Group
    from tlaudit.models.pair import Pair
    from tlaudit.options import DataOptions, ExecutionOptions, PreprocessTable
    from tlaudit.progress import Progress
    from tlaudit.results import Preprocessing


class UnusableSetError(DataError):
    """A set of images that holds none, or cannot be listed.

    Attributes:
        role: Which: ``source``, ``target`` or ``val``.
    """

    def __init__(self, message: str, role: str) -> None:
        super().__init__(message)
        self.role = role


@contextlib.contextmanager
def _of_set(role: str) -> Iterator[None]:
    """Say of which set it is that there is nothing in it."""
    try:
        yield
    except DataError as error:
        raise UnusableSetError(str(error), role) from error


def assemble(
    pair: Pair,
    data: DataOptions,
    *,
    preprocess: PreprocessTable,
    execution: ExecutionOptions,
    progress: Progress = silent,
    needed: Collection[str] = ("source", "target"),
    group: Group = ALONE,
) -> Subject:
    """Put a subject together from networks and options: find the images, match folders to classes, pick the device.

    Args:
        pair: The networks.
        data: Folders of images; sets not given are empty.
        preprocess: Overrides of what the weights say about preprocessing.
        execution: Device, precision, batch size, workers, seed, and what is kept of earlier runs.
        progress: Shows how far a pass is.
        needed: Which of `source` and `target` must be there.
        group: Processes that share the work.

    Returns:
        The subject of a check.

    Raises:
        UsageError: If a folder is missing or an option cannot be met.
        ClassMatchError: If a folder fits no class of its model, or several.
        UnusableSetError: If a folder holds no image.
    """
    missing = [f"--{name}-data DIR" for name in needed if getattr(data, name) is None]
    if missing:
        raise UsageError(f"images are needed: {' '.join(missing)}")
    classes = ClassNames.of_model(pair.source.num_classes, pair.source.classes)
    with _of_set("source"):
        source, found = label_source(data.source, classes, data, execution.seed)
    with _of_set("target"):
        target = _scanned(data.target, data, execution.seed, labelled=False)
    with _of_set("val"):
        labels = _target_labels(data.val, target, pair, data.limit, execution.seed) if data.val else None
    findings = [*pair.findings, *found, *(_target_findings(labels, pair) if labels else ())]
    return Subject(
        pair=pair,
        source=source,
        classes=classes,
        target=target,
        val=labels,
        preprocessing=_preprocessing(pair, preprocess),
        execution=settled(execution, group),
        seed=execution.seed,
        limit=data.limit,
        strict=data.strict,
        class_map=data.class_map,
        findings=tuple(findings),
        progress=progress,
        group=group,
        cache=opened(execution),
    )


def label_source(
    path: Path | None, classes: ClassNames, data: DataOptions, seed: int
) -> tuple[LabelledImages, tuple[Finding, ...]]:
    """Find images in class folders and match these to the source network's classes; none without a folder.

    Args:
        path: The folder.
        classes: Of the source network.
        data: Limit and class map.
        seed: Of the choice where there is a limit.

    Returns:
        The images, and what the reader has to know of how folders became classes.

    Raises:
        UsageError: If the folder is not there, or an image lies in no class folder.
        ClassMatchError: If a folder fits no class, or several.
        DataError: If it holds no image.
    """
    images = _scanned(path, data, seed, labelled=True)
    if path is None:
        return _label(images, {}), ()
    match = match_folders(images.folders, classes, data.class_map)
    return _label(images, match.indices), tuple(_source_findings(images, classes, by_order=match.by_order))


def _scanned(path: Path | None, data: DataOptions, seed: int, *, labelled: bool) -> ImageSet:
    return NO_IMAGES if path is None else ImageSet.scan(path, labelled=labelled, limit=data.limit, seed=seed)


def _source_findings(source: ImageSet, classes: ClassNames, *, by_order: bool) -> Iterator[Finding]:
    """What the reader has to know of how folders became classes."""
    if by_order:
        message = (
            f"The source checkpoint names no classes; its {len(source.folders)} folders were taken for its classes in "
            "sorted order, as torchvision's ImageFolder does. Give --class-map if that is wrong."
        )
        yield Finding(code="classes.by_order", severity="warning", message=message)
    if classes.assumed:
        message = "The source checkpoint names no classes; with 1000 of them they were taken to be ImageNet's."
        yield Finding(code="classes.assumed_imagenet", severity="info", message=message)
    if source.empty_folders:
        named = ", ".join(source.empty_folders[:10]) + (" …" if len(source.empty_folders) > 10 else "")
        message = f"{len(source.empty_folders)} class folders of the source data hold no image: {named}"
        yield Finding(code="data.empty_folders", severity="warning", message=message)


def _label(images: ImageSet, indices: Mapping[str, int]) -> LabelledImages:
    labels = torch.tensor([indices[item.folder] for item in images.items if item.folder is not None], dtype=torch.int64)
    return LabelledImages(images, labels)


def _target_findings(val: LabelledImages, pair: Pair) -> Iterator[Finding]:
    """What the reader has to know of how held-out folders became classes of the finetuned network."""
    if pair.finetuned.classes is None:
        pairs = {item.folder: int(label) for item, label in zip(val.images.items, val.labels, strict=True)}
        named = ", ".join(f"{folder} = {index}" for folder, index in list(pairs.items())[:10])
        message = f"The finetuned checkpoint names no classes; folders were taken to be its outputs: {named}."
        yield Finding(code="classes.target_assumed", severity="info", message=message)
    if val.images.empty_folders:
        message = f"Class folders of the validation data hold no image: {', '.join(val.images.empty_folders[:10])}"
        yield Finding(code="data.empty_folders", severity="warning", message=message)


def _target_labels(path: Path, target: ImageSet, pair: Pair, limit: int | None, seed: int) -> LabelledImages:
    images = ImageSet.scan(path, labelled=True, limit=limit, seed=seed)
    indices = target_labels(target.folders, images.folders, pair.finetuned.num_classes, pair.finetuned.classes)
    return _label(images, indices)


def _preprocessing(pair: Pair, table: PreprocessTable) -> dict[str, Preprocessing]:
    """Of each network: its own section of the configuration, then the common one, then the weights' metadata."""
    models = {"source": pair.source, "finetuned": pair.finetuned, "baseline": pair.baseline}
    return {
        role: resolve_preprocessing(model.preprocessing, getattr(table, role), table)
        for role, model in models.items()
        if model is not None
    }
