"""What a network is trained to make small."""

from __future__ import annotations

import contextlib
import sys
from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import TYPE_CHECKING

from torch.nn import functional

from tlaudit.errors import UsageError
from tlaudit.models.halving import is_out_of_memory
from tlaudit.models.runtime import class_scores

if TYPE_CHECKING:
    from torch import Tensor, nn


@dataclass(frozen=True)
class Part:
    """Which images of a step's batch a process has: those from `start` to `stop`, of `total` in all."""

    start: int
    stop: int
    total: int


@dataclass(frozen=True, eq=False)
class Inputs:
    """A batch as the network sees it.

    Attributes:
        step: Number of the step, counted from 0.
        index: Which images of the training set, ``(N,)`` int64 on the CPU.
        images: Normalised, ``(N, 3, H, W)`` float32 on the network's device.
        labels: Class of each, ``(N,)`` int64 on the same device.
        part: Which images of the step's whole batch these are.
    """

    step: int
    index: Tensor
    images: Tensor
    labels: Tensor
    part: Part


class Objective(ABC):
    """Gives the terms of a loss by name; their sum is what is minimised.

    What it gives depends on the weights, the inputs and the number of the step alone, so that a training that was
    stopped goes on as if it had not been.
    """

    def begin(self, network: nn.Module) -> None:  # noqa: B027 - for those that need it
        """Get to know the copy that learns: called once, before the first step, or the first after a resumption.

        Args:
            network: On its device, with the weights the training began with, also where it is resumed.
        """

    def opens(self, name: str) -> bool:  # noqa: ARG002 - for those that keep some closed
        """Say whether the parameter of that name learns."""
        return True

    @abstractmethod
    def __call__(self, network: nn.Module, inputs: Inputs) -> dict[str, Tensor]:
        """Run the network on a batch and judge it.

        Args:
            network: In training mode; gradients and the asked precision are on.
            inputs: The batch.

        Returns:
            Terms, each a single float32 number with its gradient; at least one. A mean over images is one over those
            of `inputs`. Their names are the same at every step.
        """

    def settle(self, network: nn.Module) -> None:  # noqa: B027 - for those that need it
        """Do what has to be done to the weights after each step of the optimiser; gradients are off."""


class CrossEntropy(Objective):
    """Cross-entropy of the logits against the labels, mean over the batch."""

    def __call__(self, network: nn.Module, inputs: Inputs) -> dict[str, Tensor]:
        """Give the one term ``cross_entropy``."""
        return {"cross_entropy": cross_entropy(logits_of(network, inputs.images), inputs.labels)}


def cross_entropy(logits: Tensor, labels: Tensor) -> Tensor:
    """Mean cross-entropy of logits ``(N, K)`` of any precision against labels ``(N,)``, in float32."""
    return functional.cross_entropy(logits.float(), labels)


def logits_of(network: nn.Module, images: Tensor) -> Tensor:
    """Run a network of the user's own in training mode: what it prints goes to stderr, and if it fails that is said.

    Some give other outputs there than in eval mode, such as those of auxiliary heads.

    Args:
        network: In training mode.
        images: Normalised, ``(N, 3, H, W)`` on its device.

    Returns:
        Logits, ``(N, K)``, in the precision they were computed in.

    Raises:
        UsageError: If it fails, or gives anything but a vector of logits for each image.
    """
    try:
        with contextlib.redirect_stdout(sys.stderr):
            return class_scores(network, images)
    except (RuntimeError, AssertionError, ValueError, TypeError, IndexError) as error:
        if is_out_of_memory(error):
            raise
        reason = " ".join(str(error).split())
        raise UsageError(
            f"the network fails in training mode, on a batch of shape {tuple(images.shape)}: {type(error).__name__}: "
            f"{reason}; it must give one vector of logits for each image there too, as in eval mode"
        ) from error
