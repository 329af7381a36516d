"""Commands in two processes: who speaks and writes, and what becomes of all when one of them fails."""

from __future__ import annotations

import contextlib
import io
import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

import processes
import several
from tlaudit.cli import app as application
from tlaudit.documents import read_report

pytestmark = pytest.mark.slow

PACKAGE = Path(application.__file__).parents[2]
COMMANDS = {
    "lingering": ("", "lingering", "-o", "{place}/lingering.json"),
    "usage": ("", "lingering", "--k", "99"),
    "alone": ("", "screen", "{root}/target"),
    "different": ("", "lingering", "--target-data", "{root}/{rank}"),
    "nan": ("nan", "lingering", "-o", "{place}/nan.json"),
    "crashed": ("crashed 2", "erosion", "--data", "{root}/images", "-o", "{place}/crashed.json"),
    "ended": ("ended", "lingering"),
    "training": ("crashed 4", "stress", "-o", "{place}/training.json"),
    "network": ("failed 4", "stress", "-o", "{place}/network.json"),
    "step ended": ("ended 4", "stress", "-o", "{place}/ended.json"),
    "audit": ("crashed 3", "audit", "-o", "{place}/audit.json", "--val-data", "{root}/val"),
}
"""Trouble and arguments; `rank` is the process's own."""


def flags(root, name, *more):
    networks = [
        part
        for role in ("source", "finetuned", "baseline")
        for part in (f"--{role}", f"{root}/{role}.pth")
        if name != "stress" or role == "source"
    ]
    data = ["--source-data", f"{root}/images"] if name != "erosion" else []
    data += ["--target-data", f"{root}/target"] if name not in {"erosion", "stress"} else []
    common = ["--device", "cpu", "-j", "0", "-b", "8", "--resize", str(several.SIDE), "--crop", str(several.SIDE)]
    return [name, *networks, *data, *common, "--arch", several.TROUBLED, "--config", f"{root}/tlaudit.toml", *more]


def ran(arguments):
    """Exit code of a command, and what it says on stderr."""
    said = io.StringIO()
    with contextlib.redirect_stderr(said):
        try:
            application.app(arguments)
        except SystemExit as stop:
            return stop.code or 0, said.getvalue()
    raise AssertionError("a command ends with an exit code")


def work(root, place):
    found, port = {}, int(os.environ["MASTER_PORT"])
    for number, (case, (trouble, name, *more)) in enumerate(COMMANDS.items()):
        own = [text.format(root=root, place=place, rank=os.environ["RANK"]) for text in more]
        os.environ |= {
            "TROUBLE": trouble,
            "TROUBLE_PASSES": "0",
            "MASTER_PORT": str(1024 + (port + 97 * number) % 60000),
        }
        found[case] = ran(flags(root, name, *own))
    return found


def killed(root, place, name):
    """A command of which one process is killed on the way."""
    os.environ["TROUBLE"] = {"lingering": "killed 4", "stress": "killed 5", "distraction": "killed 30"}[name]
    more = ["--save-rows", f"{place}/rows.csv"] if name == "distraction" else []
    code, said = ran(flags(root, name, "-o", f"{place}/result.json", *more))
    sys.stderr.write(said)
    raise SystemExit(code)


SETTINGS = """
[lingering]
k = 1
v_lo = 1.0
p_lo = 0.01
[distraction]
layer = "features.3"
per_class = 3
[erosion]
stages = ["features.0", "features.3"]
[stress]
stages = ["features.0", "features.3"]
ratios = [0.0, 1.0]
training = { epochs = 1, batch_size = 8 }
[audit]
checks = ["lingering", "distraction", "erosion"]
"""


@pytest.fixture(scope="module")
def world(tmp_path_factory):
    root = several.build(tmp_path_factory.mktemp("world"))
    (root / "tlaudit.toml").write_text(SETTINGS)
    for rank, classes in enumerate((2, 1)):
        several.paint(root / str(rank), classes, 3, 5)
    return root


@pytest.fixture(scope="module")
def done(world, tmp_path_factory):
    place, told = tmp_path_factory.mktemp("place"), tmp_path_factory.mktemp("told")
    found = processes.results(2, __file__, "work", told, str(world), str(place))
    return place, {case: [result[case] for result in found] for case in COMMANDS}


def test_only_the_first_speaks_and_writes(done):
    place, found = done
    (first, said), (second, silence) = found["lingering"]
    assert first == second == 0
    assert silence == ""
    assert "skipped c2/4.png" in said
    assert "lingering.json" in said
    assert read_report(place / "lingering.json").results[0].check == "lingering"
    assert sorted(path.name for path in place.iterdir()) == ["audit.json", "lingering.json"]


@pytest.mark.parametrize(
    ("case", "code", "says"),
    [
        ("usage", 2, "--k must not exceed"),
        ("different", 3, "the processes do not see the same target images"),
        ("nan", 3, "gives no number for"),
        ("ended", 3, "code of the model's own ended the program (exit code 0)"),
        ("crashed", 3, "crashed in process 1 of 2: KeyError: 'planted'"),
    ],
)
def test_what_fails_in_one_fails_in_all(done, case, code, says):
    (first, said), (second, _) = done[1][case]
    assert (first, second) == (code, code)
    assert says in said


def test_each_reason_is_said_once_and_a_crash_by_the_one_that_has_the_details(done):
    found = done[1]
    assert [found[case][1][1] for case in ("usage", "different", "nan", "ended")] == [""] * 4
    assert found["crashed"][1][1].startswith("tlaudit: process 1 of 2: crashed: KeyError: 'planted' (details: ")
    assert "details" not in found["crashed"][0][1]


def test_a_failure_in_a_step_of_a_training_ends_all(done):
    """A sum that the others wait for tells them nothing."""
    (first, said), (second, complained) = done[1]["training"]
    assert (first, second) == (3, 3)
    assert "another process of this run has ended" in said
    assert complained.startswith("tlaudit: process 1 of 2: crashed: KeyError: 'planted' (details: ")


@pytest.mark.parametrize(
    ("case", "says"),
    [
        ("network", "the network fails in training mode, on a batch of shape (4, 3, 16, 16): RuntimeError: planted"),
        ("step ended", "code of the model's own ended the program (exit code 0)"),
    ],
)
def test_what_a_network_fails_of_in_a_step_of_one_ends_all(done, case, says):
    (first, said), (second, complained) = done[1][case]
    assert (first, second) == (3, 3)
    assert "another process of this run has ended" in said
    assert complained.startswith(f"tlaudit: process 1 of 2: {says}")


@pytest.mark.parametrize("wrong", [["--nope"], ["--k", "many"], ["--config", "none.toml"]], ids=str)
def test_wrong_usage_is_one_line_of_those_that_do_not_lead(monkeypatch, capsys, wrong):
    for name, value in (("RANK", "1"), ("WORLD_SIZE", "3"), ("LOCAL_RANK", "1")):
        monkeypatch.setenv(name, value)
    monkeypatch.setattr(sys, "argv", ["tlaudit", "lingering", *wrong])
    with pytest.raises(SystemExit) as stop:
        application.main()
    said = capsys.readouterr().err
    assert stop.value.code == 2
    assert said.startswith("tlaudit: process 1 of 3: ")
    assert said.count("\n") == 1
    assert wrong[0] in said or wrong[-1] in said


def test_a_command_that_nobody_shares_is_refused(done):
    for rank, (code, said) in enumerate(done[1]["alone"]):
        assert code == 2
        assert said.startswith("tlaudit: process 1 of 2: " if rank else "tlaudit: tlaudit screen is the work of one")


def test_an_audit_goes_on_together_after_a_crash_in_one(done):
    place, found = done
    assert [code for code, _ in found["audit"]] == [3, 3]
    report = json.loads((place / "audit.json").read_text())
    reasons = {check["check"]: check["failure"] for check in report["checks"]}
    assert reasons["lingering"] == reasons["erosion"] == "crashed in process 1 of 2: KeyError: 'planted'"
    assert reasons["distraction"].startswith("needs the result of lingering") or "planted" in reasons["distraction"]
    assert "(details: " in found["audit"][1][1]
    assert "3 checks could not be made" in found["audit"][0][1] or "no check could be made" in found["audit"][0][1]


@pytest.mark.parametrize(
    "name",
    ["lingering", *(pytest.param(name, marks=pytest.mark.slow) for name in ("stress", "distraction"))],
)
def test_the_others_end_when_one_is_killed(world, tmp_path, name):
    """With a sentence and exit code 3; nothing is written, and nothing half-written is left."""
    place = tmp_path / "place"
    place.mkdir()
    (first, said), (second, _) = processes.ended(
        2, __file__, "killed", tmp_path, str(world), str(place), name, within=60
    )
    assert (first, second) == (3, -signal.SIGKILL), said
    assert "another process of this run has ended" in said
    assert list(place.iterdir()) == []


def test_an_interruption_while_torch_is_imported_is_one(tmp_path):
    """Its C++ code would abort on the exception; here the import is a pretended one."""
    (tmp_path / "torch").mkdir()
    (tmp_path / "torch" / "__init__.py").write_text(
        "import os, signal, time\nos.kill(os.getpid(), signal.SIGINT)\ntime.sleep(60)\n"
    )
    code = "from tlaudit.cli.app import main; main()"
    command = [sys.executable, "-c", code, "lingering", "--source", "a.pth", "--finetuned", "b.pth"]
    environment = {**os.environ, "PYTHONPATH": f"{tmp_path}:{PACKAGE}", "TLAUDIT_CACHE_DIR": str(tmp_path)}
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False, timeout=60)
    assert (done.returncode, done.stderr) == (130, "tlaudit: interrupted\n")
