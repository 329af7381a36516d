"""How a network is asked: fed as it is used to, and named where it fails."""

from __future__ import annotations

import contextlib
import functools
import sys
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from tlaudit.errors import DataError, UsageError
from tlaudit.models.halving import Halving, enough_memory, joined, statistics_of_batches
from tlaudit.models.runtime import class_scores

if TYPE_CHECKING:
    from collections.abc import Iterator

    from torch import Tensor, nn

    from tlaudit.models.faster import Faster
    from tlaudit.results import Preprocessing


@dataclass(frozen=True)
class Network:
    """A network as it is fed: placed on the device, with its own preprocessing, and as many images as fit at once."""

    module: nn.Module
    preprocessing: Preprocessing
    halving: Halving = field(default_factory=lambda: Halving("the network"), compare=False)
    faster: Faster | None = field(default=None, compare=False)

    def __post_init__(self) -> None:
        """Keep batches whole in which images depend on each other."""
        self.halving.whole |= bool(statistics_of_batches(self.module))

    def logits(self, pixels: Tensor) -> Tensor:
        """Run it for its logits alone: as a faster one where it has one, in parts where memory is too short.

        Args:
            pixels: Normalised images, ``(N, 3, H, W)`` on the device.

        Returns:
            Logits ``(N, K)``, in the precision they were computed in.

        Raises:
            ValueError: If the network gives anything but one vector of logits for each image.
            DataError: If memory is too short.
        """
        run = self.faster or functools.partial(class_scores, self.module)
        return joined(self.halving.run(len(pixels), lambda part: run(pixels[part])))


@contextlib.contextmanager
def asked(name: str, network: Network, label: str) -> Iterator[None]:
    """Run a network of the user's own: what it prints goes to stderr, and if it fails it is said which one it was.

    What it prints must not get between the lines of a document on stdout.

    Args:
        name: What the network is called in messages.
        network: That network.
        label: What it is asked about.

    Raises:
        UsageError: If the network cannot work on its images.
        DataError: If memory is too short for it.
    """
    try:
        with contextlib.redirect_stdout(sys.stderr), enough_memory(f"{label}: the {name} network"):
            yield
    except (RuntimeError, AssertionError, ValueError, TypeError, IndexError) as error:
        side = network.preprocessing.crop
        reason = " ".join(str(error).split())
        raise UsageError(
            f"{label}: the {name} network cannot work on images of {side} x {side} pixels: "
            f"{type(error).__name__}: {reason}; check --resize and --crop, and --arch"
        ) from error


def refuse_nan(scores: Tensor, name: str, label: str) -> None:
    """Stop where a network gives NaN for an image, row by row of ``(N, K)`` scores.

    Raises:
        DataError: With the network and the number of images.
    """
    broken = int(scores.isnan().any(dim=1).sum())
    if broken:
        raise DataError(
            f"{label}: the {name} network gives no number for {broken} images (NaN): its weights overflow "
            "in this precision or its preprocessing is wrong; try --precision fp32, check --mean and --std"
        )
