"""What was seen of composites is found again, and only by those who would see the very same."""

from __future__ import annotations

import json
import shutil

import pytest
import torch

import readers
import tiny
from readers import DEFINITIONS, PREPROCESS
from tlaudit import distraction, lingering, load_pair
from tlaudit.checks.explained import Explainer
from tlaudit.models.attribution import Attributor

EXECUTION = {"device": "cpu", "workers": 0, "batch_size": 7}


@pytest.fixture
def world(tmp_path, monkeypatch):
    monkeypatch.setenv("TLAUDIT_CACHE_DIR", str(tmp_path / "cache"))
    (tmp_path / "world").mkdir()
    return readers.build(tmp_path / "world")


@pytest.fixture
def explained(monkeypatch):
    """How many composites were explained."""
    found = []
    original = Explainer.__call__

    def counted(self, batch, labels):
        found.append(len(batch.composites))
        return original(self, batch, labels)

    monkeypatch.setattr(Explainer, "__call__", counted)
    return found


def run(world, *, pair=None, execution=None, **options):
    pair = pair or pair_of(world)
    folders = {"source_data": world / "source", "target_data": world / "target"}
    common = {"preprocess": PREPROCESS, "execution": EXECUTION | (execution or {})}
    known = lingering(pair, **folders, **common, **DEFINITIONS)
    return distraction(
        pair, **folders, lingering=known, **common, **({"per_class": 2, "bootstrap": 100, "gallery": 2} | options)
    )


def pair_of(world, finetuned="background"):
    return load_pair(world / "source.pth", world / f"{finetuned}.pth", world / "overlay.pth", arch=tiny.READER)


def text(result):
    return json.dumps(result.model_dump(mode="json", exclude={"run"}))


def looked(explained):
    count = sum(explained)
    explained.clear()
    return count


def test_a_second_look_is_the_first_to_the_byte(world, explained, tmp_path):
    without = run(world, execution={"cache": False})
    every = looked(explained)
    assert every
    first = run(world)
    assert looked(explained) == every
    second = run(world)
    assert looked(explained) == 0
    assert text(without) == text(first) == text(second)
    assert any(exhibit.pictures for exhibit in second.exhibits)
    shutil.copytree(world, tmp_path / "moved")
    moved = run(tmp_path / "moved")
    assert looked(explained) == 0
    assert moved.provenance.data["overlays"].path == str(tmp_path / "moved" / "target")
    assert moved.measurements == first.measurements


def test_intervals_are_made_anew(world, explained):
    run(world)
    looked(explained)
    other = run(world, bootstrap=200, confidence=0.9)
    assert looked(explained) == 0
    assert text(other) == text(run(world, execution={"cache": False}, bootstrap=200, confidence=0.9))


def one_weight(world):
    pair = pair_of(world)
    with torch.no_grad():
        next(iter(pair.finetuned.module.parameters())).view(-1)[0] += 1e-3
    return {"pair": pair}


def one_target_image(world):
    path = min((world / "target").rglob("*.png"))
    path.write_bytes(path.read_bytes() + b"\0")
    return {}


CHANGES = {
    "weight": one_weight,
    "target image": one_target_image,
    "per_class": lambda _: {"per_class": 5},
    "percentile": lambda _: {"percentile": 70.0},
    "max_classes": lambda _: {"max_classes": 1},
    "gallery": lambda _: {"gallery": 1},
    "seed": lambda _: {"execution": {"seed": 1}},
    "batch size": lambda _: {"execution": {"batch_size": 5}},
}


@pytest.mark.slow
@pytest.mark.parametrize("change", CHANGES)
def test_whatever_is_seen_otherwise_is_looked_at(world, explained, change):
    run(world)
    looked(explained)
    given = CHANGES[change](world)
    run(world, **given)
    assert looked(explained)


def test_what_is_written_is_looked_at(world, explained, tmp_path):
    run(world)
    looked(explained)
    run(world, save_rows=tmp_path / "rows.csv")
    assert looked(explained)
    assert (tmp_path / "rows.csv").is_file()


def test_images_that_change_meanwhile_leave_nothing_to_find(world, explained, monkeypatch):
    original = Attributor.__call__

    def meddling(self, *args):
        one_target_image(world)
        return original(self, *args)

    with monkeypatch.context() as patched:
        patched.setattr(Attributor, "__call__", meddling)
        run(world)
    assert looked(explained)
    run(world)
    assert looked(explained)
