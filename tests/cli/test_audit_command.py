"""`tlaudit audit` as a user meets it: ten lines of configuration, one command, one report."""

from __future__ import annotations

import json

import pytest
from typer.testing import CliRunner

import readers
import tiny
from tlaudit.checks import CHECKS
from tlaudit.cli import app as application
from tlaudit.results import AuditReport

runner = CliRunner()

FILE = """\
[models]
source = "source.pth"
finetuned = "background.pth"
baseline = "overlay.pth"
arch = "{arch}"
[data]
source = "source"
target = "target"
val = "target"
[preprocess]
resize = {side}
crop = {side}
mean = [0, 0, 0]
std = [1, 1, 1]
[execution]
device = "cpu"
workers = 0
[lingering]
k = 1
v_lo_count = 0
p_lo = 0.5
bootstrap = 100
[distraction]
per_class = 2
bootstrap = 100
[erosion]
stages = ["channels"]
bootstrap = 100
"""
STRESS = """
[stress]
stages = ["channels"]
ratios = [0, 1]
bootstrap = 100
[stress.training]
epochs = 1
batch_size = 8
"""


@pytest.fixture(scope="module")
def world(tmp_path_factory):
    root = readers.build(tmp_path_factory.mktemp("world"))
    text = FILE.format(arch=tiny.READER, side=readers.SIDE)
    (root / "tlaudit.toml").write_text(text)
    (root / "all.toml").write_text(text + STRESS)
    return root


@pytest.fixture(autouse=True)
def nowhere(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))


def run(world, *args, command="audit", config="tlaudit.toml"):
    return runner.invoke(application.app, [str(arg) for arg in (command, "--config", world / config, *args)])


def told(document):
    return {key: value for key, value in document.items() if key != "run"}


def test_one_command_from_a_file(world, monkeypatch):
    monkeypatch.chdir(world)
    outcome = runner.invoke(application.app, ["audit", "-f", "json"])
    assert outcome.exit_code == 0, outcome.stderr
    report = AuditReport.model_validate_json(outcome.stdout)
    assert [result.check for result in report.checks] == ["lingering", "distraction", "erosion"]
    assert "[stress]" in report.left_out["stress"]
    assert report.verdict == "concern"


def test_every_check_says_what_its_own_command_says(world, tmp_path):
    outcome = run(world, "-o", "audit.json", "-q", config="all.toml")
    assert outcome.exit_code == 0, outcome.stderr
    checks = {one["check"]: told(one) for one in json.loads((tmp_path / "audit.json").read_text())["checks"]}
    assert list(checks) == ["lingering", "distraction", "erosion", "stress"]
    for name, found in checks.items():
        alone = run(world, "-f", "json", "-q", command=name, config="all.toml")
        assert alone.exit_code == 0, alone.stderr
        assert found == told(json.loads(alone.stdout)), name


def test_checks_can_be_chosen(world):
    outcome = run(world, "--checks", "erosion,lingering", "-f", "json", "-q", config="all.toml")
    assert outcome.exit_code == 0, outcome.stderr
    report = AuditReport.model_validate_json(outcome.stdout)
    assert [result.check for result in report.checks] == ["lingering", "erosion"]
    assert "does not name it" in report.left_out["stress"]


def test_a_failed_check_is_exit_code_3_and_all_is_written(world, tmp_path, monkeypatch):
    def crash(*_, **__):
        raise RuntimeError("boom")

    monkeypatch.setattr(type(CHECKS["erosion"]), "run", crash)
    outcome = run(world, "-o", "audit.json")
    assert outcome.exit_code == 3
    assert outcome.stderr.endswith("tlaudit: 1 of 3 checks could not be made: erosion\n")
    assert "tlaudit-crash-" in outcome.stderr
    report = AuditReport.model_validate_json((tmp_path / "audit.json").read_text())
    assert report["erosion"].failure == "crashed: RuntimeError: boom"
    assert report["distraction"]["distraction.mean"].value is not None


@pytest.mark.parametrize(
    ("more", "message"),
    [
        (["--checks", "erosin"], "audit.checks: no such check: 'erosin' (nearest: erosion); there are lingering"),
        (["--checks", ""], "audit.checks: expected at least one of lingering"),
        (["-f", "xml"], "unknown format 'xml'"),
        (["-o", "missing/audit.json"], "does not exist"),
        (["--source-data", "missing"], "missing"),
        (["--report", "report.pdf"], "ends in .html"),
    ],
)
def test_refuses_before_the_work(world, tmp_path, more, message):
    outcome = run(world, *more)
    assert outcome.exit_code == 2
    assert message in outcome.stderr
    assert outcome.stderr.count("\n") == 1
    assert not list(tmp_path.iterdir())


def test_names_all_that_is_missing():
    outcome = runner.invoke(application.app, ["audit"])
    assert outcome.exit_code == 2
    assert "missing: --source, --finetuned, --source-data, --target-data " in outcome.stderr
    assert "--checks, can leave these out" in outcome.stderr
    outcome = runner.invoke(
        application.app, ["audit", "--checks", "stress", "--source", "x.pth", "--finetuned", "y.pth"]
    )
    assert "missing: --source-data " in outcome.stderr


def test_nothing_is_written_over_something_else(world, tmp_path):
    file = tmp_path / "net.pth"
    file.write_bytes((world / "background.pth").read_bytes())
    outcome = run(world, "--finetuned", file, "-o", file, "-f", "json")
    assert outcome.exit_code == 2
    assert "both --finetuned and --output" in outcome.stderr
    # Several formats share the stem of the name, and one of them meets what is read.
    (tmp_path / "classes.csv").write_text("mine")
    named = ("--class-map", tmp_path / "classes.csv", "-o", tmp_path / "classes.json")
    outcome = run(world, *named, "-f", "json", "-f", "csv")
    assert outcome.exit_code == 2
    assert "both --class-map and --output (csv)" in outcome.stderr
    assert (tmp_path / "classes.csv").read_text() == "mine"
    for section, message in (
        ("save_rows = 'rows.xls'", ".parquet"),
        ("save_composites = '.'", "expected a new or empty folder"),
    ):
        text = (world / "tlaudit.toml").read_text().replace("[distraction]", f"[distraction]\n{section}")
        (world / "more.toml").write_text(text)
        outcome = run(world, config="more.toml")
        assert outcome.exit_code == 2
        assert message in outcome.stderr


def test_files_of_distraction_are_written(world):
    text = (world / "tlaudit.toml").read_text()
    (world / "files.toml").write_text(
        text.replace("[distraction]", "[distraction]\nsave_rows = 'rows.csv'\nsave_composites = 'composites'")
    )
    outcome = run(world, "-f", "json", "-q", "--checks", "distraction", config="files.toml")
    assert outcome.exit_code == 0, outcome.stderr
    assert (world / "rows.csv").is_file()
    assert (world / "composites" / "composites.csv").is_file()
