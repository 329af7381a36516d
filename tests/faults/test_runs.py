"""Runs that write to one place at one time: every file is whole, and nobody removes what others write."""

from __future__ import annotations

import importlib
import random
from contextlib import contextmanager

import pytest

import faulted
from tlaudit import files

trial, runs = (importlib.import_module(f"hardening.{name}") for name in ("trial", "injections.runs"))


@pytest.fixture
def on_trial(tmp_path):
    def begin(name):
        command = faulted.commands.COMMANDS[name]
        made = trial.Trial("runs", faulted.bench().world, command, tmp_path / name, random.Random(0))
        made.begin()
        return made

    return begin


@contextmanager
def shared(target, *, folder=False):
    """An unfinished file that all runs have in common."""
    path = target.with_name(f".{target.name}.01234567.tlaudit-tmp")
    path.touch()
    try:
        yield path
    finally:
        path.unlink(missing_ok=True)


def test_five_runs_write_the_same_files(on_trial):
    made = on_trial("gate")
    runs.together(made, 5, older=True)
    assert (made.injected, made.survived, made.lost) == (1, 1, [])


def test_runs_that_take_each_other_s_unfinished_files_would_be_found(on_trial, monkeypatch):
    """Each run waits where it has written, until another one has begun to."""
    made = on_trial("gate")
    monkeypatch.setattr(files, "unfinished", shared)
    monkeypatch.setattr(files.os, "fsync", lambda file: [path.unlink() for path in made.base.glob("here/.gate.*-tmp")])
    runs.together(made, 2, older=False)
    assert made.survived == 0
    assert any("ends with 3" in line or "crashed" in line for line in made.lost)


@pytest.mark.slow
@pytest.mark.parametrize("name", ["distraction", "stress", "cache", "screen", "repair"])
def test_two_runs_of_one_command(on_trial, name):
    made = on_trial(name)
    runs.together(made, 2, older=name != "cache")
    assert (made.injected, made.lost) == (1, [])
