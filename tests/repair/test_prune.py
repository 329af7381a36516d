"""Pruning: which channels go, against loops, and that they do not come back."""

from __future__ import annotations

import copy

import numpy as np
import pytest
import torch
from torch import nn

import reference
from tlaudit.errors import UsageError
from tlaudit.models.channels import ChannelWatch, channel_layers
from tlaudit.repair import METHODS
from tlaudit.repair.prune import unused


def naive_unused(lingering, classes, target, percentile):
    """Equations 6 and 7, channel by channel."""
    everything = [value for rows in (lingering, target) for row in rows for value in row]
    threshold = reference.percentile(everything, percentile)
    gone = []
    for channel in range(len(target[0])):
        used = False
        for index in set(classes):
            own = [row[channel] for row, label in zip(lingering, classes, strict=True) if label == index]
            used = used or all(value > threshold for value in own)
        gone.append(used and not any(row[channel] > threshold for row in target))
    return gone


@pytest.mark.parametrize("percentile", [10.0, 50.0, 73.0, 90.0])
@pytest.mark.parametrize(("n", "m", "channels", "classes"), [(6, 9, 20, 3), (1, 4, 50, 1), (12, 3, 7, 4)])
def test_agrees_with_reference(n, m, channels, classes, percentile):
    generator = torch.Generator().manual_seed(n)
    strength = torch.rand(channels, generator=generator) * 2
    lingering = torch.randn(n, channels, generator=generator) + strength
    target = torch.randn(m, channels, generator=generator) - strength
    labels = torch.arange(n) % classes + 5
    found = unused(lingering, labels, target, percentile)
    expected = naive_unused(lingering.tolist(), labels.tolist(), target.tolist(), percentile)
    assert found.tolist() == expected


def test_worked_example():
    # Channel 0: class 4 always, target never. 1: target once. 2: class 4 only sometimes. 3: class 7 alone.
    lingering = torch.tensor([[9.0, 9, 9, 0], [9, 9, 0, 0], [0, 0, 0, 9]])
    target = torch.tensor([[0.0, 0, 0, 0], [0, 9, 0, 0]])
    labels = torch.tensor([4, 4, 7])
    assert unused(lingering, labels, target, 50).tolist() == [True, False, False, True]
    # Exactly at the threshold is not above it.
    assert unused(torch.ones(2, 3), torch.tensor([1, 1]), torch.ones(2, 3), 50).tolist() == [False] * 3


class Shapes(nn.Module):
    """Layers of every kind that is watched, and those that are not."""

    def __init__(self) -> None:
        super().__init__()
        self.normed = nn.Sequential(nn.Conv2d(3, 4, 3, bias=False), nn.BatchNorm2d(4), nn.ReLU(inplace=True))
        self.bare = nn.Conv2d(4, 5, 1)
        self.twice = nn.Conv2d(5, 5, 1)
        self.late = nn.BatchNorm2d(5)
        self.plain = nn.Sequential(nn.Conv2d(5, 6, 1), nn.BatchNorm2d(6, affine=False))
        self.tokens = nn.Linear(6, 7)
        self.flat = nn.Sequential(nn.Linear(7, 8), nn.BatchNorm1d(8))
        self.never = nn.Linear(2, 2)
        self.fc = nn.Linear(8, 5)

    def forward(self, x):
        x = self.bare(self.normed(x))
        x = self.late(torch.relu(self.twice(self.twice(x))))
        x = self.tokens(self.plain(x).flatten(2).transpose(1, 2))
        return self.fc(self.flat(x.mean(1)))


def shapes():
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        module = Shapes()
        for norm in module.modules():
            if isinstance(norm, nn.BatchNorm1d | nn.BatchNorm2d):
                norm.running_mean.normal_()
                if norm.affine:
                    norm.weight.data.normal_()
                    norm.bias.data.normal_()
        return module.eval().requires_grad_(False)


def test_activations_are_means_over_positions_behind_the_batch_norm_that_follows():
    module = shapes()
    x = torch.randn(3, 3, 6, 6, generator=torch.Generator().manual_seed(1))
    layers = channel_layers(module, ["normed", "bare", "twice", "plain", "tokens", "flat", "never"])
    assert layers == ("normed.0", "bare", "twice", "plain.0", "tokens", "flat.0", "never")
    watch = ChannelWatch(module, layers)
    found = watch.look(x)
    with torch.no_grad():
        normed = module.normed[1](module.normed[0](x))
        bare = module.bare(normed.relu())
        plain = module.plain[0](module.late(torch.relu(module.twice(module.twice(bare)))))
        tokens = module.tokens(module.plain[1](plain).flatten(2).transpose(1, 2))
        flat = module.flat(tokens.mean(1))
    expected = {
        "normed.0": normed.mean((2, 3)),
        "bare": bare.mean((2, 3)),
        "plain.0": module.plain[1](plain).mean((2, 3)),
        "tokens": tokens.mean(1),
        "flat.0": flat,
    }
    assert found.keys() == expected.keys()
    for path, values in expected.items():
        assert torch.allclose(found[path], values, atol=1e-5), path
    # One that runs twice or never, or whose batch norm has no weights to zero, cannot be taken out.
    watched = watch.watched()
    assert [channels.layer for channels in watched] == ["normed.0", "bare", "tokens", "flat.0"]
    assert [channels.norm for channels in watched] == ["normed.1", None, None, "flat.1"]
    assert watched[0].parameters(module) == ["normed.0.weight", "normed.1.weight", "normed.1.bias"]
    assert watched[3].parameters(module) == ["flat.0.weight", "flat.0.bias", "flat.1.weight", "flat.1.bias"]
    assert not any(m._forward_hooks or m._forward_pre_hooks for m in module.modules())


def gone_in(network, start):
    """Rows that are zero in the one and not in the other."""
    weights = zip(network.named_parameters(), start.named_parameters(), strict=True)
    return {
        name: [row for row in range(len(ours)) if not ours[row].any() and bool(theirs[row].any())]
        for (name, ours), (_, theirs) in weights
    }


def of_start(given, images):
    """Activations of `Own`'s stem and first block for images, by hand."""
    stem = given.start.stem[1](given.start.stem[0](images))
    return stem.mean((2, 3)), given.start.blocks[0](stem.relu()).mean((2, 3))


@pytest.mark.parametrize("percentile", [40.0, 60.0])
def test_takes_out_what_lingering_classes_alone_use(bench, percentile):
    # Class 2 is the one kind of picture whose third channel is bright; the task's are bright in the first two.
    given = bench(lingering=(2,), prune={"percentile": percentile, "stages": "stem,blocks.0"})
    setup = METHODS["prune"].setup(given)
    (training,) = given.training.epoch(0, seed=0, batch_size=1000, flip=False)
    backgrounds = METHODS["unlearn"].setup(given).objective._pixels
    with torch.no_grad():
        activations = zip(
            of_start(given, given.normalizer(backgrounds)),
            of_start(given, given.normalizer(training.pixels)),
            strict=True,
        )
    expected = {}
    for path, (lingering, target) in zip(("stem.0", "blocks.0"), activations, strict=True):
        flags = naive_unused(lingering.tolist(), [2] * len(lingering), target.tolist(), percentile)
        expected[path] = [row for row, gone in enumerate(flags) if gone]
    assert any(expected.values())
    found = gone_in(setup.network, given.start)
    for key, rows in found.items():
        owner = key.rpartition(".")[0]
        assert rows == expected.get("stem.0" if owner.startswith("stem") else owner, [])
    (finding,) = setup.findings
    assert finding.code == "repair.pruned"
    for path, rows in expected.items():
        assert (f"{path} {len(rows)} of 6" in finding.message) == bool(rows)
    # What remains is what it was.
    for (name, ours), (_, theirs) in zip(setup.network.named_parameters(), given.start.named_parameters(), strict=True):
        kept = [row for row in range(len(ours)) if row not in found[name]]
        assert torch.equal(ours[kept], theirs[kept])


@pytest.mark.parametrize("optimizer", [{"optimizer": "sgd", "learning_rate": 0.1}, {"optimizer": "adamw"}])
def test_what_was_taken_out_stays_out(bench, train, optimizer):
    # Behind the last batch norm of a residual block the gradient of a silent channel need not be 0.
    given = bench("resnet18", lingering=(2,), prune={"percentile": 30})
    setup = METHODS["prune"].setup(given)
    gone = {name: rows for name, rows in gone_in(setup.network, given.start).items() if rows}
    norm = next(name for name in gone if name.startswith("layer4") and name.endswith("bn2.bias"))
    made, _ = train(given, setup, epochs=1, **optimizer)
    for name, rows in gone.items():
        assert not made.network.get_parameter(name)[rows].any()
        assert made.network.get_parameter(name).any()
    setup.objective.settle = lambda network: None
    free, _ = train(given, setup, epochs=1, **optimizer)
    assert free.network.get_parameter(norm)[gone[norm]].any()


def test_default_is_the_last_stage(bench):
    given = bench(lingering=(2,), prune={"percentile": 40})
    found = gone_in(METHODS["prune"].setup(given).network, given.start)
    assert {name for name, rows in found.items() if rows} <= {"blocks.1.weight", "blocks.1.bias"}


def test_where_nothing_goes_it_is_plain_and_says_so(bench, train):
    # Whatever these classes use, so do the same pictures as training images.
    given = bench(prune={"percentile": 99.9})
    setup = METHODS["prune"].setup(given)
    assert [finding.code for finding in setup.findings] == ["repair.nothing_pruned"]
    ours, theirs = train(given, setup)[0].network, train(given, METHODS["plain"].setup(given))[0].network
    assert all(torch.equal(v, theirs.state_dict()[k]) for k, v in ours.state_dict().items())


@pytest.mark.parametrize("name", ["resnet18", "squeezenet1_1", "swin", "vit"])
def test_every_kind_of_network_can_be_pruned(bench, name):
    given = bench(name, lingering=(2,), prune={"percentile": 30})
    before = copy.deepcopy(given.start.state_dict())
    setup = METHODS["prune"].setup(given)
    assert all(torch.equal(value, before[key]) for key, value in given.start.state_dict().items())
    (finding,) = setup.findings
    assert finding.code in {"repair.pruned", "repair.nothing_pruned"}
    last = {"resnet18": "layer4", "squeezenet1_1": "features.12", "swin": "features", "vit": "encoder"}[name]
    assert f" layers in {last}" in finding.message
    assert np.isfinite(sum(float(value.double().sum()) for value in setup.network.state_dict().values()))


@pytest.mark.parametrize("stages", ["steam", "fc"])
def test_refuses_what_is_no_module_of_the_backbone(bench, stages):
    with pytest.raises(UsageError, match=f"stages: {stages} is no module outside the head; nearest: stem"):
        METHODS["prune"].setup(bench(prune={"stages": stages}))


def test_refuses_stages_without_layers(bench):
    with pytest.raises(UsageError, match=r"no linear layer or convolution in stem\.2"):
        METHODS["prune"].setup(bench(prune={"stages": "stem.2"}))
