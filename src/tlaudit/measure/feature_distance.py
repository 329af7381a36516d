"""How far a network's features are from another's, as a number that can be trained on."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Literal

import torch
from torch.autograd.function import once_differentiable

from tlaudit.errors import ShapeError, UsageError

if TYPE_CHECKING:
    from collections.abc import Iterator

    from torch import Tensor

Reduction = Literal["channel", "official", "sum"]
REDUCTIONS: tuple[Reduction, ...] = ("channel", "official", "sum")

EPSILON = 1e-10
"""Added to the norm of a vector before it is divided by it, as in LPIPS and in the released code of LDIFS."""

_AT_ONCE = {"cpu": 2**19}
_AT_ONCE_ELSEWHERE = 2**25
"""Numbers of each side that are worked on at once: on the CPU as many as stay in its caches."""


def feature_distance(
    target: Tensor,
    source: Tensor,
    reduction: Reduction = "channel",
    channel_axis: int = 1,
    *,
    weight: float = 1.0,
    spare: bool = False,
) -> Tensor:
    """Distance of the features of a network that learns from those of one that does not.

    With ``n(v) = v / (‖v‖ + 1e-10)``:

    * ``channel``: ``‖n(t) - n(s)‖²`` along the channels at each position, mean over positions and images; the form of
      LPIPS (Zhang et al. 2018, eq. 1, without learnt weights). Where no vector is tiny, 2 - 2 · cosine.
    * ``official``: vectors run along axis 1, whatever it is, and the mean is one over all numbers, as in the code that
      Mukhoti et al. (2023) released. For tokens ``(N, T, D)`` it is at most ``4 / T``.
    * ``sum``: ``‖t - s‖²`` of each image, mean over images; the form of their paper.

    A vector that is all zero stays zero when it is normalised: its squared distance is 0 from another one and 1 from
    any other vector, and there, where no derivative exists, its gradient is 0. A vector whose squares overflow gives
    NaN. The gradient is made at once and kept until it is asked for: what happens to either tensor afterwards, such as
    a ReLU that writes over it, does not matter.

    Args:
        target: Features of the network that learns, ``(N, ...)`` of any floating type, of any layout in memory. Half
            precision is computed in float32, also inside autocast; float64 stays float64.
        source: Those of the other, of the same shape and device; they get no gradient.
        reduction: Which of the three.
        channel_axis: Where the channels of `target` are, for ``channel``.
        weight: What the distance, and with it the gradient, is multiplied by.
        spare: Whether `source` is not needed afterwards: its memory may then be written over.

    Returns:
        A single number of at least float32, from 0; with ``channel`` at most 4 times the weight.

    Raises:
        ShapeError: If the shapes differ, hold nothing, or have fewer than two axes.
        UsageError: If there is no such reduction.

    Example:
        >>> here = torch.tensor([[3.0, 0.0], [0.0, 2.0]])
        >>> there = torch.tensor([[5.0, 0.0], [1.0, 0.0]])
        >>> [round(feature_distance(here, there, name).item(), 4) for name in ("channel", "official", "sum")]
        [1.0, 0.5, 4.5]
    """
    if target.shape != source.shape or target.ndim < 2 or not target.numel():
        raise ShapeError(
            f"expected features of two networks of one shape (images, ...), got {tuple(target.shape)} and "
            f"{tuple(source.shape)}"
        )
    if reduction not in REDUCTIONS:
        raise UsageError(f"unknown reduction {reduction!r}; known are {', '.join(REDUCTIONS)}")
    axis = (1 if reduction == "official" else channel_axis) % target.ndim
    count = {"sum": len(target), "official": target.numel(), "channel": target.numel() // target.shape[axis]}[reduction]
    with torch.autocast(target.device.type, enabled=False):
        result: Tensor = _Distance.apply(
            target, source, None if reduction == "sum" else axis, weight / count, spare and target.dtype == source.dtype
        )
    return result


class _Distance(torch.autograd.Function):
    """Sum of squared differences times a scale; of normalised vectors where an axis is given.

    The gradient is made in the forward pass, block by block while both sides are in the caches, and is all that is
    kept.
    """

    @staticmethod
    def forward(
        ctx: Any,
        target: Tensor,
        source: Tensor,
        axis: int | None,
        scale: float,
        spare: bool,
    ) -> Tensor:
        wanted = ctx.needs_input_grad[0]
        reuse = spare and source.stride() == target.stride() and _is_dense(source)
        gradient = (source if reuse else torch.empty_like(target)) if wanted else None
        # In half precision a gradient divided by the number of positions would vanish before the loss is scaled.
        now, ctx.later = (1.0, scale) if target.dtype == torch.float16 else (scale, 1.0)
        precision = torch.float64 if target.dtype == torch.float64 else torch.float32
        total = torch.zeros((), dtype=precision, device=target.device)
        between = _difference if axis is None else _normalised_difference
        # What was computed in inference mode can be written over in inference mode only.
        with torch.inference_mode():
            for here, there, place in _blocks(target, source, gradient, axis):
                fits = place is not None and place.dtype == precision
                work = place if place is not None and fits else torch.empty_like(there, dtype=precision)
                if work.data_ptr() != there.data_ptr():
                    work.copy_(there)
                total += between(here.to(precision), work, now)
                if place is not None and not fits:
                    place.copy_(work)
        ctx.gradient = gradient
        return total.mul(scale)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, outer: Tensor) -> tuple[Tensor, None, None, None, None]:
        factor = outer * ctx.later
        # Sparing a pass over all features; to look at a number on an accelerator would make the program wait for it.
        if factor.device.type == "cpu" and factor.item() == 1:
            return ctx.gradient, None, None, None, None
        return ctx.gradient * factor, None, None, None, None


def _is_dense(tensor: Tensor) -> bool:
    """Say whether every number has a place of its own."""
    return tensor.is_contiguous() or (tensor.ndim == 4 and tensor.is_contiguous(memory_format=torch.channels_last))


def _blocks(
    target: Tensor, source: Tensor, gradient: Tensor | None, axis: int | None
) -> Iterator[tuple[Tensor, Tensor, Tensor | None]]:
    """Cut both sides, and the place of the gradient, into the same pieces, vectors along the last axis."""
    sides = [target.detach(), source.detach()] + ([gradient] if gradient is not None else [])
    sides = [side.movedim(axis if axis is not None else 1, -1) for side in sides]
    if all(side.is_contiguous() for side in sides):
        sides = [side.view(-1, side.shape[-1]) for side in sides]
    size = max(1, _AT_ONCE.get(target.device.type, _AT_ONCE_ELSEWHERE) * len(sides[0]) // sides[0].numel())
    pieces = [torch.split(side, size) for side in sides]
    yield from zip(pieces[0], pieces[1], pieces[2] if gradient is not None else (None,) * len(pieces[0]), strict=True)


def _difference(here: Tensor, there: Tensor, scale: float) -> Tensor:
    """Sum of ``(t - s)²``; the gradient times a scale takes the place of `there`."""
    torch.sub(here, there, out=there)
    total = there.square().sum()
    there.mul_(2 * scale)
    return total


def _normalised_difference(here: Tensor, there: Tensor, scale: float) -> Tensor:
    """Sum of ``‖n(t) - n(s)‖²`` along the last axis; the gradient times a scale takes the place of `there`.

    With ``r = n(t) - n(s)`` and ``m = ‖t‖ + ε`` the gradient is ``2 (r / m - t (n(t)·r) / (‖t‖ m))``, and ``n(t)·r`` is
    half of ``‖r‖² + ‖n(t)‖² - ‖n(s)‖²``. What is taken off is brought to the length of `here` first, so that equal
    vectors have the distance 0, and the gradient 0, exactly.
    """
    norms = torch.stack((_norm(here), _norm(there)))
    # Norms that overflowed tell nothing.
    lengths = (norms + EPSILON).masked_fill_(norms.isinf(), torch.nan)
    shares = (norms / lengths).square_()
    norm, length = norms[0], lengths[0]
    torch.addcmul(here, there, length / lengths[1], value=-1, out=there)
    squared = _norm(there).div_(length).square_()
    along = shares[0].sub_(shares[1]).add_(squared)
    nothing = norm == 0
    outward = along.mul_(scale).div_(norm).div_(length).masked_fill_(nothing, 0)
    inward = length.square().reciprocal_().mul_(2 * scale).masked_fill_(nothing, 0)
    there.mul_(inward).addcmul_(here, outward, value=-1)
    return squared.sum()


def _norm(vectors: Tensor) -> Tensor:
    norm: Tensor = torch.linalg.vector_norm(vectors, dim=-1, keepdim=True)
    return norm
