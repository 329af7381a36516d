"""What a checkpoint says about itself beside its weights: class names, preprocessing, architecture.

A ``.safetensors`` header carries three keys of our own: ``tlaudit.classes`` (JSON list of names in index order),
``tlaudit.preprocessing`` (JSON object with resize, crop, interpolation, mean, std) and ``tlaudit.architecture``
(torchvision's name). A dict saved by torch may carry ``classes`` or ``class_names`` (list) or ``class_to_idx`` (dict).
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass

from pydantic import ValidationError

from tlaudit.errors import CheckpointError
from tlaudit.results import Preprocessing

CLASSES = "tlaudit.classes"
PREPROCESSING = "tlaudit.preprocessing"
ARCHITECTURE = "tlaudit.architecture"

_LISTS = ("classes", "class_names")
_INDEX = "class_to_idx"
_ORIGIN = "checkpoint metadata"


@dataclass(frozen=True)
class Metadata:
    """What the file says of itself; None where it does not.

    Attributes:
        classes: Class names in index order.
        preprocessing: How a picture becomes an input.
        architecture: Torchvision's name.
        notes: What was there but not understood.
    """

    classes: tuple[str, ...] | None = None
    preprocessing: Preprocessing | None = None
    architecture: str | None = None
    notes: tuple[str, ...] = ()


def from_header(header: Mapping[str, str], file: str) -> Metadata:
    """Read the metadata of a safetensors header.

    Raises:
        CheckpointError: If one of our keys holds something else than documented; the key is named.
    """
    return Metadata(
        classes=_class_list(_json(header, CLASSES, file), CLASSES, file) if CLASSES in header else None,
        preprocessing=_preprocessing(_json(header, PREPROCESSING, file), file) if PREPROCESSING in header else None,
        architecture=header.get(ARCHITECTURE),
    )


def to_header(
    classes: tuple[str, ...] | None, preprocessing: Preprocessing | None, architecture: str | None
) -> dict[str, str]:
    """Write the metadata of a safetensors header; `from_header` reads it back."""
    header: dict[str, str] = {}
    if architecture is not None:
        header[ARCHITECTURE] = architecture
    if classes is not None:
        header[CLASSES] = json.dumps(list(classes), ensure_ascii=False)
    if preprocessing is not None:
        header[PREPROCESSING] = preprocessing.model_dump_json(exclude={"origin"})
    return header


def from_container(content: object, file: str) -> Metadata:
    """Read class names from a dict that was saved by torch.

    ``classes`` may mean other things in other people's files: what is no list and no dict is noted and left alone.

    Raises:
        CheckpointError: If a list holds something else than names, or ``class_to_idx`` does not number its classes
            0, 1, 2, ...; the key is named.
    """
    if not isinstance(content, Mapping):
        return Metadata()
    notes: list[str] = []
    for key in _LISTS:
        value = content.get(key)
        if isinstance(value, list | tuple):
            return Metadata(classes=_class_list(value, key, file), notes=tuple(notes))
        if value is not None:
            notes.append(f"{key!r} in the file is {type(value).__name__}, not a list of names: left alone")
    index = content.get(_INDEX)
    if isinstance(index, Mapping):
        return Metadata(classes=_ordered(index, file), notes=tuple(notes))
    return Metadata(notes=tuple(notes))


def _json(header: Mapping[str, str], key: str, file: str) -> object:
    try:
        return json.loads(header[key])
    except ValueError as error:
        raise CheckpointError(f"{file}: the metadata key {key} is not JSON ({error})") from None


def _class_list(value: object, key: str, file: str) -> tuple[str, ...]:
    if not isinstance(value, list | tuple) or not value or not all(isinstance(name, str) for name in value):
        raise CheckpointError(f"{file}: the metadata key {key} must be a list of class names, got {str(value)[:80]}")
    return tuple(value)


def _ordered(index: Mapping[object, object], file: str) -> tuple[str, ...]:
    try:
        by_index = {int(number): str(name) for name, number in index.items()}  # type: ignore[call-overload]
    except (TypeError, ValueError):
        by_index = {}
    if not index or sorted(by_index) != list(range(len(index))):
        raise CheckpointError(
            f"{file}: the metadata key {_INDEX} must number its classes 0, 1, 2, ..., got {str(dict(index))[:80]}"
        )
    return tuple(by_index[number] for number in range(len(index)))


def _preprocessing(value: object, file: str) -> Preprocessing:
    if not isinstance(value, dict):
        raise CheckpointError(f"{file}: the metadata key {PREPROCESSING} must be a JSON object, got {str(value)[:80]}")
    try:
        return Preprocessing.model_validate({**value, "origin": _ORIGIN})
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(str(part) for part in first["loc"])
        raise CheckpointError(
            f"{file}: the metadata key {PREPROCESSING} is malformed: {where}: {first['msg']}"
        ) from None
