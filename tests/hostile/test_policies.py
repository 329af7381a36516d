"""Policies that are hostile as a whole: thousands of rules, patterns that explode, days far away."""

from __future__ import annotations

import time

import pytest

from gated import a_policy, flips
from tlaudit.errors import ConfigError
from tlaudit.policy import gate, load


def timed(path):
    """Rules of a policy, and the seconds of the processor that it took to read them."""
    begun = time.process_time()
    return load(path), time.process_time() - begun


@pytest.mark.parametrize("metric", ["erosion.cka.s{}", "erosion.cka.*", "erosion.cka.*{}*"])
def test_thousands_of_rules_are_read_in_seconds(tmp_path, metric):
    path = a_policy(
        tmp_path, *({"metric": metric.format(i), "id": f"r{i}", "min": 0.1, "max": 0.9} for i in range(2000))
    )
    policy, seconds = timed(path)
    assert [policy.lines[0], policy.lines[-1]] == [1, 1 + 5 * 1999]
    assert seconds < 10


def test_thousands_of_wrong_rules_are_told_in_a_line(tmp_path):
    path = a_policy(tmp_path, *({"id": f"r{i}", "max": "x"} for i in range(2000)))
    with pytest.raises(ConfigError, match=r"toml:1: .*; and 1990 more$") as caught:
        load(path)
    assert len(str(caught.value)) < 5000


def test_a_pattern_that_explodes_is_judged_at_once(tmp_path):
    path = a_policy(tmp_path, {"metric": "distraction" + "*" * 40 + "flip_rate", "max": 0.5, "on_missing": "skip"})
    begun = time.process_time()
    assert gate(flips(0.1), policy=path).outcome == "pass"
    assert time.process_time() - begun < 5


@pytest.mark.parametrize(("until", "good"), [("0001-01-01", False), ("9999-12-31", True), ("2000-02-29", False)])
def test_days_far_away(tmp_path, until, good):
    path = a_policy(tmp_path, {"max": 0.0, "waive": until})
    assert gate(flips(0.1), policy=path).outcome == ("pass" if good else "fail")


@pytest.mark.parametrize(
    "until", ["2026-02-29", "10000-01-01", "0000-01-01", "2027-03-31T00:00:00Z", "12:00:00", "1e3"]
)
def test_days_that_are_none(tmp_path, until):
    with pytest.raises(ConfigError, match="expected a date|as TOML"):
        load(a_policy(tmp_path, {"max": 0.0, "waive": until}))
