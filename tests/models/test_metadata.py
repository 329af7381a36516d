"""What a checkpoint says of itself."""

import json
from dataclasses import replace

import pytest

from tlaudit.errors import CheckpointError
from tlaudit.models.metadata import (
    ARCHITECTURE,
    CLASSES,
    PARENTS,
    PREPROCESSING,
    RECIPE,
    Metadata,
    from_container,
    from_header,
    to_header,
)
from tlaudit.results import Preprocessing

PREPARATION = {"resize": 72, "crop": 64, "interpolation": "bicubic", "mean": [0, 0.5, 1], "std": [1, 1, 1]}


def test_header_there_and_back():
    preparation = Preprocessing.model_validate({**PREPARATION, "origin": "checkpoint metadata"})
    told = Metadata(("a", "ü"), preparation, "vgg11", {"source": "12ab"}, {"method": "ldifs", "seed": 0, "x": None})
    header = to_header(told)
    assert set(header) == {CLASSES, PREPROCESSING, ARCHITECTURE, PARENTS, RECIPE}
    assert json.loads(header[PREPROCESSING]) == PREPARATION
    found = from_header(header, "f")
    assert replace(found, notes=()) == told
    assert found.notes == (
        "the file says how it was made: method ldifs, seed 0, x None",
        "the file says what it was made from: source 12ab",
    )


def test_header_without_anything():
    assert to_header(Metadata()) == {}
    found = from_header({"format": "pt"}, "f")
    assert (found.classes, found.preprocessing, found.architecture, found.notes) == (None, None, None, ())


@pytest.mark.parametrize(
    ("key", "value"),
    [
        (CLASSES, "cat, dog"),
        (CLASSES, "[]"),
        (PARENTS, "[]"),
        (PARENTS, '{"source": ["12ab"]}'),
        (RECIPE, "ldifs"),
        (CLASSES, "[1, 2]"),
        (CLASSES, '"cat"'),
        (PREPROCESSING, "[]"),
        (PREPROCESSING, json.dumps({**PREPARATION, "crop": 0})),
        (PREPROCESSING, json.dumps({**PREPARATION, "mean": [0, 1]})),
        (PREPROCESSING, json.dumps({**PREPARATION, "antialias": True})),
        (PREPROCESSING, json.dumps({"resize": 8})),
    ],
)
def test_malformed_header_names_the_key(key, value):
    with pytest.raises(CheckpointError, match=key):
        from_header({key: value}, "f")


@pytest.mark.parametrize(
    "content",
    [
        {"classes": ["cat", "dog"]},
        {"class_names": ("cat", "dog")},
        {"class_to_idx": {"dog": 1, "cat": 0}},
        {"classes": 2, "class_to_idx": {"dog": 1, "cat": 0}},
    ],
)
def test_class_names_of_a_container(content):
    assert from_container(content, "f").classes == ("cat", "dog")


@pytest.mark.parametrize("content", [{}, {"classes": None}, [1]])
def test_container_without_class_names(content):
    assert from_container(content, "f").classes is None


def test_another_meaning_of_classes_is_noted():
    found = from_container({"classes": 37}, "f")
    assert found.classes is None
    assert found.notes == ("'classes' in the file is int, not a list of names: left alone",)


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("classes", [1, 2]),
        ("class_names", []),
        ("class_to_idx", {}),
        ("class_to_idx", {"cat": 0, "dog": 2}),
        ("class_to_idx", {"cat": 0, "dog": 0}),
        ("class_to_idx", {"cat": "first"}),
    ],
)
def test_malformed_container_names_the_key(key, value):
    with pytest.raises(CheckpointError, match=key):
        from_container({key: value}, "f")
