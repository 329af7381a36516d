"""Which architecture a state dict is, over every classifier torchvision has."""

import time

import pytest
import torch
from torch import nn

from tlaudit.errors import ArchitectureError
from tlaudit.models import detection
from tlaudit.models.blueprint import torchvision_blueprint
from tlaudit.models.detection import detect, exact_fits
from tlaudit.models.families import architecture_names, family_of
from tlaudit.models.unwrap import Reading


def state_of(name, num_classes=3):
    return torchvision_blueprint(name, {}).build(num_classes).state_dict()


@pytest.mark.parametrize("name", architecture_names())
def test_detects_every_architecture(name):
    found = detect([Reading(state_of(name), ())], "f")
    assert (found.blueprint.name, found.num_classes, found.head) == (name, 3, family_of(name).heads[0])


def test_takes_the_reading_that_fits():
    state = {key.replace("fc", "net.fc"): tensor for key, tensor in state_of("resnet18").items()}
    assert detect([Reading(state, ()), Reading(state_of("resnet18"), ())], "f").blueprint.name == "resnet18"


def test_is_quick_for_common_networks():
    torchvision_blueprint("alexnet", {})  # imports and first calls are not what is timed
    for name in ("resnet18", "squeezenet1_1"):
        readings = [Reading(state_of(name), ())]
        began = time.process_time()
        exact_fits(readings)
        assert time.process_time() - began < 1.0  # 0.2 s on a quiet machine


def test_auxiliary_heads_are_ignored_and_named():
    state = state_of("googlenet")
    extra = {"aux1.fc2.weight": torch.zeros(1000, 1024), "aux2.conv.bn.bias": torch.zeros(128)}
    found = detect([Reading({**state, **extra}, ("epoch",))], "f")
    assert found.ignored == ("epoch", *extra)
    assert found.matched == len(state)


def test_older_keys_are_renamed():
    state = {}
    for key, tensor in state_of("densenet121").items():
        for name in ("norm1", "norm2", "conv1", "conv2"):
            key = key.replace(f".{name}.", f".{name[:-1]}.{name[-1]}.") if "denselayer" in key else key
        state[key] = tensor
    assert any(".norm.1.weight" in key for key in state)
    found = detect([Reading(state, ())], "f")
    assert (found.blueprint.name, found.renamed) == ("densenet121", 58 * 12)

    old = {
        k.replace(".mlp.0.", ".mlp.linear_1.").replace(".mlp.3.", ".mlp.linear_2."): t
        for k, t in state_of("vit_b_32").items()
    }
    found = detect([Reading(old, ())], "f")
    assert (found.blueprint.name, found.renamed) == ("vit_b_32", 12 * 4)


def test_missing_counters_are_harmless_and_counted():
    state = {key: tensor for key, tensor in state_of("resnet18").items() if "num_batches_tracked" not in key}
    found = detect([Reading(state, ())], "f")
    assert found.is_exact
    assert len(found.counters) == 20


def test_vit_of_another_image_size():
    state = torchvision_blueprint("vit_b_32", {}).build(3).state_dict()
    state["encoder.pos_embedding"] = torch.zeros(1, 1 + 3 * 3, 768)
    assert detect([Reading(state, ())], "f").blueprint.name == "vit_b_32"


def grow(name, path, head):
    module = torchvision_blueprint(name, {}).build(3)
    module.set_submodule(path, head)
    return module.state_dict()


@pytest.mark.parametrize(
    ("name", "path", "head", "expected"),
    [
        ("resnet18", "fc", nn.Sequential(nn.Dropout(), nn.Linear(512, 4)), "fc"),
        ("resnet18", "fc", nn.Sequential(nn.Linear(512, 64), nn.ReLU(), nn.Dropout(), nn.Linear(64, 4)), "fc"),
        ("densenet121", "classifier", nn.Sequential(nn.Linear(1024, 64), nn.ReLU(), nn.Linear(64, 4)), "classifier"),
        ("vgg11", "classifier.6", nn.Sequential(nn.Linear(4096, 64), nn.ReLU(), nn.Linear(64, 4)), "classifier.6"),
        ("vgg11", "classifier", nn.Sequential(nn.Linear(25088, 64), nn.ReLU(), nn.Linear(64, 4)), "classifier"),
        ("efficientnet_b0", "classifier", nn.Linear(1280, 4), "classifier"),
        ("mobilenet_v3_small", "classifier", nn.Sequential(nn.Dropout(), nn.Linear(576, 4)), "classifier"),
        ("vit_b_32", "heads", nn.Sequential(nn.LayerNorm(768), nn.Linear(768, 4)), "heads"),
        ("swin_t", "head", nn.Sequential(nn.Dropout(), nn.Linear(768, 4)), "head"),
        ("squeezenet1_1", "classifier.1", nn.Sequential(nn.Dropout(), nn.Conv2d(512, 4, 1)), "classifier.1"),
    ],
)
def test_recognises_a_head_that_grew(name, path, head, expected):
    found = detect([Reading(grow(name, path, head), ())], "f")
    assert (found.blueprint.name, found.head, found.num_classes) == (name, expected, 4)
    assert found.plan is not None


def test_a_head_that_cannot_be_rebuilt_asks_for_the_architecture():
    head = nn.Sequential(nn.Linear(512, 8), nn.PReLU(), nn.Linear(8, 4))
    with pytest.raises(ArchitectureError, match=r"resnet18: 120 tensors match, the head does not fit: fc\.1") as e:
        detect([Reading(grow("resnet18", "fc", head), ())], "f")
    assert "Give --arch" in str(e.value)


def test_names_the_nearest_and_what_differs():
    state = state_of("resnet18")
    state["conv1.weight"] = torch.zeros(64, 1, 7, 7)
    state["extra.weight"] = state.pop("layer4.1.bn2.weight")
    with pytest.raises(ArchitectureError) as caught:
        detect([Reading(state, ())], "net.pth")
    nearest, *others = str(caught.value).split("; ")
    assert nearest == (
        "net.pth: none of torchvision's classifiers fits its 122 tensors. Nearest: "
        "resnet18: 120 tensors match, 1 missing (layer4.1.bn2.weight), 1 unexpected (extra.weight), "
        "1 of another shape (conv1.weight: (64, 1, 7, 7) in the file, (64, 3, 7, 7) in resnet18)"
    )
    assert len(others) == 2
    assert "\n" not in str(caught.value)


def test_says_when_nothing_is_near():
    with pytest.raises(ArchitectureError, match="none has any of them"):
        detect([Reading({"x": torch.zeros(2, 2)}, ())], "f")


def test_refuses_to_choose(monkeypatch):
    fits = exact_fits([Reading(state_of("squeezenet1_1"), ())])
    monkeypatch.setattr(detection, "exact_fits", lambda readings: fits * 2)
    with pytest.raises(ArchitectureError, match="fits squeezenet1_1, squeezenet1_1 equally well.*--arch"):
        detect([Reading(state_of("squeezenet1_1"), ())], "f")
