"""Which folders are which classes, and what is refused."""

from __future__ import annotations

import dataclasses

import pytest
from PIL import Image

import tiny
from tlaudit.errors import ClassMatchError, UsageError
from tlaudit.models.sources import load_model
from tlaudit.options import DataOptions
from tlaudit.repair.task import find_task


def folders(root, *names, images=1):
    for name in names:
        (root / name).mkdir(parents=True)
        for number in range(images):
            Image.new("RGB", (8, 8), (number, 0, 0)).save(root / name / f"{number}.png")
    return root


def task(train, val=None, finetuned=None, **data):
    return find_task(train, val, finetuned, DataOptions(**data), seed=0)


@pytest.fixture(scope="module")
def finetuned(tmp_path_factory):
    path = tiny.saved(tmp_path_factory.mktemp("networks") / "net.pth", tiny.own(3))
    return load_model(path, arch=tiny.OWN, head="fc")


def test_folders_are_classes_in_sorted_order(tmp_path):
    found = task(folders(tmp_path / "train", "dog", "cat"), folders(tmp_path / "val", "cat", "dog", images=2))
    assert found.classes == ("cat", "dog")
    assert [
        (item.folder, int(label))
        for item, label in zip(found.training.images.items, found.training.labels, strict=True)
    ] == [
        ("cat", 0),
        ("dog", 1),
    ]
    assert found.val.labels.tolist() == [0, 0, 1, 1]


def test_folders_that_are_numbers_are_taken_at_their_word(tmp_path):
    names = [str(number) for number in range(12)]
    found = task(folders(tmp_path, *names))
    assert found.classes == tuple(names)
    assert {
        item.folder: str(int(label))
        for item, label in zip(found.training.images.items, found.training.labels, strict=True)
    } == {name: name for name in names}
    assert found.val is None


def test_a_finetuned_network_says_the_order(tmp_path, finetuned):
    named = dataclasses.replace(finetuned, classes=("zebra", "Cat", "dog"))
    found = task(folders(tmp_path, "cat", "dog", "zebra"), finetuned=named)
    assert found.classes == ("zebra", "Cat", "dog")
    assert found.training.labels.tolist() == [1, 2, 0]


def test_a_finetuned_network_without_names(tmp_path, finetuned):
    assert task(folders(tmp_path, "b", "a", "c"), finetuned=finetuned).classes == ("a", "b", "c")


def test_limit(tmp_path):
    assert len(task(folders(tmp_path, "a", "b", images=5), limit=4).training.labels) == 4


@pytest.mark.parametrize(
    ("train", "val", "message"),
    [
        (["a"], None, "expected at least two class folders to tell apart, got a"),
        (["a", "b"], ["a", "c"], "differ: b only in .*train; c only in .*val"),
        (["a", "b"], ["a"], "differ: b only in .*train$"),
    ],
)
def test_refuses(tmp_path, train, val, message):
    place = folders(tmp_path / "train", *train)
    with pytest.raises(UsageError, match=message):
        task(place, folders(tmp_path / "val", *val) if val else None)


def test_refuses_empty_classes(tmp_path):
    folders(tmp_path, "a", "b")
    (tmp_path / "c").mkdir()
    with pytest.raises(UsageError, match="class folders without an image: c; add images or remove them"):
        task(tmp_path)


def test_refuses_other_labels_than_the_checkpoints(tmp_path, finetuned):
    with pytest.raises(ClassMatchError, match=r"a folder for each of the 3 classes of .*net.pth, got 2: a, b"):
        task(folders(tmp_path / "two", "a", "b"), finetuned=finetuned)
    named = dataclasses.replace(finetuned, classes=("a", "b", "c"))
    with pytest.raises(ClassMatchError, match="'d'"):
        task(folders(tmp_path / "three", "a", "b", "d"), finetuned=named)
