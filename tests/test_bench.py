from __future__ import annotations

import importlib
import json
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest

ROOT = Path(__file__).parent.parent
sys.path.insert(0, str(ROOT))  # bench is no part of the package

apart, main, rounds, rows = (
    importlib.import_module(f"bench.{name}") for name in ("apart", "__main__", "rounds", "rows")
)


def test_ratio_is_the_median_of_rounds_and_not_that_of_the_medians():
    taken = rounds.Rounds({"ours": [1.0, 4.0, 2.0], "theirs": [2.0, 4.0, 8.0]}, {})
    row = taken.row("m", "w", "ours", unit="images/s", work=8, peer="theirs", bound="theirs")
    assert row.ours == 4.0
    assert (row.peer.value, row.peer.ratio, row.peer.low, row.peer.high) == (2.0, 2.0, 1.0, 4.0)
    assert row.bound == row.peer


def test_ratio_counts_a_piece_of_work_where_runs_do_not_do_the_same():
    taken = rounds.Rounds({"twice": [6.0], "once": [2.0]}, {})
    row = taken.row("m", "w", "twice", unit="ms", work=20, bound="once", works={"once": 10})
    assert row.ours == pytest.approx(300.0)
    assert row.bound.value == pytest.approx(200.0)
    assert row.bound.ratio == pytest.approx(2 / 3)


def test_runs_take_turns_and_warming_up_does_not_count():
    said, drawn = [], []
    runs = {name: lambda name=name: said.append(name) for name in "ab"} | {"own": lambda: 7.0}
    found = rounds.take_turns(runs, rounds=2, warmup=1, before=drawn.append, absent={"c": "gone", "d": None})
    assert "".join(said) == "abbaab"[:2] + "b" + "a" + "ab"
    assert drawn == [0, 1, 2]
    assert [len(taken) for taken in found.seconds.values()] == [2, 2, 2]
    assert found.seconds["own"] == [7.0, 7.0]
    peer = found.row("m", "w", "own", unit="ms", peer="c").peer
    assert (peer.value, peer.ratio, peer.absent) == (None, None, "gone")


def test_a_row_survives_json():
    row = rows.Row("m", "w", "ms", 1.0, rows.Comparison("p", 2.0, 2.0, 1.0, 3.0), rows.Comparison("b", absent="why"), 3)
    assert rows.Row.from_json(json.loads(json.dumps(row.as_json()))) == row


def test_says_why_a_peer_is_missing():
    assert rows.missing("json") is None
    assert "no_such_peer is not installed" in rows.missing("no_such_peer")


def test_one_that_fails_does_not_stop_the_others_and_the_exit_code_says_so(tmp_path, monkeypatch, capsys):
    def call(module, _function, **arguments):
        if module == "machine":
            return SimpleNamespace(value={"cores": 2})
        if arguments["name"] == "cka":
            raise apart.FailedError("it ended with exit code 1")
        assert arguments == {"name": "erosion", "quick": True, "device": "cpu"}
        return SimpleNamespace(value=[rows.Row("erosion", "of all", "ms", 1.5).as_json()])

    monkeypatch.setattr(main, "call", call)
    output = tmp_path / "new" / "bench.json"
    words = ["--quick", "--device", "cpu", "--only", "cka", "--only", "erosion", "--output", str(output)]
    assert main.main(words) == 1
    document = json.loads(output.read_text(encoding="utf-8"))
    assert document["failed"] == ["cka"]
    assert [row["ours"] for row in document["rows"]] == [1.5, None]
    shown = capsys.readouterr().out
    assert "of all" in shown
    assert "failed: it ended with exit code 1" in shown


def test_a_process_of_its_own_gives_an_answer_or_fails():
    answer = apart.call("rows", "missing", package="no_such_peer")
    assert answer.value.startswith("no_such_peer")
    assert answer.peak is None or answer.peak > 2**20
    with pytest.raises(apart.FailedError, match="exit code 1"):
        apart.call("rows", "no_such_function")
    with pytest.raises(apart.FailedError, match="did not end"):
        apart.call("rows", "missing", within=0.001, package="json")


@pytest.mark.parametrize("name", main.MEASUREMENTS)
def test_each_measurement_has_a_file(name):
    assert "def measure(options: Options) -> list[Row]:" in (ROOT / "bench" / f"{name}.py").read_text(encoding="utf-8")


@pytest.mark.slow
def test_runs_end_to_end(tmp_path):
    output = tmp_path / "bench.json"
    words = ["--quick", "--device", "cpu", "--only", "intervals", "--only", "lingering", "--output", str(output)]
    done = subprocess.run(
        [sys.executable, "-m", "bench", *words], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    document = json.loads(output.read_text(encoding="utf-8"))
    assert document["machine"]["device"] == "cpu"
    # Interval or check, peer and bound: all of them took some time.
    for row in document["rows"]:
        assert row["ours"] > 0
        assert all(row[side]["ratio"] > 0 for side in ("peer", "bound") if row[side] is not None)
    assert {row["measurement"] for row in document["rows"]} == {"intervals", "lingering"}
    assert "scipy.stats.bootstrap" in done.stdout
