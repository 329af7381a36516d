"""Numbers with their uncertainty, as checks record them."""

from __future__ import annotations

import pytest
import torch

from tlaudit.checks.measured import Recorder
from tlaudit.metrics.base import Quantity

RECORDER = Recorder({"x": Quantity("share", "lower", "X.")}, seed=0, resamples=500, confidence=0.95)


def test_clustered_shares_count_trials_and_resample_groups():
    hits, trials = torch.tensor([9, 1, 0, 10, 5, 0]), torch.tensor([10, 10, 10, 10, 10, 0])
    found = RECORDER.clustered("x", hits, trials, if_none="none")
    assert (found.value, found.n) == (0.5, 50)
    single = RECORDER.share("x", 25, 50, if_none="none")
    width = found.interval.high - found.interval.low
    assert width > 1.5 * (single.interval.high - single.interval.low), "trials of a group are alike"


def test_clustered_shares_of_few_groups_have_no_interval():
    found = RECORDER.clustered("x", torch.tensor([1, 2]), torch.tensor([4, 4]), if_none="none")
    assert found.value == 0.375
    assert "2 values" in found.interval_absent


def test_clustered_shares_of_nothing_are_absent():
    for groups in (torch.zeros(0), torch.zeros(3, dtype=torch.int64)):
        found = RECORDER.clustered("x", groups, groups, if_none="no trial")
        assert found.value is None
        assert found.absent == "no trial"


@pytest.mark.parametrize("value", [3, 0.25])
def test_exact_numbers_say_why_they_have_no_interval(value):
    found = RECORDER.exact("x", value, 4, why="counted")
    assert (found.value, found.interval_absent, found.n) == (value, "counted", 4)
