"""`tlaudit distraction` as a user meets it: files, refusals before the work, and what is left behind."""

from __future__ import annotations

import csv
import json
import os
import subprocess
import sys

import pandas as pd
import pytest
from typer.testing import CliRunner

import readers
import tiny
from tlaudit.cli import app as application
from tlaudit.results import CheckResult

runner = CliRunner()


@pytest.fixture(scope="module")
def world(tmp_path_factory):
    return readers.build(tmp_path_factory.mktemp("world"))


@pytest.fixture(autouse=True)
def nowhere(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)


def flags(world, *more, command="distraction"):
    networks = {"source": "source", "finetuned": "background", "baseline": "overlay"}
    paths = [part for role, name in networks.items() for part in (f"--{role}", world / f"{name}.pth")]
    side = readers.SIDE
    net = ["--arch", tiny.READER, "--resize", side, "--crop", side, "--mean", "0", "0", "0", "--std", "1", "1", "1"]
    data = ["--source-data", world / "source", "--target-data", world / "target"]
    definitions = ["--k", "1", "--v-lo-count", "0", "--p-lo", "0.5", "--device", "cpu", "-j", "0"]
    own = ["--per-class", "3"] if command == "distraction" else []
    return [command, *paths, *net, *data, *definitions, *own, *more]


def run(*args):
    return runner.invoke(application.app, [str(arg) for arg in args])


def test_runs_lingering_first_or_takes_its_result(world, tmp_path):
    alone = run(*flags(world, "-o", "alone.json", "-q"))
    assert alone.exit_code == 0, alone.stderr
    assert run(*flags(world, "-o", "lingering.json", "-q", command="lingering")).exit_code == 0
    given = run(*flags(world, "--lingering", "lingering.json", "-o", "given.json", "-q"))
    assert given.exit_code == 0, given.stderr
    first, second = (json.loads((tmp_path / name).read_text()) for name in ("alone.json", "given.json"))
    del first["run"], second["run"]
    assert first == second
    refused = run(*flags(world, "--lingering", "lingering.json", "--finetuned", world / "overlay.pth"))
    assert refused.exit_code == 2
    assert "another finetuned checkpoint" in refused.stderr
    assert run(*flags(world, "--lingering", "given.json")).exit_code == 2


def test_files_that_are_asked_for(world, tmp_path):
    outcome = run(
        *flags(world, "--save-composites", "out/composites", "--save-rows", "rows.parquet", "--report", "report.html")
    )
    assert outcome.exit_code == 0, outcome.stderr
    with (tmp_path / "out" / "composites" / "composites.csv").open(newline="") as file:
        manifest = list(csv.DictReader(file))
    rows = pd.read_parquet(tmp_path / "rows.parquet")
    assert [row["id"] for row in manifest] == sorted(rows["id"], key=[row["id"] for row in manifest].index)
    assert all((tmp_path / "out" / "composites" / row["file"]).is_file() for row in manifest)
    assert {row["target_label"] for row in manifest} == {"colour0", "colour1"}
    page = (tmp_path / "report.html").read_text()
    assert "tlaudit distraction" in page
    assert "Lingering" in page, "what was run first is in the report too"
    assert "written: report.html" in outcome.stderr
    again = run(*flags(world, "--save-composites", "out/composites"))
    assert again.exit_code == 0, "an earlier run's composites are replaced"


@pytest.mark.parametrize(
    ("more", "message"),
    [
        (["--report", "missing/report.html"], "does not exist"),
        (["--report", "report.pdf"], "ends in .html"),
        (["--report", "x.html", "-o", "x.html"], "both --output and --report"),
        (["--save-rows", "rows.xls"], ".csv or .parquet"),
        (["--save-rows", "missing/rows.csv"], "does not exist"),
        (["--save-composites", "full"], "notes.txt"),
        (["--overlay-scale", "1"], "overlay_scale"),
        (["--overlay-scale", "0"], "overlay_scale"),
        (["--percentile", "100"], "percentile"),
        (["--lingering", "missing.json"], "missing.json"),
        (["--layer", "chanels"], "channels"),
        (["--layer", "head"], "spatial extent"),
        (["--method", "gradcan"], "gradcam"),
        (["--class-choice", "best"], "class_choice"),
    ],
)
def test_refuses_before_the_work(world, tmp_path, more, message):
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "notes.txt").write_text("mine")
    outcome = run(*flags(world, *more))
    assert outcome.exit_code == 2
    assert message in outcome.stderr
    assert outcome.stderr.count("\n") == 1
    assert sorted(path.name for path in tmp_path.rglob("*")) == ["full", "notes.txt"]


@pytest.mark.parametrize("more", [["--layer", "chanels"], ["--layer", "head"], ["--method", "x"], ["--margin", "0.4"]])
def test_what_cannot_be_explained_is_known_before_any_image_is_read(world, monkeypatch, more):
    def never(*_, **__):
        raise AssertionError("images were read")

    monkeypatch.setattr("tlaudit.checks.lingering.LingeringCheck.run", never)
    assert run(*flags(world, *more)).exit_code == 2


@pytest.mark.parametrize(
    ("more", "message"),
    [
        (["--save-rows", "same.csv", "-o", "same.csv"], "both --output (csv) and --save-rows"),
        (["--save-composites", "c", "--save-rows", "c/rows.csv"], "folder of --save-composites"),
        (["--save-composites", "c", "--report", "c/r.html"], "folder of --save-composites"),
        (["--save-composites", "."], "in use"),
        (["--lingering", "known.json", "-o", "known.json"], "both --lingering and --output"),
    ],
)
def test_nothing_is_written_over_something_else(world, tmp_path, more, message):
    (tmp_path / "c").mkdir()
    (tmp_path / "known.json").write_text("{}")
    outcome = run(*flags(world, *more))
    assert outcome.exit_code == 2
    assert message in outcome.stderr
    assert (tmp_path / "known.json").read_text() == "{}"


def test_a_checkpoint_is_not_written_over(world, tmp_path):
    checkpoint = tmp_path / "net.pth"
    checkpoint.write_bytes((world / "background.pth").read_bytes())
    for command in ("distraction", "lingering"):
        outcome = run(*flags(world, "--finetuned", checkpoint, "-o", checkpoint, "-f", "json", command=command))
        assert outcome.exit_code == 2
        assert "both --finetuned and --output" in outcome.stderr
    assert checkpoint.read_bytes() == (world / "background.pth").read_bytes()


def test_composites_through_a_link(world, tmp_path):
    (tmp_path / "real").mkdir()
    (tmp_path / "link").symlink_to("real")
    for _ in range(2):
        assert run(*flags(world, "--save-composites", "link", "-q")).exit_code == 0
    assert (tmp_path / "link").is_symlink()
    assert (tmp_path / "real" / "composites.csv").is_file()
    assert sorted(path.name for path in tmp_path.iterdir()) == ["link", "real"]


@pytest.mark.slow
def test_names_that_are_no_text(world, tmp_path):
    """Bytes that are no UTF-8, in a path on the command line."""
    odd = tmp_path / os.fsdecode(b"d\xff")
    odd.mkdir()
    (odd / "net.pth").write_bytes((world / "background.pth").read_bytes())
    command = [sys.executable, "-m", "tlaudit", *flags(world, "--finetuned", odd / "net.pth", "--report", "r.html")]
    outcome = subprocess.run([*map(str, command), "-o", "x.json"], capture_output=True, check=False)
    assert outcome.returncode == 0, outcome.stderr
    result = CheckResult.model_validate_json((tmp_path / "x.json").read_bytes())
    assert "udcff" in result.run.command
    assert "net.pth" in (tmp_path / "r.html").read_text(encoding="utf-8")


def test_what_cannot_be_written_is_known_before_any_image_is_read(world, tmp_path, monkeypatch):
    """The folder turns read-only: nothing may be computed first."""

    def never(*_, **__):
        raise AssertionError("networks were loaded")

    monkeypatch.setattr("tlaudit.models.pair.load_pair", never)
    readable = os.access
    monkeypatch.setattr("os.access", lambda path, mode: mode == os.R_OK and readable(path, mode))
    for more in (["--report", "r.html"], ["--save-rows", "r.csv"], ["-o", "r.json"]):
        outcome = run(*flags(world, *more))
        assert outcome.exit_code == 2, outcome.stderr
        assert "not writable" in outcome.stderr


def test_nothing_lingers_is_no_failure(world):
    outcome = run(*flags(world, "--p-lo", "0.999999", "-f", "json", "-q", "--report", "r.html"))
    assert outcome.exit_code == 0
    result = CheckResult.model_validate_json(outcome.stdout)
    assert "no class lingers" in result.summary
    assert result["distraction.mean"].absent


def test_options_may_come_from_the_file(world, tmp_path):
    (tmp_path / "tlaudit.toml").write_text("[distraction]\nper_class = 2\nsave_rows = 'rows.csv'\n")
    base = [part for part in flags(world) if part not in ("--per-class", "3")]
    outcome = run(*base, "-f", "json", "-q")
    assert outcome.exit_code == 0, outcome.stderr
    assert CheckResult.model_validate_json(outcome.stdout)["distraction.composites"].value == 2 * len(readers.KNOWN)
    assert len(pd.read_csv(tmp_path / "rows.csv")) == 2 * 8


def test_interval_options_reach_both_checks(world):
    outcome = run(*flags(world, "--confidence", "0.5", "-f", "json", "-q"))
    result = CheckResult.model_validate_json(outcome.stdout)
    assert result["distraction.mean"].interval.confidence == 0.5
    outcome = run(*flags(world, "--confidence", "0.5", "-f", "json", "-q", command="lingering"))
    assert CheckResult.model_validate_json(outcome.stdout)["lingering.fraction"].interval.confidence == 0.5
