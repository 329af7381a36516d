"""Other batches, threads, processes: the same to the bit, or within the tolerance that docs/limitations.md states."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest

import processes
import repeated

ROUNDING = 1e-6
"""Of what is computed from networks' answers: probabilities, overlaps, scores, and ranks relative to themselves."""

# CKA is a mean over minibatches, and a batch is a minibatch: with it goes what is said of it.
OF_MINIBATCHES = re.compile(
    r"/provenance/options/minibatch|/summary|/findings/\d+"
    r"|/tables/(stages/rows/\d+/(cka|cka_low|cka_high|absent)|stages/worst/\d+|cka_matrix/rows/\d+/cka)"
    r"|/tables/runs/rows/\d+/cka_min"
)
# Weights that were trained are told by their hash: one bit is another hash.
OF_WEIGHTS = re.compile(r"/tables/pareto/rows/\d+/sha256")


def documents(left):
    """The JSON documents among the files of a command, those of a single check at their name; rows as one document."""
    found = {name: json.loads(content) for name, content in left.items() if name.endswith(".json") and "/" not in name}
    rows = {
        name: [json.loads(line) for line in content.splitlines()]
        for name, content in left.items()
        if name.endswith(".jsonl")
    }
    return found | rows


def beyond(ours, theirs, allowed=None):
    """Leaves that differ by more than rounding, but for those that are allowed to."""
    found = {}
    for path, (one, other) in repeated.moved(ours, theirs).items():
        if allowed and allowed.fullmatch(path):
            continue
        if allowed is OF_MINIBATCHES and _measures_cka(ours, path):
            continue
        numbers = all(isinstance(value, float) for value in (one, other))
        if not numbers or abs(one - other) > ROUNDING * max(1, abs(one)):
            found[path] = one, other
    return found


def _measures_cka(document, path):
    at = re.match(r"/measurements/(\d+)/(value|n|interval|interval_absent)(/|$)", path)
    return at is not None and ".cka" in document["measurements"][int(at[1])]["name"]


def all_beyond(left, expected, allowed=None):
    ours, theirs = documents(left), documents(expected)
    assert ours.keys() == theirs.keys() != set()
    return {name: found for name in ours if (found := beyond(ours[name], theirs[name], allowed))}


@pytest.mark.parametrize(
    ("name", "size"),
    [
        ("lingering", "5"),
        *(
            pytest.param(name, size, marks=pytest.mark.slow)
            for name in ("lingering", "distraction", "erosion", "screen", "stress", "repair")
            for size in {"lingering": ("64",), "erosion": ("5", "64"), "repair": ("64",)}.get(name, ("5",))
        ),
    ],
)
def test_batch_sizes_move_nothing_beyond_rounding(first, name, size):
    left = first.again(name, "--batch-size", size)
    assert all_beyond(left, first[name], OF_MINIBATCHES if name in ("erosion", "stress") else None) == {}


def test_a_digit_that_is_no_rounding_would_be_found(first):
    document = documents(first["lingering"])["result.json"]
    at = next(number for number, one in enumerate(document["measurements"]) if isinstance(one["value"], float))
    for change, found in ((2e-9, False), (5e-6, True)):
        other = json.loads(json.dumps(document))
        other["measurements"][at]["value"] += change
        assert bool(beyond(other, document, OF_MINIBATCHES)) is found
    other = json.loads(json.dumps(document))
    other["measurements"][at]["n"] += 1
    assert list(beyond(other, document, OF_MINIBATCHES)) == [f"/measurements/{at}/n"]
    other = json.loads(json.dumps(document))
    del other["measurements"][-1]
    assert beyond(other, document, OF_MINIBATCHES)


@pytest.mark.slow
@pytest.mark.parametrize("name", ["lingering", "distraction", "erosion", "screen", "stress", "repair"])
def test_threads_move_nothing_beyond_rounding(first, name):
    assert all_beyond(first.again(name, threads=2), first[name], OF_WEIGHTS) == {}


SHARED = ("lingering", "distraction")
"""Commands that add up no sums: each process has whole batches of the one."""


def shared(root, place):
    """Run in each process: what it has written, and said."""
    left = repeated.ran_together(Path(root), Path(place), *SHARED)
    return {name: {file: data.hex() for file, data in of.items()} for name, of in left.items()}


@pytest.mark.slow
@pytest.mark.parametrize("size", [1, 3])
def test_processes_leave_no_trace_in_any_file(first, tmp_path, size):
    leading, *others = processes.results(size, __file__, "shared", tmp_path, str(first.root), str(first.place))
    for name in SHARED:
        expected = {file: data.hex() for file, data in first[name].items()}
        assert repeated.differences(leading[name], expected) == []
    assert others == [{name: {"stdout": "", "stderr": ""} for name in SHARED}] * (size - 1)
