"""Classification heads: which one contains the other, and heads that grew when a network was finetuned.

A checkpoint stores no modules without weights. A head that was replaced by an `nn.Sequential` shows the numbers of its
linear and normalising layers only; what stood between them has to be inferred, and where it cannot be, is asked for.
"""

from __future__ import annotations

import copy
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from torch import nn

from tlaudit.errors import ArchitectureError, MismatchError, UsageError
from tlaudit.models.wording import listed, nearest, shown

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from tlaudit.models.construction import Shape

_NORM_STATISTICS = {"running_mean", "running_var"}
_COUNTER = "num_batches_tracked"

Kind = Literal["linear", "convolution", "batch norm", "layer norm"]


@dataclass(frozen=True)
class Layer:
    """A layer with weights, as its tensors show it.

    Attributes:
        index: Number in the `nn.Sequential`, None where the layer is the whole head.
        kind: What it is.
        width_in: Features it takes.
        width_out: Features it gives.
        has_bias: Whether it adds one.
    """

    index: int | None
    kind: Kind
    width_in: int
    width_out: int
    has_bias: bool

    @property
    def mixes(self) -> bool:
        """Whether features are combined, as opposed to normalised one by one."""
        return self.kind in {"linear", "convolution"}


@dataclass(frozen=True)
class HeadPlan:
    """How a head that is not the architecture's own is built again.

    Attributes:
        path: Module path it stands at.
        layers: With weights, in order.
    """

    path: str
    layers: tuple[Layer, ...]

    @property
    def num_classes(self) -> int:
        """Outputs of the last layer."""
        return self.layers[-1].width_out

    @property
    def activations(self) -> tuple[int, ...]:
        """Numbers of the gaps that take an activation: the first one after a linear layer that another one follows."""
        found = []
        for first, second in zip(self._mixing, self._mixing[1:], strict=False):
            gaps = set(range(first + 1, second)) - {layer.index for layer in self.layers}
            found.extend(sorted(gaps)[:1])
        return tuple(found)

    @property
    def _mixing(self) -> list[int]:
        return [layer.index for layer in self.layers if layer.mixes and layer.index is not None]


def plan_head(path: str, shapes: Mapping[str, Shape], standard: Shape) -> HeadPlan:
    """Work out what a head is from the tensors under it.

    Args:
        path: Module path of the head.
        shapes: Its tensors, keys relative to `path`.
        standard: Weight shape of the first layer that stands there in the architecture, ``(out, in)`` or
            ``(out, in, 1, 1)``.

    Returns:
        The plan.

    Raises:
        ArchitectureError: If the tensors are no chain of linear (or 1x1 convolution) and normalising layers that
            begins with as many features as the backbone gives.
    """
    groups: dict[str, dict[str, Shape]] = {}
    for key, shape in shapes.items():
        component, _, name = key.rpartition(".")
        groups.setdefault(component, {})[name] = shape
    if not groups:
        raise ArchitectureError(f"there is nothing under {path}")
    if list(groups) != [""] and not all(_is_number(component) for component in groups):
        raise ArchitectureError(f"{path} is no nn.Sequential of layers: it has {listed(sorted(groups))}")
    layers = [_layer(path, component, tensors, len(standard)) for component, tensors in groups.items()]
    layers.sort(key=lambda layer: layer.index or 0)
    _refuse_broken_chain(path, layers, standard[1])
    return HeadPlan(path, tuple(layers))


def _is_number(component: str) -> bool:
    # A limit, because a Sequential is built with as many places as the largest number says.
    return component.isascii() and component.isdecimal() and len(component) <= 3 and component == str(int(component))


def _layer(path: str, component: str, tensors: Mapping[str, Shape], dims: int) -> Layer:
    index = int(component) if component else None
    weight, bias = tensors.get("weight", ()), tensors.get("bias")
    names = set(tensors) - {_COUNTER}
    mixing: Kind = "linear" if dims == 2 else "convolution"
    if names <= {"weight", "bias"} and len(weight) == dims and set(weight[2:]) <= {1} and bias in {None, weight[:1]}:
        return Layer(index, mixing, weight[1], weight[0], bias is not None)
    if dims == 2 and len(weight) == 1 and bias == weight and set(tensors.values()) <= {weight, ()}:
        if names == {"weight", "bias"}:
            return Layer(index, "layer norm", weight[0], weight[0], has_bias=True)
        if names == {"weight", "bias", *_NORM_STATISTICS}:
            return Layer(index, "batch norm", weight[0], weight[0], has_bias=True)
    where = f"{path}.{component}" if component else path
    raise ArchitectureError(f"{shown(where)} is no layer that is known here: it holds {shown(str(dict(tensors)))}")


def _refuse_broken_chain(path: str, layers: Sequence[Layer], features: int) -> None:
    width = features
    for layer in layers:
        if layer.width_in != width:
            where = path if layer.index is None else f"{path}.{layer.index}"
            raise ArchitectureError(f"{where} takes {layer.width_in} features where there are {width}")
        width = layer.width_out
    if not layers[-1].mixes:
        raise ArchitectureError(f"the last layer of {path} is a {layers[-1].kind}, expected a linear one")


def build_head(plan: HeadPlan, standard: nn.Module) -> tuple[nn.Module, str]:
    """Build the head of a plan.

    Args:
        plan: From `plan_head`.
        standard: What stands there in the architecture. If it is an `nn.Sequential` with weights at the same
            numbers, its modules without weights are taken over.

    Returns:
        The head with arbitrary weights, and a note on what had to be assumed.
    """
    if plan.layers[0].index is None:
        return _build_layer(plan.layers[0]), f"the head {plan.path} is a single layer in the place of a container"
    layers = {layer.index: _build_layer(layer) for layer in plan.layers if layer.index is not None}
    if isinstance(standard, nn.Sequential) and set(layers) == _numbers_with_weights(standard):
        rest: dict[int, nn.Module] = {
            number: copy.deepcopy(module) for number, module in enumerate(standard) if number not in layers
        }
        assumed = "the modules between its layers were taken from the architecture's own head"
    else:
        rest = {number: nn.ReLU() for number in plan.activations}
        assumed = _assumption(plan.activations)
    known = {**rest, **layers}
    size = 1 + max(known)
    head = nn.Sequential(*(known.get(number, nn.Identity()) for number in range(size)))
    kinds = ", ".join(f"{layer.index}: {layer.kind} {layer.width_in}→{layer.width_out}" for layer in plan.layers)
    return head, f"the head {plan.path} grew ({kinds}); {assumed}"


def _assumption(activations: Sequence[int]) -> str:
    if not activations:
        return "modules without weights are not stored in the file, those in it were taken as dropout"
    places = ", ".join(str(number) for number in activations)
    return (
        f"activations are not stored in the file: ReLU was assumed at {places} and nothing else that acts; "
        "give --arch file.py:factory if it is another one"
    )


def _build_layer(layer: Layer) -> nn.Module:
    match layer.kind:
        case "linear":
            return nn.Linear(layer.width_in, layer.width_out, bias=layer.has_bias)
        case "convolution":
            return nn.Conv2d(layer.width_in, layer.width_out, 1, bias=layer.has_bias)
        case "batch norm":
            return nn.BatchNorm1d(layer.width_in)
        case "layer norm":
            return nn.LayerNorm(layer.width_in)


def _numbers_with_weights(container: nn.Sequential) -> set[int]:
    return {number for number, module in enumerate(container) if any(True for _ in module.parameters())}


def within(key: str, path: str) -> bool:
    """Say whether a key or module path is `path` itself or lies under it."""
    return f"{key}.".startswith(f"{path}.")


def refuse_wrong_head(module: nn.Module, head: str, contained: Iterable[str], architecture: str) -> None:
    """Make sure that a head named by the user is there and leaves nothing of the classification out.

    Args:
        module: The network.
        head: What the user named.
        contained: Module paths that must lie in it.
        architecture: Name of the architecture, for messages.

    Raises:
        UsageError: If not; the nearest module paths are given.
    """
    names = [name for name, child in module.named_modules() if name and any(True for _ in child.parameters())]
    if head not in names:
        raise UsageError(
            f"--head {shown(head)}: {shown(architecture)} has no such module with weights; nearest: "
            f"{nearest(head, names)}"
        )
    outside = [path for path in contained if not within(path, head)]
    if outside:
        raise UsageError(f"--head {shown(head)} leaves out {listed(outside)}, which decides on the classes")


def widest(heads: Iterable[str]) -> str:
    """Give the head that contains all the others.

    Raises:
        MismatchError: If none does.
    """
    heads = list(heads)
    outer = min(heads, key=len)
    if not all(within(head, outer) for head in heads):
        raise MismatchError(
            f"the heads {', '.join(sorted(set(heads)))} are at different places, so that the backbones differ; "
            "give --head if one module holds them all"
        )
    return outer
