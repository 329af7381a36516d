"""Channels: how active each output of a layer with weights is, and what has to be zero for it to fall silent."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

from tlaudit.models.runtime import class_scores
from tlaudit.models.taps import entered, tapped

if TYPE_CHECKING:
    from collections.abc import Sequence


def channel_layers(module: nn.Module, stages: Sequence[str]) -> tuple[str, ...]:
    """Find the linear layers and convolutions in some stages.

    Args:
        module: The network.
        stages: Module paths.

    Returns:
        Module paths, in the network's order.
    """
    inside = {id(child) for stage in stages for child in module.get_submodule(stage).modules()}
    return tuple(
        path
        for path, child in module.named_modules()
        if id(child) in inside and isinstance(child, nn.Linear | nn.Conv2d)
    )


@dataclasses.dataclass(frozen=True)
class Channels:
    """A layer, and the batch norm that takes what it gives.

    Attributes:
        layer: Module path of a linear layer or convolution.
        norm: Module path of the batch norm that directly follows it, or None.
    """

    layer: str
    norm: str | None

    def parameters(self, module: nn.Module) -> list[str]:
        """Name the parameters, a row a channel, in which a channel has to be zero so that nothing is left of it."""
        paths = [self.layer] + ([self.norm] if self.norm is not None else [])
        return [f"{path}.{name}" for path in paths for name, _ in module.get_submodule(path).named_parameters()]


class ChannelWatch:
    """Asks a network about images, and takes down how active the channels of its layers are.

    A batch norm follows a layer directly if what it takes is the very tensor that the layer gave; activations are then
    measured behind it.
    """

    def __init__(self, module: nn.Module, layers: Sequence[str]) -> None:
        """Prepare; nothing is measured yet.

        Args:
            module: The network, in eval mode on its device.
            layers: Module paths from `channel_layers`.
        """
        self._module, self._layers = module, tuple(layers)
        self._norms = tuple(path for path, child in module.named_modules() if isinstance(child, _BatchNorm))
        self._begin()
        self._odd: set[str] = set()
        self._followed: dict[str, str] = {}

    def _begin(self) -> None:
        self._given: dict[str, Tensor] = {}
        self._runs = dict.fromkeys(self._layers, 0)
        self._found: dict[str, Tensor] = {}

    def look(self, pixels: Tensor) -> dict[str, Tensor]:
        """Run a batch.

        Args:
            pixels: Normalised images, ``(N, 3, H, W)`` on the network's device.

        Returns:
            For each layer that runs once in a forward pass, and gives rows for images, the mean of every channel over
            positions, ``(N, C)`` float32.
        """
        self._begin()
        try:
            with (
                tapped(self._module, self._layers, self._see_layer),
                entered(self._module, self._norms, self._see_entrance),
                tapped(self._module, self._norms, self._see_norm),
            ):
                class_scores(self._module, pixels)
        finally:
            self._given = {}
        self._odd |= {path for path in self._layers if self._runs[path] != 1}
        self._odd |= {path for path, rows in self._found.items() if len(rows) != len(pixels)}
        return {path: rows for path, rows in self._found.items() if path not in self._odd}

    def watched(self) -> tuple[Channels, ...]:
        """Give the layers whose activations are known and whose channels can be zeroed, in the network's order."""
        found = [Channels(path, self._followed.get(path)) for path in self._layers if path not in self._odd]
        return tuple(channels for channels in found if self._affine(channels.norm))

    def _affine(self, norm: str | None) -> bool:
        """Whether a batch norm has weights that can be zero, without which a silent channel would not stay silent."""
        return norm is None or any(True for _ in self._module.get_submodule(norm).parameters())

    def _see_layer(self, path: str, output: object) -> None:
        self._runs[path] += 1
        if isinstance(output, Tensor) and output.ndim > 1:
            self._given[path] = output
            self._found[path] = self._means(path, output)

    def _see_entrance(self, path: str, taken: object) -> None:
        for layer, output in self._given.items():
            if taken is output:
                self._followed[layer] = path

    def _see_norm(self, path: str, output: object) -> None:
        for layer in self._given:
            if self._followed.get(layer) == path and isinstance(output, Tensor):
                self._found[layer] = self._means(layer, output)

    def _means(self, layer: str, output: Tensor) -> Tensor:
        """Means over positions: a convolution's channels are second, a linear layer's last."""
        values = output.detach().float()
        if isinstance(self._module.get_submodule(layer), nn.Conv2d):
            return values.flatten(2).mean(dim=2)
        return values.reshape(len(values), -1, values.shape[-1]).mean(dim=1)


def silence(module: nn.Module, silent: dict[str, Tensor]) -> None:
    """Set the channels of parameters to zero, in place.

    Args:
        module: The network.
        silent: For the name of a parameter, which of its rows, ``(C,)`` bool.
    """
    with torch.no_grad():
        for name, rows in silent.items():
            parameter = module.get_parameter(name)
            parameter[rows.to(parameter.device)] = 0
