"""Unlearn: finetuning after which the source's head no longer recognises what lingered."""

from __future__ import annotations

import copy
import math
from itertools import chain
from typing import TYPE_CHECKING, ClassVar

import numpy as np
import torch
from torch import nn
from torch.nn import functional

from tlaudit.errors import UsageError
from tlaudit.models.heads import within
from tlaudit.models.runtime import class_scores
from tlaudit.repair.base import Bench, Method, Need, Setup, lingering_pictures, nothing_lingers, pictures_left_out
from tlaudit.training.objective import CrossEntropy, Inputs, Objective, cross_entropy, logits_of

if TYPE_CHECKING:
    from torch import Tensor

    from tlaudit.models.preprocess import Normalizer


class Unlearn(Method):
    """Cross-entropy, and how far answers to source images of lingering classes are from uniform.

    *Detrimental Memories in Transfer Learning*, section 5: "unlearn source-only features". The answers are those of
    M^st, the backbone that learns under the source's head, which is what lingering is measured with.
    """

    name = "unlearn"
    summary = "answers of the source's head to lingering classes become uniform"
    needs: ClassVar[frozenset[Need]] = frozenset({"source_data", "lingering"})

    def setup(self, bench: Bench) -> Setup:
        """Decode source images of lingering classes; see `Method.setup`."""
        weight = bench.options.unlearn.weight
        if not bench.lingering:
            return Setup(bench.start, bench.training, CrossEntropy(), findings=(nothing_lingers(self.name),))
        if not weight:
            return Setup(bench.start, bench.training, CrossEntropy())
        pool = lingering_pictures(bench)
        objective = Unlearning(bench.source.module, bench.head, pool.pixels, bench.normalizer, weight, bench.seed)
        return Setup(bench.start, bench.training, objective, findings=pictures_left_out(self.name, pool))


class Unlearning(Objective):
    """Cross-entropy plus a weight times KL(uniform ‖ p(M^st(x))), mean over as many source images as there are inputs.

    M^st runs in eval mode, as it is measured: batch norms use the statistics the network has, and move none.
    """

    def __init__(
        self, source: nn.Module, head: str, pixels: Tensor, normalizer: Normalizer, weight: float, seed: int
    ) -> None:
        """Take what answers are asked with and about.

        Args:
            source: The pretrained network.
            head: Module path of its head.
            pixels: Source images, ``(M, 3, crop, crop)`` uint8.
            normalizer: Turns them into inputs.
            weight: Of the divergence.
            seed: Of the images drawn for each step, at least 0.
        """
        self._source, self._head, self._pixels = source, head, pixels
        self._normalizer, self._weight, self._seed = normalizer, weight, seed
        self._hybrid: nn.Module | None = None

    def begin(self, network: nn.Module) -> None:
        """Put the copy that learns under the source's head."""
        self._hybrid = learning_hybrid(network, self._source, self._head)

    def __call__(self, network: nn.Module, inputs: Inputs) -> dict[str, Tensor]:
        """Give the terms ``cross_entropy`` and ``unlearn``."""
        if self._hybrid is None:
            raise RuntimeError("the objective does not know the network yet: call begin first")
        # First the network, because in training mode it moves statistics that the gradient of the hybrid needs.
        logits = logits_of(network, inputs.images)
        answers = class_scores(self._hybrid, self._normalizer(self._pixels[self._drawn(inputs)]))
        return {
            "cross_entropy": cross_entropy(logits, inputs.labels),
            "unlearn": self._weight * divergence_from_uniform(answers),
        }

    def _drawn(self, inputs: Inputs) -> Tensor:
        """Which source images this process sees in this step: its part of those drawn for the whole batch."""
        drawn = np.random.default_rng([self._seed, inputs.step]).integers(len(self._pixels), size=inputs.part.total)
        return torch.from_numpy(drawn[inputs.part.start : inputs.part.stop])


def divergence_from_uniform(logits: Tensor) -> Tensor:
    """KL(uniform ‖ softmax(logits)), ``-log K - mean_k log p_k``, mean over the rows.

    Args:
        logits: ``(N, K)`` of any precision.

    Returns:
        One float32 number, at least 0 but for rounding; 0 = every answer is uniform.

    Example:
        >>> divergence_from_uniform(torch.zeros(3, 5)).item()
        0.0
    """
    logarithms = functional.log_softmax(logits.float(), dim=1)
    return -logarithms.mean() - math.log(logits.shape[1])


def learning_hybrid(network: nn.Module, source: nn.Module, head: str) -> nn.Module:
    """Give M^st of a network that learns: its own parameters and buffers, not copies, under the source's frozen head.

    Args:
        network: On its device, of the source's architecture outside the head.
        source: Network that gives head and forward pass; left as it is.
        head: Module path of the head.

    Returns:
        A network in eval mode through which gradients reach the parameters of `network`.

    Raises:
        UsageError: If the backbones are not alike.
    """
    device = next(network.parameters()).device
    theirs = dict(
        chain(network.named_parameters(remove_duplicate=False), network.named_buffers(remove_duplicate=False))
    )
    replacements: dict[int, object] = {}
    ours = chain(source.named_parameters(remove_duplicate=False), source.named_buffers(remove_duplicate=False))
    for name, tensor in ours:
        if within(name, head):
            placed = tensor.detach().to(device)
            replacement: Tensor = nn.Parameter(placed, False) if isinstance(tensor, nn.Parameter) else placed
        elif name in theirs and theirs[name].shape == tensor.shape:
            replacement = theirs[name]
        else:
            raise UsageError(f"the network that learns has no {name} of shape {tuple(tensor.shape)}, as the source has")
        replacements.setdefault(id(tensor), replacement)
    # deepcopy asks its memo first, so every tensor it meets becomes the replacement, and only the skeleton is copied.
    return copy.deepcopy(source, replacements).eval()
