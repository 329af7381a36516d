"""What watches the tool for longer than a test may: that it finds what is planted, and says so by its exit code."""

from __future__ import annotations

import dataclasses
import json
import os
import random
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
sys.path[:0] = [str(ROOT)] * (str(ROOT) not in sys.path)

from hardening import faults, fuzz, outcomes, soak, world  # noqa: E402
from hardening.fuzzing import archives, documents, oracle, runner, trees  # noqa: E402

pytestmark = pytest.mark.skipif(not Path("/proc/self/statm").exists(), reason="asks Linux what a process holds")

NEVER_USED = lambda data, _most: data  # noqa: E731 - in place of libFuzzer's own mutations


def samples(count=40, rise=0.0, **later):
    """What a flat process shows, noise of half a MiB included; `later` replaces counts of the last two audits."""
    noise = random.Random(0)
    found = []
    for number in range(1, count + 1):
        counts = dict.fromkeys(soak.EXACT, 3) | (later if number > count - 2 else {})
        resident = 700 + rise * number + noise.uniform(-0.5, 0.5)
        found.append(soak.Sample(number, "workers 0", 0, 1.0, resident, 0.0, **counts))
    return found


def test_a_flat_process_is_flat():
    text, code = soak.verdict(samples(), [])
    assert code == 0
    assert text.startswith("40 audits, 0 with another exit code than 0; judged from audit 10 on: resident memory ")
    assert text.splitlines()[1].startswith("flat: handles 3, threads 3, ")


def test_a_leak_of_a_mebibyte_an_audit_is_found():
    text, code = soak.verdict(samples(rise=1.0), [])
    assert code == 1
    assert "NOT FLAT: resident memory rises by 0.997 MiB an audit, more than 0.1" in text


def test_memory_that_jumps_once_is_no_leak():
    found = [dataclasses.replace(one, resident=one.resident + (9 if one.audit > 12 else 0)) for one in samples()]
    assert soak.verdict(found, [])[1] == 0


def test_a_warm_up_is_not_judged():
    found = [dataclasses.replace(one, resident=600.0, handles=1) if one.audit < 10 else one for one in samples()]
    assert soak.verdict(found, [])[1] == 0


@pytest.mark.parametrize("name", soak.EXACT)
def test_one_thing_that_is_kept_is_found(name):
    assert soak.judged(samples(**{name: 4})) == [f"{name}: 3 after audit 10, 4 in the end, 4 at most"]


def test_what_is_there_for_one_audit_only_is_found():
    found = samples()
    found[20] = dataclasses.replace(found[20], children=4)
    assert soak.judged(found) == ["children: 3 after audit 10, 3 in the end, 4 at most"]


def test_an_audit_that_ends_otherwise_makes_the_soak_fail():
    text, code = soak.verdict(samples(), ["audit 3 (workers 1) ended with 3, expected 0; it said: nothing"])
    assert code == 1
    assert "NOT FLAT: audit 3 (workers 1) ended with 3, expected 0" in text


def test_too_few_audits_are_refused(capsys):
    with pytest.raises(SystemExit) as stop:
        soak.main(["--audits", "5"])
    assert stop.value.code == 2
    assert "--audits: expected at least 6" in capsys.readouterr().err


def test_open_files_are_counted(tmp_path):
    before = soak.sample(1, "", 0, 0.0, tmp_path)
    with (tmp_path / "left").open("w"):
        after = soak.sample(2, "", 0, 0.0, tmp_path)
    assert (after.handles - before.handles, after.temporary - before.temporary) == (1, 1)
    assert after.resident > 50


def test_a_tensor_that_is_kept_is_counted(tmp_path):
    import torch

    before = soak.sample(1, "", 0, 0.0, tmp_path)
    kept = torch.nn.Linear(2, 2)
    after = soak.sample(2, "", 0, 0.0, tmp_path)
    assert (after.networks - before.networks, after.tensors - before.tensors) == (1, len(list(kept.parameters())))


def test_a_crash_is_kept_and_the_fuzzing_goes_on(tmp_path):
    def read(data):
        if data == b"bad":
            raise KeyError("planted")
        return "accepted"

    tried = runner.Runner(read, tmp_path)
    for data in (b"good", b"bad", b"bad", b"good"):
        tried(data)
    (kept,) = tried.crashes.values()
    assert Path(kept).read_bytes() == b"bad"
    assert "KeyError: 'planted'" in Path(f"{kept}.txt").read_text()
    assert tried.ends == {"accepted": 2, "DEFECT": 2}
    assert json.loads((tmp_path / runner.STATE).read_text())["crashes"] == tried.crashes


def test_what_the_tool_refuses_is_no_crash(tmp_path):
    from tlaudit.config import load_settings

    path = tmp_path / "tlaudit.toml"

    def read(data):
        path.write_bytes(data)
        load_settings({}, path)
        return "settings"

    tried = runner.Runner(read, tmp_path)
    tried(b"[lingering]\nk = 0")
    tried(b"[lingering]\nk = 1")
    assert tried.ends == {"refused in config.settle": 1, "settings": 1}
    assert tried.crashes == {}


def figures(**changes):
    empty = dict.fromkeys((field.name for field in dataclasses.fields(fuzz.Figures)), 5)
    return fuzz.Figures(**{**empty, "target": "report", "ends": {}, "crashes": {}, **changes})


def test_a_crash_makes_the_run_fail_and_names_its_file(capsys):
    assert fuzz.verdict([figures(), figures(crashes={"KeyError rules.py:fits:80": "build/fuzz/x"})]) == 1
    assert capsys.readouterr().out == "report: KeyError rules.py:fits:80: build/fuzz/x\n"


def test_no_crash_is_no_failure(capsys):
    assert fuzz.verdict([figures()]) == 0
    assert capsys.readouterr().out == ""


def test_a_target_that_tried_nothing_makes_the_run_fail(capsys):
    assert fuzz.verdict([figures(executions=0)]) == 1
    assert "report: nothing was tried" in capsys.readouterr().out


def test_what_processes_that_are_gone_worked_in_is_cleared_away(tmp_path, monkeypatch):
    monkeypatch.setattr(runner, "MEMORY", tmp_path)
    with subprocess.Popen([sys.executable, "-c", ""]) as ended:
        pass
    gone, alive, mine = ended.pid, 1, os.getpid()
    for name in (f"{gone}-{gone}-a", f"{gone}-b", f"{mine}-{gone}-c"):
        (tmp_path / f"tlaudit-fuzz-{name}" / "files").mkdir(parents=True)
    kept = {f"tlaudit-fuzz-{alive}-{gone}-d", f"tlaudit-fuzz-{gone}-{alive}-e", "tlaudit-fuzz-of-others", "others"}
    for name in kept:
        (tmp_path / name).mkdir()
    runner.clear_scratch()
    assert {path.name for path in tmp_path.iterdir()} == kept
    # Its own are told by its process too, whoever started it.
    assert f"-{mine}-" in runner._place_to_work().name
    runner.clear_scratch()
    assert {path.name for path in tmp_path.iterdir()} == kept


@pytest.fixture
def faulty(tmp_path, monkeypatch):
    """Injections that give outcomes at once."""

    def run(*found, chosen=("--command", "gate")):
        monkeypatch.setenv("OMP_NUM_THREADS", "1")
        monkeypatch.setattr(world, "build", lambda place: place)
        monkeypatch.setattr(faults, "INJECTIONS", {"kills": lambda *_: list(found)})
        return faults.main([*chosen, "--output", str(tmp_path / "faults.json")])

    return run


def test_faults_that_were_survived_are_no_failure(faulty):
    assert faulty(outcomes.Outcome("kills", "gate", 2, 2, ())) == 0


@pytest.mark.parametrize("lost", [(), ("gate: gate.json is missing",)])
def test_a_fault_that_was_not_survived_makes_the_run_fail(faulty, lost):
    assert faulty(outcomes.Outcome("kills", "gate", 2, 1, lost)) == 1


def test_an_injection_that_injects_nothing_makes_the_run_fail_and_is_named(faulty, capsys):
    assert faulty(outcomes.Outcome("kills", "gate", 0, 0, ()), outcomes.Outcome("kills", "init", 1, 1, ())) == 1
    assert "kills, gate: nothing was injected\n" in capsys.readouterr().out


def test_a_run_without_any_fault_fails(faulty, capsys):
    assert faulty() == 1
    assert "all: nothing was injected\n" in capsys.readouterr().out


def test_a_kind_that_touches_no_command_makes_the_run_fail(faulty, capsys):
    assert faulty(chosen=()) == 1
    assert "kills: nothing was injected\n" in capsys.readouterr().out


def test_no_rounds_are_refused(capsys):
    with pytest.raises(SystemExit) as stop:
        faults.main(["--rounds", "0", "--only", "kills", "--command", "gate"])
    assert stop.value.code == 2
    assert "--rounds: expected at least 1" in capsys.readouterr().err


def test_deeds_are_noticed(tmp_path):
    watch = oracle.Watch()
    with pytest.raises(oracle.BrokenPromiseError, match="reading it did: os.mkdir"), watch.looking():
        (tmp_path / "sentinel").mkdir()
    with pytest.raises(oracle.BrokenPromiseError, match="open for writing"), watch.looking():
        (tmp_path / "sentinel.txt").write_text("x")
    with watch.looking():
        (tmp_path / "sentinel.txt").read_text()


def test_time_is_bounded(monkeypatch):
    monkeypatch.setattr(oracle, "SECONDS", -1.0)
    with pytest.raises(oracle.BrokenPromiseError, match="it took"), oracle.Watch().looking():
        pass


@pytest.mark.parametrize("value", [float("nan"), float("inf"), "\ud800", {"a": [1, {"b": float("-inf")}]}])
def test_numbers_that_are_none_are_noticed(value):
    with pytest.raises(oracle.BrokenPromiseError, match="accepted with"):
        oracle.demand_finite(value)


def test_bounds_are_those_of_the_options():
    from tlaudit.options import Settings

    settings = Settings()
    oracle.demand_in_range(settings)
    beyond = settings.model_copy(update={"distraction": settings.distraction.model_copy(update={"percentile": 100.0})})
    with pytest.raises(oracle.BrokenPromiseError, match=r"\.distraction\.percentile = 100\.0, documented as lt 100"):
        oracle.demand_in_range(beyond)


def test_changed_documents_stay_documents():
    seed = json.dumps({"a": [1, 2.5, "x", {"b": None, "c": True}], "d": {"e": -3}}).encode()
    change = documents.json_mutation([seed], ["b", "word", "d"], NEVER_USED)
    found = {change(seed, 1000, random.Random(number)) for number in range(100)}
    assert len(found) > 60
    sys.set_int_max_str_digits(0)
    try:
        parsed = sum(json.loads(one) is not ... for one in found)
    finally:
        sys.set_int_max_str_digits(4300)
    assert parsed == len(found)


def test_toml_is_written_as_it_is_read():
    tree = {"a": 1, "b": [1.5, "x'\"\n\x7f"], "c": {"d": True, "e f": {"g": []}}, "h": [{"i": 1}, {"i": 2}]}
    for number in range(30):
        assert tomllib.loads(documents.written(tree, random.Random(number))) == tree


def test_the_same_dice_change_a_tree_the_same_way():
    tree = {"a": [1, 2, {"b": "c"}], "d": 0.5}
    first, second = (trees.changed(tree, random.Random(3), ["x", "y"]) for _ in range(2))
    assert first == second
    assert tree == {"a": [1, 2, {"b": "c"}], "d": 0.5}


def test_changed_archives_have_right_checksums():
    seed = archives.packed([("a/data.pkl", b"\x80\x02}q\x00(X\x01\x00\x00\x00aK\x01u."), ("a/data/0", b"1234")])
    change = archives.checkpoint_mutation([seed], NEVER_USED)
    programs = set()
    for number in range(60):
        programs |= {
            content for name, content in archives.members(change(seed, 9999, random.Random(number))) if "pkl" in name
        }
    assert len(programs) > 30


PLANTED = """
import sys
sys.path[:0] = [{root!r}, {tests!r}]
from pathlib import Path
from hardening.fuzzing import runner, targets

class Planted(targets.Policies):
    def read(self, data):
        if b"seed" in data:
            raise KeyError("planted")
        return "accepted"

targets.TARGETS["policy"] = Planted
what, name, folder, seconds, seed = sys.argv[1:]
getattr(runner, "fuzz" if what == "fuzz" else "count_lines")(
    name, Path(folder), int(seconds), *([int(seed)] if what == "fuzz" else []))
"""


@pytest.mark.slow
def test_a_planted_crash_is_found(tmp_path):
    script = tmp_path / "planted.py"
    script.write_text(PLANTED.format(root=str(ROOT), tests=str(ROOT / "tests")))
    found = fuzz.fuzzed("policy", 2, tmp_path / "fuzz", starter=(sys.executable, str(script)))
    # What is planted is not instrumented, and the fuzzer may complain of that too.
    (kept,) = (path for what, path in found.crashes.items() if what.startswith("KeyError"))
    assert b"seed" in Path(kept).read_bytes()
    assert fuzz.verdict([found]) == 1


def run(*words):
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    return subprocess.run(
        [sys.executable, "-m", *words], cwd=ROOT, env=environment, capture_output=True, text=True, timeout=500
    )


@pytest.mark.slow
def test_fuzzing_from_end_to_end(tmp_path):
    words = ("--seconds", "5", "--folder", str(tmp_path / "fuzz"), "--output", str(tmp_path / "fuzz.json"))
    ended = run("hardening.fuzz", *words)
    assert ended.returncode == 0, ended.stdout
    targets = {one["target"]: one for one in json.loads((tmp_path / "fuzz.json").read_text())["targets"]}
    assert list(targets) == ["checkpoint", "report", "policy"]
    for one in targets.values():
        assert one["executions"] > one["seeds"] > 3
        assert one["edges"] >= one["edges_of_seeds"] > 200
        assert one["lines_reached"] >= one["lines_of_seeds"] > 0.3 * one["lines"]
        assert one["accepted"] > 3
    assert "crashes" in ended.stdout


@pytest.mark.slow
def test_soak_from_end_to_end(tmp_path):
    ended = run("hardening.soak", "--audits", "6", "--output", str(tmp_path / "soak.json"))
    found = json.loads((tmp_path / "soak.json").read_text())
    assert [one["code"] for one in found["samples"]] == [0, 0, 3, 2, 3, 0]
    # Six audits are too few for a slope, and enough for what is counted.
    assert not [line for line in found["verdict"] if "NOT FLAT" in line and "resident memory" not in line]
    assert "Audits 1 to 6 of 6" in ended.stdout
