"""LP-FT: plain finetuning from a head that already fits the features (Kumar et al. 2022)."""

from __future__ import annotations

from typing import ClassVar

from tlaudit.repair.base import Bench, Init, Method, Setup
from tlaudit.training.objective import CrossEntropy


class LpFt(Method):
    """Cross-entropy, all layers, from a linear probe: gradients through a random head do not spoil the backbone."""

    name = "lp-ft"
    summary = "as plain, from a linear probe for a head"
    inits: ClassVar[tuple[Init, ...]] = ("source-lp",)

    def setup(self, bench: Bench) -> Setup:
        """Make ready; see `Method.setup`."""
        return Setup(bench.start, bench.training, CrossEntropy())
