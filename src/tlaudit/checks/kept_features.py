"""What a comparison of features found, taken apart into tensors and words, and put together again."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from tlaudit.checks.followed import Spectrum
from tlaudit.measure.similarity import CkaAccumulator, CkaParts

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from torch import Tensor


def cka_apart(role: str, accumulator: CkaAccumulator) -> dict[str, Tensor]:
    """Take an accumulator apart into tensors, under names that say that its second network is that of `role`."""
    return {f"cka.{role}.{name}": part for name, part in accumulator.parts()._asdict().items()}


def cka_together(
    role: str, first: Sequence[str], second: Sequence[str], tensors: Mapping[str, Tensor]
) -> CkaAccumulator:
    """Put an accumulator of these stages together again, of what `cka_apart` gave, among others."""
    return CkaAccumulator.of_parts(
        first, second, CkaParts(*(tensors[f"cka.{role}.{name}"] for name in CkaParts._fields))
    )


def spectra_apart(spectra: Mapping[str, Mapping[str, Spectrum]]) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """Take spectra apart into their eigenvalues, by role and place, and what else there is to say of them."""
    tensors = {
        f"spectrum.{role}.{at}": one.eigenvalues for role, of in spectra.items() for at, one in enumerate(of.values())
    }
    told = {role: [(path, one.n, one.d) for path, one in of.items()] for role, of in spectra.items()}
    return tensors, told


def spectra_together(tensors: Mapping[str, Tensor], told: Mapping[str, Any]) -> dict[str, dict[str, Spectrum]]:
    """Put spectra together again, of what `spectra_apart` gave."""
    return {
        role: {path: Spectrum(tensors[f"spectrum.{role}.{at}"], n, d) for at, (path, n, d) in enumerate(of)}
        for role, of in told.items()
    }
