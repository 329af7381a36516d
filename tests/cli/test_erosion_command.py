"""`tlaudit erosion` as a user meets it."""

from __future__ import annotations

import json

import numpy as np
import pytest
import torch
from PIL import Image
from typer.testing import CliRunner

import tiny
from tlaudit.cli import app as application

runner = CliRunner()
SIDE = 32


@pytest.fixture(scope="module")
def world(tmp_path_factory):
    root = tmp_path_factory.mktemp("erosion")
    rng = np.random.default_rng(0)
    for index in range(3):
        (root / "images" / str(index)).mkdir(parents=True)
        for number in range(4):
            pixels = rng.integers(0, 256, (4, 4, 3)).astype(np.uint8)
            Image.fromarray(pixels).resize((SIDE, SIDE)).save(root / "images" / str(index) / f"{number}.png")
    for seed, name in enumerate(("source", "finetuned")):
        torch.save(tiny.network("resnet18", 3, seed).state_dict(), root / f"{name}.pth")
    torch.save(tiny.network("resnet34", 3, 5).state_dict(), root / "deeper.pth")
    return root


@pytest.fixture(autouse=True)
def nowhere(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)


def run(world, *more, finetuned="finetuned", data="images"):
    networks = ["--source", world / "source.pth", "--finetuned", world / f"{finetuned}.pth"]
    images = ["--data", world / data] if data else []
    how = ["--resize", SIDE, "--crop", SIDE, "--device", "cpu", "-j", "0", "-b", "6", "--bootstrap", "100"]
    return runner.invoke(application.app, [str(arg) for arg in ["erosion", *networks, *images, *how, *more]])


@pytest.mark.slow
def test_every_option_does_something(world, tmp_path):
    done = run(world, "-o", "plain.json", "--report", "report.html")
    assert done.exit_code == 0, done.stderr
    plain = json.loads((tmp_path / "plain.json").read_text())
    assert "erosion.cka.layer1" in (tmp_path / "report.html").read_text()
    found = {}
    for name, flags in {
        "stages": ["--stages", "layer1, layer3.0"],
        "matrix": ["--full-matrix"],
        "flat": ["--features", "flat"],
        "probe": ["--probe"],
        "batch": ["-b", "4"],
        "seed": ["--seed", "3"],
        "confidence": ["--confidence", "0.5"],
    }.items():
        assert run(world, *flags, "-o", f"{name}.json", "-q").exit_code == 0
        found[name] = json.loads((tmp_path / f"{name}.json").read_text())
    values = {n: {m["name"]: m for m in d["measurements"]} for n, d in {"plain": plain, **found}.items()}
    assert [n for n in values["stages"] if ".cka.layer" in n] == ["erosion.cka.layer1", "erosion.cka.layer3.0"]
    assert "cka_matrix" in found["matrix"]["tables"]
    assert "cka_matrix" not in plain["tables"]
    assert found["flat"]["tables"]["stages"]["rows"][0]["d"] == 64 * 8 * 8
    assert plain["tables"]["stages"]["rows"][0]["d"] == 64
    assert values["probe"]["erosion.delta_lp"]["value"] is not None
    assert values["plain"]["erosion.delta_lp"]["value"] is None
    assert values["batch"]["erosion.cka.layer4"]["value"] != values["plain"]["erosion.cka.layer4"]["value"]
    assert values["seed"]["erosion.cka.layer4"]["value"] != values["plain"]["erosion.cka.layer4"]["value"]
    assert values["confidence"]["erosion.source_accuracy_drop"]["interval"]["confidence"] == 0.5


def test_options_may_stand_in_the_file(world, tmp_path):
    (tmp_path / "tlaudit.toml").write_text(f'[erosion]\ndata = "{world}/images"\nstages = ["layer2"]\n')
    done = run(world, "-o", "out.json", data=None)
    assert done.exit_code == 0, done.stderr
    assert json.loads((tmp_path / "out.json").read_text())["provenance"]["options"]["stages"] == "layer2"


def test_networks_of_different_depth(world):
    done = run(world, "-f", "json", finetuned="deeper")
    assert done.exit_code == 0, done.stderr
    assert "cka_matrix" in json.loads(done.stdout)["tables"]


@pytest.mark.parametrize(
    ("flags", "data", "code", "message"),
    [
        ([], None, 2, "missing: --data"),
        ([], "nowhere", 2, "or a manifest (.csv, .tsv, .parquet), got nothing"),
        (["--stages", "layer1,layer1"], "images", 2, "layer1: named twice"),
        (["--stages", "layr1"], "images", 2, "nearest: layer1"),
        (["--stages", ""], "images", 2, "stages"),
        (["--features", "raw"], "images", 2, "features"),
        (["--limit", "3"], "images", 3, "at least 4 images, found 3"),
        (["--report", "none/such/report.html"], "images", 2, "report"),
    ],
)
def test_bad_input(world, flags, data, code, message):
    refused = run(world, *flags, data=data)
    assert (refused.exit_code, refused.stdout) == (code, "")
    assert message in refused.stderr
