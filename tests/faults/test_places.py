"""Places that cannot be written to, or change while a command runs: refused in one line, and nothing is touched."""

from __future__ import annotations

import errno
import fcntl
import itertools
import os
import shutil

import pytest
import torch
from PIL import Image

import faulted
import tiny
from commanded import command, refused
from tlaudit.cache.entry import Entry
from tlaudit.cache.store import Cache
from tlaudit.checks.stress_runs import refuse_runs
from tlaudit.data import whole_folders
from tlaudit.data.composite_files import CompositeFolder
from tlaudit.data.rows import RowFile
from tlaudit.errors import DataError, UsageError
from tlaudit.files import write_atomically
from tlaudit.training.steps import Step, StepFile


def test_a_read_only_place_is_refused_and_what_is_there_stays(tmp_path, judging, monkeypatch):
    place = tmp_path / "place"
    place.mkdir()
    (place / "gate.json").write_text("old")

    def asked():
        refused(2, command(*judging, "-o", place / "gate.json"), r"gate\.json: the folder .*place is not writable")

    if faulted.mounts.allowed():
        with faulted.mounts.memory(place, size=1 << 16):
            (place / "gate.json").write_text("old")
            faulted.mounts.close(place)
            asked()
            assert (place / "gate.json").read_text() == "old"
    else:
        monkeypatch.setattr(os, "access", lambda path, *_, **__: path != place)
        asked()
    assert [path.name for path in place.iterdir()] == ["gate.json"]


def test_rows_whose_folder_goes_meanwhile(tmp_path):
    place = tmp_path / "place"
    place.mkdir()
    lost = pytest.raises(DataError, match=r"rows\.csv: rows cannot be written: No such file or directory")
    with lost, RowFile(place / "rows.csv", {"a": int}) as file:
        file.add([{"a": 1}])
        shutil.rmtree(place)
    assert not place.exists()


def test_steps_go_where_a_link_leads(tmp_path):
    (tmp_path / "steps.csv").symlink_to(tmp_path / "there.csv")
    file = StepFile(tmp_path / "steps.csv")
    file.begin(0)
    file.write(Step(0, 0, 4, 0.5, {"cross_entropy": 1.0}, 3, 1.5))
    file.close()
    assert (tmp_path / "steps.csv").is_symlink()
    assert (tmp_path / "there.csv").read_text().count("\n") == 2


@pytest.mark.parametrize(
    ("ways", "mine"),
    [
        (["--train-data", "task/train"], "steps.csv"),
        (["--train-data", "task/train", "--method", "plain,l2sp"], "steps.l2sp.csv"),
        (["--task", "one=task", "--task", "two=task"], "steps.plain.two.csv"),
    ],
    ids=["one", "several", "in turn"],
)
def test_a_table_in_the_place_of_steps_is_refused_before_any_training(tmp_path, monkeypatch, ways, mine):
    monkeypatch.chdir(tmp_path)
    source = {"state_dict": tiny.own(2).state_dict(), "classes": ["c0", "c1"]}
    tiny.saved(tmp_path / "source.pth", source)
    for part, label in itertools.product(("train", "val"), ("c0", "c1")):
        folder = tmp_path / "task" / part / label
        folder.mkdir(parents=True)
        Image.new("RGB", (16, 16)).save(folder / "0.png")
    (tmp_path / mine).write_text("date,expense\n1,2\n")
    method = [] if "--method" in ways else ["--method", "plain"]
    network = ["--source", "source.pth", "--arch", tiny.OWN, "--head", "fc", "--resize", "16", "--crop", "16"]
    monkeypatch.setattr("tlaudit.training.loop.Training.run", lambda *_, **__: pytest.fail("a training has begun"))
    ended = command("repair", *network, *ways, *method, "--steps", "steps.csv", "--epochs", "1", "-j", "0", "-q")
    refused(2, ended, rf"{mine}: expected what the steps of this training did; name another file, or remove it")
    assert (tmp_path / mine).read_text() == "date,expense\n1,2\n"
    assert sorted(path.name for path in tmp_path.glob("*.csv")) == [mine]


def test_composites_whose_folder_goes_meanwhile(tmp_path):
    place = tmp_path / "place"
    lost = pytest.raises(DataError, match=r"composites: composites cannot be written: No such file or directory")
    with lost, CompositeFolder(place / "composites"):
        shutil.rmtree(place)
    assert not place.exists()


@pytest.mark.parametrize("there", ["file", "link", "loop"])
def test_what_takes_the_name_of_the_composites_meanwhile_stays(tmp_path, there):
    target = tmp_path / "composites"
    take = {
        "file": lambda: target.write_text("mine"),
        "link": lambda: target.symlink_to(tmp_path / "nowhere"),
        "loop": lambda: target.symlink_to(target),
    }
    with pytest.raises(DataError, match=r"composites: composites cannot be written: "), CompositeFolder(target):
        take[there]()
    assert target.is_symlink() is (there != "file")
    assert [path.name for path in tmp_path.iterdir()] == ["composites"]


def test_composites_are_refused_where_a_link_leads_to_itself(tmp_path):
    (tmp_path / "loop").symlink_to(tmp_path / "loop")
    with pytest.raises(UsageError, match=r"loop: expected a folder for the composites, this is a file"):
        CompositeFolder(tmp_path / "loop")
    assert [path.name for path in tmp_path.iterdir()] == ["loop"]


@pytest.mark.parametrize("place", ["file", "file/runs", "x" * 300, "loop/runs", "none/runs"])
def test_places_where_no_runs_can_be_kept(tmp_path, place):
    (tmp_path / "file").write_text("mine")
    (tmp_path / "loop").symlink_to(tmp_path / "loop")
    with pytest.raises(UsageError, match=r"(runs|file|x+): "):
        refuse_runs(tmp_path / place)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["file", "loop"]


@pytest.mark.parametrize("place", ["file", "file/cache", "x" * 300, "loop"])
def test_a_cache_that_cannot_be_made_is_said_once_and_done_without(tmp_path, caplog, place):
    (tmp_path / "file").write_text("mine")
    (tmp_path / "loop").symlink_to(tmp_path / "loop")
    cache = Cache(tmp_path / place, 1 << 20)
    for _ in range(2):
        cache.keep({"a": 1}, "f" * 64, Entry({"x": torch.ones(3)}, {}))
        assert cache.find({"a": 1}, "f" * 64) is None
        assert not cache.asked_before({"a": 1})
    assert sum("nothing is kept for later runs" in record.getMessage() for record in caplog.records) == 1
    assert (tmp_path / "file").read_text() == "mine"


def test_without_locks_nothing_of_another_run_is_cleared_away(tmp_path, monkeypatch):
    def no_lock(*_):
        raise OSError(errno.ENOLCK, os.strerror(errno.ENOLCK))

    monkeypatch.setattr(fcntl, "flock", no_lock)
    with CompositeFolder(tmp_path / "composites") as mine:
        with CompositeFolder(tmp_path / "composites"):
            write_atomically(tmp_path / "a.json", b"1")
        assert mine._path.is_dir()
    assert sorted(path.name for path in tmp_path.rglob("*")) == ["a.json", "composites", "composites.csv"]


def test_a_system_that_exchanges_no_names(tmp_path, monkeypatch):
    monkeypatch.setattr(whole_folders.sys, "platform", "another")
    for _ in range(2):
        with CompositeFolder(tmp_path / "composites"):
            pass
    assert sorted(path.name for path in tmp_path.rglob("*")) == ["composites", "composites.csv"]


SHORT = ("read-only", "turns r/o", "not mine", "renamed", "folders", "links", "no cwd", "umask 0777", "no locks")


@pytest.mark.slow
def test_commands_in_such_places():
    bench = faulted.bench()
    told = {}
    for name, names in (("gate", SHORT), ("cache", ("turns r/o", "no locks"))):
        given = faulted.commands.COMMANDS[name]
        told |= {(name, trial): faulted.places.TRIALS[trial](bench, given) for trial in names}
    assert {key: lines for key, lines in told.items() if lines} == {}


@pytest.mark.slow
def test_a_program_that_makes_its_folder_anew_is_found_out(monkeypatch):
    """The same injections into one that does not mind what became of its place."""
    bench, given = faulted.bench(), faulted.commands.COMMANDS["gate"]
    run = bench.run

    def careless():
        import tlaudit.cli.output

        def write(path, content):
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(content[:10])

        tlaudit.cli.output.write_atomically = write

    def running(given, folder, before=None, *rest, **environment):
        return run(given, folder, lambda: (careless(), before and before()), *rest, **environment)

    monkeypatch.setattr(bench, "run", running)
    assert faulted.places.TRIALS["removed"](bench, given)
    assert faulted.places.TRIALS["renamed"](bench, given)
