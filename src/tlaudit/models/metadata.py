"""What a checkpoint says about itself beside its weights: class names, preprocessing, architecture.

A ``.safetensors`` header carries keys of our own: ``tlaudit.classes`` (JSON list of names in index order),
``tlaudit.preprocessing`` (JSON object with resize, crop, interpolation, mean, std), ``tlaudit.architecture``
(torchvision's name), ``tlaudit.parents`` (JSON object, what the weights were made from to its SHA-256) and
``tlaudit.recipe`` (JSON object, how). A ``.pth`` file of ours carries the same as the attribute ``tlaudit`` of its
plain ``state_dict``. A dict saved by others may carry ``classes`` or ``class_names`` (list) or ``class_to_idx`` (dict).
"""

from __future__ import annotations

import itertools
import json
import operator
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, cast

from pydantic import ValidationError

from tlaudit.errors import CheckpointError
from tlaudit.models.unwrap import entries_of
from tlaudit.models.wording import described, shown
from tlaudit.options.base import PreprocessOptions
from tlaudit.results import Preprocessing

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tlaudit.records import Cell

CLASSES = "tlaudit.classes"
PREPROCESSING = "tlaudit.preprocessing"
ARCHITECTURE = "tlaudit.architecture"
PARENTS = "tlaudit.parents"
RECIPE = "tlaudit.recipe"
ATTRIBUTE = "tlaudit"
"""Of the ordered dict that torch saves as a ``state_dict``; loading by torch or torchvision does not look at it."""

_LISTS = ("classes", "class_names")
_INDEX = "class_to_idx"
_ORIGIN = "checkpoint metadata"
_TOLD = 6
"""Entries of a table that a note tells."""


@dataclass(frozen=True)
class Metadata:
    """What the file says of itself; None where it does not.

    Attributes:
        classes: Class names in index order.
        preprocessing: How a picture becomes an input.
        architecture: Torchvision's name.
        parents: SHA-256 of what the weights were made from, by what it was.
        recipe: How they were made, by option.
        notes: What was there but not understood.
    """

    classes: tuple[str, ...] | None = None
    preprocessing: Preprocessing | None = None
    architecture: str | None = None
    parents: Mapping[str, str] | None = None
    recipe: Mapping[str, Cell] | None = None
    notes: tuple[str, ...] = ()


def from_header(header: Mapping[str, str], file: str) -> Metadata:
    """Read the metadata of a safetensors header.

    Raises:
        CheckpointError: If one of our keys holds something else than documented; the key is named.
    """
    parents = _table(header, PARENTS, file)
    recipe = _table(header, RECIPE, file)
    return Metadata(
        classes=_class_list(_json(header, CLASSES, file), CLASSES, file) if CLASSES in header else None,
        preprocessing=_preprocessing(_json(header, PREPROCESSING, file), file) if PREPROCESSING in header else None,
        architecture=header.get(ARCHITECTURE),
        parents={key: str(value) for key, value in parents.items()} if parents is not None else None,
        recipe=recipe,
        notes=tuple(_ancestry(parents, recipe)),
    )


def to_header(metadata: Metadata) -> dict[str, str]:
    """Write the metadata of a safetensors header; `from_header` reads it back."""
    header: dict[str, str] = {}
    if metadata.architecture is not None:
        header[ARCHITECTURE] = metadata.architecture
    if metadata.classes is not None:
        header[CLASSES] = json.dumps(list(metadata.classes), ensure_ascii=False)
    if metadata.preprocessing is not None:
        header[PREPROCESSING] = metadata.preprocessing.model_dump_json(exclude={"origin"})
    for key, table in ((PARENTS, metadata.parents), (RECIPE, metadata.recipe)):
        if table is not None:
            header[key] = json.dumps(dict(table), ensure_ascii=False, allow_nan=False)
    return header


def _table(header: Mapping[str, str], key: str, file: str) -> dict[str, Cell] | None:
    """A flat JSON object; None where the header has none."""
    if key not in header:
        return None
    value = _json(header, key, file)
    if not isinstance(value, dict) or not all(isinstance(one, str | int | float | None) for one in value.values()):
        raise CheckpointError(f"{file}: the metadata key {key} must be a flat JSON object, got {described(value)}")
    return value


def _ancestry(parents: Mapping[str, Cell] | None, recipe: Mapping[str, Cell] | None) -> Iterator[str]:
    """Where the weights come from, as the file says it."""
    if recipe:
        yield f"the file says how it was made: {_told(recipe)}"
    if parents:
        yield f"the file says what it was made from: {_told(parents)}"


def _told(table: Mapping[str, Cell]) -> str:
    return ", ".join(shown(f"{key} {value}") for key, value in itertools.islice(table.items(), _TOLD))


def from_container(content: object, file: str) -> Metadata:
    """Read class names from a dict that was saved by torch.

    ``classes`` may mean other things in other people's files: what is no list and no dict is noted and left alone.

    Raises:
        CheckpointError: If a list holds something else than names, or ``class_to_idx`` does not number its classes
            0, 1, 2, ...; the key is named.
    """
    if not isinstance(content, Mapping):
        return Metadata()
    header = getattr(content, ATTRIBUTE, None)
    if isinstance(header, dict):
        header = entries_of(header)
        if all(isinstance(text, str) for pair in header.items() for text in pair):
            return from_header(cast("dict[str, str]", header), file)
    content = entries_of(content)
    notes: list[str] = []
    for key in _LISTS:
        value = content.get(key)
        if isinstance(value, list | tuple):
            return Metadata(classes=_class_list(value, key, file), notes=tuple(notes))
        if value is not None:
            notes.append(f"{key!r} in the file is {type(value).__name__}, not a list of names: left alone")
    index = content.get(_INDEX)
    if isinstance(index, Mapping):
        return Metadata(classes=_ordered(entries_of(index), file), notes=tuple(notes))
    return Metadata(notes=tuple(notes))


def _json(header: Mapping[str, str], key: str, file: str) -> object:
    try:
        return json.loads(header[key])
    except ValueError as error:
        raise CheckpointError(f"{file}: the metadata key {key} is not JSON ({error})") from None
    except RecursionError:
        raise CheckpointError(f"{file}: the metadata key {key} holds lists in lists without end") from None


def _class_list(value: object, key: str, file: str) -> tuple[str, ...]:
    if not isinstance(value, list | tuple) or not value:
        raise CheckpointError(f"{file}: the metadata key {key} must be a list of class names, got {described(value)}")
    others = [name for name in value if not isinstance(name, str)]
    if others:
        raise CheckpointError(
            f"{file}: the metadata key {key} must be a list of class names, got {described(others[0])} among them"
        )
    return tuple(value)


def _ordered(index: Mapping[object, object], file: str) -> tuple[str, ...]:
    try:
        by_index = {_number(number): _class_name(name) for name, number in index.items()}
    except (TypeError, ValueError):
        by_index = {}
    if not index or sorted(by_index) != list(range(len(index))):
        some = ", ".join(
            f"{described(name)}: {described(number)}" for name, number in itertools.islice(index.items(), 3)
        )
        raise CheckpointError(
            f"{file}: the metadata key {_INDEX} must number its classes 0, 1, 2, ..., got {len(index)} entries ({some})"
        )
    return tuple(by_index[number] for number in range(len(index)))


def _number(value: object) -> int:
    """Give the number of a class, which may be written as text; 1.5 is none."""
    return int(value) if isinstance(value, str) else operator.index(cast("int", value))


def _class_name(value: object) -> str:
    if not isinstance(value, str | int):
        raise TypeError(f"expected the name of a class, got {type(value).__name__}")
    return str(value)


def _preprocessing(value: object, file: str) -> Preprocessing:
    if not isinstance(value, dict):
        raise CheckpointError(f"{file}: the metadata key {PREPROCESSING} must be a JSON object, got {described(value)}")
    try:
        # In the same ranges as on the command line: a picture of a million pixels a side fits no memory.
        PreprocessOptions.model_validate(value)
        return Preprocessing.model_validate({**value, "origin": _ORIGIN})
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(str(part) for part in first["loc"])
        raise CheckpointError(
            f"{file}: the metadata key {PREPROCESSING} is malformed: {shown(where)}: {shown(first['msg'])}"
        ) from None
