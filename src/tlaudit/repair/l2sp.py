"""L2-SP: finetuning in which the weights stay near the source's."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import torch
from torch import nn
from torch.autograd.function import once_differentiable
from torch.nn.modules.batchnorm import _NormBase

from tlaudit.errors import UsageError
from tlaudit.models.heads import within
from tlaudit.repair.base import Bench, Method, Setup
from tlaudit.training.objective import CrossEntropy, Inputs, Objective, cross_entropy, logits_of

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from torch import Tensor

    from tlaudit.options.repair import L2spOptions

_NORMS = (_NormBase, nn.LayerNorm, nn.GroupNorm, nn.RMSNorm)


class L2sp(Method):
    """Cross-entropy, and the squared distance of the weights from the source's (Li et al. 2018)."""

    name = "l2sp"
    summary = "weights stay near the source's"

    def setup(self, bench: Bench) -> Setup:
        """Find the weights that both networks have; see `Method.setup`."""
        options = bench.options.l2sp
        if not options.alpha and not options.beta:
            return Setup(bench.start, bench.training, CrossEntropy())
        origin = {name: weight.detach() for name, weight in _weights(bench.source.module)}
        for name, weight in _weights(bench.start):
            if not within(name, bench.head) and (name not in origin or origin[name].shape != weight.shape):
                got = f"one of shape {tuple(origin[name].shape)}" if name in origin else "none"
                raise UsageError(
                    f"the weight {name} of shape {tuple(weight.shape)} has to stay near the source's, which has {got}: "
                    "l2sp needs networks with one backbone"
                )
        return Setup(bench.start, bench.training, StartingPoint(origin, bench.head, options))


class StartingPoint(Objective):
    """Cross-entropy, plus α/2 ‖w - w⁰‖² over the backbone's weights, plus β/2 ‖w‖² over the head's.

    Weights are the parameters of two or more axes that are not of a normalising layer; biases are free. What several
    modules share counts once. A weight of 0 leaves its term out.
    """

    def __init__(self, origin: dict[str, Tensor], head: str, options: L2spOptions) -> None:
        """Take the weights w⁰ by name, those of the head among them or not, and how much the terms weigh."""
        self._origin, self._head, self._options = origin, head, options
        self._near: list[Tensor] = []

    def begin(self, network: nn.Module) -> None:
        """Bring the source's weights to where the copy's are, laid out in memory as they are."""
        self._near = [
            torch.empty_like(weight, requires_grad=False).copy_(self._origin[name])
            for name, weight in _weights(network)
            if not within(name, self._head)
        ]

    def __call__(self, network: nn.Module, inputs: Inputs) -> dict[str, Tensor]:
        """Give the term ``cross_entropy``, and ``l2sp`` and ``l2_head`` where they weigh anything."""
        terms = {"cross_entropy": cross_entropy(logits_of(network, inputs.images), inputs.labels)}
        weights = list(_weights(network))
        if self._options.alpha:
            backbone = [weight for name, weight in weights if not within(name, self._head)]
            terms["l2sp"] = _half_square(self._options.alpha, backbone, self._near)
        if self._options.beta:
            head = [weight for name, weight in weights if within(name, self._head)]
            terms["l2_head"] = _half_square(self._options.beta, head, [])
        return terms


def _weights(network: nn.Module) -> Iterator[tuple[str, nn.Parameter]]:
    """Name the weights: parameters of at least two axes that do not normalise, each once."""
    norms = {id(parameter) for m in network.modules() if isinstance(m, _NORMS) for parameter in m.parameters(False)}
    for name, parameter in network.named_parameters():
        if parameter.ndim >= 2 and parameter.is_floating_point() and id(parameter) not in norms:
            yield name, parameter


def _half_square(factor: float, weights: Sequence[Tensor], origin: list[Tensor]) -> Tensor:
    result: Tensor = _HalfSquare.apply(factor, origin, *weights)
    return result


class _HalfSquare(torch.autograd.Function):
    """Half the squared length of some tensors, less others where there are any, times a factor.

    All of them in a few calls: autograd's own way would make a node, and pass over memory, for every operation on every
    weight.
    """

    @staticmethod
    def forward(ctx: Any, factor: float, origin: list[Tensor], *weights: Tensor) -> Tensor:
        detached = [weight.detach() for weight in weights]
        ctx.factor = factor
        ctx.apart = torch._foreach_sub(detached, origin) if origin else detached  # noqa: SLF001 - torch's public list form
        norm = nn.utils.get_total_norm(ctx.apart)
        return factor / 2 * norm.float().square()

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, outer: Tensor) -> tuple[Tensor | None, ...]:
        scale = outer * ctx.factor
        return None, None, *torch._foreach_mul(ctx.apart, scale)  # noqa: SLF001
