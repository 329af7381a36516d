"""What all measurements are told."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Options:
    """How much is measured, and where.

    Attributes:
        quick: A small run, which shows that all works rather than what it costs.
        device: auto, cpu, cuda, cuda:N or mps.
    """

    quick: bool = False
    device: str = "auto"

    def size(self, full: int, quick: int) -> int:
        return quick if self.quick else full

    @property
    def kind(self) -> str:
        """Type of the device."""
        from tlaudit.models.runtime import resolve_device

        return resolve_device(self.device).type
