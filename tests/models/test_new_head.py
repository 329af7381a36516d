"""A head for another task: torchvision's form, the source's backbone, weights from the seed alone."""

from __future__ import annotations

import random
from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import nn
from torchvision import models

import tiny
from tlaudit.errors import UsageError
from tlaudit.models.families import family_of
from tlaudit.models.heads import within
from tlaudit.models.new_head import last_layer, with_new_head
from tlaudit.models.sources import Model, load_model

QUICK = ("squeezenet", "resnet", "mobilenet_v3", "alexnet", "shufflenet")
SIDES = {"inception": 139, "maxvit": 224, "vit": 224}
FAMILIES = [pytest.param(name, marks=() if name in QUICK else pytest.mark.slow) for name in tiny.SMALL]


def model_of(module: nn.Module, architecture: str, head: str, num_classes: int) -> Model:
    return Model(module.eval().requires_grad_(False), architecture, head, num_classes, None, None, (), None)


def source(family: str, head: str | None = None) -> Model:
    name = tiny.SMALL[family]
    return model_of(tiny.network(name, 7), name, head or family_of(name).heads[0], 7)


def state(module: nn.Module) -> dict[str, torch.Tensor]:
    return {key: value.clone() for key, value in module.state_dict().items()}


@pytest.mark.parametrize("family", FAMILIES)
def test_is_what_torchvision_builds(family):
    model = source(family)
    before = state(model.module)
    network = with_new_head(model, 3, seed=0)
    options = {"aux_logits": False, "init_weights": False} if family in {"googlenet", "inception"} else {}
    built = models.get_model(tiny.SMALL[family], weights=None, num_classes=3, **options)
    assert list(built.state_dict()) == list(network.state_dict())
    built.load_state_dict(network.state_dict(), strict=True)
    for key, value in network.state_dict().items():
        layer = last_layer(model.module, model.head, 7)
        assert within(key, layer) == (value.shape != before[key].shape)
        assert within(key, layer) or torch.equal(value, before[key])
    assert all(torch.equal(value, before[key]) for key, value in model.module.state_dict().items())
    side = SIDES.get(family, 64)
    with torch.no_grad():
        pixels = torch.randn(2, 3, side, side, generator=torch.Generator().manual_seed(0))
        assert torch.equal(network(pixels), built.eval()(pixels))
    if hasattr(built, "num_classes"):
        assert network.num_classes == 3
    assert model.module.get_submodule(last_layer(model.module, model.head, 7)).weight.shape[0] == 7


@pytest.mark.parametrize(("family", "layer"), [("alexnet", "classifier.6"), ("mobilenet_v3", "classifier.3")])
def test_layers_of_a_wide_head_before_the_last_are_kept(family, layer):
    model = source(family, head="classifier")
    network = with_new_head(model, 3, seed=0)
    changed = {
        key for key, value in network.state_dict().items() if value.shape != model.module.state_dict()[key].shape
    }
    assert changed == {f"{layer}.weight", f"{layer}.bias"}


def test_is_drawn_as_such_a_layer_begins_from_the_seed_alone():
    model = source("squeezenet")
    torch.manual_seed(5)
    before = torch.get_rng_state(), np.random.get_state()[1].tolist(), random.getstate()
    network = with_new_head(model, 3, seed=11)
    assert torch.equal(torch.get_rng_state(), before[0])
    assert (np.random.get_state()[1].tolist(), random.getstate()) == before[1:]
    torch.manual_seed(11)
    expected = nn.Conv2d(512, 3, 1)
    assert torch.equal(network.classifier[1].weight, expected.weight)
    assert torch.equal(network.classifier[1].bias, expected.bias)
    assert not torch.equal(with_new_head(model, 3, seed=12).classifier[1].weight, expected.weight)


def test_is_ready_to_be_asked_and_shares_nothing():
    model = source("resnet")
    model.module.fc.bias.requires_grad_(True)
    network = with_new_head(model, 2, seed=0)
    assert not any(parameter.requires_grad for parameter in network.parameters())
    assert not any(module.training for module in network.modules())
    assert model.module.fc.bias.requires_grad
    theirs = {value.data_ptr() for value in model.module.state_dict().values()}
    assert not theirs & {value.data_ptr() for value in network.state_dict().values()}
    assert (network.fc.in_features, network.fc.out_features) == (512, 2)


def test_own_network_and_a_head_without_bias(tmp_path):
    model = load_model(tiny.saved(tmp_path / "own.pth", tiny.own(5)), arch=tiny.OWN)
    assert with_new_head(model, 2, seed=0)(torch.rand(3, 3, 8, 8)).shape == (3, 2)
    module = nn.Sequential(nn.Flatten(), nn.Linear(12, 4, bias=False))
    network = with_new_head(model_of(module, "own", "1", 4), 9, seed=0)
    assert network(torch.rand(2, 3, 2, 2)).shape == (2, 9)
    assert network[1].bias is None


def test_a_kind_of_layer_of_ones_own_stays_that_kind():
    class Scaled(nn.Linear):
        def __init__(self, features: int, outputs: int, scale: float) -> None:
            super().__init__(features, outputs)
            self.scale = scale

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return self.scale * super().forward(x)

    model = model_of(nn.Sequential(Scaled(3, 4, scale=2.0)), "own", "0", 4)
    network = with_new_head(model, 2, seed=0)
    x = torch.rand(5, 3)
    assert isinstance(network[0], Scaled)
    assert torch.allclose(network(x), 2 * (x @ network[0].weight.T + network[0].bias))


@pytest.mark.parametrize(
    ("head", "message"),
    [
        (nn.BatchNorm1d(4), "ends in no linear layer or 1x1 convolution"),
        (nn.Conv2d(4, 4, 3), "ends in no linear layer or 1x1 convolution"),
        (nn.Conv2d(4, 4, 1, groups=2), "ends in no linear layer or 1x1 convolution"),
        (nn.Linear(4, 8), "for each of 4 outputs"),
        (nn.utils.parametrizations.weight_norm(nn.Linear(4, 4)), "one weight, and maybe a bias"),
    ],
)
def test_refuses_heads_that_cannot_be_replaced(head, message):
    model = model_of(nn.Sequential(head), "own", "0", 4)
    with pytest.raises(UsageError, match=message):
        with_new_head(model, 2, seed=0)


def test_a_number_of_classes_that_a_module_remembers_is_corrected():
    module = source("squeezenet").module
    model = replace(source("squeezenet"), module=module)
    assert with_new_head(model, 3, seed=0).num_classes == 3
    assert module.num_classes == 7
