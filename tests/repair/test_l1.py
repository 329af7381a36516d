"""Sparse activations: the term against the network run by hand."""

from __future__ import annotations

import copy
import dataclasses

import pytest
import torch
from torch import nn

from tlaudit.errors import UsageError
from tlaudit.models.sources import Model
from tlaudit.repair import METHODS
from tlaudit.repair.l1 import Sparse
from tlaudit.training.objective import Inputs, Part, cross_entropy


def learning(module):
    return copy.deepcopy(module).train().requires_grad_(True)


def inputs(count=6, side=12):
    images = torch.randn(count, 3, side, side, generator=torch.Generator().manual_seed(0))
    return Inputs(0, torch.arange(count), images, torch.arange(count) % 2, Part(0, count, count))


def gradients(network, loss):
    return torch.autograd.grad(loss, [p for p in network.parameters() if p.requires_grad], allow_unused=True)


def test_term_is_the_mean_size_of_what_the_last_stage_gives(bench):
    given = bench(l1={"weight": 0.5})
    objective = METHODS["l1"].setup(given).objective
    assert given.source.stages[-1] == "blocks.1"
    network, other, batch = learning(given.start), learning(given.start), inputs()
    terms = objective(network, batch)
    x = other.blocks[1](other.blocks[0](other.stem(batch.images)).relu())
    sizes = [abs(value) for value in x.detach().double().flatten().tolist()]
    assert list(terms) == ["cross_entropy", "l1"]
    assert float(terms["l1"].detach()) == pytest.approx(0.5 * sum(sizes) / len(sizes), rel=1e-5)
    loss = cross_entropy(other.fc(x.relu().mean(dim=(2, 3))), batch.labels)
    assert float(terms["cross_entropy"].detach()) == pytest.approx(float(loss.detach()), rel=1e-6)
    ours = gradients(network, terms["l1"] + terms["cross_entropy"])
    theirs = gradients(other, loss + 0.5 * x.abs().mean())
    for one, two in zip(ours, theirs, strict=True):
        assert torch.allclose(one, two, atol=1e-6)
    assert not any(module._forward_hooks for module in network.modules())


def test_a_rectifier_in_place_behind_the_stage_changes_nothing():
    def network(*, inplace):
        torch.manual_seed(0)
        return nn.Sequential(nn.Conv2d(3, 4, 3), nn.ReLU(inplace=inplace), nn.Flatten(), nn.Linear(400, 2)).train()

    with torch.random.fork_rng(devices=[]):
        first, second = network(inplace=True), network(inplace=False)
    found = []
    for module in (first, second):
        terms = Sparse("0", 2.0)(module, inputs())
        found.append((terms["l1"].detach(), gradients(module, sum(terms.values()))))
    assert torch.equal(found[0][0], found[1][0])
    assert all(torch.equal(one, two) for one, two in zip(found[0][1], found[1][1], strict=True))
    # Negative values count too: it is taken before the rectifier.
    with torch.no_grad():
        assert float(found[0][0]) == pytest.approx(2 * float(first[0](inputs().images).abs().mean()), rel=1e-6)


def test_stages_in_the_head_are_none(bench):
    given = bench()
    inside = dataclasses.replace(given.source, stages=("stem", "blocks.0", "fc"))
    assert METHODS["l1"].setup(dataclasses.replace(given, source=inside)).objective._stage == "blocks.0"


def test_activations_become_small(bench, train):
    given = bench(l1={"weight": 3.0})
    setup = METHODS["l1"].setup(given)
    _, steps = train(given, setup, epochs=5)
    assert steps[-1].losses["l1"] < steps[0].losses["l1"] / 2


def test_refuses_a_network_without_stages(bench):
    given = bench()
    bare = dataclasses.replace(given.source, stages=())
    assert isinstance(bare, Model)
    with pytest.raises(UsageError, match="no stage before its head fc"):
        METHODS["l1"].setup(dataclasses.replace(given, source=bare))


def test_refuses_a_stage_that_gives_no_tensor():
    class Two(nn.Module):
        def forward(self, x):
            return x, x

    class Net(nn.Module):
        def __init__(self):
            super().__init__()
            self.two, self.unused, self.fc = Two(), nn.Identity(), nn.Linear(432, 2)

        def forward(self, x):
            return self.fc(self.two(x)[0].flatten(1))

    with pytest.raises(UsageError, match="two gives a tuple, expected a tensor"):
        Sparse("two", 1.0)(Net(), inputs())
    with pytest.raises(UsageError, match="unused takes no part"):
        Sparse("unused", 1.0)(Net(), inputs())
