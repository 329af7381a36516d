from __future__ import annotations

import pytest
import torch
from torch import nn

import tiny
from tlaudit.models.attribution import Attributor, attribution_layer
from tlaudit.models.folding import folded
from tlaudit.models.runtime import Execution

SIDES = {"inception": 139, "maxvit": 224, "vit": 224}
# Batch norms that follow something else than a convolution: a sum, a concatenation, the end of a block.
LEFT = {"densenet": 62, "maxvit": 11}


def images(side, count=2):
    return torch.randn(count, 3, side, side, generator=torch.Generator().manual_seed(0))


def norms(module):
    return sum(isinstance(child, nn.BatchNorm2d) for child in module.modules())


def weights(module):
    return {name: tensor.clone() for name, tensor in module.state_dict().items()}


@pytest.mark.parametrize("family", tiny.FAMILIES)
def test_every_family_gives_the_same_logits_and_maps(family):
    execution = Execution(torch.device("cpu"), "fp32", 2, 0)
    net, pixels = execution.place(tiny.network(tiny.SMALL[family], 7)), images(SIDES.get(family, 96))
    before, paths = weights(net), [path for path, _ in net.named_modules()]
    layer = attribution_layer(net, family, "", pixels)
    copy = folded(net, pixels, keep=(layer,))
    assert norms(copy) == LEFT.get(family, 0)
    assert (copy is net) == (norms(net) == 0)
    assert {path for path, _ in copy.named_modules()} == set(paths)
    with execution.attribution():
        ours, theirs = (Attributor(module, layer)(pixels) for module in (copy, net))
    torch.testing.assert_close(ours.logits, theirs.logits, rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(ours.maps, theirs.maps, rtol=0, atol=1e-4 * float(theirs.maps.max()))
    assert torch.equal(ours.dead, theirs.dead)
    after = weights(net)
    assert all(torch.equal(before[name], after[name]) for name in before), "the network is borrowed"


class Joined(nn.Module):
    """A convolution and a batch norm, joined in the way a test asks for."""

    def __init__(self, way):
        super().__init__()
        self.way, self.last = way, None
        self.conv, self.norm, self.fc = nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.Linear(4, 5)
        if way == "hooked":
            self.conv.register_forward_hook(lambda _module, _inputs, output: output * 2)
        if way == "subclass":
            self.norm = type("Loud", (nn.BatchNorm2d,), {"forward": lambda _, x: x * 2})(4)
        if way == "two names":
            self.again = self.norm
        if way == "without statistics":
            self.norm = nn.BatchNorm2d(4, track_running_stats=False)

    def forward(self, x):
        y = self.conv(x)
        z = self.norm(y)
        if self.way == "another reader":
            z = z + y
        if self.way == "twice":
            z = z + self.norm(self.conv(x.flip(3)))
        if self.way == "weights read":
            z = z + self.conv.weight.mean()
        if self.way == "by its input" and x.mean() > 100:
            z = -z
        if self.way == "tensors only" and not isinstance(x, torch.Tensor):
            raise KeyError("no tensor")
        if self.way == "remembers":
            self.last = z
        if self.way == "other for stand-ins" and isinstance(x, torch.Tensor):
            z = z + y
        return self.fc(z.mean(dim=(2, 3)))


def joined(way):
    torch.manual_seed(0)
    return tiny.stirred(Joined(way)).eval().requires_grad_(False)


@pytest.mark.parametrize(
    ("way", "left"),
    ({"plain": 0, "remembers": 0}
    | dict.fromkeys(
        (
            "hooked", "subclass", "two names", "without statistics", "another reader", "twice", "weights read",
            "by its input", "tensors only", "other for stand-ins",
        ),
        1,
    )).items(),
)  # fmt: skip
def test_only_what_follows_one_convolution_alone_is_folded(way, left):
    net, pixels = joined(way), images(8)
    copy = folded(net, pixels)
    assert (norms(copy), norms(net)) == (left, 1)
    assert not isinstance(net.last, torch.fx.Proxy)
    torch.testing.assert_close(copy(pixels), net(pixels))


def test_what_is_looked_at_stays_what_it_was():
    net, pixels = joined("plain"), images(8)
    kept = folded(net, pixels, keep=("conv",))
    assert kept is net
    seen = {}
    copy = folded(net, pixels, keep=("norm",))
    for name, module in (("net", net), ("copy", copy)):
        module.norm.register_forward_hook(lambda _module, _inputs, output, name=name: seen.update({name: output}))
        module(pixels)
    torch.testing.assert_close(seen["copy"], seen["net"])
    assert isinstance(copy.norm, nn.Identity)


def test_autocast_does_not_get_in_the_way():
    net, pixels = joined("plain"), images(8)
    with Execution(torch.device("cpu"), "bf16", 2, 0).attribution():
        assert norms(folded(net, pixels)) == 0
    assert folded(net.to(memory_format=torch.channels_last), pixels).conv.weight.is_contiguous(
        memory_format=torch.channels_last
    )
