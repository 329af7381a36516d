"""L1: finetuning in which few features of the last stage are active at a time."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch

from tlaudit.errors import UsageError
from tlaudit.models.heads import within
from tlaudit.models.taps import tapped
from tlaudit.repair.base import Bench, Method, Setup
from tlaudit.training.objective import CrossEntropy, Inputs, Objective, cross_entropy, logits_of

if TYPE_CHECKING:
    from torch import Tensor, nn


class L1(Method):
    """Cross-entropy, and the mean size of the last stage's activations.

    *Detrimental Memories in Transfer Learning*, appendix B: what the task does not need falls silent.
    """

    name = "l1"
    summary = "activations of the last stage become sparse"

    def setup(self, bench: Bench) -> Setup:
        """Find the last stage; see `Method.setup`."""
        stages = [stage for stage in bench.source.stages if not within(stage, bench.head)]
        if not stages:
            raise UsageError(f"{self.name}: {bench.source.architecture} has no stage before its head {bench.head}")
        weight = bench.options.l1.weight
        objective = Sparse(stages[-1], weight) if weight else CrossEntropy()
        return Setup(bench.start, bench.training, objective)


class Sparse(Objective):
    """Cross-entropy plus a weight times the mean absolute value of what a stage gives."""

    def __init__(self, stage: str, weight: float) -> None:
        """Take the module path of the stage and the weight."""
        self._stage, self._weight = stage, weight

    def __call__(self, network: nn.Module, inputs: Inputs) -> dict[str, Tensor]:
        """Give the terms ``cross_entropy`` and ``l1``."""
        sizes: list[Tensor] = []

        def see(path: str, output: object) -> None:
            if not isinstance(output, torch.Tensor):
                raise UsageError(f"the stage {path} gives a {type(output).__name__}, expected a tensor of activations")
            # A copy, because a layer behind the stage may write over its output, which the gradient needs.
            sizes.append(output.clone().float().abs().mean())

        with tapped(network, [self._stage], see):
            logits = logits_of(network, inputs.images)
        if not sizes:
            raise UsageError(f"the stage {self._stage} takes no part in the forward pass in training mode")
        size = torch.stack(sizes).mean()
        return {"cross_entropy": cross_entropy(logits, inputs.labels), "l1": self._weight * size}
