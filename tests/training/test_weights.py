"""Tensors taken out of a network and put back."""

from __future__ import annotations

import pytest
import torch

from small_training import net, same, state
from tlaudit.errors import CheckpointError
from tlaudit.training.weights import put_back, snapshot, tensors_of


def test_what_was_taken_out_is_put_back():
    network = net().to(memory_format=torch.channels_last)
    network.register_buffer("calls", torch.ones(()), persistent=False)
    before, kept = state(network), snapshot(network)
    strides = {name: tensor.stride() for name, tensor in tensors_of(network).items()}
    for tensor in tensors_of(network).values():
        tensor.zero_()
    assert kept["calls"] == 1
    put_back(network, {name: tensor.contiguous() for name, tensor in kept.items()})
    assert same(state(network), before)
    assert network.calls == 1
    assert {name: tensor.stride() for name, tensor in tensors_of(network).items()} == strides


def test_refuses_what_does_not_fit():
    network, kept = net(), snapshot(net(seed=1))
    before = state(network)
    for wrong in (
        {name: tensor for name, tensor in kept.items() if name != "fc.bias"},
        {**kept, "fc.bias": torch.zeros(5)},
    ):
        with pytest.raises(CheckpointError, match=r"other shape are fc\.bias"):
            put_back(network, wrong)
    assert same(state(network), before)
