"""Plain finetuning: what all other methods are compared with."""

from __future__ import annotations

from typing import ClassVar

from tlaudit.repair.base import Bench, Init, Method, Setup
from tlaudit.training.objective import CrossEntropy


class Plain(Method):
    """Cross-entropy, all layers, from a head that knows nothing."""

    name = "plain"
    summary = "cross-entropy alone, all layers learn"
    init: ClassVar[Init] = "source"

    def setup(self, bench: Bench) -> Setup:
        """Make ready; see `Method.setup`."""
        return Setup(bench.start, bench.training, CrossEntropy())
