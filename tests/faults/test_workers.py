"""Processes that decode images are killed, or cannot be had."""

from __future__ import annotations

import errno
import importlib
import logging
import multiprocessing
import os
import random
import signal

import numpy as np
import pytest
from PIL import Image

import faulted
from tlaudit.data import workers

SMALL = (8, 8, "bilinear")
trial, injected = (importlib.import_module(f"hardening.{name}") for name in ("trial", "injections.workers"))


@pytest.fixture
def files(tmp_path):
    """Batches of pictures."""
    for number in range(6):
        Image.fromarray(np.full((8, 8, 3), number, np.uint8)).save(tmp_path / f"{number}.png")
    return [[str(tmp_path / f"{number}.png") for number in pair] for pair in ((0, 1), (2, 3), (4, 5))]


def pixels(batches, processes):
    return [int(row[0, 0, 0]) for _, [part] in workers.decode_all(batches, [SMALL], 2, processes) for row in part]


@pytest.mark.parametrize("refuses", ["ProcessPoolExecutor", "_has_room"])
def test_without_processes_images_are_decoded_all_the_same(files, monkeypatch, caplog, refuses):
    def full(*_):
        if refuses == "_has_room":
            return False
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(workers, refuses, full)
    with caplog.at_level(logging.WARNING, "tlaudit"):
        assert pixels(files, 2) == list(range(6))
    [record] = caplog.records
    assert "decode" in record.getMessage()
    assert "in the main process" in record.getMessage()


def test_no_worker_waits_for_ever_where_processes_are_limited(files, monkeypatch, caplog):
    fork, forks = os.fork, []

    def limited():
        forks.append(len(forks))
        if len(forks) == 2:
            raise BlockingIOError(errno.EAGAIN, os.strerror(errno.EAGAIN))
        return fork()

    before = multiprocessing.active_children()
    monkeypatch.setattr(os, "fork", limited)
    with caplog.at_level(logging.WARNING, "tlaudit"):
        assert pixels(files, 2) == list(range(6))
    assert "(Resource temporarily unavailable): that is done in the main process" in caplog.text
    for child in multiprocessing.active_children():
        if child not in before:
            child.join(20)
    assert multiprocessing.active_children() == before


def test_signals_are_held_back_only_while_processes_start(files, monkeypatch):
    masks = []
    submit = workers.ProcessPoolExecutor.submit

    def seen(*given):
        masks.append(signal.pthread_sigmask(signal.SIG_BLOCK, ()))
        return submit(*given)

    monkeypatch.setattr(workers.ProcessPoolExecutor, "submit", seen)
    assert pixels(files, 2) == list(range(6))
    assert masks
    assert all(signal.SIGINT in mask for mask in masks)
    assert signal.SIGINT not in signal.pthread_sigmask(signal.SIG_BLOCK, ())


@pytest.mark.slow
@pytest.mark.parametrize("name", ["lingering", "repair"])
def test_nothing_is_lost(tmp_path, name):
    command = faulted.commands.COMMANDS[name]
    made = trial.Trial("workers", faulted.bench().world, command, tmp_path / name, random.Random(0), injected.WORKERS)
    made.begin()
    injected.kill(made)
    injected.kill_main(made)
    assert made.lost == []
    assert made.survived == made.injected >= 1
