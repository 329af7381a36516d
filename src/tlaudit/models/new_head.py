"""A network for another task: the same backbone under a head with another number of outputs."""

from __future__ import annotations

import copy
from typing import TYPE_CHECKING

import torch
from torch import nn

from tlaudit.errors import UsageError
from tlaudit.models.construction import undisturbed
from tlaudit.models.heads import within

if TYPE_CHECKING:
    from tlaudit.models.sources import Model

_PARAMETERS = {"weight", "bias"}
_COUNT = "num_classes"


def with_new_head(model: Model, classes: int, seed: int) -> nn.Module:
    """Give a copy of a network whose head tells so many classes apart, and knows none of them yet.

    The last layer of the head that mixes features is replaced by one of the same kind, drawn as that kind of layer
    begins (its ``reset_parameters``); all else, layers of the head before it included, is the source's.

    Args:
        model: The network; left as it is.
        classes: Outputs of the new head, at least 1.
        seed: Of the new weights, at least 0.

    Returns:
        The network: eval mode, on the CPU, no gradients. Its state fits the same architecture built for that number of
        classes.

    Raises:
        UsageError: If the head does not end in a linear layer, or 1x1 convolution, with an output for each class.
    """
    path = last_layer(model.module, model.head, model.num_classes)
    network = copy.deepcopy(model.module).to("cpu")
    layer = network.get_submodule(path)
    with undisturbed():
        torch.default_generator.manual_seed(seed)
        _resize(layer, classes)
    for name, module in network.named_modules():
        if within(path, name) or not name:
            _count_again(module, model.num_classes, classes)
    return network.eval().requires_grad_(requires_grad=False)


def last_layer(module: nn.Module, head: str, outputs: int) -> str:
    """Find the layer that gives the logits.

    Args:
        module: The network.
        head: Module path of its head.
        outputs: How many logits it gives.

    Returns:
        Module path of the last linear layer or 1x1 convolution in the head.

    Raises:
        UsageError: If there is none, or it is not one weight matrix and a bias that give so many outputs.
    """
    inside = module.get_submodule(head).named_modules(prefix=head)
    layers: list[tuple[str, nn.Module]] = [(path, layer) for path, layer in inside if _mixes(layer)]
    if not layers:
        raise UsageError(
            f"the head {head} ends in no linear layer or 1x1 convolution that could be replaced: give another --head"
        )
    path, layer = layers[-1]
    names = {name for name, _ in layer.named_parameters()} | {name for name, _ in layer.named_buffers()}
    if not names <= _PARAMETERS or len(layer.get_parameter("weight")) != outputs:
        raise UsageError(
            f"{path} cannot be replaced by a layer for other classes: expected one weight, and maybe a bias, for each "
            f"of {outputs} outputs, got { ({name: tuple(value.shape) for name, value in layer.state_dict().items()}) }"
        )
    return path


def _mixes(layer: nn.Module) -> bool:
    """Whether it makes each output of all inputs, the same way at every position."""
    if isinstance(layer, nn.Conv2d):
        return set(layer.kernel_size) == {1} and layer.groups == 1
    return isinstance(layer, nn.Linear)


def _resize(layer: nn.Module, classes: int) -> None:
    """Give the layer, in its place and with its other options, new weights for so many outputs."""
    for name, old in list(layer.named_parameters()):
        setattr(layer, name, nn.Parameter(old.detach().new_empty((classes, *old.shape[1:])), requires_grad=False))
    for count in ("out_features", "out_channels"):
        if hasattr(layer, count):
            setattr(layer, count, classes)
    layer.reset_parameters()  # type: ignore[operator] # linear layers and convolutions have it


def _count_again(module: nn.Module, before: int, classes: int) -> None:
    """Correct the number of classes that a module remembers; some of torchvision's and timm's do."""
    if module.__dict__.get(_COUNT) == before:
        setattr(module, _COUNT, classes)
