"""What a network is trained to make small."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

from torch.nn import functional

if TYPE_CHECKING:
    from torch import Tensor


@dataclass(frozen=True, eq=False)
class Inputs:
    """A batch as the network sees it.

    Attributes:
        index: Which images of the training set, ``(N,)`` int64 on the CPU.
        images: Normalised, ``(N, 3, H, W)`` float32 on the network's device.
        labels: Class of each, ``(N,)`` int64 on the same device.
    """

    index: Tensor
    images: Tensor
    labels: Tensor


class Objective(Protocol):
    """Gives the terms of a loss by name; their sum is what is minimised."""

    def __call__(self, logits: Tensor, inputs: Inputs) -> dict[str, Tensor]:
        """Judge what the network says of a batch.

        Args:
            logits: ``(N, K)``, in the precision they were computed in.
            inputs: What they were computed from.

        Returns:
            Terms, each a single number with its gradient; at least one.
        """


class CrossEntropy:
    """Cross-entropy of the logits against the labels, mean over the batch."""

    def __call__(self, logits: Tensor, inputs: Inputs) -> dict[str, Tensor]:
        """Give the one term ``cross_entropy``."""
        return {"cross_entropy": functional.cross_entropy(logits.float(), inputs.labels)}
