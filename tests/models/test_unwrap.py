"""Containers opened and prefixes taken off, and everything else said."""

import pytest
import torch
from torch import nn

from tlaudit.errors import CheckpointError, UsageError
from tlaudit.models import unwrap as unwrapping
from tlaudit.models.unwrap import AVERAGED, CONTAINERS, unwrap

W = torch.ones(2, 3)
STATE = {"conv.weight": W, "fc.weight": 2 * W}
AVERAGE = {"conv.weight": 3 * W, "fc.weight": 4 * W}


def keys(content, **options):
    return set(unwrap(content, "f", **options).readings[0].state)


@pytest.mark.parametrize("name", CONTAINERS)
def test_opens_containers(name):
    found = unwrap({"epoch": 3, name: STATE, "optimizer": {"state": {0: {"exp_avg": W}}, "param_groups": []}}, "f")
    assert set(found.readings[0].state) == set(STATE)
    assert found.notes == ()


def test_opens_nested_containers():
    assert keys({"model": {"state_dict": STATE}, "optimizer": {}}) == set(STATE)


def test_a_name_under_a_container_key_is_no_container():
    assert keys({"model": "resnet18", "state_dict": STATE}) == set(STATE)


def test_says_which_weights_were_left():
    found = unwrap({"state_dict": STATE, "net": AVERAGE}, "f")
    assert torch.equal(found.readings[0].state["conv.weight"], W)
    assert found.notes == ("the file also holds weights under 'net', which are not used; those under 'state_dict' are",)


@pytest.mark.parametrize("name", AVERAGED)
def test_takes_averaged_weights_when_asked(name):
    content = {"state_dict": STATE, name: AVERAGE}
    plain, averaged = unwrap(content, "f"), unwrap(content, "f", use_ema=True)
    assert torch.equal(plain.readings[0].state["conv.weight"], W)
    assert "averaged (EMA)" in plain.notes[0]
    assert "--use-ema" in plain.notes[0]
    assert torch.equal(averaged.readings[0].state["conv.weight"], 3 * W)
    assert "under 'state_dict', which are not used" in averaged.notes[0]


def test_takes_averaged_weights_when_there_are_no_others():
    found = unwrap({"model_ema": AVERAGE}, "f")
    assert torch.equal(found.readings[0].state["conv.weight"], 3 * W)
    assert "only averaged (EMA) weights" in found.notes[0]


def test_averaged_weights_that_are_not_there():
    with pytest.raises(UsageError, match="no averaged weights"):
        unwrap({"state_dict": STATE}, "f", use_ema=True)


@pytest.mark.parametrize(
    "prefix", ["module.", "_orig_mod.", "model.", "net.", "module.model.", "model._orig_mod.", "_orig_mod.module.", ""]
)
def test_takes_prefixes_off(prefix):
    assert keys({f"{prefix}{key}": tensor for key, tensor in STATE.items()}) == set(STATE)


@pytest.mark.parametrize("wrapper", ["_orig_mod", "_fsdp_wrapped_module", "_checkpoint_wrapped_module"])
def test_takes_wrappers_out_of_the_middle(wrapper):
    assert keys({f"layer.{wrapper}.0.weight": W, "fc.weight": W}) == {"layer.0.weight", "fc.weight"}


def test_a_module_prefix_must_be_on_all_keys():
    assert keys({"module.weight": W, "fc.weight": W}) == {"module.weight", "fc.weight"}


def test_averaged_model_counter_is_ignored_and_named():
    found = unwrap({"n_averaged": torch.tensor(5), "module.fc.weight": W}, "f").readings[0]
    assert set(found.state) == {"fc.weight"}
    assert found.ignored == ("n_averaged",)


def test_lightning_leftovers_are_ignored_and_named():
    content = {"state_dict": {"model.fc.weight": W, "criterion.weight": W, "accuracy.confmat": W}, "callbacks": {}}
    found = unwrap(content, "f").readings[0]
    assert set(found.state) == {"fc.weight"}
    assert found.ignored == ("criterion.weight", "accuracy.confmat")


def test_keeps_readings_with_the_prefixes_on():
    readings = unwrap({"module.model.fc.weight": W, "module.extra.weight": W}, "f").readings
    assert [sorted(reading.state) for reading in readings] == [
        ["fc.weight"],
        ["extra.weight", "model.fc.weight"],
        ["module.extra.weight", "module.model.fc.weight"],
    ]
    assert [reading.ignored for reading in readings] == [("extra.weight",), (), ()]


def test_other_entries_of_a_state_are_named():
    assert unwrap({"fc.weight": W, "epoch": 3}, "f").readings[0].ignored == ("epoch",)


def test_refuses_two_tensors_for_one_key():
    with pytest.raises(CheckpointError, match=r"two tensors claim the key fc\.weight"):
        unwrap({"_orig_mod.fc.weight": W, "fc.weight": W}, "f")
    with pytest.raises(CheckpointError, match=r"model\.fc\.weight and fc\.weight differ"):
        unwrap({"model.fc.weight": W, "fc.weight": 2 * W}, "f")


def test_the_same_tensor_twice_is_no_contradiction():
    found = unwrap({"model.fc.weight": W, "fc.weight": W.clone()}, "f").readings[0]
    assert set(found.state) == {"fc.weight"}


@pytest.mark.parametrize(
    ("content", "words"),
    [
        ([1, 2], "got list"),
        (W, "got Tensor"),
        ({}, "no weights in it"),
        ({"epoch": 1}, "there is epoch"),
        ({"weights": STATE}, "weights looks like a state_dict"),
        ({"fc.weight": W.to_sparse()}, r"fc\.weight is sparse"),
        ({"fc.weight": W.to("meta")}, "without data"),
        ({"fc.weight": W.to(torch.complex64)}, "complex"),
    ],
)
def test_refuses_what_holds_no_ordinary_weights(content, words):
    with pytest.raises(CheckpointError, match=words):
        unwrap(content, "f")


def test_refuses_tensors_of_a_kind_of_their_own():
    class Sharded(torch.Tensor):
        pass

    with pytest.raises(CheckpointError, match=r"fc\.weight is a tensor of a kind of its own \(Sharded\)"):
        unwrap({"fc.weight": W.as_subclass(Sharded)}, "f")


def test_looks_at_a_shared_container_once(monkeypatch):
    looked = []
    items = unwrapping._items
    monkeypatch.setattr(unwrapping, "_items", lambda mapping: looked.append(id(mapping)) or items(mapping))
    shared = {"epoch": 3}
    with pytest.raises(CheckpointError, match="no weights in it"):
        unwrap({str(number): shared for number in range(100)}, "f")
    assert looked.count(id(shared)) == 1


@pytest.mark.filterwarnings("ignore")
def test_refuses_quantized_weights():
    with pytest.raises(CheckpointError, match="quantized"):
        unwrap({"fc.weight": torch.quantize_per_tensor(W, 0.1, 0, torch.qint8)}, "f")


def test_a_whole_module_gives_its_state():
    found = unwrap({"model": nn.Linear(3, 2)}, "f")
    assert set(found.readings[0].state) == {"weight", "bias"}
    assert "class Linear" in found.notes[0]
