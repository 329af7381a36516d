"""`tlaudit audit` on the real pair: one command from a ten-line file, and the numbers of the single commands."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest
from typer.testing import CliRunner

from tlaudit.cli import app as application

REAL = Path(os.environ.get("TLAUDIT_REAL_DATA", "/nonexistent")).resolve()
pytestmark = [
    pytest.mark.realdata,
    pytest.mark.slow,
    pytest.mark.skipif(not REAL.is_dir(), reason="TLAUDIT_REAL_DATA does not say where real data lie"),
]
FILE = f"""\
[models]
source = "{REAL}/checkpoints/squeezenet1_1-imagenet.pth"
finetuned = "{REAL}/checkpoints/squeezenet1_1-dogs-vs-cats.pth"
baseline = "{REAL}/checkpoints/squeezenet1_1-dogs-vs-cats-scratch.pth"
[data]
source = "{REAL}/imagenet-samples"
target = "{REAL}/dogs-vs-cats/train"
val = "{REAL}/dogs-vs-cats/val"
[distraction]
per_class = 1
"""


def run(*args):
    outcome = CliRunner().invoke(application.app, [*args, "--limit", "80", "-q"])
    assert outcome.exit_code == 0, outcome.stderr


def test_one_command_from_a_ten_line_file(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert FILE.count("\n") == 10
    (tmp_path / "tlaudit.toml").write_text(FILE)
    run("audit", "-o", "audit.json")
    checks = json.loads((tmp_path / "audit.json").read_text())["checks"]
    assert [one["check"] for one in checks] == ["lingering", "distraction", "erosion"]
    assert checks[0]["verdict"] == "concern"
    for found in checks:
        run(found["check"], "-o", "alone.json")
        alone = json.loads((tmp_path / "alone.json").read_text())
        assert {**found, "run": None} == {**alone, "run": None}
