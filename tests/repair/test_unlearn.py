"""Unlearning: the divergence against loops, the hybrid against the one that lingering is measured with."""

from __future__ import annotations

import copy
import dataclasses
import math

import pytest
import torch

import reference
from tlaudit.errors import UsageError
from tlaudit.models.pair import hybrid
from tlaudit.repair import METHODS
from tlaudit.repair.candidate import candidate
from tlaudit.repair.unlearn import Unlearning, divergence_from_uniform, learning_hybrid
from tlaudit.training.objective import Inputs, Part


def learning(module):
    """A copy in training mode, as the loop has it."""
    return copy.deepcopy(module).train().requires_grad_(True)


def inputs_of(given, step=0, part=None):
    batch = next(given.training.epoch(0, seed=0, batch_size=8, flip=False))
    rows = slice(part.start, part.stop) if part else slice(None)
    images = given.normalizer(batch.pixels)[rows]
    return Inputs(step, batch.index[rows], images, batch.labels[rows], part or Part(0, 8, 8))


def measured(given, network):
    """M^st as `lingering` has it."""
    child = candidate(
        given.source,
        network,
        name="child",
        head=given.head,
        classes=("a", "b"),
        preprocessing=given.preprocessing,
    )
    return hybrid(child, given.source, given.head)


@pytest.mark.parametrize(("rows", "classes"), [(1, 2), (4, 7), (3, 1000)])
def test_divergence_agrees_with_reference(rows, classes):
    logits = torch.randn(rows, classes, generator=torch.Generator().manual_seed(0)) * 3
    each = [math.fsum(math.log(1 / classes / p) / classes for p in reference.softmax(row)) for row in logits.tolist()]
    found = divergence_from_uniform(logits)
    assert found.dtype == torch.float32
    assert float(found) == pytest.approx(math.fsum(each) / rows, rel=1e-5)


def test_divergence_is_0_for_uniform_answers_alone_and_finite_for_certain_ones():
    assert float(divergence_from_uniform(torch.full((3, 9), 4.0))) == pytest.approx(0, abs=1e-6)
    assert float(divergence_from_uniform(torch.eye(9) * 0.1)) > 0
    assert math.isfinite(float(divergence_from_uniform((torch.eye(9) * 1e4).bfloat16())))


@pytest.mark.parametrize("name", ["own", "resnet18", "squeezenet1_1", "vit", "swin"])
def test_hybrid_is_the_one_that_is_measured(bench, name):
    given = bench(name, init="random")
    network = learning(given.start)
    expected = measured(given, copy.deepcopy(network).eval())
    found = learning_hybrid(network, given.source.module, given.head)
    x = torch.rand(3, 3, 32, 32, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        assert torch.equal(found(x), expected(x))
    assert not any(module.training for module in found.modules())
    # The very parameters and buffers of the network, but for the head.
    theirs = dict(network.named_parameters()) | dict(network.named_buffers())
    for key, tensor in [*found.named_parameters(), *found.named_buffers()]:
        assert (theirs.get(key) is tensor) != key.startswith(f"{given.head}.")
        if key.startswith(f"{given.head}."):
            assert not tensor.requires_grad


def test_term_is_the_divergence_of_the_measured_answers(bench):
    given = bench(init="random", lingering=(1, 4), unlearn={"weight": 3})
    objective = METHODS["unlearn"].setup(given).objective
    network = learning(given.start)
    objective.begin(network)
    inputs = inputs_of(given)
    terms = objective(network, inputs)
    # Asked after the network ran in training mode, whose batch norms have moved since.
    images = given.normalizer(objective._pixels[objective._drawn(inputs)])
    with torch.no_grad():
        logits = measured(given, copy.deepcopy(network).eval())(images)
    assert float(terms["unlearn"].detach()) == pytest.approx(3 * float(divergence_from_uniform(logits)), rel=1e-5)
    assert len(images) == 8


def test_gradient_reaches_the_backbone_and_not_the_head(bench):
    given = bench(init="random")
    objective = METHODS["unlearn"].setup(given).objective
    network = learning(given.start)
    for module in network.modules():
        module.eval()
    objective.begin(network)
    inputs = inputs_of(given)
    objective(network, inputs)["unlearn"].backward()
    assert network.fc.weight.grad is None
    weight, place = network.stem[0].weight, (2, 1, 0, 2)
    values = []
    for change in (1e-2, -1e-2):
        with torch.no_grad():
            weight[place] += change
            values.append(float(objective(network, inputs)["unlearn"]))
            weight[place] -= change
    assert float(weight.grad[place]) == pytest.approx((values[0] - values[1]) / 2e-2, rel=0.05, abs=1e-5)


def test_asking_moves_no_statistics(bench):
    given = bench()
    objective = METHODS["unlearn"].setup(given).objective
    network = learning(given.start)
    objective.begin(network)
    other = learning(given.start)
    inputs = inputs_of(given)
    objective(network, inputs)
    other(inputs.images)
    for (_, ours), (_, theirs) in zip(network.named_buffers(), other.named_buffers(), strict=True):
        assert torch.equal(ours, theirs)


def test_processes_share_what_is_drawn_for_a_step(bench):
    objective = METHODS["unlearn"].setup(bench()).objective
    given = bench()
    whole = objective._drawn(inputs_of(given))
    parts = [objective._drawn(inputs_of(given, part=Part(start, stop, 8))) for start, stop in ((0, 3), (3, 8))]
    assert torch.equal(torch.cat(parts), whole)
    assert not torch.equal(objective._drawn(inputs_of(given, step=1)), whole)


def test_draws_from_lingering_classes_alone(bench):
    given = bench(lingering=(2,))
    objective = METHODS["unlearn"].setup(given).objective
    assert len(objective._pixels) == int((given.source_images.labels == 2).sum())


def test_source_forgets_what_lingered(bench, train):
    given = bench("own", lingering=(0, 1, 2, 3, 4), unlearn={"weight": 20})
    setup = METHODS["unlearn"].setup(given)
    network, _ = train(given, setup, epochs=8)
    plain, _ = train(given, METHODS["plain"].setup(given), epochs=8)
    images = given.normalizer(setup.objective._pixels)
    with torch.no_grad():
        left = [float(divergence_from_uniform(measured(given, made.network)(images))) for made in (network, plain)]
    assert left[0] < left[1] / 3


def test_refuses_a_backbone_of_another_form(bench, sources):
    given = dataclasses.replace(bench(), source=sources("vit"))
    with pytest.raises(UsageError, match="the network that learns has no"):
        METHODS["unlearn"].setup(given).objective.begin(learning(given.start))


def test_has_to_know_the_network_first(bench):
    given = bench()
    objective = METHODS["unlearn"].setup(given).objective
    assert isinstance(objective, Unlearning)
    with pytest.raises(RuntimeError, match="call begin first"):
        objective(learning(given.start), inputs_of(given))
