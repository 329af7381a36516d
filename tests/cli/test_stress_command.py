"""`tlaudit stress` as a user meets it: files, refusals before the work, a sweep that goes on."""

from __future__ import annotations

import itertools
import json

import numpy as np
import pytest
import torch
from PIL import Image
from typer.testing import CliRunner

import tiny
from tlaudit.cli import app as application
from tlaudit.documents import read_report
from tlaudit.policy.expected import expected
from tlaudit.training import loop

runner = CliRunner()


@pytest.fixture(scope="module")
def world(tmp_path_factory):
    """A network of two classes that knows little, and a few pictures of both."""
    root, rng = tmp_path_factory.mktemp("world"), np.random.default_rng(0)
    for part, label, number in itertools.product(("train", "test"), range(2), range(12)):
        (root / part / str(label)).mkdir(parents=True, exist_ok=True)
        picture = rng.integers(0, 200, (16, 16, 3), dtype=np.uint8)
        Image.fromarray(picture).save(root / part / str(label) / f"{number}.png")
    tiny.saved(root / "network.pth", tiny.own(2))
    return root


@pytest.fixture(autouse=True)
def nowhere(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)


def flags(world, *more):
    network = ["--source", world / "network.pth", "--arch", tiny.OWN, "--resize", "16", "--crop", "16"]
    schedule = ["--epochs", "2", "--train-batch-size", "4", "--device", "cpu", "-j", "0"]
    return ["stress", *network, "--source-data", world / "train", *schedule, *more]


def run(*args):
    return runner.invoke(application.app, [str(arg) for arg in args])


def test_writes_document_and_report(world, tmp_path):
    ran = run(
        *flags(world, "--test-data", world / "test", "--ratios", "0,0.5,1", "--bisect", "0.9", "--plasticity"),
        *("--square", "0.25", "--stages", "stem,blocks.1", "-o", "stress.json", "--report", "stress.html"),
    )
    assert ran.exit_code == 0, ran.stderr
    document = json.loads((tmp_path / "stress.json").read_text())
    (told,) = read_report(tmp_path / "stress.json").results
    assert set(expected(told)) == {measurement.name for measurement in told.measurements}
    assert document["check"] == "stress"
    assert [row["ratio"] for row in document["tables"]["runs"]["rows"]] == [0, 0.5, 1]
    assert [row["stage"] for row in document["tables"]["stages"]["rows"]] == ["stem", "blocks.1"] * 3
    assert len(document["tables"]["plasticity"]["rows"]) == 6
    options = document["provenance"]["options"]
    assert (options["square_pixels"], options["training.epochs"], options["training.batch_size"]) == (4, 2, 4)
    page = (tmp_path / "stress.html").read_text()
    assert "Clean accuracy by share of planted images" in page


def test_a_repeated_command_goes_on_with_what_is_there(world, tmp_path, monkeypatch):
    command = flags(world, "--ratios", "0,1", "--runs", "runs", "-q")
    assert run(*command, "-o", "first.json").exit_code == 0
    monkeypatch.setattr(loop.Training, "run", lambda self, note: pytest.fail("it was trained again"))
    assert run(*command, "-o", "second.json").exit_code == 0
    first, second = (json.loads((tmp_path / name).read_text()) for name in ("first.json", "second.json"))
    del first["run"], second["run"]
    assert first == second


def test_the_network_file_is_as_it_was(world):
    before = torch.load(world / "network.pth", weights_only=True)
    assert run(*flags(world, "--ratios", "0,1", "-o", "stress.json")).exit_code == 0
    after = torch.load(world / "network.pth", weights_only=True)
    assert all(torch.equal(value, after[key]) for key, value in before.items())


@pytest.mark.parametrize(
    ("more", "code", "message"),
    [
        (["--ratios", "0,1.5"], 2, "less than or equal to 1"),
        (["--ratios", "0,some"], 2, "stress.ratios"),
        (["--ratios", "0.5,0.5"], 2, "named twice"),
        (["--bisect", "0"], 2, "greater than 0"),
        (["--ratios", "0", "--plasticity"], 2, "--plasticity needs a training with squares"),
        (["--momentum", "0.5"], 2, "momentum is of sgd, and the optimizer is adamw"),
        (["--clip", "inf"], 2, "finite number"),
        (["--batch-size", "3"], 2, "minibatch of CKA"),
        (["--epochs", "0"], 2, "stress.training.epochs"),
        (["--optimizer", "adam"], 2, "'adamw' or 'sgd'"),
        (["--stages", "nowhere"], 2, "no network has such a module"),
        (["--test-data", "nowhere"], 2, "got nothing of that name"),
        (["--runs", "a/b/c"], 2, "does not exist"),
        (["--optimizer", "sgd", "--learning-rate", "10", "--clip", "0", "--epochs", "60"], 3, "the training diverged"),
    ],
)
def test_refusals(world, more, code, message):
    ran = run(*flags(world, *more))
    assert ran.exit_code == code, ran.stderr
    assert message in ran.stderr
    assert "Traceback" not in ran.stderr


def test_needs_a_network_and_its_images(world):
    ran = run("stress", "--source-data", world / "train")
    assert (ran.exit_code, "missing: --source" in ran.stderr) == (2, True)
    ran = run("stress", "--source", world / "network.pth")
    assert (ran.exit_code, "--source-data" in ran.stderr) == (2, True)
    ran = run(*flags(world, "-o", world / "network.pth"))
    assert ran.exit_code == 2


def test_options_come_from_the_file_too(world, tmp_path):
    (tmp_path / "tlaudit.toml").write_text(
        '[stress]\nratios = [0, 0.25]\nruns = "kept"\n[stress.training]\nlearning_rate = 0.001\noptimizer = "sgd"\n'
        "momentum = 0.5\n"
    )
    assert run(*flags(world, "-o", "stress.json", "--momentum", "0.7")).exit_code == 0
    options = json.loads((tmp_path / "stress.json").read_text())["provenance"]["options"]
    assert options["ratios"] == "0, 0.25"
    assert (options["training.learning_rate"], options["training.momentum"]) == (0.001, 0.7)
    assert len(list((tmp_path / "kept").iterdir())) == 2
