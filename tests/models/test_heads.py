"""Heads that grew, worked out from keys and shapes."""

import pytest
import torch
from torch import nn

from tlaudit.errors import ArchitectureError, MismatchError, UsageError
from tlaudit.models.heads import build_head, plan_head, refuse_wrong_head, widest, within

STANDARD = (1000, 8)


def shapes(module):
    return {key: tuple(tensor.shape) for key, tensor in module.state_dict().items()}


def rebuilt(module, standard=None):
    """The head built from nothing but the tensors of `module`, with these tensors."""
    head, note = build_head(plan_head("fc", shapes(module), STANDARD), standard or nn.Linear(8, 1000))
    head.load_state_dict(module.state_dict())
    return head.eval(), note


@pytest.mark.parametrize(
    "grown",
    [
        nn.Linear(8, 3, bias=False),
        nn.Sequential(nn.Linear(8, 3)),
        nn.Sequential(nn.Dropout(0.5), nn.Linear(8, 3)),
        nn.Sequential(nn.Linear(8, 5), nn.ReLU(), nn.Dropout(0.5), nn.Linear(5, 3)),
        nn.Sequential(nn.Dropout(), nn.Linear(8, 5, bias=False), nn.BatchNorm1d(5), nn.ReLU(), nn.Linear(5, 3)),
        nn.Sequential(nn.LayerNorm(8), nn.Linear(8, 5), nn.ReLU(), nn.Linear(5, 4), nn.ReLU(), nn.Linear(4, 3)),
        nn.Sequential(nn.Linear(8, 5), nn.Linear(5, 3)),
    ],
)
def test_rebuilt_head_computes_what_the_grown_one_does(grown):
    grown.eval()
    head, _ = rebuilt(grown)
    x = torch.randn(4, 8)
    assert torch.equal(head(x), grown(x))


def test_plan_says_what_was_seen_and_what_was_assumed():
    grown = nn.Sequential(nn.Linear(8, 5), nn.GELU(), nn.Dropout(0.5), nn.Linear(5, 3))
    plan = plan_head("fc", shapes(grown), STANDARD)
    assert (plan.num_classes, plan.activations) == (3, (1,))
    _, note = rebuilt(grown)
    assert "0: linear 8→5, 3: linear 5→3" in note
    assert "ReLU was assumed at 1" in note
    assert "--arch" in note


def test_single_layer_head_needs_no_assumption_about_activations():
    _, note = rebuilt(nn.Sequential(nn.Dropout(), nn.Linear(8, 3)))
    assert "ReLU" not in note


def test_modules_without_weights_come_from_the_standard_head_of_the_same_layout():
    standard = nn.Sequential(nn.Linear(8, 16), nn.Hardswish(), nn.Dropout(), nn.Linear(16, 1000))
    grown = nn.Sequential(nn.Linear(8, 5), nn.Hardswish(), nn.Dropout(), nn.Linear(5, 3)).eval()
    head, note = rebuilt(grown, standard)
    x = torch.randn(4, 8)
    assert torch.equal(head(x), grown(x))
    assert "architecture's own head" in note


def test_convolutional_head():
    grown = nn.Sequential(nn.Dropout(), nn.Conv2d(8, 3, 1)).eval()
    head, _ = build_head(plan_head("classifier.1", shapes(grown), (1000, 8, 1, 1)), nn.Conv2d(8, 1000, 1))
    head.load_state_dict(grown.state_dict())
    x = torch.randn(2, 8, 4, 4)
    assert torch.equal(head(x), grown(x))


@pytest.mark.parametrize(
    ("tensors", "words"),
    [
        ({}, "nothing under fc"),
        ({"hidden.weight": (3, 8)}, "no nn.Sequential of layers: it has hidden"),
        ({"9999.weight": (3, 8)}, "no nn.Sequential"),
        ({"0.weight": (5, 7)}, "takes 7 features where there are 8"),
        ({"0.weight": (5, 8), "2.weight": (3, 4)}, r"fc\.2 takes 4 features where there are 5"),
        ({"0.weight": (5, 8), "1.weight": (1,)}, r"fc\.1 is no layer that is known"),
        ({"0.weight": (5, 8), "0.bias": (4,)}, r"fc\.0 is no layer"),
        ({"0.weight": (5, 8), "1.weight": (5,), "1.bias": (5,)}, "last layer of fc is a layer norm"),
        ({"0.weight": (5, 8, 3, 3)}, "no layer that is known"),
        ({"0.bias": (5,)}, "no layer that is known"),
    ],
)
def test_refuses_what_is_no_chain(tensors, words):
    with pytest.raises(ArchitectureError, match=words):
        plan_head("fc", tensors, STANDARD)


def test_within_goes_by_components():
    assert within("fc.weight", "fc")
    assert within("fc", "fc")
    assert not within("fc2.weight", "fc")


def test_widest():
    assert widest(["classifier.6", "classifier", "classifier.6"]) == "classifier"
    with pytest.raises(MismatchError, match="classifier, fc are at different places"):
        widest(["classifier", "fc"])


def test_refuses_a_head_that_cannot_be_one():
    module = nn.Sequential()
    module.add_module("body", nn.Linear(2, 2))
    module.add_module("dropout", nn.Dropout())
    module.add_module("fc", nn.Sequential(nn.Linear(2, 2), nn.Linear(2, 2)))
    refuse_wrong_head(module, "fc", ("fc.1",), "net")
    with pytest.raises(UsageError, match=r"--head fd: net has no such module with weights; nearest: fc"):
        refuse_wrong_head(module, "fd", ("fc.1",), "net")
    with pytest.raises(UsageError, match="no such module with weights"):
        refuse_wrong_head(module, "dropout", ("fc.1",), "net")
    with pytest.raises(UsageError, match=r"--head body leaves out fc\.1"):
        refuse_wrong_head(module, "body", ("fc.1",), "net")
