"""The command line end to end: documents, exit codes, and errors that say what to do."""

from __future__ import annotations

import csv
import io
import json
import shutil
import subprocess
import sys

import pytest
from typer.testing import CliRunner

import planted
from tlaudit.cli import app as application
from tlaudit.errors import UsageError
from tlaudit.results import CheckResult

runner = CliRunner()


@pytest.fixture(scope="module")
def world(tmp_path_factory):
    return planted.build(tmp_path_factory.mktemp("world"))


@pytest.fixture(autouse=True)
def nowhere(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)


def flags(world, *more, without=()):
    names = {"source", "finetuned", "baseline", "source_data", "target_data", "val_data"} - set(without)
    given = [part for name in sorted(names) for part in (f"--{name.replace('_', '-')}", str(world[name]))]
    size = str(planted.SIZE)
    net = ["--arch", planted.ARCH, "--resize", size, "--crop", size, "--mean", "0", "0", "0", "--std", "1", "1", "1"]
    return ["lingering", *given, *net, "--k", "1", "--device", "cpu", "-j", "0", *more]


def run(*args):
    return runner.invoke(application.app, [str(arg) for arg in args])


def test_prints_a_table_by_default(world):
    outcome = run(*flags(world))
    assert outcome.exit_code == 0
    assert "7 of 10 tested source-only classes linger" in outcome.stdout
    assert "lingering.fraction" in outcome.stdout
    assert "Lingering classes (7 of 7, worst first)" in outcome.stdout
    assert not outcome.stderr


def test_json_on_stdout_is_the_whole_record(world):
    outcome = run(*flags(world, "-f", "json", "-q"))
    result = CheckResult.model_validate_json(outcome.stdout)
    assert result["lingering.count"].value == 7
    assert result.provenance.models["source"].preprocessing.crop == planted.SIZE
    assert not outcome.stderr


def test_a_file_gets_the_document_and_stderr_the_summary(world, tmp_path):
    outcome = run(*flags(world, "-o", "lingering.json", "--top", "2"))
    assert outcome.exit_code == 0
    assert not outcome.stdout
    assert "(2 of 7, worst first)" in outcome.stderr
    assert "written: lingering.json" in outcome.stderr
    assert CheckResult.model_validate_json((tmp_path / "lingering.json").read_text())["lingering.count"].value == 7
    assert not run(*flags(world, "-o", "again.json", "-q")).stderr


def test_the_suffix_says_the_format_and_several_formats_share_a_stem(world, tmp_path):
    assert run(*flags(world, "-o", "x.csv", "-q")).exit_code == 0
    rows = list(csv.DictReader(io.StringIO((tmp_path / "x.csv").read_text())))
    assert len(rows) == planted.CLASSES
    assert run(*flags(world, "-o", "both.json", "-f", "json", "-f", "markdown", "-q")).exit_code == 0
    assert (tmp_path / "both.md").read_text().startswith("# tlaudit lingering")
    assert json.loads((tmp_path / "both.json").read_text())["check"] == "lingering"


def test_same_command_same_bytes_but_for_the_run(world, tmp_path):
    documents = []
    for name in ("a.json", "b.json"):
        run(*flags(world, "-o", name, "-q"))
        documents.append(json.loads((tmp_path / name).read_text()))
        del documents[-1]["run"]
    assert json.dumps(documents[0]) == json.dumps(documents[1])


def test_options_may_come_from_the_file(world, tmp_path):
    (tmp_path / "tlaudit.toml").write_text(
        f"""
        [models]
        source = "{world["source"]}"
        finetuned = "{world["finetuned"]}"
        arch = "{planted.ARCH}"
        [data]
        source = "{world["source_data"]}"
        target = "{world["target_data"]}"
        [preprocess]
        resize = {planted.SIZE}
        crop = {planted.SIZE}
        mean = [0, 0, 0]
        std = [1, 1, 1]
        [execution]
        workers = 0
        [lingering]
        k = 12
        """
    )
    assert "0 are source-only" in run("lingering").stdout
    outcome = run("lingering", "--k", "1", "-f", "json", "-q")
    assert json.loads(outcome.stdout)["provenance"]["options"]["k"] == 1
    (tmp_path / "other.toml").write_text("[lingering]\nkk = 1")
    assert "did you mean 'k'" in run("lingering", "--config", "other.toml").stderr


@pytest.mark.parametrize(
    ("more", "code", "message"),
    [
        (["--k", "13"], 2, "--k must not exceed the number of source classes (12)"),
        (["--p-lo", "1"], 2, "no probability can exceed"),
        (["--v-lo", "2"], 2, "lingering.v_lo"),
        (["--v-lo", "0.1", "--v-lo-count", "1"], 2, "give one"),
        (["--format", "xml"], 2, "unknown format 'xml'; known are table, json"),
        (["-f", "json", "-f", "csv"], 2, "give --output"),
        (["-o", "missing/out.json"], 2, "does not exist"),
        (["--crop", "99"], 2, "crop"),
        (["--std", "1", "0", "1"], 2, "preprocess.std"),
        (["--device", "tpu9"], 2, "unknown device"),
        (["--precision", "fp8"], 2, "precision"),
        (["--batch-size", "0"], 2, "batch_size"),
        (["--head", "hed"], 2, "head"),
        (["--class-map", "none.json"], 2, "none.json"),
        (["--no-such-option"], 2, "No such option"),
        (["-o", "report.pdf"], 2, "no format ends in '.pdf'"),
        (["--arch", "leaves.py:net"], 3, "ended the program (exit code 0)"),
        (["--finetuned", "missing.pth"], 2, "missing.pth"),
        (["--source-data", "missing"], 2, "missing"),
        (["--target-data", "empty"], 3, "found none"),
        (["--finetuned", "broken.pth"], 3, "broken.pth"),
        (["--strict-data", "--val-data", "torn"], 3, "torn.png"),
    ],
)
def test_errors_are_one_line_and_the_right_code(world, tmp_path, more, code, message):
    (tmp_path / "empty").mkdir()
    (tmp_path / "leaves.py").write_text("import sys\nsys.exit(0)")
    (tmp_path / "broken.pth").write_bytes(b"PK\x03\x04 torn")
    for label in planted.PRESENT:
        planted.paint(tmp_path / "torn" / f"colour{label}", planted.COLOURS[label], 1)
    (tmp_path / "torn" / "colour0" / "torn.png").write_bytes(b"\x89PNG\r\n\x1a\n")
    outcome = run(*flags(world, *more))
    assert outcome.exit_code == code
    assert message in outcome.stderr
    assert not outcome.stdout
    assert "Traceback" not in outcome.stderr


def test_every_model_option_arrives(world, monkeypatch):
    seen = {}

    def load_pair(*paths, **options):
        seen.update(options, paths=paths)
        raise UsageError("seen")

    monkeypatch.setattr("tlaudit.models.pair.load_pair", load_pair)
    more = ["--source-arch", "a", "--baseline-arch", "b", "--head", "h", "--use-ema", "--allow-pickle"]
    assert run(*flags(world, *more)).exit_code == 2
    assert seen.pop("paths") == tuple(str(world[name]) for name in ("source", "finetuned", "baseline"))
    assert seen == {
        "arch": planted.ARCH,
        "source_arch": "a",
        "baseline_arch": "b",
        "head": "h",
        "use_ema": True,
        "alike": True,
        "allow_pickle": True,
    }


def document(world, *more):
    outcome = run(*flags(world, "-f", "json", "-q", *more))
    assert outcome.exit_code == 0, outcome.stderr
    return json.loads(outcome.stdout)


def test_data_options_do_something(world, tmp_path):
    limited = [document(world, "--limit", "24", "--seed", seed)["provenance"] for seed in ("0", "1", "1")]
    prints = [provenance["data"]["target"]["fingerprint"] for provenance in limited]
    assert prints[0] != prints[1] == prints[2]
    assert limited[1]["seed"] == 1
    renamed = tmp_path / "named"
    shutil.copytree(world["source_data"], renamed)
    (renamed / "5").rename(renamed / "five")
    assert run(*flags(world, "--source-data", renamed)).exit_code == 2
    (tmp_path / "map.csv").write_text("folder,class\nfive,5\n")
    mapped = document(world, "--source-data", renamed, "--class-map", "map.csv")
    assert mapped["tables"] == document(world)["tables"]


def test_work_options_do_something(world):
    run_record = document(world, "-j", "2", "-b", "3")["run"]
    assert (run_record["workers"], run_record["batch_size"]) == (2, 3)
    assert document(world, "--precision", "bf16")["provenance"]["precision"] == "bf16"
    preprocessing = document(world, "--interpolation", "nearest")["provenance"]["models"]["source"]["preprocessing"]
    assert preprocessing["interpolation"] == "nearest"
    assert "info" not in run(*flags(world)).stderr
    assert run(*flags(world, "--verbose")).stderr


def test_bootstrap_and_confidence_do_something(world):
    def bounds(*more):
        measurements = {m["name"]: m for m in document(world, *more)["measurements"]}
        return measurements["hybrid.mean_probability"]["interval"]

    usual = bounds()
    assert bounds("--bootstrap", "100") != usual
    assert bounds("--confidence", "0.5")["low"] > usual["low"]
    assert bounds("--seed", "3") != usual


@pytest.mark.slow
def test_a_reader_that_went_away_is_not_the_answer_no(tmp_path):
    command = f"{sys.executable} -m tlaudit demo -j 0 -q | true; exit ${{PIPESTATUS[0]}}"
    ran = subprocess.run(["bash", "-c", command], capture_output=True, check=False, cwd=tmp_path)
    assert ran.returncode == 0
    assert {path.suffix for path in tmp_path.glob("tlaudit-demo.*")} == {".html", ".json"}
    command = f"{sys.executable} -m tlaudit --help | true; exit ${{PIPESTATUS[0]}}"
    assert subprocess.run(["bash", "-c", command], capture_output=True, check=False).returncode != 1


def test_needs_its_inputs(world):
    for name in ("source", "finetuned", "source_data", "target_data"):
        outcome = run(*flags(world, without=[name]))
        assert outcome.exit_code == 2
        assert f"--{name.replace('_', '-')}" in outcome.stderr


def test_a_crash_is_one_line_and_no_answer(world, monkeypatch, tmp_path):
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    monkeypatch.setattr("tlaudit.checks.assembly.assemble", lambda *_, **__: 1 / 0)
    outcome = run(*flags(world))
    assert outcome.exit_code == 3
    assert "crashed: ZeroDivisionError" in outcome.stderr
    assert outcome.stderr.count("\n") == 1
    assert "Traceback" in next(tmp_path.glob("tlaudit-crash-*.log")).read_text()


def test_ctrl_c_is_130(world, monkeypatch):
    def interrupted(*_, **__):
        raise KeyboardInterrupt

    monkeypatch.setattr("tlaudit.checks.assembly.assemble", interrupted)
    assert run(*flags(world)).exit_code == 130


def test_builds_of_torch_that_do_not_match_are_named(world, monkeypatch):
    def mismatched(*_, **__):
        raise RuntimeError("operator torchvision::nms does not exist")

    monkeypatch.setattr("tlaudit.models.pair.load_pair", mismatched)
    monkeypatch.setattr("tlaudit.checks.assembly.assemble", mismatched)
    outcome = run(*flags(world))
    assert outcome.exit_code == 3
    assert "different builds" in outcome.stderr


def test_inspect_says_what_a_checkpoint_is(world):
    outcome = run("inspect", world["finetuned"], "--arch", planted.ARCH)
    assert outcome.exit_code == 0
    assert "head" in outcome.stdout
    document = json.loads(run("inspect", world["finetuned"], "--arch", planted.ARCH, "-f", "json").stdout)
    assert document["model"]["num_classes"] == 2
    assert document["model"]["head"] == "head"
    assert document["stages"] == ["templates", "norm"]
    assert run("inspect", world["finetuned"], "-f", "xml").exit_code == 2
    assert run("inspect", "missing.pth").exit_code == 2
    unknown = run("inspect", world["finetuned"])
    assert unknown.exit_code == 3
    assert "--arch" in unknown.stderr


def test_schema_is_json_schema():
    document = json.loads(run("schema").stdout)
    assert document["result"]["properties"]["schema_version"]["default"] == document["schema_version"]
    assert "lingering" in document["configuration"]["properties"]


def test_version_and_help_need_no_torch():
    code = (
        "import sys; from tlaudit.cli.app import main\n"
        "sys.argv = ['tlaudit', sys.argv[1]]\n"
        "try: main()\n"
        "except SystemExit as stop: assert not stop.code\n"
        "assert not {'torch', 'pandas', 'pydantic'} & set(sys.modules)\n"
    )
    for flag in ("--help", "--version"):
        outcome = subprocess.run([sys.executable, "-c", code, flag], capture_output=True, text=True, check=True)
        assert "tlaudit" in outcome.stdout


def test_every_command_explains_itself():
    for name in application.COMMANDS:
        outcome = run(name, "--help")
        assert outcome.exit_code == 0
        assert name in outcome.stdout


@pytest.mark.parametrize("command", ["lingering", "distraction"])
def test_no_format_is_written_over_what_is_read(command, tmp_path):
    """`-f json -f html -o NAME.html` writes NAME.json as well."""
    known = tmp_path / "known.json"
    known.write_text("{}", encoding="utf-8")
    (tmp_path / "tlaudit.toml").write_text(
        '[models]\nsource = "known.json"\nfinetuned = "known.json"\n', encoding="utf-8"
    )
    outcome = run(command, "-f", "json", "-f", "html", "-o", "known.html")
    assert outcome.exit_code == 2
    assert "both --" in outcome.stderr
    assert known.read_text(encoding="utf-8") == "{}"
