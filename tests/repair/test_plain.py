"""Plain finetuning, and LP-FT, which is the same from another head."""

from __future__ import annotations

import copy

import pytest
import torch
from torch.nn import functional

from tlaudit.repair import METHODS


@pytest.mark.parametrize("name", ["plain", "lp-ft"])
def test_first_step_is_cross_entropy_of_the_network_it_begins_with(bench, train, name):
    given = bench()
    setup = METHODS[name].setup(given)
    made, steps = train(given, setup)
    batch = next(given.training.epoch(0, seed=0, batch_size=8, flip=True))
    network = copy.deepcopy(given.start).train()
    expected = functional.cross_entropy(network(given.normalizer(batch.pixels)), batch.labels)
    assert steps[0].losses == {"cross_entropy": pytest.approx(float(expected.detach()), rel=1e-6)}
    before = given.start.state_dict()
    assert not [key for key, value in made.network.state_dict().items() if torch.equal(value, before[key])]


def test_plain_begins_with_a_head_that_knows_nothing_and_lp_ft_with_a_probe():
    plain, lp_ft = METHODS["plain"], METHODS["lp-ft"]
    assert plain.init == "source"
    assert set(plain.inits) == {"source-lp", "source", "finetuned"}
    assert lp_ft.inits == ("source-lp",)


def test_both_differ_in_nothing_else(bench, train):
    given = bench()
    networks = [train(given, METHODS[name].setup(given))[0].network for name in ("plain", "lp-ft")]
    first, second = (network.state_dict() for network in networks)
    assert all(torch.equal(first[key], second[key]) for key in first)
