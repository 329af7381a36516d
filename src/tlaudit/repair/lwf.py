"""Learning without forgetting: finetuning in which the answers to the source's task stay near the source's."""

from __future__ import annotations

import contextlib
import sys
from typing import TYPE_CHECKING

import torch
from torch.nn import functional

from tlaudit.models.runtime import class_scores
from tlaudit.models.two_heads import TwoHeads
from tlaudit.repair.base import Bench, Method, Setup
from tlaudit.training.objective import CrossEntropy, Inputs, Objective, cross_entropy, logits_of

if TYPE_CHECKING:
    from torch import Tensor, nn

    from tlaudit.models.runtime import Execution
    from tlaudit.options.repair import LwfOptions


class Lwf(Method):
    """Cross-entropy, and the divergence of the answers from the source's (Li & Hoiem 2017)."""

    name = "lwf"
    summary = "answers to the source's task stay near the source's"

    def setup(self, bench: Bench) -> Setup:
        """Take the source as it is; see `Method.setup`."""
        options = bench.options.lwf
        if not options.weight:
            return Setup(bench.start, bench.training, CrossEntropy())
        objective = Answers(bench.source.module, bench.head, options, bench.execution, bench.preprocessing.crop)
        return Setup(bench.start, bench.training, objective)


class Answers(Objective):
    """Cross-entropy plus a weight times the divergence of the answers to the source's task.

    The mean over the batch of ``KL(p‖q)``, with p the softmax of the source's logits over the temperature and q that of
    the logits of the learning backbone under the source's head, which stays as it is. There is no factor of the squared
    temperature, as Hinton et al. (2015) have one: at a higher temperature the term weighs less. The source runs in eval
    and inference mode, in the precision of the network that learns.
    """

    def __init__(self, source: nn.Module, head: str, options: LwfOptions, execution: Execution, side: int) -> None:
        """Take the source's network, the path of its head, and the side of the images in pixels."""
        self._source, self._head, self._options, self._execution, self._side = source, head, options, execution, side
        self._placed = source
        self._heads: TwoHeads | None = None

    def begin(self, network: nn.Module) -> None:
        """Bring the source to the device, and see how its head goes under the copy that learns."""
        self._placed = self._execution.place(self._source)
        noise = torch.randn(2, 3, self._side, self._side, generator=torch.Generator().manual_seed(0))
        pixels = noise.to(self._execution.device, memory_format=torch.channels_last)
        with contextlib.redirect_stdout(sys.stderr):
            self._heads = TwoHeads(network, self._head, self._placed.get_submodule(self._head), pixels)

    def __call__(self, network: nn.Module, inputs: Inputs) -> dict[str, Tensor]:
        """Give the terms ``cross_entropy`` and ``lwf``."""
        if self._heads is None:
            raise RuntimeError("the objective has not begun: call begin with the network first")
        with self._execution.inference(), contextlib.redirect_stdout(sys.stderr):
            known = class_scores(self._placed, inputs.images)
        # A copy, because what was made in inference mode cannot be kept for a gradient.
        known = known.float().clone()
        logits, answers = self._heads(network, inputs.images, logits_of)
        return {
            "cross_entropy": cross_entropy(logits, inputs.labels),
            "lwf": self._options.weight * divergence(known, answers.float(), self._options.temperature),
        }


def divergence(known: Tensor, answers: Tensor, temperature: float) -> Tensor:
    """Mean over images of the Kullback-Leibler divergence of answers from known ones, in nats.

    Args:
        known: Logits, ``(N, K)``.
        answers: Logits of the same classes, ``(N, K)``.
        temperature: Both are divided by it before the softmax.

    Returns:
        A single number from 0, with a gradient for `answers`.
    """
    one, other = ((logits / temperature).log_softmax(dim=1) for logits in (answers, known))
    return functional.kl_div(one, other, log_target=True, reduction="batchmean")
