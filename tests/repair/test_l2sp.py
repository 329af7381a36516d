"""L2-SP: its penalties by hand, which weights they are about, and what it leaves alone."""

from __future__ import annotations

import copy
import dataclasses

import pytest
import torch
from torch import nn

from tlaudit.errors import UsageError
from tlaudit.repair.base import Setup
from tlaudit.repair.l2sp import L2sp
from tlaudit.training.objective import CrossEntropy

NETWORKS = ["own", "vit", "swin", "squeezenet1_1", "mobilenet_v3_small"]


def by_hand(network, source, head, alpha, beta):
    """Weight by weight, number by number in float64: the loss terms and the gradient."""
    norms = tuple(f"{path}." for path, m in source.named_modules() if type(m).__name__ in {"BatchNorm2d", "LayerNorm"})
    theirs, near, small, gradients = dict(source.named_parameters()), 0.0, 0.0, {}
    for name, weight in network.named_parameters():
        if weight.ndim < 2 or name.startswith(norms):
            gradients[name] = torch.zeros(weight.shape, dtype=torch.float64)
        elif name.startswith(f"{head}."):
            small += float(weight.detach().double().square().sum())
            gradients[name] = beta * weight.detach().double()
        else:
            apart = (weight.double() - theirs[name].double()).detach()
            near += float(apart.square().sum())
            gradients[name] = alpha * apart
    return {"l2sp": alpha / 2 * near, "l2_head": beta / 2 * small}, gradients


@pytest.mark.parametrize(("alpha", "beta"), [(0.1, 0.01), (3.0, 7.0)])
@pytest.mark.parametrize("name", NETWORKS)
def test_agrees_with_reference(bench, terms, name, alpha, beta):
    given = bench(name, init="random", l2sp={"alpha": alpha, "beta": beta})
    found, gradients, network, _ = terms(given, L2sp().setup(given), mode="eval")
    _, without, _, _ = terms(given, Setup(given.start, given.training, CrossEntropy()), mode="eval")
    expected, slopes = by_hand(network, given.source.module, given.head, alpha, beta)
    assert list(found) == ["cross_entropy", "l2sp", "l2_head"]
    for term, value in expected.items():
        assert found[term].dtype == torch.float32
        assert found[term].item() == pytest.approx(value, rel=1e-4)
    for key, slope in slopes.items():
        zero = torch.zeros_like(slope)
        ours, theirs = (zero if g[key] is None else g[key].double() for g in (gradients, without))
        torch.testing.assert_close(ours - theirs, slope, rtol=1e-3, atol=1e-4 * float(ours.abs().max()) + 1e-6)


@pytest.mark.parametrize("name", ["own", "vit"])
@pytest.mark.parametrize("precision", ["fp32", "bf16"])
def test_borrows(bench, promises, name, precision):
    _, steps = promises(bench(name, precision=precision), L2sp(), batch_norm="train")
    assert all(step.losses.keys() == {"cross_entropy", "l2sp", "l2_head"} for step in steps)


@pytest.mark.parametrize("name", ["own", "vit"])
def test_no_weight_is_plain_bit_for_bit(bench, train, name):
    given = bench(name, l2sp={"alpha": 0.0, "beta": 0.0})
    ours, steps = train(given, L2sp().setup(given))
    theirs, _ = train(given, Setup(given.start, given.training, CrossEntropy()))
    assert list(steps[0].losses) == ["cross_entropy"]
    for one, two in zip(ours.network.state_dict().values(), theirs.network.state_dict().values(), strict=True):
        assert torch.equal(one, two)


@pytest.mark.parametrize(("kept", "term"), [("alpha", "l2sp"), ("beta", "l2_head")])
def test_each_weight_has_its_term(bench, terms, kept, term):
    given = bench("own", init="random", l2sp={"alpha": 0.0, "beta": 0.0, kept: 2.0})
    found = terms(given, L2sp().setup(given))[0]
    assert list(found) == ["cross_entropy", term]
    assert found[term].item() > 0


@pytest.mark.parametrize("name", NETWORKS)
def test_nothing_to_pay_at_the_start(bench, terms, name):
    given = bench(name)
    assert terms(given, L2sp().setup(given))[0]["l2sp"].item() == 0


@pytest.mark.parametrize(("option", "term"), [("alpha", "l2sp"), ("beta", "l2_head")])
def test_penalty_falls_as_its_weight_rises(bench, train, terms, option, term):
    judge, left = bench("own", l2sp={"alpha": 1.0, "beta": 1.0}), []
    for weight in (0.0, 1.0, 8.0):
        given = bench("own", l2sp={"alpha": 0.0, "beta": 0.0, option: weight})
        made, _ = train(given, L2sp().setup(given), epochs=4, optimizer="sgd", learning_rate=0.1, weight_decay=0.0)
        left.append(terms(judge, L2sp().setup(judge), network=made.network, mode="eval")[0][term].item())
    assert left[0] > left[1] > left[2]


def test_goes_on_as_if_it_had_not_stopped(bench, terms):
    given = bench("own")
    moved = copy.deepcopy(given.start)
    with torch.no_grad():
        for parameter in moved.parameters():
            parameter.add_(0.1)
    before = terms(given, L2sp().setup(given), network=moved, step=5)[0]
    again = L2sp().setup(given)
    begin = again.objective.begin
    again.objective.begin = lambda _network: begin(given.start)
    after = terms(given, again, network=moved, step=5)[0]
    assert {name: term.item() for name, term in before.items()} == {name: term.item() for name, term in after.items()}


class Shared(nn.Module):
    """One layer under two names, and a norm whose weights have two axes."""

    def __init__(self, num_classes):
        super().__init__()
        self.stem = nn.Conv2d(3, 4, 1)
        self.block = nn.Conv2d(4, 4, 1)
        self.again = self.block
        self.norm = nn.LayerNorm((4, 1))
        self.fc = nn.Linear(4, num_classes)

    def forward(self, x):
        x = self.again(self.block(self.stem(x))).mean(dim=3).mean(dim=2, keepdim=True)
        return self.fc(self.norm(x).flatten(1))


def shared(bench, **options):
    given = bench("own", **options)
    source = dataclasses.replace(given.source, module=Shared(5).eval().requires_grad_(False))
    return dataclasses.replace(given, source=source, start=Shared(2).eval().requires_grad_(False))


def test_what_is_shared_counts_once_and_norms_not_at_all(bench, terms):
    given = shared(bench, l2sp={"alpha": 2.0, "beta": 0.0})
    found = terms(given, L2sp().setup(given), mode="eval")[0]["l2sp"].item()
    ours, theirs = given.start, given.source.module
    expected = sum(
        float((getattr(ours, layer).weight - getattr(theirs, layer).weight).square().sum())
        for layer in ("stem", "block")
    )
    assert found == pytest.approx(expected, rel=1e-5)


def test_refuses_another_backbone(bench):
    given = shared(bench)
    other = copy.deepcopy(given.start)
    other.block = nn.Conv2d(4, 4, 3, padding=1)
    with pytest.raises(
        UsageError, match=r"the weight block.weight of shape \(4, 4, 3, 3\) .* has one of shape \(4, 4, 1, 1\)"
    ):
        L2sp().setup(dataclasses.replace(given, start=other))
    other = copy.deepcopy(given.start)
    other.more = nn.Conv2d(4, 4, 1)
    with pytest.raises(
        UsageError, match="the weight more.weight .* which has none: l2sp needs networks with one backbone"
    ):
        L2sp().setup(dataclasses.replace(given, start=other))
