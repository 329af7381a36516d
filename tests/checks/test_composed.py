"""Classes of composites are dealt out whole, in order, evenly, and in whole batches where that is even enough."""

from __future__ import annotations

import itertools
import math

import pytest

from tlaudit.checks.composed import AT_ONCE, UNEVEN, shared_out


@pytest.mark.parametrize(("per_class", "batch_size"), [(3, 6), (100, 64), (5, 1), (1, 64), (7, 8), (3000, 64)])
@pytest.mark.parametrize("processes", [1, 2, 3, 5])
def test_every_class_is_one_process_s_and_comes_in_its_turn(per_class, batch_size, processes):
    for count in (1, 2, 7, 40, 333):
        rounds = shared_out(range(count), per_class=per_class, batch_size=batch_size, processes=processes)
        assert list(itertools.chain(*(classes for turn in rounds for classes in turn))) == list(range(count))
        assert all(len(turn) <= processes for turn in rounds)
        shares = [sum(len(turn[rank]) for turn in rounds if rank < len(turn)) for rank in range(processes)]
        assert max(shares) <= UNEVEN * math.ceil(count / processes) + 1
        whole = batch_size // math.gcd(batch_size, per_class)
        at_once = max(len(classes) for turn in rounds for classes in turn) * per_class
        assert at_once <= max(AT_ONCE, whole * per_class)


def test_worked_example():
    """Of three composites a class two classes fill a batch of six; of three classes two processes have two and one."""
    assert shared_out("abcde", per_class=3, batch_size=6, processes=2) == [["ab", "cd"], ["e"]]
    assert shared_out("abc", per_class=3, batch_size=64, processes=2) == [["a", "b"], ["c"]]
    assert shared_out("abc", per_class=3, batch_size=6, processes=1) == [["a"], ["b"], ["c"]]
