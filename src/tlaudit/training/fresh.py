"""A network as it was before it learnt anything: the same architecture, weights drawn anew."""

from __future__ import annotations

import copy
from typing import TYPE_CHECKING

import torch
from torchvision import models

from tlaudit.errors import UsageError
from tlaudit.models.construction import shapes_of
from tlaudit.models.factories import TIMM, import_timm
from tlaudit.models.families import architecture_names, family_of
from tlaudit.models.wording import listed
from tlaudit.training.randomness import seeded

if TYPE_CHECKING:
    from torch import nn

    from tlaudit.models.sources import Model

_RESETS = ("reset_parameters", "_reset_parameters")


def fresh(model: Model, seed: int) -> nn.Module:
    """Give a copy of a model's network with the weights its architecture begins with.

    Torchvision and timm draw them as their authors do. A network of another origin, or with a head that is not the
    architecture's own, is drawn layer by layer, as each layer's ``reset_parameters`` does.

    Args:
        model: Whose architecture is wanted; left as it is.
        seed: Of the weights.

    Returns:
        The network, in eval mode, on the CPU.

    Raises:
        UsageError: If parameters belong to no layer that knows how to begin; they are named.
    """
    network = copy.deepcopy(model.module).to("cpu")
    with seeded(torch.device("cpu"), seed):
        built = _built_again(model)
        if built is not None and shapes_of(built) == shapes_of(network):
            network.load_state_dict(built.state_dict())
        else:
            _reset(network, model.architecture)
    return network.eval()


def _built_again(model: Model) -> nn.Module | None:
    """Build an architecture of a library; None for one that no library knows."""
    name = model.architecture
    if name in architecture_names():
        family = family_of(name)
        shapes = shapes_of(model.module)
        options = dict(family.options) | (family.sized(shapes, shapes) if family.sized else {})
        built: nn.Module = models.get_model(name, weights=None, num_classes=model.num_classes, **options)
        return built
    if name.startswith(TIMM):
        again: nn.Module = import_timm().create_model(
            name.removeprefix(TIMM), pretrained=False, num_classes=model.num_classes
        )
        return again
    return None


def _reset(network: nn.Module, architecture: str) -> None:
    reached: set[int] = set()
    for module in network.modules():
        for name in _RESETS:
            reset = getattr(module, name, None)
            if callable(reset):
                reset()
                reached |= {id(parameter) for parameter in module.parameters(recurse=name.startswith("_"))}
                break
    missed = [name for name, parameter in network.named_parameters() if id(parameter) not in reached]
    if missed:
        raise UsageError(f"{architecture} cannot be begun from scratch: nothing says what {listed(missed)} begin with")
