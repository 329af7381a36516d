"""`tlaudit compare` as a user meets it."""

from __future__ import annotations

import json
import os
import subprocess
import sys

import pytest
from typer.testing import CliRunner

from compared import a_study, lingering
from tlaudit.cli import app as application
from tlaudit.comparisons import Comparison
from tlaudit.reports import COMPARISON_FORMATS

runner = CliRunner()
EXCESS = "distraction.excess_over_baseline"


@pytest.fixture(autouse=True)
def study(tmp_path, monkeypatch):
    """Three reports in the working folder, ``small.json``, ``medium.json`` and ``large.json``."""
    monkeypatch.chdir(tmp_path)
    for name, report in a_study().items():
        (tmp_path / f"{name}.json").write_text(report.to_json())
    return tmp_path


FILES = ("small.json", "medium.json", "large.json")


def run(*arguments):
    return runner.invoke(application.app, ["compare", *map(str, arguments)])


def test_shows_who_is_best():
    done = run(*FILES)
    assert done.exit_code == 0, done.stderr
    assert done.stdout.startswith(f"tlaudit compare\nlarge is best by {EXCESS}")
    assert "Changes against small" in done.stdout
    assert "medium.json (lingering, distraction)" in done.stdout


def test_every_option_does_something(study):
    assert run(*FILES, "-o", "plain.json", "-q").exit_code == 0
    plain = (study / "plain.json").read_text()
    assert Comparison.model_validate_json(plain).reference == "small"
    found = {}
    for option in (["--by", "target.accuracy"], ["--axes", f"lingering.fraction, {EXCESS}"], ["--reference", "large"]):
        done = run(*FILES, "-o", "x.json", "-q", *option)
        assert done.exit_code == 0, done.stderr
        found[option[0]] = (study / "x.json").read_text()
        assert found[option[0]] != plain
    assert json.loads(found["--by"])["ranked_by"] == "target.accuracy"
    assert json.loads(found["--axes"])["axes"] == ["lingering.fraction", EXCESS]
    assert json.loads(found["--reference"])["reference"] == "large"
    assert "(1 of 3)" in run(*FILES, "--top", "1").stdout
    both = run(*FILES, "-o", "both.json", "-f", "csv", "-f", "markdown")
    assert "written: both.md" in both.stderr
    assert (study / "both.csv").read_text().count("\n") == 4
    assert not run(*FILES, "-o", "again.json", "-q").stderr
    assert "tlaudit compare" in run(*FILES, "-o", "again.json").stderr


def test_names_may_be_given():
    done = run("one=small.json", "a = b=medium.json", "large.json", "--reference", "one", "-f", "json")
    # The first "=" ends the name.
    assert done.exit_code == 3
    assert "b=medium.json: cannot be read" in done.stderr
    done = run("one=small.json", "two words=medium.json", "large.json", "--reference", "one", "-f", "json")
    assert [one["name"] for one in json.loads(done.stdout)["candidates"]] == ["one", "two words", "large"]
    assert json.loads(done.stdout)["candidates"][1]["source"]["path"] == "medium.json"


def test_a_file_with_an_equals_sign_is_a_file(study):
    (study / "lr=0.1.json").write_text(lingering("other").to_json())
    done = run("lr=0.1.json", "small.json", "-f", "json")
    assert [one["name"] for one in json.loads(done.stdout)["candidates"]] == ["lr=0.1", "small"]


def test_a_file_that_is_called_like_a_given_name_gets_its_folder(study):
    done = run("large=small.json", "large.json", "-f", "json")
    assert [one["name"] for one in json.loads(done.stdout)["candidates"]] == ["large", f"{study.name}/large"]


@pytest.mark.parametrize(
    ("arguments", "code", "message"),
    [
        (["small.json"], 2, "needs at least two reports"),
        (["small.json", "small.json"], 2, "are the same report"),
        (["a=small.json", "a=large.json"], 2, "two candidates are called 'a'"),
        (["=small.json", "large.json"], 2, "expected FILE or NAME=FILE"),
        (["a=", "large.json"], 2, "expected FILE or NAME=FILE"),
        ([*FILES, "--by", "distraction.exces_over_baseline"], 2, f"did you mean '{EXCESS}'"),
        ([*FILES, "--axes", "target.accuracy"], 2, "expected two measurements"),
        ([*FILES, "--reference", "x"], 2, "no candidate 'x'"),
        ([*FILES, "--by", "distraction.*"], 2, f"distraction.* fits distraction.classes, {EXCESS}"),
        ([*FILES, "--axes", "erosion.cka.*,target.accuracy"], 2, "fits no measurement of these reports: erosion.cka.*"),
        ([*FILES, "-f", "sarif"], 2, "unknown format 'sarif'"),
        ([*FILES, "-o", "small.json"], 2, "both report 1 and --output (json) name it"),
        ([*FILES, "nowhere.json"], 3, "nowhere.json: cannot be read"),
        ([*FILES, "--by", "erosion.cka.min"], 3, "no check that measures it was made of all"),
    ],
)
def test_refusals(arguments, code, message):
    done = run(*arguments)
    assert done.exit_code == code
    assert message in done.stderr
    assert not done.stdout


def test_reports_of_other_definitions_are_refused_by_file_with_all_reasons(study):
    report = json.loads((study / "large.json").read_text())
    for result in report["checks"]:
        result["provenance"]["options"]["bootstrap"] = 100
        result["provenance"]["data"]["source"]["fingerprint"] = "0" * 64
    report["checks"][0]["provenance"]["options"]["k"] = 1
    (study / "large.json").write_text(json.dumps(report))
    done = run(*FILES)
    assert done.exit_code == 2
    assert (
        "small.json (small) and large.json (large): lingering: another k: 5 and 1; other source images" in done.stderr
    )
    assert "distraction: other source images" in done.stderr
    assert "resamples" not in done.stderr


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("{", "expected a result that tlaudit wrote as JSON"),
        ('{"schema_version": "9.0"}', "schema version"),
        ('{"schema_version": "1.4", "x": NaN}', "NaN"),
        ('{"schema_version": "1.4", "document": "comparison"}', "got a comparison"),
    ],
)
def test_what_is_no_report_gives_no_answer(study, content, message):
    (study / "bad.json").write_text(content)
    done = run("small.json", "bad.json")
    assert done.exit_code == 3
    assert "bad.json" in done.stderr
    assert message in done.stderr


def test_works_without_torch(study):
    code = (
        "import sys; from tlaudit.cli.app import app; from tlaudit import compare\n"
        "try: app(['compare', 'small.json', 'large.json'])\n"
        "except SystemExit as stop: assert stop.code == 0\n"
        "sys.exit('torch' in sys.modules or 'pandas' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], check=False, cwd=study, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert "large is best" in done.stdout


def test_never_writes_over_a_report_whatever_its_format_makes_of_the_name(study):
    before = (study / "small.json").read_bytes()
    done = run("a=small.json", "large.json", "-f", "json", "-f", "html", "-o", "small.html")
    assert done.exit_code == 2
    assert "small.json: both report 1 and --output (json) name it" in done.stderr
    assert (study / "small.json").read_bytes() == before
    assert not (study / "small.html").exists()


@pytest.mark.parametrize("name", sorted(COMPARISON_FORMATS))
def test_names_of_bytes_that_are_no_text_are_spelt_out(study, name):
    odd = os.fsdecode(b"\xff")
    (study / f"{odd}.json").write_text(lingering("odd").to_json())
    for first in (f"{odd}=small.json", f"{odd}.json"):
        done = run(first, "large.json", "--reference", odd, "-f", name, "-o", "out")
        assert done.exit_code == 0, done.stderr
        assert r"\udcff" in (study / "out").read_text(encoding="utf-8").replace("\\\\", "\\")
    done = run(f"{odd}=small.json", r"\udcff=large.json")
    assert done.exit_code == 2
    assert "two candidates are called" in done.stderr


def test_the_same_file_twice_is_named_shortly(study):
    done = run("small.json", "small.json")
    assert "small.json (small) and small.json (small (2)) are the same report" in done.stderr
    (study / "a").mkdir()
    (study / "a" / "small.json").write_text(lingering("other").to_json())
    done = run("a/small.json", "small.json", "small.json")
    assert f"({study.name}/small) and small.json ({study.name}/small (2))" in done.stderr
