"""Clocks that jump: the same numbers, durations that can be, and a cache that finds what it keeps."""

from __future__ import annotations

import datetime as dt
import json
import os
import time

import pytest
import torch

import faulted
from commanded import command
from gated import a_check, an_audit, number
from tlaudit.cache.entry import Entry
from tlaudit.cache.store import Cache
from tlaudit.checks.base import Stopwatch
from tlaudit.models.runtime import Execution

YEARS = (1970, 1985, 2100)
HOUR = 3600


def moment(year):
    return dt.datetime(year, 7, 1, tzinfo=dt.UTC).timestamp()


def sized(index):
    return {"number": index}, "f" * 64, Entry({"x": torch.full((1000,), index, dtype=torch.uint8)}, {})


@pytest.mark.parametrize("year", YEARS)
def test_the_cache_finds_and_keeps_whatever_the_year(tmp_path, year):
    cache = Cache(tmp_path, 1 << 20)
    cache.keep(*sized(0))
    size = next(tmp_path.iterdir()).stat().st_size
    for index in range(1, 4):
        cache.keep(*sized(index))
    for path in tmp_path.iterdir():
        os.utime(path, (moment(year), moment(year)))
    for index in range(4):
        assert cache.find(*sized(index)[:2]).tensors["x"].eq(index).all()
    for path in tmp_path.iterdir():
        os.utime(path, (moment(year), moment(year)))
    small = Cache(tmp_path, 3 * size)
    small.keep(*sized(9))
    assert small.find(*sized(9)[:2]) is not None
    assert sum(path.stat().st_size for path in tmp_path.iterdir()) == 3 * size


@pytest.mark.parametrize("jump", [-30 * 365 * 24 * HOUR, -3 * HOUR, 3 * HOUR, 70 * 365 * 24 * HOUR])
def test_a_run_takes_as_long_as_it_takes(monkeypatch, jump):
    watch, now = Stopwatch(), time.time()
    monkeypatch.setattr(time, "time", lambda: now + jump)
    told = watch.stop(Execution(torch.device("cpu"), "fp32", 8, 0))
    assert 0 <= told.seconds < 60
    begun = dt.datetime.fromisoformat(told.started_at)
    assert abs(begun.timestamp() - now) < 60


@pytest.fixture
def judging(tmp_path):
    """A report that breaks a rule, whose waiver ends in 2050."""
    check = a_check("lingering", number("lingering.fraction", 0.5, low=0.4, high=0.6))
    (tmp_path / "audit.json").write_text(an_audit(check).to_json(), encoding="utf-8")
    (tmp_path / "policy.toml").write_text(faulted.clocks.WAIVED, encoding="utf-8")
    return ["gate", tmp_path / "audit.json", "--policy", tmp_path / "policy.toml", "-o", tmp_path / "gate.json", "-q"]


DAYS = [
    ("1970-01-01T00:00:00+00:00", 0),
    ("2050-06-30T23:59:59+00:00", 0),
    ("2050-07-01T00:00:00+00:00", 1),
    ("2050-07-01T00:30:00+02:00", 0),
    ("2100-02-28T12:00:00+00:00", 1),
]


@pytest.mark.parametrize(("now", "code"), DAYS)
def test_a_waiver_counts_to_the_end_of_its_day_in_utc(tmp_path, judging, monkeypatch, now, code):
    class Clock(dt.datetime):
        @classmethod
        def now(cls, tz=None):
            return dt.datetime.fromisoformat(now).astimezone(tz)

    monkeypatch.setattr("tlaudit.cli.gate.datetime", Clock)
    assert command(*judging).code == code
    day = dt.datetime.fromisoformat(now).astimezone(dt.UTC).date().isoformat()
    assert json.loads((tmp_path / "gate.json").read_text())["judged_on"] == day


@pytest.mark.parametrize("seconds", [-1.0, -1e9, 1e9])
def test_durations_that_cannot_be_are_found_out(tmp_path, seconds):
    document = an_audit(a_check("lingering", number("lingering.fraction", 0.5, low=0.4, high=0.6))).to_json()
    (tmp_path / "audit.json").write_text(document)
    assert faulted.clocks.untrue(tmp_path) == []
    changed = json.loads(document)
    changed["run"]["seconds"] = seconds
    (tmp_path / "audit.json").write_text(json.dumps(changed))
    assert any("audit.json took" in line for line in faulted.clocks.untrue(tmp_path))


@pytest.mark.slow
def test_commands_whose_clock_jumps():
    bench, told = faulted.bench(), {}
    for name, jumps in (("gate", ("to 1970", "to 2100")), ("lingering", ("20 y back", "3 h on"))):
        for jump in jumps:
            given = faulted.commands.COMMANDS[name]
            told[name, jump] = faulted.clocks.jumping(bench, given, faulted.clocks.JUMPS[jump])
    given = faulted.commands.COMMANDS["stress"]
    told["stress", "going on"] = faulted.clocks.going_on(bench, given, faulted.clocks.JUMPS["to 2100"])
    assert {key: lines for key, lines in told.items() if lines} == {}


@pytest.mark.slow
def test_a_duration_taken_from_the_wrong_clock_is_found_out(monkeypatch):
    """The same injection into a program that asks the wall clock how long it took."""
    bench, given = faulted.bench(), faulted.commands.COMMANDS["lingering"]
    run = bench.run

    def careless():
        time.perf_counter = lambda: time.time()

    def running(given, folder, before=None, *rest, **environment):
        return run(given, folder, lambda: (careless(), before and before()), *rest, **environment)

    monkeypatch.setattr(bench, "run", running)
    told = faulted.clocks.jumping(bench, given, faulted.clocks.JUMPS["to 1970"])
    assert told
