"""Networks begun anew: same architecture, other weights, nothing left of what was learnt."""

from __future__ import annotations

import dataclasses

import pytest
import torch
from torch import nn

import tiny
from tlaudit.errors import UsageError
from tlaudit.models.sources import load_model
from tlaudit.training.fresh import fresh


def moved(model, network):
    """Which floating tensors of a state differ from the model's."""
    before = model.module.state_dict()
    return {key for key, value in network.state_dict().items() if not torch.equal(value, before[key])}


@pytest.mark.parametrize(
    "name", ["resnet18", "squeezenet1_1", "mobilenet_v3_small", pytest.param("vit_b_32", marks=pytest.mark.slow)]
)
def test_torchvision_networks_begin_as_their_authors_have_it(tmp_path, name):
    model = load_model(tiny.saved(tmp_path / "net.pth", tiny.network(name, 5)))
    before, generator = {k: v.clone() for k, v in model.module.state_dict().items()}, torch.get_rng_state()
    network = fresh(model, seed=0)
    assert all(torch.equal(value, before[key]) for key, value in model.module.state_dict().items())
    assert torch.equal(torch.get_rng_state(), generator)
    weights = {key for key, value in before.items() if value.dim() > 1 and "class_token" not in key}
    assert weights <= moved(model, network)
    for module in network.modules():
        if isinstance(module, nn.BatchNorm2d):
            assert (module.running_mean == 0).all()
            assert (module.weight == 1).all()
    again, other = fresh(model, seed=0).state_dict(), fresh(model, seed=1).state_dict()
    assert all(torch.equal(value, again[key]) for key, value in network.state_dict().items())
    assert any(not torch.equal(value, other[key]) for key, value in network.state_dict().items())
    side = 224 if name == "vit_b_32" else 64
    assert network(torch.zeros(2, 3, side, side)).shape == (2, 5)


def test_networks_of_ones_own_begin_layer_by_layer(tmp_path):
    model = load_model(tiny.saved(tmp_path / "own.pth", tiny.own(4)), arch=tiny.OWN)
    network = fresh(model, seed=0)
    assert moved(model, network) == set(model.module.state_dict())
    assert (network.stem[1].running_mean == 0).all()
    assert not network.training


@pytest.mark.parametrize(
    ("name", "head", "weights"),
    [
        ("resnet10t", "fc", {"conv1.0.weight", "fc.weight"}),
        ("vit_tiny_patch16_224", "head", {"patch_embed.proj.weight", "blocks.11.attn.qkv.weight"}),
    ],
)
def test_timms_networks_begin_as_their_authors_have_it(tmp_path, name, head, weights):
    timm = pytest.importorskip("timm")
    model = load_model(tiny.saved(tmp_path / "t.pth", timm.create_model(name, num_classes=4)), arch=f"timm:{name}")
    network = fresh(model, seed=0)
    assert weights <= moved(model, network)
    assert network.get_submodule(head).weight.std() < 0.1


def test_a_head_that_grew_keeps_its_layers(tmp_path):
    network = tiny.network("resnet18", 5)
    network.fc = nn.Sequential(nn.Linear(512, 8), nn.ReLU(), nn.Linear(8, 3))
    model = load_model(tiny.saved(tmp_path / "grown.pth", network))
    begun = fresh(model, seed=0)
    assert begun.state_dict().keys() == model.module.state_dict().keys()
    assert {"fc.0.weight", "fc.2.bias", "conv1.weight"} <= moved(model, begun)


class Token(nn.Module):
    """A parameter of its own, about which no layer knows."""

    def __init__(self, num_classes: int) -> None:
        super().__init__()
        self.token = nn.Parameter(torch.zeros(3))
        self.head = nn.Linear(3, num_classes)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.head(x.mean(dim=(2, 3)) + self.token)


def test_refuses_parameters_that_nothing_begins(tmp_path):
    model = load_model(tiny.saved(tmp_path / "own.pth", tiny.own(4)), arch=tiny.OWN)
    model = dataclasses.replace(model, module=Token(4))
    with pytest.raises(UsageError, match="cannot be begun from scratch: nothing says what token begin with"):
        fresh(model, seed=0)
