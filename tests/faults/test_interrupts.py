"""Ctrl-C, whenever it comes: 130, one line, nothing half; the first is put in order, the second ends at once."""

from __future__ import annotations

import importlib
import os
import random
import signal
import subprocess
import sys
from pathlib import Path

import pytest

import faulted

trial, interrupts, forked = (
    importlib.import_module(f"hardening.{name}") for name in ("trial", "injections.interrupts", "forked")
)
LINE = "tlaudit: interrupted\n"


def ended(tmp_path, before, words=("schema",)):
    """Exit status and words of a command in whose process something is done before."""
    process = forked.started(words, tmp_path / "said.txt", before)
    return process.wait(60), process.said()


def interrupt():
    os.kill(os.getpid(), signal.SIGINT)


class Interrupting:
    """Is interrupted where Python can only tell of an error, and go on."""

    def __del__(self):
        interrupt()


def does(monkeypatch, work):
    """`tlaudit schema` does something else."""
    monkeypatch.setattr("tlaudit.cli.app.refuse_several", lambda _: work())


def twice():
    try:
        interrupt()
    finally:
        interrupt()
        raise AssertionError("it has ended before")


def one_more_process():
    child = os.fork()
    interrupt() if not child else os.waitpid(child, 0)
    interrupt()


def a_module():
    """What a library makes of an interruption while it is imported is not shown to anybody."""
    folder = Path.cwd() / "interrupted_module"
    folder.mkdir()
    (folder / "__init__.py").write_text(
        "import os, signal\ntry: os.kill(os.getpid(), signal.SIGINT)\nexcept KeyboardInterrupt: raise ImportError\n"
    )
    sys.path.insert(0, str(Path.cwd()))
    importlib.import_module("interrupted_module")


@pytest.mark.parametrize(
    "work",
    [interrupt, twice, one_more_process, a_module, lambda: Interrupting().__class__],
    ids=lambda work: work.__name__,
)
def test_one_line_and_130(tmp_path, monkeypatch, work):
    monkeypatch.chdir(tmp_path)
    does(monkeypatch, work)
    assert ended(tmp_path, None) == (130, LINE)


@pytest.mark.parametrize(
    "moment", ["tlaudit.cli.streams.settle", "tlaudit.cli.interrupts.hush", "typer.main.Typer.__call__"]
)
def test_one_line_and_130_outside_of_the_work(tmp_path, monkeypatch, moment):
    """Before it, after it, and while it is said."""
    does(monkeypatch, interrupt if moment.endswith("hush") else lambda: None)
    monkeypatch.setattr(moment, lambda *_: interrupt())
    assert ended(tmp_path, None) == (130, LINE)


def test_a_program_that_was_told_to_ignore_it_does(tmp_path, monkeypatch):
    """As `nohup`, and shells, start what runs in the background."""
    does(monkeypatch, interrupt)
    status, said = ended(tmp_path, lambda: signal.signal(signal.SIGINT, signal.SIG_IGN))
    assert (status, said[:1]) == (0, "{")


def test_the_command_hears_before_it_imports_what_takes_time():
    slow = {"typer", "rich", "torch", "pydantic", "logging"}
    code = f"import sys, tlaudit.__main__; print(*sorted({slow} & set(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "\n"


@pytest.mark.parametrize(
    ("said", "wrong"),
    [
        (LINE, 0),
        (f"tlaudit: warning\n{LINE}", 0),
        ("", 1),
        (LINE * 2, 1),
        (f"Traceback (most recent call last):\nKeyboardInterrupt\n{LINE}", 2),
    ],
)
def test_what_should_not_be_said_is_found(said, wrong):
    assert len(interrupts.unexpected(said)) == wrong


@pytest.mark.slow
@pytest.mark.parametrize("seconds", [0, 0.1, 0.4, 1.2])
def test_a_start_that_is_interrupted(seconds):
    """Imports of typer, of torch, and what comes after."""
    assert interrupts.start(seconds) == []


@pytest.mark.slow
@pytest.mark.parametrize("name", ["gate", "stress", "repair"])
def test_nothing_is_lost(tmp_path, name):
    command = faulted.commands.COMMANDS[name]
    made = trial.Trial("interrupts", faulted.bench().world, command, tmp_path / name, random.Random(0))
    made.begin()
    interrupts.interrupt(made, "at a write", older=True)
    interrupts.interrupt(made, "twice", older=False)
    interrupts.end(made, signal.SIGTERM)
    assert made.lost == []
    assert made.survived == made.injected >= 1
