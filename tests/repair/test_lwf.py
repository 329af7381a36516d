"""Learning without forgetting: its penalty by hand, one forward pass for two heads, and what it leaves alone."""

from __future__ import annotations

import copy
import dataclasses
import math

import pytest
import torch
from torch import nn
from torch.nn import functional

from tlaudit.errors import UsageError
from tlaudit.models.two_heads import TwoHeads
from tlaudit.repair.base import Setup
from tlaudit.repair.lwf import Lwf, divergence
from tlaudit.training.objective import CrossEntropy

NETWORKS = ["own", "vit", "swin", "squeezenet1_1", "mobilenet_v3_small"]


def by_loops(known, answers, temperature):
    """Image by image, class by class, in Python's own floats."""
    total = 0.0
    for one, other in zip(known.tolist(), answers.tolist(), strict=True):
        p, q = ([math.exp(value / temperature) for value in row] for row in (one, other))
        p, q = ([value / sum(row) for value in row] for row in (p, q))
        total += sum(mine * math.log(mine / theirs) for mine, theirs in zip(p, q, strict=True))
    return total / len(known)


def hybrid(network, source, head):
    """The network under the source's head, module by module."""
    made = copy.deepcopy(network)
    outer, _, name = head.rpartition(".")
    setattr(made.get_submodule(outer), name, copy.deepcopy(source.get_submodule(head)))
    return made


@pytest.mark.parametrize("temperature", [0.5, 2.0, 10.0])
def test_divergence_agrees_with_reference(temperature):
    known, answers = (3 * torch.randn(6, 5, generator=torch.Generator().manual_seed(seed)) for seed in (0, 1))
    found = divergence(known, answers, temperature).item()
    assert found == pytest.approx(by_loops(known.double(), answers.double(), temperature), rel=1e-5)
    assert divergence(known, known + 7, temperature).item() == pytest.approx(0, abs=1e-6)


@pytest.mark.parametrize("options", [{"weight": 1.0, "temperature": 2.0}, {"weight": 5.0, "temperature": 0.7}])
@pytest.mark.parametrize("name", NETWORKS)
def test_agrees_with_reference(bench, terms, name, options):
    given = bench(name, init="random", lwf=options)
    found, gradients, network, inputs = terms(given, Lwf().setup(given), mode="eval")
    both = hybrid(network, given.source.module, given.head)
    both.zero_grad()
    with torch.no_grad():
        known = copy.deepcopy(given.source.module)(inputs.images)
    answers = both(inputs.images)
    expected = options["weight"] * by_loops(known.double(), answers.detach().double(), options["temperature"])
    assert list(found) == ["cross_entropy", "lwf"]
    assert found["lwf"].dtype == torch.float32
    assert found["lwf"].item() == pytest.approx(expected, rel=1e-3, abs=1e-6)
    (options["weight"] * divergence(known, answers, options["temperature"])).backward()
    _, without, _, _ = terms(given, Setup(given.start, given.training, CrossEntropy()), mode="eval")
    slopes = dict(both.named_parameters())
    for key, gradient in gradients.items():
        if key.startswith(f"{given.head}."):
            torch.testing.assert_close(gradient, without[key])  # the source's head pulls at the backbone alone
        elif gradient is not None and slopes[key].grad is not None:
            near = 1e-3 * gradient.abs().max().item() + 1e-6
            torch.testing.assert_close(gradient - without[key], slopes[key].grad, rtol=1e-2, atol=near)


@pytest.mark.parametrize("name", ["own", "mobilenet_v3_small", "vit"])
@pytest.mark.parametrize("precision", ["fp32", "bf16"])
def test_borrows(bench, promises, name, precision):
    _, steps = promises(bench(name, precision=precision), Lwf(), batch_norm="train")
    assert all(step.losses.keys() == {"cross_entropy", "lwf"} for step in steps)


@pytest.mark.parametrize("name", ["own", "vit"])
def test_no_weight_is_plain_bit_for_bit(bench, train, name):
    given = bench(name, lwf={"weight": 0.0})
    ours, steps = train(given, Lwf().setup(given))
    theirs, _ = train(given, Setup(given.start, given.training, CrossEntropy()))
    assert list(steps[0].losses) == ["cross_entropy"]
    for one, two in zip(ours.network.state_dict().values(), theirs.network.state_dict().values(), strict=True):
        assert torch.equal(one, two)


@pytest.mark.parametrize("name", ["own", "swin", "squeezenet1_1", "mobilenet_v3_small"])
def test_nothing_to_pay_at_the_start(bench, terms, name):
    """In training mode: what the network drops before its head is not dropped for the source's."""
    given = bench(name)
    assert terms(given, Lwf().setup(given))[0]["lwf"].item() == pytest.approx(0, abs=1e-6)
    other = bench(name, init="random")
    assert terms(other, Lwf().setup(other))[0]["lwf"].item() > 1e-5


def test_penalty_falls_as_its_weight_rises(bench, train, terms):
    left, judge = [], bench("squeezenet1_1")
    for weight in (0.0, 1.0, 30.0):
        given = bench("squeezenet1_1", lwf={"weight": weight})
        made, _ = train(given, Lwf().setup(given), epochs=2, learning_rate=1e-3)
        left.append(terms(judge, Lwf().setup(judge), network=made.network, mode="eval")[0]["lwf"].item())
    assert left[0] > left[1] > left[2]


def test_goes_on_as_if_it_had_not_stopped(bench, terms):
    given = bench("squeezenet1_1")
    moved = copy.deepcopy(given.start)
    with torch.no_grad():
        for parameter in moved.parameters():
            parameter.mul_(1.1)
    before = terms(given, Lwf().setup(given), network=moved, step=5)[0]
    again = Lwf().setup(given)
    begin = again.objective.begin
    again.objective.begin = lambda _network: begin(given.start)
    after = terms(given, again, network=moved, step=5)[0]
    assert {name: term.item() for name, term in before.items()} == {name: term.item() for name, term in after.items()}


class Body(nn.Module):
    """A small network: dropout right before the head or not, and something after it."""

    def __init__(self, outputs, before=None, head=None, after=None):
        super().__init__()
        self.stem, self.norm = nn.Conv2d(3, 8, 3), nn.BatchNorm2d(8)
        self.before = before or nn.Identity()
        self.fc = head or nn.Linear(8, outputs)
        self.after = after or nn.Identity()

    def forward(self, x):
        x = self.norm(self.stem(x)).relu()
        return self.after(self.fc(self.before(x.mean(dim=(2, 3)))))


class Functional(Body):
    """Uses its head's weights without calling it."""

    def forward(self, x):
        x = self.norm(self.stem(x)).relu().mean(dim=(2, 3))
        return functional.linear(x, self.fc.weight, self.fc.bias)


class Convolved(Body):
    """A 1x1 convolution in a container, then ReLU in place, pooling and flattening, as in SqueezeNet."""

    def forward(self, x):
        return self.after(self.fc(self.before(self.norm(self.stem(x)).relu())))


class Reordered(Body):
    """Flattens between dropout and head, as in Inception."""

    def forward(self, x):
        x = self.norm(self.stem(x)).relu().mean(dim=(2, 3), keepdim=True)
        return self.fc(self.before(x).flatten(1))


def images(count=4):
    return torch.randn(count, 3, 10, 10, generator=torch.Generator().manual_seed(3))


def stack(width, outputs, layer=nn.Linear, *more):
    return nn.Sequential(layer(width, 6, *more), nn.Dropout(0.5), nn.ReLU(), layer(6, outputs, *more))


def pooled():
    return nn.Sequential(nn.ReLU(inplace=True), nn.AdaptiveAvgPool2d(1), nn.Flatten())


TOGETHER = {
    "linear": lambda k: Body(k),
    "dropout": lambda k: Body(k, nn.Dropout(0.9)),
    "dropout in place": lambda k: Body(k, nn.Sequential(nn.Identity(), nn.Dropout(0.9, inplace=True))),
    "dropouts in a row": lambda k: Body(k, nn.Sequential(nn.Dropout(0.5), nn.Dropout(0.5))),
    "flattened behind a dropout": lambda k: Reordered(k, nn.Dropout2d(0.9)),
    "container": lambda k: Body(k, head=stack(8, k)),
    "convolution": lambda k: Convolved(k, nn.Dropout(0.9), nn.Conv2d(8, k, 1), pooled()),
    "container of convolutions": lambda k: Convolved(k, None, stack(8, k, nn.Conv2d, 1), pooled()),
}
APART = {
    "head that is not called": lambda k: Functional(k),
    "channels that go into each other": lambda k: Body(k, nn.Dropout(0.9), after=nn.Softmax(dim=1)),
}


@pytest.mark.parametrize("outputs", [2, 5])
@pytest.mark.parametrize("kind", [*TOGETHER, *APART])
def test_two_heads_agree_with_two_networks(kind, outputs):
    torch.manual_seed(0)
    make = (TOGETHER | APART)[kind]
    network, source = make(outputs), make(5).eval().requires_grad_(False)
    both = hybrid(network, source, "fc").eval()
    before = {key: value.clone() for key, value in network.state_dict().items()}
    network.train()
    heads = TwoHeads(network, "fc", source.get_submodule("fc"), images(2))
    assert heads.together == (kind in TOGETHER)
    assert all(torch.equal(value, before[key]) for key, value in network.state_dict().items())
    assert all(module.training for module in network.modules())
    network.eval()
    own, other = heads(network, images())
    torch.testing.assert_close(own, network(images()))
    torch.testing.assert_close(other, both(images()))


@pytest.mark.parametrize("kind", [*TOGETHER, *APART])
def test_nothing_is_dropped_for_the_other_head(kind):
    torch.manual_seed(0)
    make = (TOGETHER | APART)[kind]
    network, source = make(2).train(), make(5).eval().requires_grad_(False)
    network.norm.eval()
    heads = TwoHeads(network, "fc", source.get_submodule("fc"), images(2))
    for _ in range(3):
        own, other = heads(network, images())
        torch.testing.assert_close(other, hybrid(network, source, "fc").eval()(images()))
    assert not ("dropout" in kind and torch.equal(own, network.eval()(images())))
    assert not any(m._forward_hooks or m._forward_pre_hooks for m in network.modules())


def test_a_second_pass_moves_no_statistics():
    torch.manual_seed(0)
    network, source = Functional(2).train(), Functional(5).eval()
    heads = TwoHeads(network, "fc", source.fc, images(2))
    alone = copy.deepcopy(network)
    heads(network, images())
    alone(images())
    assert torch.equal(network.norm.running_mean, alone.norm.running_mean)
    assert network.norm.num_batches_tracked == alone.norm.num_batches_tracked


def test_refuses_a_head_that_does_not_go_with_the_rest():
    network = Body(2, after=nn.BatchNorm1d(2)).eval()
    with pytest.raises(
        UsageError, match="cannot run with another head at fc: RuntimeError: running_mean should contain 5"
    ):
        TwoHeads(network, "fc", nn.Linear(8, 5), images(2))


def test_a_head_that_cannot_share_a_pass_is_still_trained(bench, train):
    given = bench("own")
    torch.manual_seed(0)
    source = dataclasses.replace(given.source, module=Functional(5).eval().requires_grad_(False))
    given = dataclasses.replace(given, source=source, start=Functional(2).eval().requires_grad_(False))
    setup = Lwf().setup(given)
    _, steps = train(given, setup)
    assert not setup.objective._heads.together
    assert steps[-1].losses["lwf"] > 0
