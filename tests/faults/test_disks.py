"""Disks that are full or fail: a line that says so, old results as they were, nothing half and nothing left over."""

from __future__ import annotations

import errno
import json
import os
import shutil

import pytest
import torch

import faulted
from commanded import command, refused
from tlaudit import files
from tlaudit.cache.entry import Entry
from tlaudit.cache.store import Cache
from tlaudit.checks.stress_runs import refuse_runs
from tlaudit.data import whole_folders
from tlaudit.data.composite_files import COLUMNS, CompositeFolder
from tlaudit.data.rows import RowFile
from tlaudit.errors import DataError
from tlaudit.training.steps import Step, StepFile

FULL = "No space left on device|File too large"
ROOM = 64 * 1024


# Folders that take each other's place


class Killed(BaseException):
    """Stands for kill -9: nothing is tidied up."""


def written(folder, text):
    (folder / "0001").mkdir(parents=True)
    (folder / "composites.csv").write_text(f"{','.join(COLUMNS)}\n0001-0001,0001/0001-0001.png,{text}\n")
    (folder / "0001" / "0001-0001.png").write_text(text)
    return folder


def whole(folder):
    """What all files of a folder say; None where there is no folder, or they are of two runs."""
    there = [path for path in folder.rglob("*") if path.is_file()] if folder.is_dir() else []
    texts = {path.read_text().strip().rpartition(",")[2] for path in there}
    return texts.pop() if len(texts) == 1 and len(list(folder.rglob("*"))) == 3 else None


def look(target):
    """The next run begins; it comes to nothing."""
    with pytest.raises(KeyboardInterrupt), CompositeFolder(target):
        raise KeyboardInterrupt


def killed_at(step, made, target, monkeypatch):
    """Put a folder in place and be killed before that call to the system; False where there are fewer."""
    left = [step]

    def counting(real):
        def call(*arguments, **named):
            left[0] -= 1
            if not left[0]:
                raise Killed
            return real(*arguments, **named)

        return call

    with monkeypatch.context() as patch:
        for owner, name in ((os, "rename"), (os, "unlink"), (os, "rmdir"), (whole_folders, "_exchanged")):
            patch.setattr(owner, name, counting(getattr(owner, name)))
        try:
            whole_folders.put_in_place(made, target)
        except Killed:
            return True
    return False


@pytest.mark.parametrize("exchanging", [True, False])
def test_composites_outlive_a_kill_at_every_step(tmp_path, monkeypatch, exchanging):
    if not exchanging:
        monkeypatch.setattr(whole_folders, "_exchanged", lambda *_: False)
    target, steps, gaps, kept = tmp_path / "composites", 0, 0, set()
    while True:
        steps += 1
        shutil.rmtree(target, ignore_errors=True)
        made = written(tmp_path / files.unfinished_name("composites"), "new")
        written(target, "old")
        going_on = killed_at(steps, made, target, monkeypatch)
        gaps += whole(target) is None
        look(target)
        kept.add(whole(target))
        assert [path.name for path in tmp_path.iterdir()] == ["composites"]
        if not going_on:
            break
    assert kept == {"old", "new"}
    # Exchanged names leave no gap at all; without them the gap that is mended was really there.
    assert gaps == 0 if exchanging else gaps >= 1


def test_two_runs_that_end_at_once_leave_the_composites_of_one(tmp_path, monkeypatch):
    target, mine, others = (tmp_path / name for name in ("composites", "mine", "others"))
    for folder in (target, mine, others):
        written(folder, folder.name)
    monkeypatch.setattr(whole_folders, "_exchanged", lambda *_: False)
    aside = whole_folders._set_aside

    def meanwhile(folder):
        aside(folder)
        if others.exists():
            whole_folders.put_in_place(others, target)

    monkeypatch.setattr(whole_folders, "_set_aside", meanwhile)
    whole_folders.put_in_place(mine, target)
    assert whole(target) == "mine"
    assert [path.name for path in tmp_path.iterdir()] == ["composites"]


def test_what_somebody_puts_into_the_folder_meanwhile_is_not_replaced(tmp_path):
    target = written(tmp_path / "composites", "old")
    held = r"composites: expected a new or empty folder .* holds notes\.txt"
    with pytest.raises(DataError, match=held), CompositeFolder(target):
        (target / "notes.txt").write_text("mine")
    assert (target / "notes.txt").read_text() == "mine"
    assert [path.name for path in tmp_path.iterdir()] == ["composites"]


# Rooms that write


def step(index):
    return Step(index, 0, 4, 0.5, {"cross_entropy": 1 / (index + 1)}, 3, 1.5)


def rows_to(name, place):
    with RowFile(place / name, {"number": int, "text": str}) as file:
        for start in range(0, 20_000, 500):
            file.add({"number": index, "text": f"{index * 7919 % 100_003}"} for index in range(start, start + 500))


def steps_to(place):
    file = StepFile(place / "steps.csv")
    file.begin(0)
    try:
        for index in range(20_000):
            file.write(step(index))
    finally:
        file.close()


@pytest.mark.parametrize("name", ["rows.csv", "rows.parquet"])
def test_rows_on_a_full_disk(tmp_path, name):
    with faulted.small_disk(tmp_path / "disk", ROOM) as place:
        (place / name).write_text("old")
        with pytest.raises(DataError, match=rf"{name}: rows cannot be written: .*({FULL})"):
            rows_to(name, place)
        assert (place / name).read_text() == "old"
        assert [path.name for path in place.iterdir()] == [name]


def test_steps_on_a_full_disk_end_with_a_whole_row_and_go_on_from_it(tmp_path):
    with faulted.small_disk(tmp_path / "disk", ROOM) as place:
        with pytest.raises(DataError, match=rf"steps\.csv: what the steps did cannot be written: ({FULL})"):
            steps_to(place)
        content = (place / "steps.csv").read_bytes()
        assert content.endswith(b"\n")
        assert len(content) > ROOM - 200
        rows = content.count(b"\n") - 1
        shutil.copy(place / "steps.csv", tmp_path / "steps.csv")
    file = StepFile(tmp_path / "steps.csv")
    file.begin(rows)
    file.write(step(rows))
    file.close()
    lines = (tmp_path / "steps.csv").read_bytes().splitlines()
    assert len(lines) == rows + 2
    assert [line.split(b",")[0] for line in lines[-2:]] == [str(rows).encode(), str(rows + 1).encode()]


def test_a_full_cache_is_said_once_and_nothing_is_left_in_it(tmp_path, caplog):
    with faulted.small_disk(tmp_path / "disk", ROOM) as place:
        cache = Cache(place / "cache", 1 << 30)
        for index in range(3):
            cache.keep({"number": index}, "f" * 64, Entry({"x": torch.zeros(10 * ROOM, dtype=torch.uint8)}, {}))
        assert list((place / "cache").iterdir()) == []
    told = [record.getMessage() for record in caplog.records]
    assert len(told) == 1
    assert "nothing is kept for later runs in the cache" in told[0]


def test_a_folder_for_runs_cannot_be_made(tmp_path, monkeypatch):
    def full(*_, **__):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(os, "mkdir", full)
    with pytest.raises(DataError, match=r"runs: the folder for finished runs cannot be made: No space left on device"):
        refuse_runs(tmp_path / "runs")


# Commands


def test_one_file_finds_no_room_and_the_other_is_written(tmp_path, judging):
    with faulted.small_disk(tmp_path / "disk", 8192) as place:
        (place / "gate.html").write_text("old")
        ended = command(*judging, "-o", place / "gate.json", "--report", place / "gate.html")
        refused(3, ended, rf"gate\.html: cannot be written: ({FULL})")
        assert json.loads((place / "gate.json").read_text())["outcome"] == "pass"
        assert (place / "gate.html").read_text() == "old"
        assert sorted(path.name for path in place.iterdir()) == ["gate.html", "gate.json"]


@pytest.mark.parametrize("call", ["fsync", "replace"])
def test_a_failing_disk_leaves_the_old_result(tmp_path, judging, monkeypatch, call):
    def failing(*_, **__):
        raise OSError(errno.EIO, os.strerror(errno.EIO))

    (tmp_path / "gate.json").write_text("old")
    before = sorted(path.name for path in tmp_path.iterdir())
    monkeypatch.setattr(os, call, failing)
    refused(3, command(*judging, "-o", tmp_path / "gate.json"), r"gate\.json: cannot be written: Input/output error")
    assert (tmp_path / "gate.json").read_text() == "old"
    assert sorted(path.name for path in tmp_path.iterdir()) == before


# What judges the injections


class Shown:
    """A world in which a command leaves one file."""

    world = faulted.world.World(faulted.ROOT)
    command = faulted.commands.Command("shown", lambda *_: [], ("a.json",))

    def reference(self, _):
        return {"a.json": b'{"x": 1}'}


def judged(place, code=3, said="tlaudit: PLACE/a.json: cannot be written: No space left on device", **more):
    allowed = faulted.trials.Allowed(frozenset({3}), FULL, str(place))
    ended = code, said.replace("PLACE", str(place))
    return faulted.trials.judged(Shown(), Shown.command, place, ended, allowed, **more)


WRONG = {
    "half a file": (lambda place: (place / "a.json").write_text('{"x"'), {}, "a.json is not what it should be"),
    "left over": (lambda place: (place / files.unfinished_name("a.json")).touch(), {}, "tlaudit-tmp is left over"),
    "old is gone": (lambda _: None, {"earlier": True}, "a.json is missing"),
    "another code": (lambda _: None, {"code": 2}, "exit code 2, expected 3"),
    "a crash": (lambda _: None, {"said": "tlaudit: crashed: OSError: No space left on device"}, "it crashed"),
    "no place": (lambda _: None, {"said": "tlaudit: No space left on device"}, "does not say why and where"),
    "no reason": (lambda _: None, {"said": "tlaudit: PLACE"}, "does not say why and where"),
    "silence": (lambda _: None, {"said": ""}, "does not say why and where"),
}


@pytest.mark.parametrize("wrong", WRONG)
def test_what_is_lost_is_counted(tmp_path, wrong):
    assert judged(tmp_path) == []
    act, more, expected = WRONG[wrong]
    act(tmp_path)
    told = judged(tmp_path, **more)
    assert any(expected in line for line in told), told


def test_the_old_result_counts_as_kept(tmp_path):
    (tmp_path / "a.json").write_bytes(faulted.trials.EARLIER)
    assert judged(tmp_path, earlier=True) == []
    (tmp_path / "a.json").write_text('{"run": 7, "x": 1}')
    assert judged(tmp_path, earlier=True) == []


@pytest.mark.slow
@pytest.mark.parametrize("mounted", [True, False])
def test_commands_on_full_disks(monkeypatch, mounted):
    if not mounted:
        monkeypatch.setattr(faulted.disks.mounts, "allowed", lambda: False)
    bench = faulted.bench()
    outcomes = []
    for name in ("gate", "cache") if mounted else ("gate", "screen"):
        given = faulted.commands.COMMANDS[name]
        outcomes.append(faulted.disks.full(bench, given, 3 if name == "gate" else 2, 0).outcome())
    outcomes += [faulted.disks.failing(bench, given, call, 1).outcome() for call in faulted.disks.CALLS]
    assert faulted.lost(outcomes) == []
    assert {outcome.injection for outcome in outcomes} >= {
        "disk full" if faulted.mounts.allowed() and mounted else "file limit"
    }


@pytest.mark.slow
def test_a_disk_that_fails_and_is_not_asked_is_found_out(monkeypatch):
    """The same injection into a program that writes straight to its files."""

    def careless():
        def write(path, content):
            path.write_bytes(content[: len(content) // 2])
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

        import tlaudit.cli.output

        tlaudit.cli.output.write_atomically = write

    bench, given = faulted.bench(), faulted.commands.COMMANDS["gate"]
    place = bench.folder()
    ended = bench.run(given, place, careless)
    allowed = faulted.trials.Allowed(frozenset({3}), FULL, str(place))
    told = faulted.trials.judged(bench, given, place, ended, allowed)
    assert any("gate.json is not what it should be" in line for line in told)
