"""What a comparison of features found, taken apart into tensors and words, and put together again."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Self

import torch

from tlaudit.checks.followed import Spectrum
from tlaudit.measure.similarity import CkaAccumulator, _Minibatch

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from torch import Tensor


class KeptCka(CkaAccumulator):
    """An accumulator whose minibatches can be taken out, and put back in the same order."""

    def parts(self, role: str) -> dict[str, Tensor]:
        """Give all that was taken in, B minibatches of S1 and S2 stages, under names that say whose it is.

        Args:
            role: Of the second network.
        """
        one, two = len(self._first), len(self._second)
        none = _Minibatch(
            0, torch.empty(one, two).double(), torch.empty(one + two).double(), torch.empty(one + two).double()
        )
        images, *numbers = zip(none, *self._minibatches, strict=True)
        parts = (torch.tensor(images), *(torch.stack(list(of)) for of in numbers))
        return {f"cka.{role}.{name}": part[1:].clone() for name, part in zip(_Minibatch._fields, parts, strict=True)}

    @classmethod
    def of(cls, first: Sequence[str], second: Sequence[str], role: str, tensors: Mapping[str, Tensor]) -> Self:
        """Put one together again.

        Args:
            first: Names of the stages of the first network.
            second: Names of the stages of the second.
            role: Of the second network.
            tensors: What `parts` gave, among others.
        """
        found = cls(first, second)
        images, *numbers = (tensors[f"cka.{role}.{name}"] for name in _Minibatch._fields)
        found._minibatches = [_Minibatch(*row) for row in zip(images.tolist(), *numbers, strict=True)]
        return found


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
