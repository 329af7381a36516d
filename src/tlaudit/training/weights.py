"""All tensors of a network: taken out, and put back where they were."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch

from tlaudit.errors import CheckpointError
from tlaudit.models.wording import listed

if TYPE_CHECKING:
    from collections.abc import Mapping

    from torch import Tensor, nn


def tensors_of(network: nn.Module) -> dict[str, Tensor]:
    """Give parameters and buffers by name, also buffers that a state dict leaves out; they share memory with it."""
    return {
        **{name: parameter.detach() for name, parameter in network.named_parameters()},
        **dict(network.named_buffers()),
    }


def snapshot(network: nn.Module) -> dict[str, Tensor]:
    """Give copies of parameters and buffers, on the CPU."""
    return {name: tensor.to("cpu", copy=True) for name, tensor in tensors_of(network).items()}


def put_back(network: nn.Module, tensors: Mapping[str, Tensor]) -> None:
    """Write tensors into a network that has the same ones.

    Args:
        network: Its parameters and buffers are overwritten in place.
        tensors: By name, as of `tensors_of`, on any device.

    Raises:
        CheckpointError: If names or shapes differ; nothing is written then.
    """
    places = tensors_of(network)
    strange = sorted(places.keys() ^ tensors.keys())
    strange += [key for key in places.keys() & tensors.keys() if places[key].shape != tensors[key].shape]
    if strange:
        raise CheckpointError(
            f"expected the tensors of this network, but missing, additional or of other shape are {listed(strange)}"
        )
    with torch.no_grad():
        for name, place in places.items():
            place.copy_(tensors[name])
