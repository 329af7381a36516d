"""`lingering` against a planted world, a naive reference, and the promises every check makes."""

from __future__ import annotations

import math
import random
import shutil

import numpy as np
import pytest
import torch
from torchvision.transforms import v2

import planted
import reference
from tlaudit import CheckResult, lingering, load_pair
from tlaudit.errors import DataError, UsageError

EXECUTION = {"device": "cpu", "workers": 0, "batch_size": 8}


@pytest.fixture(scope="module")
def world(tmp_path_factory):
    return planted.build(tmp_path_factory.mktemp("world"))


def pair_of(world, *, baseline=True):
    return load_pair(
        str(world["source"]),
        str(world["finetuned"]),
        str(world["baseline"]) if baseline else None,
        arch=planted.ARCH,
    )


def audit(world, *, baseline=True, pair=None, execution=None, **options):
    folders = {name: world[name] for name in ("source_data", "target_data")}
    given = {"val_data": world["val_data"], "preprocess": planted.PREPROCESS, "k": 1} | options
    pair = pair or pair_of(world, baseline=baseline)
    return lingering(pair, **folders, execution=EXECUTION | (execution or {}), **given)


@pytest.fixture(scope="module")
def result(world):
    return audit(world)


def test_planted_truth_and_its_control(result):
    kept = planted.CLASSES - len(planted.PRESENT) - len(planted.FORGOTTEN)
    assert result["source_only.count"].value == planted.CLASSES - len(planted.PRESENT)
    assert result["tested.count"].value == planted.CLASSES - len(planted.PRESENT)
    assert result["lingering.count"].value == kept
    assert result["lingering.fraction"].value == kept / 10
    assert result["control.lingering_count"].value == 0
    assert result["control.mean_probability"].value == pytest.approx(1 / planted.CLASSES)
    assert result["lingering.mean_retention"].value == pytest.approx(1, abs=1e-3)
    assert result["source.source_top1"].value == 1
    assert result["hybrid.source_top1"].value == pytest.approx(1 - len(planted.FORGOTTEN) / planted.CLASSES)
    assert result["target.accuracy"].value == 1
    assert result["baseline.target_accuracy"].value == 0.5
    status = dict(zip(result.table("classes")["class_index"], result.table("classes")["status"], strict=True))
    assert {index for index, word in status.items() if word == "forgotten"} == set(planted.FORGOTTEN)
    assert {index for index, word in status.items() if word == "in target data"} == set(planted.PRESENT)
    assert {finding.code for finding in result.findings} == {"classes.target_assumed"}


def test_agrees_with_reference(world, result):
    """Probabilities of a loop over single images, transformed by torchvision, averaged in Python."""
    prepare = v2.Compose(
        [v2.Resize(planted.SIZE), v2.CenterCrop(planted.SIZE), v2.PILToTensor(), v2.ToDtype(torch.float32, scale=True)]
    )
    hybrid = planted.finetuned()
    hybrid.head = planted.source().head
    networks = {"source_probability": planted.source(), "hybrid_probability": hybrid}
    rows = result.tables["classes"].rows
    for index in range(planted.CLASSES):
        files = sorted((world["source_data"] / str(index)).iterdir())
        assert rows[index]["n"] == len(files)
        for column, network in networks.items():
            values = []
            for file in files:
                with planted.Image.open(file) as image:
                    logits = network(prepare(image)[None])[0].tolist()
                values.append(reference.softmax(logits)[index])
            assert rows[index][column] == pytest.approx(math.fsum(values) / len(values), abs=1e-6)


def test_says_what_was_not_measured(world):
    result = audit(world, baseline=False, val_data=None)
    for name in ("control.lingering_count", "control.mean_probability", "control.source_top1"):
        assert result[name].value is None
        assert "--baseline" in result[name].absent
    assert "--val-data" in result["target.accuracy"].absent
    row = result.tables["classes"].rows[5]
    assert row["control_probability"] is None
    assert "--baseline" in row["absent"]


def test_classes_without_images_are_untested_not_forgotten(world, tmp_path):
    for index in (0, 2, 3):
        shutil.copytree(world["source_data"] / str(index), tmp_path / str(index))
    result = audit(world | {"source_data": tmp_path})
    table = result.table("classes").set_index("class_index")
    assert list(table.loc[[0, 2, 3, 4], "status"]) == ["in target data", "lingering", "forgotten", "untested"]
    assert (result["tested.count"].value, result["lingering.fraction"].value) == (2, 0.5)
    assert "no image of this class" in table.loc[4, "absent"]
    only_present = tmp_path / "present"
    shutil.copytree(tmp_path / "0", only_present / "0")
    nothing = audit(world | {"source_data": only_present})
    assert nothing["lingering.fraction"].value is None
    assert "no source-only class has images" in nothing["lingering.fraction"].absent


def test_few_images_give_no_interval_and_say_so(world, tmp_path):
    for index in (4, 5):
        planted.paint(tmp_path / str(index), planted.COLOURS[index], 2)
    result = audit(world | {"source_data": tmp_path})
    row = result.tables["classes"].rows[4]
    assert row["hybrid_low"] is None
    assert "2 values, a bootstrap needs 5" in row["absent"]
    assert "data.few_images" in {finding.code for finding in result.findings}


def test_options_do_something(world, result):
    assert audit(world, k=12)["source_only.count"].value == 0
    assert audit(world, v_lo_count=60)["source_only.count"].value == planted.CLASSES
    assert audit(world, v_lo=0.5)["source_only.count"].value == planted.CLASSES
    assert audit(world, v_lo=0.49)["source_only.count"].value == planted.CLASSES - 2
    assert audit(world, p_lo=1 - 1e-9)["lingering.count"].value < result["lingering.count"].value
    wide, narrow = result["lingering.fraction"], audit(world, confidence=0.5)["lingering.fraction"]
    assert narrow.interval.low > wide.interval.low
    assert result.provenance.options["bootstrap"] == 2000
    assert audit(world, bootstrap=100).provenance.options["bootstrap"] == 100
    limited = audit(world, limit=24)
    assert (limited.provenance.data["target"].images, limited.provenance.data["target"].available) == (24, 120)
    assert "data.few_target_images" in {finding.code for finding in limited.findings}
    with pytest.raises(UsageError, match="unknown key 'kk'"):
        audit(world, kk=3)


def test_refuses_thresholds_nothing_can_exceed(world):
    with pytest.raises(UsageError, match="no probability can exceed p_lo = 1"):
        audit(world, p_lo=1)
    with pytest.raises(UsageError, match=r"--k must not exceed the number of source classes \(12\)"):
        audit(world, k=13)


def test_broken_images_are_counted_and_named(world, tmp_path):
    root = tmp_path / "source"
    shutil.copytree(world["source_data"], root)
    (root / "5" / "empty.jpg").touch()
    result = audit(world | {"source_data": root})
    assert [skipped.file for skipped in result.provenance.data["source"].skipped] == ["5/empty.jpg"]
    with pytest.raises(DataError, match="empty.jpg"):
        audit(world | {"source_data": root}, strict=True)


def test_a_source_that_gives_nan_on_target_images_only_gives_no_prevalence(world, tmp_path):
    pair = pair_of(world)
    with torch.no_grad():  # NaN for black pictures, of which there is one in the target data
        pair.source.module.register_forward_hook(
            lambda _, x, y: torch.where(x[0].sum((1, 2, 3))[:, None] == 0, math.nan, y)
        )
    shutil.copytree(world["target_data"], tmp_path / "train")
    planted.paint(tmp_path / "train" / "black", (0, 0, 0), 1)
    shutil.rmtree(tmp_path / "train" / "colour0")
    source = tmp_path / "source"
    shutil.copytree(world["source_data"], source)
    shutil.rmtree(source / "0")
    with pytest.raises(DataError, match="target images: the source network gives no number for 1 images"):
        audit(world | {"target_data": tmp_path / "train", "source_data": source}, pair=pair, val_data=None)


def test_a_baseline_of_another_task_is_not_compared(world, tmp_path):
    torch.save(planted.source().state_dict(), tmp_path / "twelve.pth")
    pair = load_pair(str(world["source"]), str(world["finetuned"]), str(tmp_path / "twelve.pth"), arch=planted.ARCH)
    result = audit(world, pair=pair)
    assert result["target.accuracy"].value == 1
    assert result["baseline.target_accuracy"].absent == "the baseline has 12 classes, the finetuned network 2"


def test_a_network_that_cannot_take_the_images_is_named(world):
    pair = pair_of(world)
    pair.finetuned.module.templates.register_forward_pre_hook(lambda *_: (_ for _ in ()).throw(AssertionError("8 px")))
    with pytest.raises(
        UsageError, match="finetuned network cannot work on images of 16 x 16 pixels: AssertionError: 8 px"
    ):
        audit(world, pair=pair)
    pair = pair_of(world)
    pair.finetuned.module.register_forward_hook(lambda _, x, y: (y, y))
    with pytest.raises(UsageError, match=r"expected logits \(N, K\).* got tuple"):
        audit(world, pair=pair)


def test_numbered_target_folders_are_taken_at_their_word(world, tmp_path):
    pair = load_pair(str(world["source"]), str(world["source"]), arch=planted.ARCH)
    result = audit(world, pair=pair, val_data=world["source_data"])
    assert result["target.accuracy"].value == result["source.source_top1"].value == 1


def test_a_network_that_gives_nan_gives_no_number(world):
    pair = pair_of(world)
    pair.source.module.head.weight[0, 0] = math.inf
    with pytest.raises(DataError, match="gives no number for"):
        audit(world, pair=pair)


def test_a_control_that_knows_the_source_is_pointed_out(world):
    pair = load_pair(str(world["source"]), str(world["finetuned"]), str(world["finetuned"]), arch=planted.ARCH)
    codes = {finding.code for finding in audit(world, pair=pair).findings}
    assert "control.above_chance" in codes


def test_nothing_finetuned_is_said(world):
    pair = load_pair(str(world["source"]), str(world["source"]), arch=planted.ARCH)
    result = audit(world, pair=pair, val_data=None)
    assert "lineage.identical" in {finding.code for finding in result.findings}
    assert result["lingering.mean_retention"].value == 1


# What every check promises.


def test_same_seed_same_document_whatever_the_workers(world, result):
    again = audit(world, execution={"workers": 2})
    assert again.model_dump(exclude={"run"}) == result.model_dump(exclude={"run"})


@pytest.mark.parametrize("batch_size", [1, 5, 1000])
def test_batch_size_does_not_change_the_value(world, result, batch_size):
    other = audit(world, execution={"batch_size": batch_size})
    for mine, theirs in zip(result.measurements, other.measurements, strict=True):
        assert mine.value == pytest.approx(theirs.value, abs=1e-6)


def test_survives_json(result):
    assert CheckResult.model_validate_json(result.to_json()) == result


def test_every_measurement_is_complete(result):
    for measurement in result.measurements:
        assert measurement.unit
        assert measurement.meaning
        assert measurement.better in {"lower", "higher", "neither"}
        assert measurement.value is None or measurement.n > 0


def state_of(pair):
    modules = [model.module for model in (pair.source, pair.finetuned, pair.baseline)]
    return (
        [{name: tensor.clone() for name, tensor in module.state_dict().items()} for module in modules],
        [[m.training for m in module.modules()] for module in modules],
        [[p.requires_grad for p in module.parameters()] for module in modules],
        [[len(m._forward_hooks) + len(m._forward_pre_hooks) for m in module.modules()] for module in modules],
        (torch.get_rng_state(), np.random.get_state()[1].tolist(), random.getstate()),
        (torch.backends.cudnn.allow_tf32, torch.is_inference_mode_enabled(), torch.is_autocast_enabled("cpu")),
    )


def same(a, b):
    if isinstance(a, torch.Tensor):
        return torch.equal(a, b)
    if isinstance(a, dict):
        return a.keys() == b.keys() and all(same(a[key], b[key]) for key in a)
    if isinstance(a, (list, tuple)):
        return len(a) == len(b) and all(map(same, a, b))
    return a == b


@pytest.mark.parametrize("raises", [False, True])
def test_leaves_everything_as_it_was(world, raises, monkeypatch):
    pair = pair_of(world)
    before = state_of(pair)
    if raises:
        monkeypatch.setattr("tlaudit.checks.lingering._judge", lambda *_: 1 / 0)
        with pytest.raises(ZeroDivisionError):
            audit(world, pair=pair, execution={"precision": "bf16"})
    else:
        audit(world, pair=pair, execution={"precision": "bf16"})
    assert same(before, state_of(pair))
