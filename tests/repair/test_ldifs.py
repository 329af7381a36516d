"""LDIFS: its penalty by hand, what it keeps, and what it leaves alone."""

from __future__ import annotations

import copy
import dataclasses
import weakref

import pytest
import torch
from torch import nn

from tlaudit.errors import UsageError
from tlaudit.measure.feature_distance import feature_distance
from tlaudit.repair import ldifs
from tlaudit.repair.base import Setup
from tlaudit.repair.ldifs import Ldifs
from tlaudit.training.objective import CrossEntropy

SMALL = ["own", "vit", "swin", "squeezenet1_1", "mobilenet_v3_small"]


def channels(name, tensor):
    return -1 if name == "swin" or tensor.ndim == 3 else 1


def features(module, images, stages):
    """Copies of what the stages give, with torch's own hooks."""
    found, handles = [], []
    for stage in stages:
        handle = module.get_submodule(stage).register_forward_hook(lambda _m, _i, output: found.append(output + 0))
        handles.append(handle)
    module(images)
    for handle in handles:
        handle.remove()
    return found


def plain(bench):
    return Setup(bench.start, bench.training, CrossEntropy())


@pytest.mark.parametrize("reduction", ["channel", "official", "sum"])
@pytest.mark.parametrize("name", SMALL)
def test_agrees_with_reference(bench, terms, name, reduction):
    given = bench(name, init="random", ldifs={"weight": 3.0, "reduction": reduction})
    setup = Ldifs().setup(given)
    found, gradients, network, inputs = terms(given, setup, mode="eval")
    stages = given.source.stages
    with torch.no_grad():
        theirs = features(copy.deepcopy(given.source.module), inputs.images, stages)
    network.zero_grad()
    ours = features(network, inputs.images, stages)
    parts = [
        feature_distance(one.double(), two.double(), reduction, channels(name, one))
        for one, two in zip(ours, theirs, strict=True)
    ]
    penalty = 3.0 * sum(parts) / len(stages)
    assert list(found) == ["cross_entropy", "ldifs"]
    assert found["ldifs"].dtype == torch.float32
    assert found["ldifs"].item() == pytest.approx(penalty.item(), rel=1e-4)
    loss = nn.functional.cross_entropy(network(inputs.images), inputs.labels)
    assert found["cross_entropy"].item() == pytest.approx(loss.item(), rel=1e-4)
    (loss + penalty).backward()
    for key, parameter in network.named_parameters():
        if parameter.grad is not None:
            near = 1e-3 * parameter.grad.abs().max().item() + 1e-6
            torch.testing.assert_close(gradients[key], parameter.grad, rtol=1e-3, atol=near)


@pytest.mark.parametrize("name", ["own", "mobilenet_v3_small", "vit"])
@pytest.mark.parametrize("precision", ["fp32", "bf16"])
def test_borrows(bench, promises, name, precision):
    # Batch norms in training mode, so that the source's would drift if they were, too.
    _, steps = promises(bench(name, precision=precision), Ldifs(), batch_norm="train")
    assert all(step.losses.keys() == {"cross_entropy", "ldifs"} for step in steps)


@pytest.mark.slow
def test_borrows_a_residual_network(bench, promises):
    _, steps = promises(bench("resnet18"), Ldifs(), batch_norm="train", learning_rate=1e-4)
    assert all(step.losses.keys() == {"cross_entropy", "ldifs"} for step in steps)


@pytest.mark.parametrize("name", ["own", "vit"])
def test_no_weight_is_plain_bit_for_bit(bench, train, monkeypatch, name):
    given = bench(name, ldifs={"weight": 0.0})
    setup = Ldifs().setup(given)
    monkeypatch.setattr(ldifs, "feature_distance", None)  # would be called
    ours, _ = train(given, setup)
    theirs, _ = train(given, plain(given))
    for one, two in zip(ours.network.state_dict().values(), theirs.network.state_dict().values(), strict=True):
        assert torch.equal(one, two)


@pytest.mark.parametrize("reduction", ["channel", "official", "sum"])
@pytest.mark.parametrize("name", ["own", "swin", "squeezenet1_1", "mobilenet_v3_small"])
def test_nothing_to_pay_at_the_start(bench, terms, name, reduction):
    given = bench(name, ldifs={"reduction": reduction})
    found, _, _, _ = terms(given, Ldifs().setup(given))
    assert found["ldifs"].item() <= 1e-6
    other = bench(name, init="random", ldifs={"reduction": reduction})
    assert terms(other, Ldifs().setup(other))[0]["ldifs"].item() > 1e-3


def test_penalty_falls_as_its_weight_rises(bench, train, terms):
    left = []
    for weight in (0.0, 1.0, 30.0):
        given = bench("squeezenet1_1", ldifs={"weight": weight})
        made, _ = train(given, Ldifs().setup(given), epochs=2, learning_rate=1e-3)
        judge = bench("squeezenet1_1", ldifs={"weight": 1.0})
        left.append(terms(judge, Ldifs().setup(judge), network=made.network, mode="eval")[0]["ldifs"].item())
    assert left[0] > 1.5 * left[1] > 1.5 * 1.5 * left[2]


def test_goes_on_as_if_it_had_not_stopped(bench, terms):
    given = bench("own")
    moved = copy.deepcopy(given.start)
    with torch.no_grad():
        for parameter in moved.parameters():
            parameter.add_(0.1)
    first = Ldifs().setup(given)
    before = terms(given, first, network=moved, step=5)[0]
    # Resumed: begun on the weights of the start, then given those it had reached.
    again = Ldifs().setup(given)
    terms(given, again)
    begin = again.objective.begin
    again.objective.begin = lambda _network: begin(given.start)
    after = terms(given, again, network=moved, step=5)[0]
    assert {name: term.item() for name, term in before.items()} == {name: term.item() for name, term in after.items()}


def test_stages_can_be_named(bench, terms):
    some = bench("own", init="random", ldifs={"stages": ("blocks.0",)})
    found, _, network, inputs = terms(some, Ldifs().setup(some), mode="eval")
    one, two = (features(m, inputs.images, ["blocks.0"])[0] for m in (network, some.source.module))
    assert found["ldifs"].item() == pytest.approx(10 * feature_distance(one, two).item(), rel=1e-4)
    all_ = bench("own", init="random")
    assert terms(all_, Ldifs().setup(all_), mode="eval")[0]["ldifs"].item() != found["ldifs"].item()


@pytest.mark.parametrize(
    ("stages", "message"),
    [
        (("blocks.7",), "--ldifs-stages blocks.7: .* has no such module; nearest: blocks.1"),
        (("fc",), "--ldifs-stages fc: lies in the head fc"),
        (("blocks",), "the stage blocks takes no part in the forward pass"),
    ],
)
def test_refuses_stages(bench, stages, message):
    with pytest.raises(UsageError, match=message):
        Ldifs().setup(bench("own", ldifs={"stages": stages}))


class Odd(nn.Module):
    """A network with stages of every kind; its head is ``fc``."""

    def __init__(self, num_classes):
        super().__init__()
        self.stem = nn.Conv2d(3, 6, 3)
        self.relu = Overwriting()
        self.block = nn.Conv2d(6, 6, 1)
        self.same = nn.Identity()
        self.pair, self.places = Pair(), Places()
        self.fc = nn.Linear(6, num_classes)

    def forward(self, x):
        x = self.relu(self.stem(self.same(x)))
        for _ in range(3):
            x = self.same(self.block(x))
        self.pair(x)
        self.places(x)
        return self.fc(x.mean(dim=(2, 3)))


class Overwriting(nn.Module):
    """Writes over what it is given, whatever anybody sets."""

    def forward(self, x):
        return x.relu_()


class Pair(nn.Module):
    def forward(self, x):
        return x, x


class Places(nn.Module):
    def forward(self, x):
        return x.argmax(dim=1)


def odd(bench, **options):
    """A bench about a network that no table knows."""
    torch.manual_seed(0)
    given = bench("own", **options)
    source = dataclasses.replace(given.source, module=Odd(5).eval().requires_grad_(False), architecture="odd")
    start = Odd(2).eval().requires_grad_(False)
    return dataclasses.replace(given, source=source, start=start)


def test_runs_of_one_stage_are_compared_in_order(bench, terms):
    given = odd(bench, ldifs={"stages": ("same", "block", "stem", "relu"), "weight": 1.0})
    setup = Ldifs().setup(given)
    found, _, network, inputs = terms(given, setup)
    ours, theirs = (
        features(m, inputs.images, ["same", "stem", "relu", "block"]) for m in (network, given.source.module)
    )
    parts = [feature_distance(one, two) for one, two in zip(ours, theirs, strict=True)]
    assert len(parts) == 1 + 2 + 3 * 2
    assert found["ldifs"].item() == pytest.approx(sum(parts).item() / len(parts), rel=1e-5)


def test_sees_what_may_be_written_over(bench):
    """The first stage's output is the batch itself, the second's is written over, two others' are the same memory."""
    given = odd(bench, ldifs={"stages": ("same", "block", "stem", "relu")})
    calls = Ldifs().setup(given).objective._calls
    seen = [(call.path, call.copied, call.spare) for call in calls]
    repeated = [("block", False, False), ("same", False, False)] * 3
    assert seen == [("same", False, False), ("stem", True, True), ("relu", False, True), *repeated]


@pytest.mark.parametrize(
    ("stage", "message"), [("pair", "got a tuple"), ("places", r"got int64 of shape \(2, 30, 30\) for 2 images")]
)
def test_refuses_what_is_no_feature(bench, stage, message):
    with pytest.raises(UsageError, match=f"the stage {stage} gives no features: .*{message}"):
        Ldifs().setup(odd(bench, ldifs={"stages": (stage,)}))


class Fickle(Odd):
    """Skips a stage in training mode."""

    def forward(self, x):
        x = self.relu(self.stem(x))
        return self.fc((x if self.training else self.block(x)).mean(dim=(2, 3)))


def test_refuses_stages_that_training_skips(bench, terms):
    given = odd(bench, ldifs={"stages": ("block",)})
    source = dataclasses.replace(given.source, module=Fickle(5).eval())
    given = dataclasses.replace(given, source=source, start=Fickle(2))
    with pytest.raises(UsageError, match="the stage block gives something else, or in another order, in training mode"):
        terms(given, Ldifs().setup(given))


def test_source_is_asked_no_further_than_its_last_stage(bench, terms):
    given = bench("own", ldifs={"stages": ("stem",)})
    setup = Ldifs().setup(given)
    asked = []
    begin = setup.objective.begin

    def begin_and_listen(network):
        begin(network)
        for name in ("stem", "blocks.0", "fc"):
            module = setup.objective._placed.get_submodule(name)
            module.register_forward_pre_hook(lambda _m, _i, name=name: asked.append(name))

    setup.objective.begin = begin_and_listen
    terms(given, setup)
    assert asked == ["stem"]


def test_keeps_no_stage_once_it_is_compared(bench, terms, monkeypatch):
    """With memory that is not spare, so that the source's features and the gradient are two things."""
    alive, references = [], []

    def watch(output, source, reduction, channels, *, weight, spare):
        alive.append([reference() is not None for reference in references])
        references.append(weakref.ref(source))
        return feature_distance(output, source, reduction, channels, weight=weight)

    monkeypatch.setattr(ldifs, "feature_distance", watch)
    given = bench("squeezenet1_1", ldifs={"stages": ("features.3", "features.4", "features.7", "features.12")})
    terms(given, Ldifs().setup(given))
    assert len(alive) == 4
    assert not any(any(earlier) for earlier in alive)
