"""Networks that learn in several processes as they would in one.

Each process has a part of a step's batch. Batch norms take their statistics over all parts, and dropout draws the
masks of the whole batch in every process, of which each uses its own rows; so the sum of the gradients of all
processes is that of one process on the whole batch, but for rounding.
"""

from __future__ import annotations

import contextlib
import copy
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn
from torch.autograd.function import once_differentiable
from torch.nn import functional
from torch.nn.modules.batchnorm import _BatchNorm
from torch.nn.modules.dropout import _DropoutNd
from torch.overrides import TorchFunctionMode
from torchvision.models import VisionTransformer
from torchvision.ops import StochasticDepth

from tlaudit.errors import UsageError
from tlaudit.models.halving import statistics_of_batches

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tlaudit.distributed import Group
    from tlaudit.training.objective import Part


@dataclass
class Slot:
    """What the modules of one network have to know of a step; they share it.

    Attributes:
        group: The processes.
        part: Of the step's batch that this process has.
        on: Whether the processes have parts of a batch; else each has all of it.
    """

    group: Group
    part: Part | None = None
    on: bool = True

    def rows(self, rows: int) -> tuple[int, slice]:
        """Rows that a tensor of the whole batch has, and which of them are ours, where ours has `rows`.

        Networks that cut images into windows have several rows an image, one image after the other.
        """
        part = self.part
        if part is None:
            raise RuntimeError("the part of the batch is not set: call set_part before each step")
        own = part.stop - part.start
        each, over = divmod(rows, own)
        if over or not each:
            raise UsageError(
                f"dropout got {rows} rows in a step on {own} images: expected a multiple, with the images along the "
                "first axis; several processes cannot share such a network, so start one, without torchrun"
            )
        return each * part.total, slice(each * part.start, each * part.stop)


def prepared(network: nn.Module, group: Group) -> nn.Module:
    """Copy a network so that several processes can train it together.

    In training mode such a copy expects every process to run it the same number of times; what an objective runs
    through it beside the step's images has to be shared out in the same parts. In eval mode it is an ordinary network.

    Args:
        network: With any weights: those of rank zero are taken.
        group: The processes; all of them have to call this.

    Returns:
        A copy with the same modules, keys and values of the state. For one process alone, an ordinary one.

    Raises:
        DataError: If another process has ended.
    """
    copied = copy.deepcopy(network)
    if group.size == 1:
        return copied
    group.spread_([*copied.parameters(), *copied.buffers()])
    slot = Slot(group)
    for module in copied.modules():
        manner = _manner(module)
        if manner is not None:
            kind = type(module)
            # Only the class changes: keys, hooks and references from elsewhere in the network stay.
            module.__class__ = type(kind.__name__, (manner, kind), {"__module__": kind.__module__})
            module.__dict__["_slot"] = slot
    return copied


def refuse_statistics_of_parts(network: nn.Module, group: Group) -> None:
    """Stop several processes where a network that is frozen, or only looked at, would see parts of a batch.

    `prepared` brings statistics together in training mode alone.

    Raises:
        UsageError: If the network has batch norms that take the statistics of the batch in eval mode too.
    """
    paths = statistics_of_batches(network) if group.size > 1 else ()
    if paths:
        raise UsageError(
            f"batch norms without running statistics ({', '.join(paths[:3])}{' …' if paths[3:] else ''}) take those of "
            "the batch in eval mode too, and several processes have parts of it: train in one process, without torchrun"
        )


def set_part(network: nn.Module, part: Part) -> None:
    """Say which part of the step's batch this process has: before each step.

    Args:
        network: Of `prepared`; nothing happens to others.
        part: Of at least one image.
    """
    for slot in _slots(network):
        slot.part = part


@contextlib.contextmanager
def synchronised(network: nn.Module, on: bool) -> Iterator[None]:
    """Within, processes have parts of a batch, or else each has the whole batch and the network is an ordinary one.

    Args:
        network: Of `prepared`; nothing happens to others.
        on: Whether they have parts.
    """
    slots = _slots(network)
    before = [slot.on for slot in slots]
    for slot in slots:
        slot.on = on
    try:
        yield
    finally:
        for slot, was in zip(slots, before, strict=True):
            slot.on = was


def unmatched(network: nn.Module) -> tuple[str, ...]:
    """Find modules that draw random numbers in training which `prepared` cannot make those of one process.

    Training is sound with them too, only not the same as in one process. They are found by what modules of torch,
    torchvision and timm call their settings; a forward method that draws on its own goes unseen.

    Returns:
        Module paths, such as those of attention with dropout of its weights.
    """
    return tuple(path for path, module in network.named_modules() if _manner(module) is None and _draws(module))


def _draws(module: nn.Module) -> bool:
    if isinstance(module, (nn.RReLU, nn.FractionalMaxPool2d, nn.FractionalMaxPool3d)):
        return True
    if isinstance(module, VisionTransformer):
        return False  # names the rates of its parts, which are asked themselves
    # timm's fused attention takes the rate of this child and draws on its own.
    child = getattr(module, "attn_drop", None)
    if getattr(module, "fused_attn", False) and isinstance(child, nn.Dropout) and child.p > 0:
        return True
    own = vars(module).items()
    return any("drop" in name and isinstance(value, float) and value > 0 for name, value in own)


def _slots(network: nn.Module) -> list[Slot]:
    slots = [vars(module).get("_slot") for module in network.modules()]
    return list({id(slot): slot for slot in slots if isinstance(slot, Slot)}.values())


def _active(module: nn.Module) -> Slot | None:
    """What a module has to know, where it has to do anything special at all."""
    slot: Slot = vars(module)["_slot"]
    return slot if module.training and slot.on else None


class _Masked(nn.Module):
    """A module whose forward pass multiplies by random numbers, which depend on the shape of what comes in alone."""

    def forward(self, images: Tensor) -> Tensor:
        # `p` is 0 in most transformers, and a whole batch of ones is not worth making for that.
        slot = _active(self) if getattr(self, "p", 1) else None
        if slot is None:
            plain: Tensor = super().forward(images)
            return plain
        rows, own = slot.rows(len(images))
        with torch.no_grad():
            mask: Tensor = super().forward(_whole(images, rows, fill=1))[own]
        return images * mask.clone()  # so that the rows of the others are not kept for the backward pass


class _Replaced(nn.Module):
    """A module whose forward pass sets values to another one than zero, and rescales the rest."""

    def forward(self, images: Tensor) -> Tensor:
        slot = _active(self)
        if slot is None:
            plain: Tensor = super().forward(images)
            return plain
        rows, own = slot.rows(len(images))
        whole = _whole(images, rows, fill=0)
        whole[own] = images
        changed: Tensor = super().forward(whole)[own]
        return changed


class _Gathered(nn.Module):
    """A batch norm over all processes, whatever else its forward method does."""

    def forward(self, images: Tensor) -> Tensor:
        slot = _active(self)
        with _OverAll(slot.group) if slot else contextlib.nullcontext():
            normalised: Tensor = super().forward(images)
            return normalised


class _GatheredAnywhere(_Gathered):
    """A `torch.nn.SyncBatchNorm`, whose own way is for CUDA alone, and for even parts at that."""

    def forward(self, images: Tensor) -> Tensor:
        slot = _active(self)
        with _OverAll(slot.group) if slot else contextlib.nullcontext():
            normalised: Tensor = _BatchNorm.forward(self, images)  # type: ignore[arg-type]
            return normalised


def _manner(module: nn.Module) -> type[nn.Module] | None:
    """How a module is made to learn together with others; None where there is nothing to do, or nothing can be done."""
    if isinstance(module, nn.SyncBatchNorm):
        return _GatheredAnywhere
    if isinstance(module, _BatchNorm):
        return _Gathered
    if isinstance(module, (nn.AlphaDropout, nn.FeatureAlphaDropout)):
        return _Replaced
    # timm's, known by name because timm need not be installed
    dropping_paths = type(module).__name__ == "DropPath" and type(module).__module__.split(".")[0] == "timm"
    if isinstance(module, (_DropoutNd, StochasticDepth)) or dropping_paths:
        return _Masked
    return None


def _whole(images: Tensor, rows: int, *, fill: float) -> Tensor:
    """Give a constant tensor as large, and laid out in memory, as that of the whole batch in one process.

    The layout matters because random numbers are drawn in its order. Axes are sorted by stride; of those with equal
    strides the first axis comes last, because of one row its stride says nothing unless it is larger.
    """
    strides = images.stride()
    order = sorted(range(images.ndim), key=lambda axis: (-strides[axis], axis == 0))
    shape = [rows, *images.shape[1:]]
    laid_out = images.new_full([shape[axis] for axis in order], fill, requires_grad=False)
    return laid_out.permute([order.index(axis) for axis in range(images.ndim)])


class _OverAll(TorchFunctionMode):
    """Batch norms that run within take the statistics of all processes."""

    def __init__(self, group: Group) -> None:
        super().__init__()
        self._group = group

    def __torch_function__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        if func is functional.batch_norm:
            return _batch_norm(self._group, *args, **(kwargs or {}))
        return func(*args, **(kwargs or {}))


def _batch_norm(
    group: Group,
    input: Tensor,  # noqa: A002 - the names of `torch.nn.functional.batch_norm`
    running_mean: Tensor | None,
    running_var: Tensor | None,
    weight: Tensor | None = None,
    bias: Tensor | None = None,
    training: bool = False,
    momentum: float = 0.1,
    eps: float = 1e-5,
) -> Tensor:
    """Do what `torch.nn.functional.batch_norm` does, with statistics over all processes."""
    if not training:
        return functional.batch_norm(input, running_mean, running_var, weight, bias, training, momentum, eps)
    count, mean, variance = _statistics(group, input.detach())
    with torch.no_grad():
        if running_mean is not None:
            running_mean.mul_(1 - momentum).add_(mean.to(running_mean), alpha=momentum)
        if running_var is not None:
            running_var.mul_(1 - momentum).add_((variance * (count / (count - 1))).to(running_var), alpha=momentum)
    normalised: Tensor = _Normalised.apply(input, weight, bias, mean, variance, eps, count, group)
    return normalised


def _statistics(group: Group, images: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Count, ``()``, mean and biased variance of each channel, ``(C,)``, all float64, over all processes.

    The count stays a tensor, for which nobody has to wait on a GPU; it is 2 at least, as each process has an image.

    Parts are combined by their means and centred squares (Chan, Golub & LeVeque 1983): a difference of two large sums
    would lose the variance of channels whose mean is far from zero.
    """
    axes, count, channels = _axes(images), images.numel() // images.shape[1], images.shape[1]
    images = images.float() if images.dtype in {torch.float16, torch.bfloat16} else images
    mean = images.mean(axes)
    centred = images - _along_channels(mean, images)
    squares = centred.mul_(centred).sum(axes)
    # Each process fills a row of its own, so that a sum brings all rows to everyone.
    gathered = torch.zeros(group.size, 1 + 2 * channels, dtype=torch.float64, device=images.device)
    gathered[group.rank] = torch.cat([mean.new_tensor([count], dtype=torch.float64), mean.double(), squares.double()])
    group.sum_([gathered])
    counts, means, squares = gathered[:, :1], gathered[:, 1 : 1 + channels], gathered[:, 1 + channels :]
    total = counts.sum()
    mean = (counts * means).sum(0) / total
    return total, mean, (squares + counts * (means - mean).square()).sum(0) / total


class _Normalised(torch.autograd.Function):
    """Normalises by given statistics, and takes the gradient as through statistics of all processes."""

    @staticmethod
    def forward(
        ctx: Any,
        images: Tensor,
        weight: Tensor | None,
        bias: Tensor | None,
        mean: Tensor,
        variance: Tensor,
        eps: float,
        count: Tensor,
        group: Group,
    ) -> Tensor:
        exact = torch.float64 if images.dtype == torch.float64 else torch.float32
        ctx.save_for_backward(images, weight, mean.to(exact), (variance + eps).rsqrt().to(exact), count)
        ctx.group = group
        return functional.batch_norm(images, mean.to(exact), variance.to(exact), weight, bias, training=False, eps=eps)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, ...]:
        images, weight, mean, scale, count = ctx.saved_tensors
        axes, exact = _axes(images), scale.dtype
        gradient = gradient.to(exact)
        centred = images.to(exact) - _along_channels(mean, images)
        sums = torch.stack([gradient.sum(axes), (gradient * centred).sum(axes)])
        of_weight = sums[1] * scale if ctx.needs_input_grad[1] else None
        of_bias = sums[0].clone() if ctx.needs_input_grad[2] else None
        if not ctx.needs_input_grad[0]:
            return None, of_weight, of_bias, None, None, None, None, None
        whole = sums.double()
        ctx.group.sum_([whole])
        plain, slope = (whole / count).to(exact)
        centred.mul_(_along_channels(-slope * scale.square(), images)).sub_(_along_channels(plain, images))
        of_images = centred.add_(gradient).mul_(_along_channels(scale if weight is None else scale * weight, images))
        return of_images.to(images.dtype), of_weight, of_bias, None, None, None, None, None


def _axes(images: Tensor) -> list[int]:
    return [axis for axis in range(images.ndim) if axis != 1]


def _along_channels(values: Tensor, images: Tensor) -> Tensor:
    return values.view(1, -1, *[1] * (images.ndim - 2))
