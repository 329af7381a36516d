from __future__ import annotations

import pytest

from samples_verdict import a_condition, a_ruling, of_pattern, unanswered, violated, waived
from tlaudit.reports.marks import marks


def test_worked_example():
    """At most 5 % of 10 %, interval 5 % to 20 %: what is shown is 15 % and a little more, from 0 on."""
    condition = (a_condition("max", 0.05, 0.1, "violated"),)
    mark, *rest = marks(violated(value=0.1, low=0.05, high=0.2, conditions=condition))
    end = 0.2 + 0.35 * 0.15
    assert rest == []
    assert (mark.value, mark.low) == (round(10 / end, 2), round(5 / end, 2))
    assert mark.width == pytest.approx(15 / end, abs=0.02)
    assert mark.limits == [round(5 / end, 2)]
    assert mark.refused == [(round(5 / end, 2), pytest.approx(100 - 5 / end, abs=0.01))]
    assert mark.ends == ("0.0 %", "25.2 %")
    assert mark.words == "10.0 %; interval 5.0 % to 20.0 %; at most 5.0 %"


def test_the_number_is_on_the_side_of_the_limit_that_it_is_judged_to_be_on():
    for number, limit in ((0.2, 0.5), (0.9, 0.5), (0.951, 0.95), (1e-6, 2e-6), (-3.0, 4.0), (1e9, 1.0)):
        condition = (a_condition("max", limit, number, "met"),)
        mark = marks(a_ruling(value=number, low=None, high=None, conditions=condition, unit="ratio"))[0]
        assert (mark.value > mark.limits[0]) == (number > limit)
        assert min(mark.value, mark.limits[0]) >= 0
        assert max(mark.value, mark.limits[0]) <= 100


def test_everything_lies_on_the_line():
    for ruling in (a_ruling(), violated(), waived(), *of_pattern("x")):
        for mark in marks(ruling):
            places = [mark.value, *mark.limits, *(begin + width for begin, width in mark.refused)]
            places += [] if mark.low is None else [mark.low, mark.low + mark.width]
            assert min(places) >= 0
            assert max(places) <= 100.01


def test_below_a_least_value_is_not_allowed():
    mark = marks(waived())[0]
    assert mark.refused == [(0.0, mark.limits[0])]
    assert mark.value < mark.limits[0]


def test_both_limits_are_on_one_line():
    conditions = (a_condition("min", 0.2, 0.4, "met"), a_condition("max", 0.6, 0.4, "met"))
    (mark,) = marks(a_ruling(value=0.4, low=None, high=None, conditions=conditions))
    assert mark.refused[0][0] == 0
    assert mark.refused[0][1] == mark.limits[0] < mark.value < mark.limits[1] == mark.refused[1][0]


@pytest.mark.parametrize(("use", "bound"), [("lower", 0.02), ("upper", 0.045)])
def test_the_bound_that_is_judged_is_marked(use, bound):
    plain, marked = marks(a_ruling())[0], marks(a_ruling(use=use))[0]
    assert plain.judged is None
    low, high = marked.low, marked.low + marked.width
    assert marked.judged == pytest.approx(low if bound == 0.02 else high, abs=0.02)


@pytest.mark.parametrize(
    ("kind", "change", "words"),
    [
        ("max_increase", 0.034, "rise 3.4 points; at most 1.0 points"),
        ("max_decrease", -0.034, "fall 3.4 points; at most 1.0 points"),
        ("max_relative_increase", 0.34, "rise, as a share of before 34.0 %; at most 1.0 %"),
        ("max_relative_decrease", -0.34, "fall, as a share of before 34.0 %; at most 1.0 %"),
    ],
)
def test_a_change_has_a_line_of_its_own(kind, change, words):
    (mark,) = marks(violated(conditions=(a_condition(kind, 0.01, change, "violated"),)))
    assert mark.words == words
    assert mark.value > mark.limits[0]
    (kept,) = marks(a_ruling(conditions=(a_condition(kind, 0.01, -change, "met"),)))
    assert kept.value < kept.limits[0]


def test_counts_are_whole():
    conditions = (a_condition("min", 3, 17, "met"),)
    (mark,) = marks(a_ruling(value=17, low=None, high=None, unit="classes", conditions=conditions))
    assert mark.ends == ("0", "22")
    assert mark.words == "17; at least 3"


def test_nothing_is_drawn_without_a_number():
    assert marks(unanswered()) == []
    assert marks(a_ruling(conditions=(a_condition("max_increase", 0.1, None, "no answer"),))) == []


def test_a_number_that_is_its_limit_can_be_drawn():
    for number in (0.0, 0.05, -2.0):
        conditions = (a_condition("max", number, number, "met"),)
        (mark,) = marks(a_ruling(value=number, low=None, high=None, unit="ratio", conditions=conditions))
        assert mark.value == mark.limits[0]
