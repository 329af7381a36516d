"""Linear probe: the source's backbone as it is, under a head fitted to its features."""

from __future__ import annotations

from typing import ClassVar

from tlaudit.repair.base import Bench, Init, Method, Setup


class LinearProbe(Method):
    """No training: the head alone is fitted (`tlaudit.training.probed_head`), so that nothing of the source is lost."""

    name = "linear-probe"
    summary = "the head alone is fitted, the backbone stays the source's"
    inits: ClassVar[tuple[Init, ...]] = ("source-lp",)

    def setup(self, bench: Bench) -> Setup:
        """Give the network it begins with; see `Method.setup`."""
        return Setup(bench.start, bench.training, None)
