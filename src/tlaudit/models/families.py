"""The families of torchvision's classifiers: one row each, and the only place that knows one from another.

A new family is a new row. Everything that differs between architectures and that loading has to know is a column.
"""

from __future__ import annotations

import fnmatch
import math
import re
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from torchvision import models

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from tlaudit.models.construction import Shape


_MOST_PATCHES = 1024
"""Along a side of an image: 16 384 pixels of the smallest patches torchvision has."""


def _image_size(shapes: Mapping[str, Shape], standard: Mapping[str, Shape]) -> dict[str, object]:
    """Work out a ViT's image size from its position embedding, one row for each patch and one for the class token."""
    positions, patch = shapes.get("encoder.pos_embedding", ()), shapes.get("conv_proj.weight", ())
    if len(positions) != 3 or patch != standard["conv_proj.weight"]:
        return {}
    side = math.isqrt(max(positions[1] - 1, 0))
    fits = side * side == positions[1] - 1 and 0 < side <= _MOST_PATCHES
    return {"image_size": side * patch[-1]} if fits else {}


@dataclass(frozen=True)
class Family:
    """What the members of a family share.

    Attributes:
        name: Of the family.
        members: Regular expression that matches the names of all members wholly.
        markers: Keys that every member's state has and that few other networks' have; a cheap first sieve.
        heads: Module paths of the classification head: the narrowest first, then a container that is replaced just
            as often when a network is finetuned. A container is listed only if its input is flat, ``(N, D)``, because
            otherwise a replacement must begin with layers that leave no trace in a checkpoint.
        stages: Module paths in order of depth, ``*`` and ``[...]`` standing for characters of one component; of what
            they match, modules without weight matrices are left out.
        attribution: Module path, in the same notation, of the layer whose output class activation maps are made of;
            of several the last. It is the end of the last stage that still has a grid, unless a comment says why not.
        options: Arguments of the factory beside ``num_classes``.
        pretrained_options: The same, where torchvision's own weights need other ones.
        sized: Gives the arguments that follow from the shapes in a checkpoint (first) and in the architecture as
            torchvision builds it (second).
        auxiliary: Prefixes of heads used in training only, never built.
        renames: Regular expression and replacement: keys of older official files to those of today.
        unstored: Attributes that change the forward pass and are in no state dict.
        note: What a checkpoint of this family cannot tell.
    """

    name: str
    members: str
    markers: tuple[str, ...]
    heads: tuple[str, ...]
    stages: tuple[str, ...]
    attribution: str
    options: Mapping[str, object] = field(default_factory=dict)
    pretrained_options: Mapping[str, object] = field(default_factory=dict)
    sized: Callable[[Mapping[str, Shape], Mapping[str, Shape]], dict[str, object]] | None = None
    auxiliary: tuple[str, ...] = ()
    renames: tuple[tuple[str, str], ...] = ()
    unstored: tuple[str, ...] = ()
    note: str | None = None


_CHILDREN_OF_FEATURES = ("features.*",)
_FOUR_LAYERS = ("layer1", "layer2", "layer3", "layer4")
_WITHOUT_AUXILIARY: Mapping[str, object] = {"aux_logits": False, "init_weights": False}
_INPUT_TRANSFORM: Mapping[str, object] = {"aux_logits": False, "init_weights": False, "transform_input": True}
_INPUT_NOTE = (
    "transform_input is not stored in a checkpoint: {value}; if the network was built otherwise, give "
    "--arch file.py:factory"
)

FAMILIES: tuple[Family, ...] = (
    Family(
        name="alexnet",
        members=r"alexnet",
        markers=("features.0.weight", "features.10.weight", "features.3.weight"),
        heads=("classifier.6", "classifier"),
        stages=_CHILDREN_OF_FEATURES,
        attribution="features",
    ),
    Family(
        name="convnext",
        members=r"convnext_\w+",
        markers=("features.1.0.layer_scale", "features.7.0.layer_scale"),
        heads=("classifier.2",),
        stages=("features.[1357]",),
        attribution="features.7",
    ),
    Family(
        name="densenet",
        members=r"densenet\d+",
        markers=("features.conv0.weight", "features.norm5.weight"),
        heads=("classifier",),
        stages=("features.denseblock[1234]",),
        # `denseblock4` ends before its normalisation, which `features` includes; the ReLU after it is no module.
        attribution="features",
        renames=((r"(denselayer\d+\.(?:norm|conv))\.([12])\.", r"\1\2."),),
    ),
    Family(
        name="efficientnet",
        members=r"efficientnet_b\d",
        markers=("features.0.0.weight", "features.1.0.block.1.fc1.weight"),
        heads=("classifier.1", "classifier"),
        stages=_CHILDREN_OF_FEATURES,
        attribution="features",
    ),
    Family(
        name="efficientnet_v2",
        members=r"efficientnet_v2_\w",
        markers=("features.0.0.weight", "features.1.0.block.0.0.weight", "features.4.0.block.2.fc1.weight"),
        heads=("classifier.1", "classifier"),
        stages=_CHILDREN_OF_FEATURES,
        attribution="features",
    ),
    Family(
        name="googlenet",
        members=r"googlenet",
        markers=("inception3a.branch1.conv.weight", "inception5b.branch1.conv.weight"),
        heads=("fc",),
        stages=("conv[123]", "inception*"),
        attribution="inception5b",
        options=_WITHOUT_AUXILIARY,
        pretrained_options=_INPUT_TRANSFORM,
        auxiliary=("aux1.", "aux2."),
        unstored=("transform_input",),
        note=_INPUT_NOTE,
    ),
    Family(
        name="inception",
        members=r"inception_v3",
        markers=("Conv2d_1a_3x3.conv.weight", "Mixed_7c.branch1x1.conv.weight"),
        heads=("fc",),
        stages=("Conv2d_*", "Mixed_*"),
        attribution="Mixed_7c",
        options=_WITHOUT_AUXILIARY,
        pretrained_options=_INPUT_TRANSFORM,
        auxiliary=("AuxLogits.",),
        unstored=("transform_input",),
        note=_INPUT_NOTE,
    ),
    Family(
        name="maxvit",
        members=r"maxvit_\w+",
        markers=("stem.0.0.weight", "blocks.0.layers.0.layers.MBconv.layers.conv_a.0.weight"),
        heads=("classifier.5",),
        stages=("blocks.*",),
        attribution="blocks.*",
        note="the input size is not stored in a checkpoint: built for images of 224 by 224 pixels",
    ),
    Family(
        name="mnasnet",
        members=r"mnasnet\d_\d+",
        markers=("layers.0.weight", "layers.8.0.layers.0.weight", "layers.14.weight"),
        heads=("classifier.1", "classifier"),
        stages=("layers.*",),
        attribution="layers",
    ),
    Family(
        name="mobilenet_v2",
        members=r"mobilenet_v2",
        markers=("features.0.0.weight", "features.1.conv.0.0.weight", "features.18.0.weight"),
        heads=("classifier.1", "classifier"),
        stages=_CHILDREN_OF_FEATURES,
        attribution="features",
    ),
    Family(
        name="mobilenet_v3",
        members=r"mobilenet_v3_\w+",
        markers=("features.0.0.weight", "features.1.block.0.0.weight"),
        heads=("classifier.3", "classifier"),
        stages=_CHILDREN_OF_FEATURES,
        attribution="features",
    ),
    Family(
        name="regnet",
        members=r"regnet_[xy]_\w+",
        markers=("stem.0.weight", "trunk_output.block1.block1-0.f.a.0.weight"),
        heads=("fc",),
        stages=("trunk_output.block[1234]",),
        attribution="trunk_output.block4",
    ),
    Family(
        name="resnet",
        members=r"(wide_)?resnet\d+(_2)?|resnext\d+_\d+x\d+d",
        markers=("conv1.weight", "bn1.weight", "layer1.0.conv1.weight", "layer4.0.conv1.weight"),
        heads=("fc",),
        stages=_FOUR_LAYERS,
        attribution="layer4",
    ),
    Family(
        name="shufflenet",
        members=r"shufflenet_v2_x\d_\d",
        markers=("conv1.0.weight", "stage2.0.branch1.0.weight", "conv5.0.weight"),
        heads=("fc",),
        stages=("stage[234]", "conv5"),
        attribution="conv5",
    ),
    Family(
        name="squeezenet",
        members=r"squeezenet1_\d",
        markers=("features.0.weight", "features.3.squeeze.weight", "features.12.squeeze.weight"),
        heads=("classifier.1",),
        stages=_CHILDREN_OF_FEATURES,
        attribution="features.12",
    ),
    Family(
        name="swin",
        members=r"swin_(v2_)?\w",
        markers=("features.0.0.weight", "features.1.0.attn.qkv.weight", "features.7.0.attn.qkv.weight"),
        heads=("head",),
        stages=("features.[1357]",),
        # Between the last normalisation and the logits are only the mean over the grid and the head.
        attribution="norm",
    ),
    Family(
        name="vgg",
        members=r"vgg\d+(_bn)?",
        markers=("features.0.weight", "features.0.bias"),
        heads=("classifier.6", "classifier"),
        stages=_CHILDREN_OF_FEATURES,
        # Pooling included, as pytorch-grad-cam's documentation has it; so too for alexnet.
        attribution="features",
    ),
    Family(
        name="vit",
        members=r"vit_\w_\d+",
        markers=("class_token", "conv_proj.weight", "encoder.pos_embedding"),
        heads=("heads.head", "heads"),
        stages=("encoder.layers.*",),
        # Logits see the class token alone, so patches still count only at the entrance of the last block.
        attribution="encoder.layers.*.ln_1",
        sized=_image_size,
        renames=((r"\.mlp\.linear_1\.", ".mlp.0."), (r"\.mlp\.linear_2\.", ".mlp.3.")),
    ),
)


def matches(path: str, pattern: str) -> bool:
    """Compare a module path and a pattern component by component, so that a star does not reach across a dot."""
    parts, wanted = path.split("."), pattern.split(".")
    return len(parts) == len(wanted) and all(map(fnmatch.fnmatchcase, parts, wanted))


def architecture_names() -> list[str]:
    """Give the names of all of torchvision's classifiers."""
    return list(models.list_models(module=models))


def family_of(name: str) -> Family:
    """Give the row of an architecture.

    Raises:
        KeyError: If no row, or more than one, claims the name.
    """
    rows = [family for family in FAMILIES if re.fullmatch(family.members, name)]
    if len(rows) != 1:
        raise KeyError(f"{name}: claimed by {[row.name for row in rows] or 'no family'}")
    return rows[0]


def members_of(family: Family) -> list[str]:
    """Give the names of the architectures in a family, as the installed torchvision has them."""
    return [name for name in architecture_names() if re.fullmatch(family.members, name)]
