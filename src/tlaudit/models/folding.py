"""Batch normalisation folded into the convolutions before it, for passes that are made many times."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING

import torch
from torch import fx, nn
from torch.nn.utils.fusion import fuse_conv_bn_eval

from tlaudit.models.runtime import class_scores, shared_copy

if TYPE_CHECKING:
    from collections.abc import Collection

    from torch import Tensor

_NORMS: dict[type[nn.Module], type[nn.Module]] = {
    nn.Conv1d: nn.BatchNorm1d,
    nn.Conv2d: nn.BatchNorm2d,
    nn.Conv3d: nn.BatchNorm3d,
}
TOLERANCE = 1e-4
"""Largest difference of logits that is rounding, as a share of the largest logit; seen are less than 2e-6 (ours)."""
_HOOKS = ("_forward_hooks", "_forward_pre_hooks", "_backward_hooks", "_backward_pre_hooks")


def folded(module: nn.Module, pixels: Tensor, keep: Collection[str] = ()) -> nn.Module:
    """Give a copy of a network in which convolutions do the work of the batch norms that follow them.

    In eval mode a batch norm scales and shifts each channel by constants, which the convolution before it can do with
    its own weights (Jacob et al. 2018, eq. 14). Nothing but rounding changes. Every module keeps its path: the
    batch norm's becomes an identity, whose output is what it was. A batch norm is left alone unless tracing the network
    (torch.fx) shows that it follows one convolution whose output nothing else reads; where a network cannot be traced,
    or does not give the same logits afterwards, all are.

    Args:
        module: Network in eval mode; it is left as it is, and the copy shares with it what did not change.
        pixels: A few normalised images, ``(N, 3, H, W)`` on its device, on which the copy is compared with it.
        keep: Module paths whose output must stay what it is, so that convolutions among them are left alone.

    Returns:
        The copy, on the same device; the network itself where there is nothing to fold.
    """
    pairs = [(convolution, norm) for convolution, norm in _followed(module) if convolution not in keep]
    if not pairs:
        return module
    copied = shared_copy(module)
    for convolution, norm in pairs:
        original = copied.get_submodule(convolution)
        replaced = fuse_conv_bn_eval(original, copied.get_submodule(norm))  # type: ignore[type-var, arg-type]
        _put(copied, convolution, _as_it_lay(replaced, original))
        _put(copied, norm, nn.Identity())
    return copied if _agree(copied, module, pixels) else module


def _followed(module: nn.Module) -> list[tuple[str, str]]:
    """Find each convolution whose one reader is a batch norm; paths of both."""
    if not any(isinstance(child, tuple(_NORMS.values())) for child in module.modules()):
        return []
    # A copy, because a forward pass may keep things, and must not keep a stand-in for a tensor.
    graph = _traced(shared_copy(module))
    if graph is None:
        return []
    modules = dict(module.named_modules())
    # What runs twice, goes by two names, or whose weights are read by something else cannot be changed for one reader.
    runs = Counter(str(node.target) for node in graph.nodes if node.op == "call_module")
    names = Counter(id(child) for _, child in module.named_modules(remove_duplicate=False))
    read = {str(node.target).rpartition(".")[0] for node in graph.nodes if node.op == "get_attr"}
    found = []
    for node in graph.nodes:
        before = node.args[0] if node.op == "call_module" and node.args else None
        if not isinstance(before, fx.Node) or before.op != "call_module" or len(before.users) != 1:
            continue
        paths = str(before.target), str(node.target)
        pair = modules[paths[0]], modules[paths[1]]
        alone = all(
            runs[path] == 1 and names[id(child)] == 1 and path not in read
            for path, child in zip(paths, pair, strict=True)
        )
        if alone and _foldable(*pair):
            found.append(paths)
    return found


def _traced(module: nn.Module) -> fx.Graph | None:
    """What a network does, step by step; None where that depends on its input or cannot be followed."""
    try:
        return fx.Tracer().trace(module)
    # Tracing runs the network's own code on stand-ins for tensors, and code that expects tensors fails as it likes.
    except Exception:  # noqa: BLE001 - folding saves time; whatever stands in its way, the network runs as it is
        return None


def _foldable(convolution: nn.Module, norm: nn.Module) -> bool:
    """Whether these two are what they look like: no subclass, no hook, and statistics that stand still."""
    if _NORMS.get(type(convolution)) is not type(norm) or norm.training or convolution.training:
        return False
    if any(getattr(child, hooks) for child in (convolution, norm) for hooks in _HOOKS):
        return False
    return "running_mean" in dict(norm.named_buffers())


def _as_it_lay(replaced: nn.Module, original: nn.Module) -> nn.Module:
    """Freeze, and keep the memory format, which convolutions on images are faster with."""
    weight = original.get_parameter("weight")
    if weight.ndim == 4 and weight.is_contiguous(memory_format=torch.channels_last):
        replaced.to(memory_format=torch.channels_last)
    return replaced.eval().requires_grad_(False)


def _agree(copied: nn.Module, module: nn.Module, pixels: Tensor) -> bool:
    """Whether two networks give the same logits, up to rounding of many layers."""
    with torch.no_grad(), torch.autocast(pixels.device.type, enabled=False):
        ours, theirs = class_scores(copied, pixels.clone()), class_scores(module, pixels.clone())
    return bool(((ours - theirs).abs().amax() <= TOLERANCE * theirs.abs().amax()).item())


def _put(module: nn.Module, path: str, child: nn.Module) -> None:
    parent, _, name = path.rpartition(".")
    setattr(module.get_submodule(parent), name, child)
