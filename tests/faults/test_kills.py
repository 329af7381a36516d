"""kill -9: results are whole or absent, the next run gives what it would have, and a half-written file is found."""

from __future__ import annotations

import importlib
import os
import random
import shutil
import signal
from contextlib import contextmanager

import pytest

import faulted
from tlaudit import files

outcomes, trial, kills = (
    importlib.import_module(f"hardening.{name}") for name in ("outcomes", "trial", "injections.kills")
)
COMMANDS = faulted.commands.COMMANDS
LEFT_OVER = files.unfinished_name("gate.html")


@pytest.fixture
def on_trial(tmp_path):
    """A command that is going to be disturbed, after an undisturbed run."""

    def begin(name):
        made = trial.Trial("kills", faulted.bench().world, COMMANDS[name], tmp_path / name, random.Random(0))
        made.begin()
        return made

    return begin


@pytest.fixture
def folders(tmp_path):
    """Files as `tlaudit gate` leaves them, and older ones."""
    for name in ("reference", "older"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "gate.json").write_text(f'{{"verdict": "{name}", "run": 1}}')
        (tmp_path / name / "gate.html").write_text(f"<p>{name}</p><time>now</time>")
    return shutil.copytree(tmp_path / "reference", tmp_path / "here"), tmp_path / "reference", tmp_path / "older"


def halve(here):
    (here / "gate.html").write_text("<p>refer")


def leave(here):
    (here / LEFT_OVER).write_text("<p>")


@pytest.mark.parametrize(
    ("act", "while_stopped", "when_finished"),
    [
        (lambda here: (here / "gate.json").write_text('{"verdict": "reference", "run": 2}'), [], []),
        (halve, ["gate.html is neither whole nor as it was"], ["gate.html is neither whole nor as it was"]),
        (lambda here: (here / "gate.json").unlink(), [], ["gate.json is missing"]),
        (leave, [], [f"{LEFT_OVER} is left over"]),
        (lambda here: (here / "other").touch(), ["other is none of its files"], ["other is none of its files"]),
    ],
    ids=["clock", "half", "missing", "left over", "strange"],
)
def test_what_is_half_missing_or_left_over_is_found(folders, act, while_stopped, when_finished):
    here, reference, _ = folders
    act(here)
    for finished, expected in ((False, while_stopped), (True, when_finished)):
        found = outcomes.left(here, COMMANDS["gate"], reference, finished=finished)
        assert found == tuple(f"gate: {line}" for line in expected)


def test_older_results_may_stay_and_not_vanish(folders):
    here, reference, older = folders
    shutil.copy(older / "gate.json", here)
    (here / "gate.html").unlink()
    found = outcomes.left(here, COMMANDS["gate"], reference, finished=False, older=older)
    assert found == ("gate: gate.html is missing",)


def dies_half_way(*, in_place):
    """Be killed when half of a file is written: under a name of its own, or under that of the result."""

    @contextmanager
    def replacing(path):
        yield path

    def half(file):
        os.ftruncate(file, os.fstat(file).st_size // 2)
        os.kill(os.getpid(), signal.SIGKILL)

    def before():
        files.os.fsync = half
        files.replacing = replacing if in_place else files.replacing

    return before


@pytest.mark.parametrize("in_place", [False, True])
def test_a_command_that_writes_in_place_would_be_found(on_trial, in_place):
    gate = on_trial("gate")
    folder = gate.place(older=True)
    process = gate.start(folder, dies_half_way(in_place=in_place))
    assert process.wait(60) == -signal.SIGKILL
    wrong = ["gate: gate.json is neither whole nor as it was"] if in_place else []
    assert list(gate.after(folder, process, older=True)) == wrong
    assert len(list(folder.glob(".gate.json.*.tlaudit-tmp"))) == (not in_place)
    assert list(gate.again(folder)) == [], "the next run mends it, and clears away"


def test_every_write_of_a_command_is_counted(on_trial):
    """The document, the page: each is made, opened and renamed."""
    assert on_trial("gate").writes >= 6


@pytest.mark.slow
@pytest.mark.parametrize("name", ["init", "distraction", "stress", "cache", "repair"])
def test_nothing_is_lost(on_trial, name):
    made = on_trial(name)
    # What is not there yet is written for certain; of older results a cache may be whole.
    for at_write, older in ((True, False), (False, True)):
        kills.kill(made, at_write=at_write, older=older)
    assert made.lost == []
    assert made.survived == made.injected >= 1
