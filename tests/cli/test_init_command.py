"""`tlaudit init` end to end: a file that works, what stands on stderr, and what is refused."""

from __future__ import annotations

import json
import re
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest
from typer.testing import CliRunner

import planted
from tlaudit.cli import app as application
from tlaudit.config import load_settings

runner = CliRunner()
NAMED = ("source", "finetuned", "baseline", "source_data", "target_data", "val_data")


@pytest.fixture(scope="module")
def world(tmp_path_factory):
    return planted.build(tmp_path_factory.mktemp("world"))


@pytest.fixture(autouse=True)
def nowhere(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)


def init(world, *more, without=()):
    names = [name for name in NAMED if name not in without]
    given = [part for name in names for part in (f"--{name.replace('_', '-')}", str(world[name]))]
    return runner.invoke(application.app, ["init", *given, "--arch", planted.ARCH, *map(str, more)])


def test_writes_a_file_that_loads_and_says_what_is_next(world):
    outcome = init(world)
    assert outcome.exit_code == 0, outcome.stderr
    assert not outcome.stdout
    assert outcome.stderr.splitlines() == [
        "written: tlaudit.toml",
        "next: tlaudit audit -o audit.json --report audit.html",
        "then: tlaudit gate audit.json",
    ]
    settings = load_settings({})
    assert settings.models.source == str(world["source"])
    assert settings.models.arch == planted.ARCH
    assert settings.data.val == world["val_data"]
    assert settings.policy is not None


def test_audit_and_gate_run_from_the_file_alone(world):
    assert init(world).exit_code == 0
    file = Path("tlaudit.toml")
    small = f"[preprocess]\nresize = {planted.SIZE}\ncrop = {planted.SIZE}\nmean = [0, 0, 0]\nstd = [1, 1, 1]"
    text = file.read_text().replace("[preprocess]", small, 1).replace("[lingering]", "[lingering]\nk = 1", 1)
    file.write_text(re.sub("^per_class = .*", "per_class = 2", text, flags=re.MULTILINE))
    audit = ["audit", "-j", "0", "-q", "-f", "json", "-f", "model-card", "-o", "audit.json"]
    outcome = runner.invoke(application.app, audit)
    assert outcome.exit_code == 0, outcome.stderr
    assert Path("audit.card.md").read_text().startswith("---\n")
    outcome = runner.invoke(application.app, ["gate", "audit.json", "-f", "json", "-q"])
    verdict = json.loads(outcome.stdout)
    assert outcome.exit_code == {"pass": 0, "fail": 1, "no answer": 3}[verdict["outcome"]]
    assert verdict["policy"]["path"] == "tlaudit.toml"
    lingering = next(one for one in verdict["rulings"] if one["metric"] == "lingering.fraction")
    assert (lingering["value"], lingering["outcome"]) == (0.7, "violated")
    line = text.splitlines()[lingering["line"] - 1]
    assert line == "[[policy.rules]]"


def test_without_images_it_says_what_to_fill_in(world):
    outcome = init(world, without=("source_data", "target_data", "val_data"))
    assert outcome.exit_code == 0
    assert "next: name images in [data] of tlaudit.toml, then tlaudit audit" in outcome.stderr
    assert tomllib.loads(Path("tlaudit.toml").read_text())["data"] == {}


def test_another_file_is_named_in_what_is_next(world, tmp_path):
    (tmp_path / "conf").mkdir()
    outcome = init(world, "-o", "conf/release.toml")
    assert outcome.exit_code == 0
    assert "tlaudit audit --config conf/release.toml" in outcome.stderr
    assert load_settings({}, Path("conf/release.toml")).data.target == world["target_data"]


def test_replaces_a_file_only_when_told_to(world):
    Path("tlaudit.toml").write_text("# mine\n")
    outcome = init(world)
    assert outcome.exit_code == 2
    assert "--force replaces it" in outcome.stderr
    assert Path("tlaudit.toml").read_text() == "# mine\n"
    assert init(world, "--force").exit_code == 0
    assert "[models]" in Path("tlaudit.toml").read_text()


def test_what_stands_in_a_file_that_is_there_is_not_asked(world):
    Path("tlaudit.toml").write_text('[models]\nbaseline = "none.pth"\nhead = "nowhere"\n[nonsense]\n')
    assert init(world, "--force", without=("baseline",)).exit_code == 0
    assert load_settings({}).models.baseline is None


@pytest.mark.parametrize(
    ("without", "more", "code", "message"),
    [
        (("source", "finetuned"), [], 2, "missing: --source and --finetuned"),
        (("finetuned",), [], 2, "missing: --finetuned:"),
        ((), ["-o", "pyproject.toml"], 2, "a file of its own"),
        ((), ["-o", "missing/tlaudit.toml"], 2, "does not exist"),
        ((), ["--source-data", "missing"], 2, "missing: expected a folder of images"),
        ((), ["--source-data", "odd"], 2, "no name of a class|no other name to go by"),
        ((), ["--target-data", "empty"], 3, "found none"),
        ((), ["--finetuned", "broken.pth"], 3, "broken.pth"),
        ((), ["--finetuned", "none.pth"], 2, "none.pth"),
        ((), ["--head", "nowhere"], 2, "nowhere"),
        ((), ["--class-map", "none.csv"], 2, "none.csv"),
        ((), ["--limit", "3"], 2, "No such option"),
    ],
)
def test_refuses_what_would_not_work(world, tmp_path, without, more, code, message):
    (tmp_path / "empty").mkdir()
    (tmp_path / "broken.pth").write_bytes(b"PK\x03\x04 torn")
    planted.paint(tmp_path / "odd" / "espresso", (0, 0, 0), 1)
    outcome = init(world, *more, without=without)
    assert outcome.exit_code == code, outcome.stderr
    assert re.search(message, outcome.stderr)
    assert "Traceback" not in outcome.stderr
    assert not Path("tlaudit.toml").exists()


def test_never_replaces_a_network(world, tmp_path):
    copy = tmp_path / "net.pth"
    copy.write_bytes(world["finetuned"].read_bytes())
    outcome = init({**world, "finetuned": copy}, "-o", copy, "--force")
    assert outcome.exit_code == 2
    assert "both --finetuned and --output" in outcome.stderr
    assert copy.read_bytes() == world["finetuned"].read_bytes()


def test_options_that_load_the_networks_are_written_down(world, tmp_path):
    planted.paint(tmp_path / "mapped" / "five", planted.COLOURS[5], 1)
    (tmp_path / "map.csv").write_text("folder,class\nfive,5\n")
    more = ["--source-data", "mapped", "--class-map", "map.csv", "--head", "head", "--allow-pickle"]
    more += ["--source-arch", planted.ARCH, "--baseline-arch", planted.ARCH]
    assert init(world, *more).exit_code == 0
    settings = load_settings({})
    assert settings.models.head == "head"
    assert settings.models.allow_pickle
    assert (settings.models.source_arch, settings.models.baseline_arch) == (planted.ARCH, planted.ARCH)
    assert (str(settings.data.source), str(settings.data.class_map)) == ("mapped", "map.csv")
    assert "1 of 12 source classes have images" in Path("tlaudit.toml").read_text()


def test_averaged_weights_are_asked_for_in_the_file_too(world):
    outcome = init(world, "--use-ema")
    assert outcome.exit_code == 2
    assert "averaged" in outcome.stderr


def test_says_more_when_asked(world):
    assert "names no classes" not in init(world).stderr
    assert "names no classes" in init(world, "--force", "--verbose").stderr


def test_needs_no_torch_to_say_what_is_missing():
    code = (
        "import sys; from tlaudit.cli.app import main\n"
        "sys.argv = ['tlaudit', 'init']\n"
        "try: main()\n"
        "except SystemExit as stop: assert stop.code == 2\n"
        "assert 'torch' not in sys.modules\n"
    )
    outcome = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert "missing: --source and --finetuned" in outcome.stderr


def test_never_replaces_the_map_of_classes(world):
    Path("classes.csv").write_text("0,0\n")
    outcome = init(world, "--class-map", "classes.csv", "-o", "classes.csv", "--force")
    assert outcome.exit_code == 2
    assert "both --class-map and --output" in outcome.stderr
    assert Path("classes.csv").read_text() == "0,0\n"
