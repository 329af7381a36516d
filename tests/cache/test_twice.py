"""The second run gives the bytes of the first and asks no network; whatever could move a bit is computed anew."""

from __future__ import annotations

import dataclasses
import json
import logging
import shutil

import pytest
import torch
from PIL import Image
from typer.testing import CliRunner

import planted
from tlaudit import erosion, lingering, load_pair
from tlaudit.cache import surroundings
from tlaudit.cli import app as application
from tlaudit.data.images import ImageStream
from tlaudit.errors import DataError
from tlaudit.models.halving import Halving
from tlaudit.models.runtime import Execution

SOURCE = 36
ALL = 3 * SOURCE + 120 + 2 * 20
"""Source images through three networks, target images through one, validation images through two."""
EXECUTION = {"device": "cpu", "workers": 0, "batch_size": 8}


@pytest.fixture
def world(tmp_path):
    return planted.build(tmp_path, per_class=SOURCE // planted.CLASSES)


@pytest.fixture(autouse=True)
def folder(tmp_path, monkeypatch):
    monkeypatch.setenv("TLAUDIT_CACHE_DIR", str(tmp_path / "cache"))
    return tmp_path / "cache"


def pair_of(world, **others):
    files = {name: str(world[name]) for name in ("source", "finetuned", "baseline")} | others
    return load_pair(**files, arch=planted.ARCH)


def run(world, pair=None, *, execution=None, preprocess=None, strict=False, **options):
    folders = {name: world[name] for name in ("source_data", "target_data", "val_data")}
    return lingering(
        pair or pair_of(world),
        **folders,
        strict=strict,
        preprocess=planted.PREPROCESS | (preprocess or {}),
        execution=EXECUTION | (execution or {}),
        **{"k": 1, "bootstrap": 100, **options},
    )


def text(result):
    document = json.loads(result.model_dump_json())
    del document["run"]
    return json.dumps(document)


def new_images(asked):
    count = sum(asked)
    asked.clear()
    return count


def test_a_second_run_is_the_first_to_the_byte_and_asks_nobody(world, asked, folder):
    without = run(world, execution={"cache": False})
    assert not folder.exists()
    assert new_images(asked) == ALL
    first = run(world)
    assert new_images(asked) == ALL
    second = run(world)
    assert new_images(asked) == 0
    assert text(without) == text(first) == text(second)


@pytest.mark.parametrize("options", [{"k": 7}, {"p_lo": 0.5}, {"v_lo_count": 3}, {"bootstrap": 200}], ids=str)
def test_what_is_only_judged_otherwise_is_found_again(world, asked, options):
    run(world)
    new_images(asked)
    found = run(world, **options)
    assert new_images(asked) == 0
    assert text(found) == text(run(world, execution={"cache": False}, **options))


def test_another_finetuned_network_leaves_the_source_network_alone(world, asked, tmp_path):
    run(world)
    new_images(asked)
    net = planted.finetuned()
    with torch.no_grad():
        net.templates.bias[2] -= 1
    torch.save(net.state_dict(), tmp_path / "second.pth")
    second = run(world, pair_of(world, finetuned=str(tmp_path / "second.pth")))
    assert new_images(asked) == SOURCE + 20  # hybrid and finetuned network
    again = pair_of(world, finetuned=str(tmp_path / "second.pth"))
    assert text(second) == text(run(world, again, execution={"cache": False}))


def one_byte(world):
    path = min((world["source_data"] / "4").iterdir())
    path.write_bytes(path.read_bytes() + b"\0")


def one_pixel(world):
    path = min((world["source_data"] / "4").iterdir())
    with Image.open(path) as image:
        changed = image.copy()
    changed.putpixel((0, 0), (1, 2, 3))
    changed.save(path)


def renamed(world):
    path = min((world["source_data"] / "4").iterdir())
    path.rename(path.with_name("zz.png"))


def other_class(world):
    path = min((world["source_data"] / "4").iterdir())
    path.rename(world["source_data"] / "5" / "zz.png")


@pytest.mark.parametrize("change", [one_byte, one_pixel, renamed, other_class], ids=lambda f: f.__name__)
def test_other_images_are_looked_at_and_the_rest_is_known(world, asked, change):
    run(world)
    new_images(asked)
    change(world)
    found = run(world)
    assert new_images(asked) == 3 * SOURCE
    assert text(found) == text(run(world, execution={"cache": False}))


def test_the_same_images_elsewhere_are_the_same(world, asked, tmp_path):
    run(world)
    new_images(asked)
    shutil.copytree(world["source_data"], tmp_path / "moved")
    run(world | {"source_data": tmp_path / "moved"})
    assert new_images(asked) == 0


def test_the_same_images_of_other_classes_are_others(world, asked, tmp_path):
    run(world)
    new_images(asked)
    names = [str(index) for index in range(planted.CLASSES)]
    turned = dict(zip(names, [*range(1, planted.CLASSES), 0], strict=True))
    (tmp_path / "map.json").write_text(json.dumps(turned))
    run(world, class_map=tmp_path / "map.json")
    assert new_images(asked) == 3 * SOURCE


@pytest.mark.parametrize(
    ("given", "images"),
    [
        ({"execution": {"batch_size": 9}}, ALL),
        ({"execution": {"precision": "bf16"}}, ALL),
        ({"execution": {"seed": 1}}, 3 * SOURCE),  # the order of the source images alone
        ({"preprocess": {"resize": 17}}, ALL),
        ({"preprocess": {"mean": (0.1, 0, 0)}}, ALL),
        # Pictures are the same to the source network, whose answer to them is known.
        ({"preprocess": {"baseline": {"std": (0.9, 1, 1)}}}, SOURCE + 20),
        ({"k": 11}, 120),
        ({"execution": {"workers": 1}}, 0),
    ],
    ids=str,
)
def test_whatever_moves_a_bit_is_computed_anew(world, asked, given, images):
    run(world)
    new_images(asked)
    found = run(world, **given)
    assert new_images(asked) == images
    known = given | {"execution": {**given.get("execution", {}), "cache": False}}
    assert text(found) == text(run(world, **known))


def test_a_fused_network_is_another_one(world, folder):
    run(world)
    before = set(folder.iterdir())
    run(world, execution={"fuse": True})
    assert len(set(folder.iterdir()) - before) == 6


@pytest.mark.parametrize("what", ["CODE", "_libraries", "_switches"])
def test_another_version_computes_anew(world, asked, monkeypatch, what):
    run(world)
    new_images(asked)
    monkeypatch.setattr(surroundings, what, "other" if what == "CODE" else lambda: {"torch": "other"})
    run(world)
    assert new_images(asked) == ALL


def test_a_network_changed_in_memory_is_another_one(world, asked):
    pair = pair_of(world)
    run(world, pair)
    new_images(asked)
    with torch.no_grad():
        pair.source.module.templates.weight.view(torch.int32)[0, 0, 0, 0] ^= 1
    run(world, pair)
    assert new_images(asked) == 120 + SOURCE  # the source network; the other two have not changed


@pytest.mark.parametrize("change", ["hook", "broken file"])
def test_what_cannot_be_known_or_believed_is_computed(world, asked, folder, change, caplog):
    pair = pair_of(world)
    first = run(world, pair)
    new_images(asked)
    if change == "hook":
        pair.source.module.templates.register_forward_hook(lambda *_: None)
        expected = ALL - 2 * 20  # hybrid and control are made of the source network
    else:
        for path in folder.iterdir():
            path.write_bytes(path.read_bytes()[:-1])
        expected = ALL
    second = run(world, pair)
    assert new_images(asked) == expected
    assert text(second) == text(first)
    run(world, pair)
    assert new_images(asked) == (expected if change == "hook" else 0)
    assert ("computed again" in caplog.text) == (change == "broken file")


def test_skipped_images_are_told_and_refused_alike(world, asked, caplog):
    (world["source_data"] / "4" / "broken.png").write_bytes(b"no picture")
    (world["target_data"] / "colour0" / "empty.png").write_bytes(b"")
    said, results = [], []
    for _ in range(2):
        caplog.clear()
        results.append(run(world))
        said.append([record.getMessage() for record in caplog.records if record.levelno >= logging.WARNING])
    assert len(said[0]) >= 2
    assert said[0] == said[1]
    assert text(results[0]) == text(results[1])
    assert [one.file for one in results[1].provenance.data["source"].skipped] == ["4/broken.png"]
    new_images(asked)
    with pytest.raises(DataError, match="none may be skipped"):
        run(world, strict=True)
    assert new_images(asked) == 0


def test_files_that_change_between_two_looks_are_not_mixed(world, asked, monkeypatch, tmp_path):
    """One network is known for the files as they were when they were hashed; the pass for the other reads new ones."""
    run(world)
    new_images(asked)
    net = planted.finetuned()
    with torch.no_grad():
        net.templates.bias[2] -= 1
    torch.save(net.state_dict(), tmp_path / "second.pth")
    original = ImageStream.__iter__

    def changing(stream):
        one_pixel(world)
        return original(stream)

    monkeypatch.setattr(ImageStream, "__iter__", changing)
    found = run(world, pair_of(world, finetuned=str(tmp_path / "second.pth")))
    monkeypatch.setattr(ImageStream, "__iter__", original)
    again = pair_of(world, finetuned=str(tmp_path / "second.pth"))
    assert text(found) == text(run(world, again, execution={"cache": False}))


def test_says_what_came_from_the_cache(world, caplog):
    run(world)
    caplog.set_level(logging.INFO, "tlaudit")
    run(world)
    said = [record.getMessage() for record in caplog.records if "from the cache" in record.getMessage()]
    assert said[0] == "target images: source network from the cache"
    assert len(said) == 6


def eroded(world, **execution):
    preprocess = planted.PREPROCESS
    given = EXECUTION | execution
    return erosion(
        pair_of(world), None, world["source_data"], stages=("templates", "norm"), preprocess=preprocess, execution=given
    )


def test_erosion_is_found_again_whole(world, asked):
    without = eroded(world, cache=False)
    new_images(asked)
    first = eroded(world)
    assert new_images(asked) == 3 * SOURCE
    second = eroded(world)
    assert new_images(asked) == 0
    assert text(without) == text(first) == text(second)


def test_memory_that_was_too_short_leaves_nothing_to_find(world, folder, monkeypatch):
    original = Halving.run

    def halved(halving, count, step):
        halving.most = 4
        return original(halving, count, step)

    monkeypatch.setattr(Halving, "run", halved)
    run(world)
    assert not folder.exists()


def command(world, *more):
    names = ("source", "finetuned", "baseline", "source_data", "target_data")
    given = [part for name in names for part in (f"--{name.replace('_', '-')}", str(world[name]))]
    size = str(planted.SIZE)
    net = ["--arch", planted.ARCH, "--resize", size, "--crop", size, "--device", "cpu", "-j", "0", "--k", "1"]
    outcome = CliRunner().invoke(application.app, ["lingering", *given, *net, "-f", "json", "-q", *map(str, more)])
    assert outcome.exit_code == 0, outcome.stderr
    document = json.loads(outcome.stdout)
    del document["run"]
    return document


def test_the_command_line_says_whether_and_where(world, asked, folder, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    without = command(world, "--no-cache")
    assert not folder.exists()
    new_images(asked)
    assert command(world, "--cache-dir", tmp_path / "own") == without
    assert new_images(asked)
    assert not folder.exists()
    assert command(world, "--cache-dir", tmp_path / "own") == without
    assert new_images(asked) == 0
    command(world, "--cache-size", "0.000001")
    assert new_images(asked)
    assert not folder.exists()


def test_options_of_the_cache_are_no_part_of_a_result(world):
    options = run(world, execution={"cache_size": 1.0}).provenance.options
    assert not [name for name in options if "cache" in name]


def test_all_that_moves_a_bit_of_an_execution_is_asked(world):
    """A field that is added counts until somebody says that it does not."""
    names = {field.name for field in dataclasses.fields(Execution)}
    assert names >= {"device", "precision", "batch_size", "workers"}
