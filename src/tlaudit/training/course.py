"""How far a training is: the epochs behind it, the one under way, and which of them is to be kept."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal, Self

from tlaudit.training.steps import Epoch

if TYPE_CHECKING:
    from collections.abc import Mapping

Keep = Literal["best", "last"]


@dataclass
class Course:
    """How far a training is, in plain numbers, so that it can be saved.

    Attributes:
        step: How many steps were made.
        images: That came by in the epoch under way.
        sums: Terms of the loss by name, summed over these images.
        history: Epochs that are finished.
        best: Highest accuracy so far; None where nothing was asked.
        best_epoch: After which it was reached first.
        kept: Epoch whose weights are kept; None before one is finished.
        stopped: Whether the training has ended early.
    """

    step: int = 0
    images: int = 0
    sums: dict[str, float] = field(default_factory=dict)
    history: list[Epoch] = field(default_factory=list)
    best: float | None = None
    best_epoch: int = 0
    kept: int | None = None
    stopped: bool = False

    def add(self, losses: Mapping[str, float], images: int) -> None:
        """Count a step."""
        self.step += 1
        self.images += images
        for name, value in losses.items():
            self.sums[name] = self.sums.get(name, 0.0) + value * images

    def conclude(self, learning_rate: float, accuracy: float | None, keep: Keep, patience: int) -> bool:
        """End the epoch under way.

        Args:
            learning_rate: Of its last step.
            accuracy: Of the network after it; None where nothing was asked.
            keep: Whether the best or the last epoch is kept; without an accuracy it is the last.
            patience: Epochs without a higher accuracy after which the training ends; 0 for never.

        Returns:
            Whether this epoch is the one to keep.
        """
        epoch = len(self.history)
        means = {name: value / self.images for name, value in self.sums.items()}
        self.history.append(Epoch(epoch, means, learning_rate, accuracy))
        self.images, self.sums = 0, {}
        is_better = accuracy is not None and (self.best is None or accuracy > self.best)
        if is_better:
            self.best, self.best_epoch = accuracy, epoch
        if accuracy is None or keep == "last" or is_better:
            self.kept = epoch
        self.stopped = accuracy is not None and 0 < patience <= epoch - self.best_epoch
        return self.kept == epoch

    def state(self) -> dict[str, Any]:
        """Give it as a dict of numbers, lists and dicts."""
        return dataclasses.asdict(self)

    @classmethod
    def of(cls, state: Mapping[str, Any]) -> Self:
        """Make it of what `state` gave."""
        return cls(**{**state, "history": [Epoch(**epoch) for epoch in state["history"]]})
