"""Every kind of input says the same of the same images."""

from __future__ import annotations

import csv
import json
import tarfile

import pytest

import planted
from tlaudit import lingering, load_pair
from tlaudit.auditing.choice import refuse_absent
from tlaudit.config import load_settings
from tlaudit.data.inputs import gather
from tlaudit.data.kinds import set_in
from tlaudit.errors import UsageError
from tlaudit.repair.continual import parse_tasks
from tlaudit.scaffold.surroundings import look_around

SETS = ("source_data", "target_data", "val_data")


@pytest.fixture(scope="module")
def world(tmp_path_factory):
    """The planted world's images as folders, as shards and as manifests."""
    world = planted.build(tmp_path_factory.mktemp("world"))
    for name in SETS:
        root = world[name]
        files = sorted(path.relative_to(root).as_posix() for path in root.rglob("*.png"))
        with tarfile.open(root.with_suffix(".tar"), "w") as tar:
            for file in files:
                tar.add(root / file, file)
        with root.with_suffix(".csv").open("w", newline="", encoding="utf-8") as file:
            rows = csv.writer(file)
            rows.writerow(["path", "label"])
            rows.writerows([f"{root.name}/{name}", name.partition("/")[0]] for name in files)
    return world


def audited(world, ending):
    pair = load_pair(str(world["source"]), str(world["finetuned"]), str(world["baseline"]), arch=planted.ARCH)
    data = {name: world[name].with_suffix(ending) for name in SETS}
    execution = {"device": "cpu", "workers": 0, "batch_size": 8}
    return lingering(pair, **data, preprocess=planted.PREPROCESS, execution=execution, k=1)


def test_lingering_of_a_folder_a_shard_and_a_manifest_is_the_same(world):
    results = [json.loads(audited(world, ending).to_json()) for ending in ("", ".tar", ".csv")]
    for result in results[1:]:
        for part in ("verdict", "summary", "measurements", "tables", "findings"):
            assert result[part] == results[0][part], part
        for role, data in result["provenance"]["data"].items():
            first = results[0]["provenance"]["data"][role]
            assert {key: data[key] for key in ("images", "folders", "available", "skipped")} == {
                key: first[key] for key in ("images", "folders", "available", "skipped")
            }
    assert results[0]["provenance"]["data"]["source"]["path"] == str(world["source_data"])
    assert results[2]["provenance"]["data"]["source"]["path"] == str(world["source_data"].with_suffix(".csv"))


def test_inputs_of_screen_may_be_shards_and_manifests(world, monkeypatch):
    monkeypatch.chdir(world["val_data"].parent)
    name = world["val_data"].name
    (world["val_data"].parent / "notes.csv").write_text("a,b\n1,2\n")
    paths = [world["val_data"].relative_to(world["val_data"].parent).with_suffix(end) for end in ("", ".tar", ".csv")]
    inputs = gather([*paths, paths[0].parent / "notes.csv"])
    names = [item.name for item in inputs.images.items]
    each = len(names) // 3
    below = [one.removeprefix(f"{name}/") for one in names[:each]]
    assert names[each:] == [f"./{name}.tar/{one}" for one in below] + [f"{name}.csv/{name}/{one}" for one in below]
    [(at, skipped)] = inputs.refused
    assert (at, skipped.file) == (3 * each, "notes.csv")
    assert skipped.reason.startswith("expected a column with the paths of images")


def test_what_an_audit_looks_at_may_be_of_any_kind(world):
    for ending in ("", ".tar", ".csv"):
        refuse_absent(load_settings({"data": {name[:-5]: world[name].with_suffix(ending) for name in SETS}}))
    with pytest.raises(UsageError, match=r"source of \[data\] .*: expected a folder of images, .*, got a file"):
        refuse_absent(load_settings({"data": {"source": world["source"]}}))


@pytest.mark.parametrize(
    ("ending", "said"), [("", "in 12 class folders."), (".tar", "in 12 classes."), (".csv", "in 12 classes.")]
)
def test_init_says_what_was_found(world, ending, said):
    pair = load_pair(str(world["source"]), str(world["finetuned"]), arch=planted.ARCH)
    data = load_settings({"data": {name[:-5]: world[name].with_suffix(ending) for name in SETS}}).data
    images = look_around(pair, data).images
    assert images["source"] == (f"72 images {said}", "12 of 12 source classes have images.")
    assert images["val"][1] == "Folders are the finetuned network's outputs: 0 colour0, 1 colour1."


def test_tasks_may_be_of_any_kind(world, tmp_path):
    for task, endings in (("a", ("", ".tar")), ("b", (".csv", ""))):
        (tmp_path / task).mkdir()
        for part, ending in zip(("train", "val"), endings, strict=True):
            (tmp_path / task / f"{part}{ending}").symlink_to(world["val_data"].with_suffix(ending))
    tasks = parse_tasks([f"{task}={tmp_path / task}" for task in "ab"])
    assert set_in(tasks["a"], "val") == tmp_path / "a" / "val.tar"
    (tmp_path / "b" / "train.csv").rename(tmp_path / "b" / "train.txt")
    with pytest.raises(UsageError, match=r"--task b: expected train and val in .*, each a folder .*; no train"):
        parse_tasks([f"{task}={tmp_path / task}" for task in "ab"])
