"""What has to be known of an architecture before its weights are there."""

from __future__ import annotations

import functools
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

from torchvision import models

from tlaudit.models.construction import outline, shapes_of
from tlaudit.models.families import Family, family_of

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from torch import nn

    from tlaudit.models.construction import Shape

# Templates are built for so many classes: a prime that is no width of any layer, so that dimensions which follow the
# number of classes can be told from all others.
TEMPLATE_CLASSES = 997


@dataclass(frozen=True, eq=False)
class Blueprint:
    """An architecture that a checkpoint can be held against.

    Attributes:
        name: As ``--arch`` takes it.
        heads: Module paths where the head may be, narrowest first.
        template: Shape of every tensor, for `TEMPLATE_CLASSES` classes.
        build: Makes the network for a number of classes.
        builds_outline: Whether what `build` makes has no memory for its parameters yet.
        family: Its row, for torchvision's.
        notes: What a checkpoint of it cannot tell.
    """

    name: str
    heads: tuple[str, ...]
    template: Mapping[str, Shape]
    build: Callable[[int], nn.Module]
    builds_outline: bool = False
    family: Family | None = None
    notes: tuple[str, ...] = ()

    def renamed(self, key: str) -> str:
        """Give the key of today for a key of an older official file."""
        for pattern, replacement in self.family.renames if self.family else ():
            key = re.sub(pattern, replacement, key)
        return key

    def is_auxiliary(self, key: str) -> bool:
        """Say whether a tensor belongs to a head that is used in training only."""
        return self.family is not None and key.startswith(self.family.auxiliary or ("\0",))


def torchvision_blueprint(
    name: str, shapes: Mapping[str, Shape], *, like: nn.Module | None = None, pretrained: bool = False
) -> Blueprint:
    """Give the blueprint of one of torchvision's classifiers.

    Args:
        name: Torchvision's name.
        shapes: Of the tensors in the checkpoint; some factories' arguments follow from them.
        like: A network of the same architecture, from which is taken what no checkpoint stores.
        pretrained: Whether the weights are torchvision's own.
    """
    family = family_of(name)
    options = dict(family.options)
    if family.sized is not None:
        options |= family.sized(shapes, _template(name, tuple(options.items())))
    reason = "torchvision's default without its own weights was taken"
    if pretrained:
        options, reason = {**options, **family.pretrained_options}, "set as torchvision's own weights need it"
    elif like is not None:
        inherited = {key: getattr(like, key) for key in family.unstored if hasattr(like, key)}
        options, reason = {**options, **inherited}, "taken from the source network"
    unstored = ", ".join(f"{key}={options.get(key, False)}" for key in family.unstored)
    note = family.note.format(value=f"{unstored}, {reason}") if family.note else None
    return Blueprint(
        name=name,
        heads=family.heads,
        template=_template(name, tuple(sorted(options.items()))),
        build=lambda num_classes: _outline(name, num_classes, options),
        builds_outline=True,
        family=family,
        notes=(note,) if note else (),
    )


@functools.cache
def _template(name: str, options: tuple[tuple[str, object], ...]) -> Mapping[str, Shape]:
    return shapes_of(_outline(name, TEMPLATE_CLASSES, dict(options)))


def _outline(name: str, num_classes: int, options: Mapping[str, object]) -> nn.Module:
    return outline(lambda: models.get_model(name, weights=None, num_classes=num_classes, **options))
