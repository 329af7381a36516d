"""The same command leaves the same bytes, wherever and after whatever it is run."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import time
from pathlib import Path

import pytest

import repeated
from elsewhere import generators

SLOW = ("stress", "repair", "screen", "erosion")
DECODING = ("distraction", "erosion", "stress", "audit", "screen", "repair")
PARAMETERS = [pytest.param(name, marks=pytest.mark.slow if name in SLOW else ()) for name in repeated.COMMANDS]


@pytest.mark.parametrize("name", PARAMETERS)
def test_the_same_bytes_elsewhere_and_later(first, elsewhere, name):
    """Another folder, zone, language, width and home; folders listed backwards; files of another age."""
    expected = first[name]
    with elsewhere():
        before = generators()
        left = first.again(name)
        assert generators() == before
    assert repeated.differences(left, expected) == []


def test_elsewhere_is_elsewhere(first, elsewhere):
    """It changes what it says that it changes, and puts it back."""

    def seen():
        with os.scandir(first.root / "images") as found:
            entries = [entry.name for entry in found]
        return os.listdir(first.root / "images"), entries, generators(), time.localtime(0).tm_hour, Path.cwd()

    before, names = seen(), sorted(os.listdir(first.root / "images"))
    with elsewhere():
        listed, entries, drawn, hour, folder = seen()
        assert listed == entries == names[::-1]
        assert first.root.stat().st_mtime < 10**9 + 1000
        assert drawn != before[2]
        assert folder != before[4]
        assert hour == 14
    assert seen() == before


@pytest.mark.parametrize("name", ["lingering", "gate", "audit"])
def test_one_digit_would_be_found(first, name):
    """The comparison sees the last digit of the last number of each file."""
    left = first[name]
    assert len(left) > 1
    for file, content in left.items():
        if not content:
            continue
        at = [match.start() for match in re.finditer(rb"\d", content)][-1]
        other = content[:at] + (b"1" if content[at : at + 1] == b"0" else b"0") + content[at + 1 :]
        assert repeated.differences(left | {file: other}, left) == [file]
    assert repeated.differences({}, left) == sorted(left)


@pytest.mark.parametrize("name", ["lingering", pytest.param("distraction", marks=pytest.mark.slow)])
def test_another_seed_is_another_document(first, name):
    """So that runs which agree do not agree because nothing is drawn."""
    assert repeated.differences(first.again(name, "--seed", "1"), first[name])


@pytest.mark.parametrize(
    ("name", "workers"),
    [
        ("lingering", "2"),
        pytest.param("lingering", "1", marks=pytest.mark.slow),
        *(pytest.param(name, "2", marks=pytest.mark.slow) for name in DECODING),
    ],
)
def test_workers_leave_no_trace(first, name, workers):
    assert repeated.differences(first.again(name, "--workers", workers), first[name]) == []


@pytest.mark.slow
@pytest.mark.parametrize("name", ["distraction", "erosion", "repair"])
def test_the_cache_leaves_no_trace(first, tmp_path, name):
    for _ in range(2):
        left = first.again(name, "--cache", "--cache-dir", str(tmp_path / "cache"))
        assert repeated.differences(left, first[name]) == []
    assert list((tmp_path / "cache").iterdir())


@pytest.mark.slow
@pytest.mark.parametrize(
    ("world", "names"),
    [
        ({"PYTHONHASHSEED": "1", "LC_ALL": "C", "TZ": "UTC"}, [one for one in repeated.COMMANDS if one != "repair"]),
        (
            {"PYTHONHASHSEED": "2", "LC_ALL": "de_AT.UTF-8", "TZ": "NST3:30", "PYTHONUTF8": "1", "COLUMNS": "20"},
            ["init", "lingering", "gate"],
        ),
    ],
    ids=["C", "de"],
)
def test_another_python_gives_the_same_bytes(first, tmp_path, world, names):
    """What is settled when Python starts: how strings are hashed, the language, the encoding of names."""
    environment, told = {**os.environ, "OMP_NUM_THREADS": "1", **world}, tmp_path / "left.json"
    words = [sys.executable, repeated.__file__, str(first.root), str(first.place), str(told), *names]
    done = subprocess.run(words, env=environment, capture_output=True, text=True, check=False, timeout=300)
    assert done.returncode == 0, done.stderr
    left = json.loads(told.read_text())
    for name in names:
        expected = {file: content.hex() for file, content in first[name].items()}
        assert repeated.differences(left[name], expected) == []
