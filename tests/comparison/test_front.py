from __future__ import annotations

import itertools

import numpy as np
import pytest

from compared import audit, lingering
from tlaudit.comparison.board import Board
from tlaudit.comparison.candidates import gather
from tlaudit.comparison.front import pareto
from tlaudit.comparison.ranking import rank

AXES = ("target.accuracy", "lingering.fraction")


def board(points, width=0.1):
    """One candidate for each accuracy and fraction; higher, and lower, is better."""
    reports = {
        str(number): audit(lingering(str(number), fraction, accuracy, width=width))
        for number, (accuracy, fraction) in enumerate(points)
    }
    return Board(gather(reports), ("lingering",))


def on_front(points):
    return [int(name) for name, standing in pareto(board(points), AXES).items() if standing.on_front]


def test_the_front_agrees_with_all_pairs():
    generator = np.random.default_rng(3)
    points = [tuple(point) for point in generator.integers(1, 9, (24, 2)) / 10]
    beaten = {
        j
        for i, j in itertools.permutations(range(len(points)), 2)
        if points[i] != points[j] and points[i][0] >= points[j][0] and points[i][1] <= points[j][1]
    }
    assert on_front(points) == [number for number in range(len(points)) if number not in beaten]


def test_worked_front():
    assert on_front([(0.9, 0.5), (0.8, 0.4), (0.8, 0.5), (0.7, 0.4)]) == [0, 1]
    found = pareto(board([(0.9, 0.5), (0.8, 0.4), (0.8, 0.5)]), AXES)
    assert found["2"].beaten_by == ["0", "1"]
    assert found["0"].beaten_by == []


def test_equal_candidates_are_both_on_the_front():
    assert on_front([(0.9, 0.5), (0.9, 0.5), (0.8, 0.6)]) == [0, 1]


def test_the_front_is_blind_to_the_order_of_candidates():
    points = [(0.9, 0.5), (0.8, 0.4), (0.95, 0.9), (0.7, 0.45)]
    turned = on_front(points[::-1])
    assert sorted(len(points) - 1 - number for number in turned) == on_front(points)


def test_who_lacks_an_axis_is_on_no_front_and_beats_nobody():
    found = pareto(board([(None, 0.0), (0.8, 0.4)]), AXES)
    assert (found["0"].on_front, found["0"].beaten_by) == (None, [])
    assert found["1"].on_front is True


def test_the_ranking_goes_by_the_better_direction():
    places = rank(board([(0.8, 0.4), (0.9, 0.1), (0.7, 0.7)], width=0.01), "lingering.fraction")
    assert [place.name for place in places] == ["1", "0", "2"]
    assert [place.rank for place in places] == [1, 2, 3]
    assert [place.ranks for place in places] == [(1, 1), (2, 2), (3, 3)]
    by_accuracy = rank(board([(0.8, 0.4), (0.9, 0.1), (0.7, 0.0)], width=0.01), "target.accuracy")
    assert [place.name for place in by_accuracy] == ["1", "0", "2"]


def test_ranks_that_cannot_be_told_apart_are_left_open():
    # Intervals of 0.1 to both sides: differences below 0.1414 are none.
    places = rank(board([(0.9, 0.1), (0.9, 0.2), (0.9, 0.3), (0.9, 0.9)]), "lingering.fraction")
    assert [place.ranks for place in places] == [(1, 2), (1, 3), (2, 3), (4, 4)]
    assert [place.alike for place in places] == [["1"], ["0", "2"], ["1"], []]


def test_equal_values_share_a_rank():
    places = rank(board([(0.9, 0.3), (0.9, 0.1), (0.9, 0.3), (0.9, 0.8)]), "lingering.fraction")
    assert [(place.name, place.rank) for place in places] == [("1", 1), ("0", 2), ("2", 2), ("3", 4)]


@pytest.mark.parametrize("width", [None, 0.01])
def test_without_intervals_nobody_is_told_apart(width):
    places = rank(board([(0.9, 0.1), (0.9, 0.5)], width=width), "lingering.fraction")
    assert [place.alike for place in places] == ([["1"], ["0"]] if width is None else [[], []])


def test_who_lacks_the_measurement_stands_last_without_a_rank():
    places = rank(board([(0.9, None), (0.9, 0.5), (0.9, 0.1)], width=0.01), "lingering.fraction")
    assert [(place.name, place.rank, place.ranks) for place in places] == [
        ("2", 1, (1, 1)),
        ("1", 2, (2, 2)),
        ("0", None, None),
    ]
