from __future__ import annotations

import math
import re

import numpy as np
import pytest
from scipy import stats

from compared import measured
from tlaudit.comparison.change import METHOD, change, mover, outcome

NEWCOMBE = [
    (56, 70, 48, 80, 0.0524, 0.3339),
    (9, 10, 3, 10, 0.1705, 0.8090),
    (6, 7, 2, 7, 0.0582, 0.8062),
    (5, 56, 0, 29, -0.0381, 0.1926),
    (0, 10, 0, 20, -0.1611, 0.2775),
    (0, 10, 0, 10, -0.2775, 0.2775),
    (10, 10, 0, 20, 0.6791, 1.0),
    (10, 10, 0, 10, 0.6075, 1.0),
]
"""Newcombe 1998, table II, method 10: hits and trials of both shares, and the bounds of their difference."""


def wilson(hits: int, n: int) -> tuple[float, float]:
    bounds = stats.binomtest(hits, n).proportion_ci(method="wilson")
    return bounds.low, bounds.high


@pytest.mark.parametrize(("hits", "n", "others", "m", "low", "high"), NEWCOMBE)
def test_agrees_with_newcombe(hits, n, others, m, low, high):
    found = mover(hits / n, wilson(hits, n), others / m, wilson(others, m))
    assert found == pytest.approx((low, high), abs=5e-5)


def test_agrees_with_the_normal_interval_of_two_means():
    # Symmetric arms of 1.96 standard errors add up as variances do.
    low, high = mover(5.0, (5 - 1.96 * 0.3, 5 + 1.96 * 0.3), 3.0, (3 - 1.96 * 0.4, 3 + 1.96 * 0.4))
    assert (low, high) == pytest.approx((2 - 1.96 * 0.5, 2 + 1.96 * 0.5))


def test_is_blind_to_shift_and_turns_with_the_order():
    low, high = mover(0.8, (0.7, 0.88), 0.6, (0.45, 0.72))
    assert mover(1.8, (1.7, 1.88), 1.6, (1.45, 1.72)) == pytest.approx((low, high))
    assert mover(0.6, (0.45, 0.72), 0.8, (0.7, 0.88)) == pytest.approx((-high, -low))


def test_bounds():
    # Never narrower than either interval, never wider than both together.
    generator = np.random.default_rng(0)
    for _ in range(50):
        down, up, other_down, other_up = generator.uniform(0, 1, 4)
        low, high = mover(1.0, (1 - down, 1 + up), 0.0, (-other_down, other_up))
        assert max(down, other_up) <= 1 - low <= down + other_up
        assert max(up, other_down) <= high - 1 <= up + other_down


def test_covers_as_often_as_it_says():
    generator = np.random.default_rng(1)
    truth, rounds, hits = (0.7, 0.55), 1000, 0
    drawn = [generator.binomial(60, share, rounds) for share in truth]
    for first, second in zip(*drawn, strict=True):
        low, high = mover(first / 60, wilson(int(first), 60), second / 60, wilson(int(second), 60))
        hits += low <= truth[0] - truth[1] <= high
    assert 0.93 < hits / rounds < 0.97


def test_worked_example():
    found = change(measured("x", 0.5, 0.03), measured("x", 0.1, 0.04))
    assert found.value == pytest.approx(0.4)
    assert (found.interval.low, found.interval.high) == pytest.approx((0.35, 0.45))
    assert (found.interval.method, found.interval.confidence, found.reason) == (METHOD, 0.95, None)


@pytest.mark.parametrize(
    ("one", "other", "reason"),
    [
        (measured("x", 0.5, None), measured("x", 0.1), "no interval: too few values"),
        (measured("x", 0.5), measured("x", 0.1, None), "no interval: reference: too few values"),
        (measured("x", 0.5, None), measured("x", 0.1, None), "no interval: too few values"),
        (measured("x", 0.5, confidence=0.9), measured("x", 0.1), r"no interval: .* other confidence \(0.9 and 0.95\)"),
        (measured("x", None), measured("x", 0.1), "^no validation images$"),
        (measured("x", 0.5), measured("x", None), "^reference: no validation images$"),
        (None, measured("x", 0.1), "^no such number$"),
        (measured("x", 0.5), None, "^reference: no such number$"),
    ],
)
def test_refuses_an_interval_where_one_side_has_none(one, other, reason):

    found = change(one, other)
    assert found.interval is None
    assert re.search(reason, found.reason)
    both = one is not None and other is not None and None not in (one.value, other.value)
    assert (found.value is not None) == both
    assert outcome(found, "lower") == ("no interval" if both else "absent")


def test_refuses_a_number_outside_its_own_interval():
    one = measured("x", 0.5)
    outside = one.model_copy(update={"interval": one.interval.model_copy(update={"low": 0.6, "high": 0.7})})
    found = change(outside, measured("x", 0.1))
    assert found.value == pytest.approx(0.4)
    assert "outside its own interval" in found.reason


def test_a_number_at_the_end_of_its_interval_may_be_rounded():
    one = measured("x", 0.1 + 0.2)
    rounded = one.model_copy(update={"interval": one.interval.model_copy(update={"low": 0.2, "high": 0.3})})
    found = change(rounded, measured("x", 0.3, 0.0))
    assert math.isclose(found.interval.low, -0.1, abs_tol=1e-9)
    assert found.interval.high >= found.interval.low


@pytest.mark.parametrize(
    ("value", "better", "expected"),
    [
        (0.5, "higher", "better"),
        (0.5, "lower", "worse"),
        (0.5, "neither", "higher"),
        (-0.5, "higher", "worse"),
        (-0.5, "lower", "better"),
        (-0.5, "neither", "lower"),
        (0.05, "higher", "not told apart"),
    ],
)
def test_outcomes_follow_the_direction(value, better, expected):
    assert outcome(change(measured("x", value), measured("x", 0.0)), better) == expected
