"""`tlaudit repair` as a user meets it: what is written, what is refused before the work, going on after a stop."""

from __future__ import annotations

import csv
import hashlib
import itertools
import json
import os
import re
import subprocess
import sys

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors import safe_open
from typer.testing import CliRunner

import tiny
from tlaudit.cli import app as application
from tlaudit.documents import read_report
from tlaudit.models.checkpoint import read_checkpoint
from tlaudit.models.pretrained import fingerprint
from tlaudit.models.sources import load_model
from tlaudit.policy.expected import expected
from tlaudit.repair import METHODS
from tlaudit.training import loop

runner = CliRunner()


@pytest.fixture(scope="module")
def world(tmp_path_factory):
    """A source network of five classes, a finetuned one of two, and a few pictures of both tasks."""
    root, rng = tmp_path_factory.mktemp("world"), np.random.default_rng(0)
    sets = {"source": (5, 4), "train": (2, 12), "val": (2, 8), "other/train": (3, 8), "other/val": (3, 6)}
    for part, (classes, count) in sets.items():
        for label, number in itertools.product(range(classes), range(count)):
            (root / part / f"c{label}").mkdir(parents=True, exist_ok=True)
            picture = rng.integers(0, 160, (16, 16, 3), dtype=np.uint8)
            picture[..., label % 3] += 80 if part != "source" else 40
            Image.fromarray(picture).save(root / part / f"c{label}" / f"{number}.png")
    (root / "task").mkdir()
    for part in ("train", "val"):
        (root / "task" / part).symlink_to(root / part)
    source = tiny.own(5)
    tiny.saved(root / "source.pth", {"state_dict": source.state_dict(), "classes": [f"c{i}" for i in range(5)]})
    child = tiny.nudged(source)
    child |= {key: value[:2] for key, value in child.items() if key.startswith("fc.")}
    tiny.saved(root / "finetuned.pth", {"state_dict": child, "classes": ["c0", "c1"]})
    return root


@pytest.fixture(autouse=True)
def nowhere(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)


def flags(world, *more, data=("train", "val", "source")):
    network = ["--source", world / "source.pth", "--arch", tiny.OWN, "--head", "fc", "--resize", "16", "--crop", "16"]
    images = [part for name in data for part in (f"--{name}-data", world / name)]
    schedule = ["--epochs", "2", "--train-batch-size", "8", "--device", "cpu", "-j", "0", "--judge-classes", "2"]
    return ["repair", *network, *images, *schedule, *more]


def run(*args):
    return runner.invoke(application.app, [str(arg) for arg in args])


def weights(path):
    return read_checkpoint(path).state


def same(first, second):
    return first.keys() == second.keys() and all(torch.equal(first[key], second[key]) for key in first)


def test_writes_checkpoint_document_report_and_steps(world, tmp_path):
    ran = run(
        *flags(world, "--method", "ldifs", "-o", "net.safetensors", "--result", "net.json"),
        *("--report", "net.html", "--steps", "steps.csv"),
    )
    assert ran.exit_code == 0, ran.stderr
    assert sorted(path.name for path in tmp_path.iterdir()) == ["net.html", "net.json", "net.safetensors", "steps.csv"]
    document = json.loads((tmp_path / "net.json").read_text())
    (told,) = read_report(tmp_path / "net.json").results
    assert set(expected(told)) == {measurement.name for measurement in told.measurements}
    assert document["check"] == "repair"
    axes = {row["axis"] for row in document["tables"]["before_after"]["rows"]}
    assert {"target accuracy", "source top-1", "lingering count", "distraction"} <= axes, axes
    rows = list(csv.DictReader((tmp_path / "steps.csv").read_text().splitlines()))
    assert [row["step"] for row in rows] == [str(step) for step in range(1, 7)]
    assert {"cross_entropy", "ldifs", "learning_rate", "loss"} <= rows[0].keys()
    checkpoint = read_checkpoint("net.safetensors")
    assert checkpoint.classes == ("c0", "c1")
    assert checkpoint.preprocessing.crop == 16
    assert any("method ldifs" in note for note in checkpoint.notes)
    tiny.Own(2).load_state_dict(checkpoint.state)


def test_what_it_writes_can_be_audited(world, tmp_path):
    assert run(*flags(world, "--method", "lp-ft", "-o", "net.pth")).exit_code == 0
    tiny.Own(2).load_state_dict(torch.load("net.pth", weights_only=True))
    ran = run(
        *("lingering", "--source", world / "source.pth", "--finetuned", "net.pth", "--arch", tiny.OWN, "--head", "fc"),
        *("--source-data", world / "source", "--target-data", world / "train", "--val-data", world / "val"),
        *("-f", "json", "-j", "0", "--resize", "16", "--crop", "16", "--p-lo", "0.5"),
    )
    assert ran.exit_code == 0, ran.stderr
    assert json.loads(ran.stdout)["provenance"]["models"]["finetuned"]["classes_known"]


@pytest.mark.slow
def test_compare_runs_every_method(world, tmp_path):
    ran = run(*flags(world, "--compare", "-o", "net.safetensors", "-f", "json", "--epochs", "1"))
    assert ran.exit_code == 0, ran.stderr
    document = json.loads(ran.stdout)
    named = {row["method"] for row in document["tables"]["pareto"]["rows"]}
    assert named >= set(METHODS)
    assert {path.name for path in tmp_path.iterdir()} == {f"net.{name}.safetensors" for name in METHODS}
    sweep = [row["name"] for row in document["tables"]["pareto"]["rows"] if row["name"].startswith("wise-ft ")]
    assert len(sweep) == 11


def test_before_is_the_finetuned_network_where_there_is_one(world):
    ran = run(*flags(world, "--finetuned", world / "finetuned.pth", "--method", "wise-ft", "-f", "json"))
    assert ran.exit_code == 0, ran.stderr
    document = json.loads(ran.stdout)
    assert document["provenance"]["models"]["finetuned"]["spec"].endswith("finetuned.pth")


@pytest.mark.slow
def test_goes_on_where_it_was_stopped(world, tmp_path, monkeypatch):
    common = ["--method", "plain,l2sp", "--save-every", "2", "--no-flip"]
    assert run(*flags(world, *common, "-o", "whole.pth", "--steps", "whole.csv")).exit_code == 0

    made, learn = itertools.count(), loop.Training._learn

    def stopped(training, *args):
        if next(made) == 9:
            raise KeyboardInterrupt
        return learn(training, *args)

    monkeypatch.setattr(loop.Training, "_learn", stopped)
    ran = run(*flags(world, *common, "-o", "parts.pth", "--steps", "parts.csv"))
    assert ran.exit_code == 130
    monkeypatch.undo()
    monkeypatch.chdir(tmp_path)
    ran = run(*flags(world, *common, "-o", "parts.pth", "--steps", "parts.csv", "--resume"))
    assert ran.exit_code == 0, ran.stderr
    for method in ("plain", "l2sp"):
        assert same(weights(f"whole.{method}.pth"), weights(f"parts.{method}.pth"))
        assert (tmp_path / f"whole.{method}.csv").read_text() == (tmp_path / f"parts.{method}.csv").read_text()
    assert not list(tmp_path.glob("*.state"))


@pytest.mark.slow
@pytest.mark.parametrize(
    ("changed", "told"),
    [
        (["--epochs", "3"], "training.epochs"),
        (["--learning-rate", "0.01"], "training.learning_rate"),
        (["--ldifs-weight", "3"], "ldifs.weight"),
        (["--seed", "1"], "seed"),
        (["--train-data", "other"], "training images"),
    ],
)
def test_refuses_to_go_on_otherwise(world, tmp_path, monkeypatch, changed, told):
    def stopped(training, *args):
        if training.step == 3:
            raise KeyboardInterrupt
        return learn(training, *args)

    learn = loop.Training._learn
    monkeypatch.setattr(loop.Training, "_learn", stopped)
    common = flags(world, "--method", "ldifs", "--save-every", "1", "-o", "net.pth", data=("train", "source"))
    assert run(*common).exit_code == 130
    monkeypatch.undo()
    monkeypatch.chdir(tmp_path)
    if changed[0] == "--train-data":
        changed = ["--train-data", world / "val"]
    ran = run(*common, *changed, "--resume")
    assert ran.exit_code == 2
    assert told in ran.stderr


def test_a_diverging_training_keeps_the_last_good_network(world, tmp_path):
    ran = run(
        *flags(world, "--method", "plain", "-o", "net.pth", "--result", "net.json"),
        *("--optimizer", "sgd", "--learning-rate", "10", "--clip", "0", "--weight-decay", "10", "--epochs", "40"),
    )
    assert ran.exit_code == 3, ran.stderr
    assert "diverged" in ran.stderr
    document = json.loads((tmp_path / "net.json").read_text())
    assert document["verdict"] == "concern"
    if (tmp_path / "net.pth").exists():
        assert all(tensor.isfinite().all() for tensor in weights("net.pth").values())


def test_learns_tasks_in_turn(world, tmp_path):
    ran = run(
        *flags(world, "--method", "ldifs", "-o", "net.pth", "-f", "json", data=("source",)),
        *("--task", f"first={world / 'task'}", "--task", f"second={world / 'other'}"),
    )
    assert ran.exit_code == 0, ran.stderr
    document = json.loads(ran.stdout)
    assert document["check"] == "continual"
    assert {path.name for path in tmp_path.iterdir()} == {"net.ldifs.first.pth", "net.ldifs.second.pth"}
    rows = document["tables"]["accuracies"]["rows"]
    assert [(row["after"], row["task"]) for row in rows] == list(
        itertools.product(("before", "first", "second"), ("first", "second"))
    )
    known = {(row["after"], row["task"]): row["accuracy"] for row in rows}
    assert known["before", "first"] is known["first", "second"] is None
    values = {one["name"]: one["value"] for one in document["measurements"]}
    assert values["continual.ldifs.forgetting"] == known["first", "first"] - known["second", "first"]
    probes = {(row["after"], row["task"]): row["probe"] for row in rows}
    assert values["continual.ldifs.forward_transfer"] == pytest.approx(
        probes["first", "second"] - probes["before", "second"]
    )


def metadata(path):
    with safe_open(path, framework="pt") as archive:
        told = archive.metadata()
    return json.loads(told["tlaudit.parents"]), json.loads(told["tlaudit.recipe"])


def test_checkpoints_name_what_they_were_made_of(world):
    ran = run(*flags(world, "--method", "lp-ft,unlearn,wise-ft", "-o", "net.safetensors", "--epochs", "1"))
    assert ran.exit_code == 0, ran.stderr
    parents, recipe = metadata("net.lp-ft.safetensors")
    assert parents.keys() == {"source", "training images"}
    assert parents["source"] == hashlib.sha256((world / "source.pth").read_bytes()).hexdigest()
    assert (recipe["method"], recipe["init"], recipe["training.epochs"]) == ("lp-ft", "source-lp", 1)
    parents, _ = metadata("net.unlearn.safetensors")
    assert parents.keys() == {"source", "training images", "names and classes of source images"}
    parents, recipe = metadata("net.wise-ft.safetensors")
    mixed = load_model("net.lp-ft.safetensors", arch=tiny.OWN, head="fc").module
    assert parents["finetuned"] == fingerprint(mixed.state_dict())
    assert "init" not in recipe
    assert not any(key.startswith("training.") for key in recipe)


def test_a_finetuned_network_that_nothing_was_made_of_is_no_parent(world):
    more = ["--finetuned", world / "finetuned.pth", "-o", "net.safetensors", "--epochs", "1"]
    assert run(*flags(world, *more, "--method", "plain", data=("train",))).exit_code == 0
    assert "finetuned" not in metadata("net.safetensors")[0]
    assert run(*flags(world, *more, "--method", "plain", "--init", "finetuned", data=("train",))).exit_code == 0
    assert metadata("net.safetensors")[0]["finetuned"] == read_checkpoint(world / "finetuned.pth").sha256


def test_nothing_is_written_over_what_is_read_or_written(world, tmp_path):
    source = tmp_path / "net.plain.pth"
    source.write_bytes((world / "source.pth").read_bytes())
    command = flags(world, "--method", "plain,lp-ft", data=("train",))
    command[2] = source
    ran = run(*command, "-o", "net.pth")
    assert ran.exit_code == 2
    assert "both --source and --output of plain name it" in ran.stderr
    assert source.read_bytes() == (world / "source.pth").read_bytes()
    ran = run(*flags(world, "--method", "plain,lp-ft", data=("train",)), "--steps", "s.csv", "--result", "s.plain.csv")
    assert ran.exit_code == 2
    assert "both --result (csv) and --steps of plain name it" in ran.stderr


def test_says_where_there_is_nothing_to_go_on_from(world, tmp_path):
    command = flags(world, "--method", "plain", "--epochs", "1", "-o", "net.pth", data=("train",))
    ran = run(*command, "--resume")
    assert ran.exit_code == 0
    assert "net.pth.state: no saved state is there, so that this training begins anew" in ran.stderr
    (tmp_path / "net.pth.state").write_bytes(b"something")
    ran = run(*command)
    assert ran.exit_code == 0
    assert "a saved training is replaced by a new one; --resume would have gone on with it" in ran.stderr


def test_what_came_to_nothing_does_not_take_the_rest_with_it(world, tmp_path):
    ran = run(
        *flags(world, "--method", "lp-ft,linear-probe,wise-ft", "--result", "net.json"),
        *("--optimizer", "sgd", "--learning-rate", "10", "--clip", "0", "--weight-decay", "10", "--momentum", "0.99"),
        *("--warmup", "0", "--epochs", "1", "--train-batch-size", "2"),
    )
    assert ran.exit_code == 3
    document = json.loads((tmp_path / "net.json").read_text())
    diverged = [one["message"] for one in document["findings"] if one["code"] == "repair.diverged"]
    assert len(diverged) == 2
    assert any("wise-ft: the training whose network it takes came to nothing" in message for message in diverged)
    assert "linear-probe" in {row["method"] for row in document["tables"]["pareto"]["rows"]}


def test_probes_are_those_of_erosion(world, tmp_path):
    common = ["--arch", tiny.OWN, "--head", "fc", "--resize", "16", "--crop", "16", "-j", "0", "-f", "json"]
    ran = run(
        *("erosion", "--source", world / "source.pth", "--finetuned", world / "finetuned.pth", *common),
        *("--data", world / "source", "--probe", "-b", "5"),
    )
    assert ran.exit_code == 0, ran.stderr
    eroded = {one["name"]: one["value"] for one in json.loads(ran.stdout)["measurements"]}["erosion.delta_lp"]
    ran = run(*flags(world, "--finetuned", world / "finetuned.pth", "--method", "linear-probe", "-f", "json"))
    assert ran.exit_code == 0, ran.stderr
    values = {one["name"]: one["value"] for one in json.loads(ran.stdout)["measurements"]}
    assert values["repair.before.delta_lp"] == eroded


def test_a_sequence_says_what_it_does_not_look_at(world):
    tasks = ["--task", f"first={world / 'task'}", "--task", f"second={world / 'other'}"]
    ran = run(*flags(world, *tasks, "--method", "unlearn", data=()))
    assert ran.exit_code == 2
    assert "unlearn needs images of source classes" in ran.stderr
    ran = run(*flags(world, *tasks, "--method", "lp-ft", "--epochs", "1", "-f", "json", data=("train", "val")))
    assert ran.exit_code == 0, ran.stderr
    assert "--task names what is learnt and asked about, so that --train-data, --val-data say nothing" in ran.stderr


def test_a_sequence_goes_on_without_what_diverged(world, tmp_path):
    ran = run(
        *flags(world, "--method", "plain,linear-probe", "--result", "net.json", data=()),
        *("--task", f"first={world / 'task'}", "--task", f"second={world / 'other'}"),
        *("--optimizer", "sgd", "--learning-rate", "10", "--clip", "0", "--weight-decay", "10", "--momentum", "0.99"),
        *("--warmup", "0", "--epochs", "1", "--train-batch-size", "2"),
    )
    assert ran.exit_code == 3
    assert "plain, task first" in ran.stderr
    document = json.loads((tmp_path / "net.json").read_text())
    assert document["verdict"] == "concern"
    assert {row["method"] for row in document["tables"]["accuracies"]["rows"]} == {"linear-probe"}


def test_options_of_a_method_that_is_not_run_are_noticed(world):
    ran = run(*flags(world, "--method", "linear-probe", "--l1-weight", "3", data=("train",)))
    assert ran.exit_code == 0
    assert "l1: options of a method that is not run: weight" in ran.stderr


@pytest.mark.parametrize(
    ("more", "data", "told"),
    [
        (["--method", "ldif"], ("train",), "no such method; nearest: .*ldifs"),
        (["--method", "plain,plain"], ("train",), "plain named twice"),
        (["--method", "wise-ft"], ("train",), "needs a finetuned network: give --finetuned, or lp-ft or plain"),
        (["--method", "unlearn"], ("train",), "needs images of source classes: give --source-data"),
        (["--method", "lp-ft", "--init", "source"], ("train",), "lp-ft begins with source-lp"),
        (["--init", "finetuned"], ("train",), "give the network to begin with as --finetuned"),
        ([], ("val",), "missing: --train-data"),
        (["--ldifs-weight", "-1"], ("train",), "repair.ldifs.weight"),
        (["--ldifs-stages", "stom"], ("train",), "stom.*nearest.*stem"),
        (["-o", "net.txt"], ("train",), "expected a name that ends in"),
        (["--resume"], ("train",), "give --output"),
        (["--task", "a"], (), "expected NAME=DIR"),
        (["--task", "..=x", "--task", "b=y"], (), "is part of file names"),
        (["--method", "wise-ft", "--finetuned", "FINETUNED", "--init", "source"], ("train",), "no network of its own"),
        (["--task", "a=nowhere", "--task", "b=nowhere"], (), "expected train and val in nowhere"),
    ],
)
def test_refuses(world, tmp_path, more, data, told):
    more = [world / "finetuned.pth" if part == "FINETUNED" else part for part in more]
    ran = run(*flags(world, *more, data=data))
    assert ran.exit_code == 2, ran.stderr
    assert re.search(told, ran.stderr, re.DOTALL)
    assert not list(tmp_path.iterdir())


@pytest.mark.slow
def test_two_processes_make_the_network_of_one(world, tmp_path):
    # AdamW would blow up the rounding of gradients that are zero, such as that of a bias before a batch norm.
    more = ["--method", "ldifs,unlearn", "--optimizer", "sgd", "--learning-rate", "0.01", "--train-batch-size", "7"]
    more += ["-f", "json", "-q"]
    alone = run(*flags(world, *more, "-o", "alone.pth", "--keep", "last"))
    assert alone.exit_code == 0, alone.stderr
    launcher = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2", "-m", "tlaudit"]
    ran = subprocess.run(
        [*launcher, *map(str, flags(world, *more, "-o", "both.pth", "--keep", "last"))],
        capture_output=True,
        text=True,
        check=False,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
    )
    assert ran.returncode == 0, ran.stderr
    told, other = json.loads(alone.stdout), json.loads(ran.stdout)
    assert [row["axis"] for row in told["tables"]["before_after"]["rows"]] == [
        row["axis"] for row in other["tables"]["before_after"]["rows"]
    ]
    for method in ("ldifs", "unlearn"):
        expected, got = weights(f"alone.{method}.pth"), weights(f"both.{method}.pth")
        for key, tensor in expected.items():
            torch.testing.assert_close(
                got[key], tensor, rtol=1e-4, atol=1e-6, msg=lambda text, key=key: f"{key}: {text}"
            )


def test_a_file_that_is_skipped_is_said_once(world):
    broken = world / "val" / "c0" / "broken.png"
    broken.write_bytes(b"no picture")
    try:
        ran = run(*flags(world, "--method", "plain", "--epochs", "1", data=("train", "val")))
    finally:
        broken.unlink()
    assert ran.exit_code == 0, ran.stderr
    assert ran.stderr.count("skipped c0/broken.png") == 1, ran.stderr
