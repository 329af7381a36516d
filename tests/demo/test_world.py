"""The embedded world: complete, drawn the same every time, and showing what is planted in it."""

from __future__ import annotations

import os
import subprocess
import sys
import zipfile
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from typer.testing import CliRunner

from tlaudit import load_model
from tlaudit.cli.app import app
from tlaudit.demo import world
from tlaudit.demo.drawing import draw_source, draw_target
from tlaudit.demo.training import PREPROCESSING
from tlaudit.errors import InstallationError
from tlaudit.models.preprocess import Normalizer
from tlaudit.results import AuditReport

pytestmark = pytest.mark.slow

REPOSITORY = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("demo")


@pytest.fixture(scope="module")
def demo(folder):
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        return CliRunner().invoke(app, ["demo", "-j", "0", "--device", "cpu"])


@pytest.fixture(scope="module")
def report(demo, folder):
    assert demo.exit_code == 0, demo.stderr
    return AuditReport.model_validate_json((folder / "tlaudit-demo.json").read_text(encoding="utf-8"))


@pytest.fixture(scope="module")
def result(report):
    return report["lingering"]


def test_is_complete():
    files = world.world_files()
    for name in world.SOURCE_NAMES:
        assert len(list((files.source_data / name).iterdir())) == world.SOURCE_PICTURES
    for label in world.TARGET_CLASSES:
        assert len(list((files.target_data / label).iterdir())) == world.TRAIN_PICTURES
        assert len(list((files.val_data / label).iterdir())) == world.VAL_PICTURES
    size = sum(path.stat().st_size for path in files.root.rglob("*") if path.is_file())
    assert size < 10_000_000
    assert len(world.SOURCE_NAMES) >= 12
    assert set(world.PRESENT) | set(world.ABSENT) == set(world.SOURCE_NAMES)


def test_target_pictures_show_what_is_said_and_nothing_else():
    files = world.world_files()
    shown = set()
    for path in files.target_data.rglob("*.jpg"):
        parts = path.stem.split("_", 1)[1].split("_with_")
        assert parts[0] in world.BREEDS[path.parent.name]
        shown |= set(parts)
    assert shown == set(world.PRESENT)


@pytest.mark.parametrize("name", world.SOURCE_NAMES)
def test_draws_the_same_every_time_and_as_committed(name):
    first, again, other = (np.asarray(draw_source(name, "held-out", number), dtype=float) for number in (0, 0, 1))
    assert np.array_equal(first, again)
    assert np.abs(first - other).mean() > 5
    with Image.open(world.world_files().source_data / name / "000.jpg") as image:
        assert np.abs(first - np.asarray(image, dtype=float)).mean() < 6, "but for the loss of JPEG"


def test_target_pictures_are_drawn_as_committed():
    for label in world.TARGET_CLASSES:
        picture = draw_target(label, "val", 0)
        (path,) = (world.world_files().val_data / label).glob("000_*.jpg")
        assert picture.breed in path.stem
        with Image.open(path) as image:
            assert np.abs(np.asarray(picture.image, dtype=float) - np.asarray(image, dtype=float)).mean() < 6


def test_the_source_network_knows_freshly_drawn_things():
    model = load_model(world.world_files().source)
    assert model.classes == world.SOURCE_NAMES
    drawn = [np.asarray(draw_source(name, "fresh", number)) for name in world.SOURCE_NAMES for number in range(4)]
    pixels = torch.from_numpy(np.stack(drawn)).permute(0, 3, 1, 2)
    with torch.no_grad():
        right = model.module(Normalizer(PREPROCESSING, torch.device("cpu"))(pixels)).argmax(1)
    assert (right == torch.arange(len(world.SOURCE_NAMES)).repeat_interleave(4)).float().mean() > 0.85


def test_planted_truth_is_found(result):
    assert result.findings[0].code == "demo.planted"
    assert result.findings[0].severity == "info", result.findings[0].message
    assert result["source_only.count"].value == len(world.ABSENT)


def test_most_absent_classes_linger_and_none_in_the_control(result):
    assert result["lingering.fraction"].value > 0.5
    assert result["control.lingering_count"].value <= 1
    assert result["control.mean_probability"].value < 0.15
    assert result["target.accuracy"].value > 0.95
    assert result["source.source_top1"].value > 0.9


def test_the_finetuned_network_is_distracted_and_the_planted_causes_are_seen(report, result):
    found = report["distraction"]
    assert found.verdict == "concern"
    assert found["distraction.classes"].value == result["lingering.count"].value
    assert found["distraction.excess_over_null"].interval.low > 0
    assert found["distraction.excess_over_baseline"].interval.low > 0
    assert found["distraction.occlusion_recovery"].value > found["distraction.random_recovery"].value
    assert found["distraction.composite_accuracy"].value < found["distraction.grey_accuracy"].value
    assert len(found.exhibits) == 12 + 6


def test_features_are_kept_where_the_task_is_easy(report):
    found = report["erosion"]
    assert found["erosion.cka.min"].value > 0.5
    assert found["erosion.source_accuracy_after"].value > 0.5


def test_a_world_that_is_not_there_is_told(monkeypatch, tmp_path):
    monkeypatch.setattr(world, "__file__", str(tmp_path / "a" / "b" / "c" / "world.py"))
    with pytest.raises(InstallationError, match="make fixtures"):
        world.world_root()


def test_demo_command_shows_the_comparison_and_writes_a_report(demo, folder):
    assert str(folder / "tlaudit-demo.html") in demo.stderr
    assert "340 composites of 17 lingering classes" in demo.stdout
    page = (folder / "tlaudit-demo.html").read_text(encoding="utf-8")
    assert len(page) < 8_000_000
    assert "espresso_mug" in page
    assert f"all {len(world.ABSENT)} were found and no other" in demo.stdout
    assert "lingering.fraction" in demo.stdout


def test_demo_command_gates_what_it_found(demo, folder):
    assert "would stop here with exit code 1" in demo.stderr
    assert "distraction.flip_rate" in demo.stderr
    gated = CliRunner().invoke(app, ["gate", str(folder / "tlaudit-demo.json")])
    assert gated.exit_code == 1, gated.stderr


@pytest.mark.slow
def test_the_wheel_brings_the_world(tmp_path):
    """What `pip install tlaudit && tlaudit demo` needs is in the wheel."""
    build = [
        sys.executable,
        "-m",
        "pip",
        "wheel",
        "-q",
        "--no-deps",
        "--no-build-isolation",
        "-w",
        tmp_path,
        REPOSITORY,
    ]
    subprocess.run(build, check=True)
    (wheel,) = tmp_path.glob("*.whl")
    with zipfile.ZipFile(wheel) as archive:
        archive.extractall(tmp_path / "installed")
    code = "import tlaudit, sys; from tlaudit.cli.app import main; print(tlaudit.__file__); main()"
    environment = os.environ | {"PYTHONPATH": str(tmp_path / "installed")}
    outcome = subprocess.run(
        [sys.executable, "-c", code, "demo"],
        env=environment,
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=True,
    )
    assert outcome.stdout.startswith(str(tmp_path / "installed"))
    assert "were found and no other" in outcome.stdout
