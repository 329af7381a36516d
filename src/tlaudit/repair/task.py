"""The task a network is finetuned for: which folders there are, which class each one is, what is learnt and asked."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch

from tlaudit.checks.base import LabelledImages
from tlaudit.data.classes import ClassNames, match_folders
from tlaudit.data.folders import printable
from tlaudit.data.images import ImageSet
from tlaudit.errors import ClassMatchError, UsageError

if TYPE_CHECKING:
    from collections.abc import Collection, Sequence
    from pathlib import Path

    from tlaudit.models.sources import Model
    from tlaudit.options import DataOptions

_SHOWN = 10


@dataclass(frozen=True)
class Task:
    """What is to be learnt.

    Attributes:
        classes: Names in the order of the network's outputs.
        training: Images to learn from.
        val: Held-out images, or None.
    """

    classes: tuple[str, ...]
    training: LabelledImages
    val: LabelledImages | None


def find_task(train: Path, val: Path | None, finetuned: Model | None, data: DataOptions, seed: int) -> Task:
    """Find training and validation images, and the class of each folder.

    Folders are a finetuned network's classes if it is given: by the names its checkpoint has, else in sorted order.
    Without one they are numbered in sorted order, or by their names where these are the numbers from 0 on.

    Args:
        train: Class folders of training images.
        val: Class folders of held-out images.
        finetuned: A network that was trained for the task.
        data: Limit on the images of each set.
        seed: Of the choice where there is a limit.

    Raises:
        UsageError: If a folder is missing, there is one class only, a class folder is empty, or the two sets differ.
        ClassMatchError: If the folders are not the classes of the finetuned network.
        DataError: If a set holds no image.
    """
    images = ImageSet.scan(train, labelled=True, limit=data.limit, seed=seed)
    place = printable(str(train))
    if images.empty_folders:
        raise UsageError(
            f"{place}: class folders without an image: {_listed(images.empty_folders)}; add images or remove them"
        )
    if len(images.folders) < 2:
        raise UsageError(f"{place}: expected at least two class folders to tell apart, got {_listed(images.folders)}")
    classes, indices = _classes(images.folders, finetuned, place)
    held_out = None
    if val is not None:
        held_out = ImageSet.scan(val, labelled=True, limit=data.limit, seed=seed)
        _refuse_other_folders(images.folders, held_out.folders, place, printable(str(val)))
    return Task(
        classes,
        _labelled(images, indices),
        _labelled(held_out, indices) if held_out is not None else None,
    )


def _classes(folders: Sequence[str], finetuned: Model | None, place: str) -> tuple[tuple[str, ...], dict[str, int]]:
    """Names of the classes in the order of the outputs, and the output of each folder."""
    numbered = {str(index): index for index in range(len(folders))}
    indices = numbered if set(folders) == numbered.keys() else {name: i for i, name in enumerate(sorted(folders))}
    if finetuned is None:
        return tuple(sorted(indices, key=indices.__getitem__)), indices
    if len(folders) != finetuned.num_classes:
        raise ClassMatchError(
            f"{place}: expected a folder for each of the {finetuned.num_classes} classes of {finetuned.record.spec}, "
            f"got {len(folders)}: {_listed(folders)}"
        )
    if finetuned.classes is None:
        return tuple(sorted(indices, key=indices.__getitem__)), indices
    if set(folders) == set(finetuned.classes):
        indices = {name: index for index, name in enumerate(finetuned.classes)}
    else:
        try:
            indices = match_folders(folders, ClassNames.of_model(finetuned.num_classes, finetuned.classes)).indices
        except ClassMatchError as error:
            # What it advises, a class map, is for source images.
            raise ClassMatchError(
                f"{place}: the folders are not the classes of {finetuned.record.spec}, which are "
                f"{_listed(finetuned.classes)}: {str(error).partition('. What to do')[0]}; rename the folders"
            ) from None
    return finetuned.classes, indices


def _refuse_other_folders(train: Sequence[str], val: Sequence[str], train_place: str, val_place: str) -> None:
    """Held-out images of the same classes tell how well they were learnt; others tell nothing."""
    missing, strange = sorted(set(train) - set(val)), sorted(set(val) - set(train))
    if missing or strange:
        told = [
            f"{_listed(folders)} only in {where}"
            for folders, where in ((missing, train_place), (strange, val_place))
            if folders
        ]
        raise UsageError(f"the classes of training and validation images differ: {'; '.join(told)}")


def _labelled(images: ImageSet, indices: dict[str, int]) -> LabelledImages:
    labels = [indices[item.folder] for item in images.items if item.folder is not None]
    return LabelledImages(images, torch.tensor(labels, dtype=torch.int64))


def _listed(names: Collection[str]) -> str:
    shown = ", ".join(printable(name) for name in list(names)[:_SHOWN])
    return shown + (f" and {len(names) - _SHOWN} more" if len(names) > _SHOWN else "")
