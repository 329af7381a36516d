"""How alike two networks represent the same images: unbiased linear CKA over minibatches."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple, Self

import torch

from tlaudit.errors import DegenerateError, MeasureError, ShapeError
from tlaudit.measure.uncertainty import MINIMUM_FOR_BOOTSTRAP

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    import numpy as np
    from torch import Tensor

MINIMUM_IMAGES = 4
"""Fewest images of a minibatch: the unbiased estimate divides by n - 3."""

_ROUNDING = 1e-6
"""What a Gram matrix made in float32 may differ by, as a share of its Frobenius norm, though nothing varies."""

_COLUMNS = {"cpu": 16384}
_COLUMNS_ELSEWHERE = 2**22
"""Numbers of an image that are centred and multiplied at once: on the CPU as many as stay in its caches."""

_CELLS_AT_ONCE = 2_000_000  # 16 MB of float64: bounds the memory of the resamples, whatever the number of minibatches


class CkaParts(NamedTuple):
    """All that an accumulator took in, of B minibatches: stages of the first network come first in a row of both.

    Attributes:
        images: n of each minibatch, ``(B,)`` int64.
        across: HSIC1(K, L) of each stage of the first network with each of the second, ``(B, S1, S2)`` float64.
        own: HSIC1 of each stage with itself, ``(B, S1 + S2)``; NaN where its Gram matrix is not finite.
        floor: What that could come to by rounding alone, ``(B, S1 + S2)``.
    """

    images: Tensor
    across: Tensor
    own: Tensor
    floor: Tensor


class _Minibatch(NamedTuple):
    """What is kept of one minibatch, a row of `CkaParts`.

    Attributes:
        images: n.
        across: ``(S1, S2)``.
        own: ``(S1 + S2,)``.
        floor: ``(S1 + S2,)``.
    """

    images: int
    across: Tensor
    own: Tensor
    floor: Tensor


def gram(features: Tensor) -> Tensor:
    """Inner products of all pairs of images, from which representations of any two sizes can be compared.

    The linear Gram matrix ``X Xᵀ`` of the flattened features, of which the mean over the images is first taken off:
    HSIC1 is the same for features all moved alike, and float32 would otherwise spend its digits on what they have in
    common. Features that differ by no more than the rounding of the precision computed in count as equal: all zeros.

    Args:
        features: ``(n, ...)`` of any floating type, on any device; row i belongs to image i. Half precision is computed
            in float32, also inside autocast; float64 stays float64. They are read once, block by block.

    Returns:
        ``(n, n)`` float64 on the CPU, symmetric up to rounding, in squared units of the features. Not finite where a
        feature is not.

    Raises:
        ShapeError: If the features are not of a floating type, or not of at least one image and one number.

    Example:
        >>> gram(torch.tensor([[1.0, 5.0], [3.0, 5.0]])).tolist()
        [[1.0, -1.0], [-1.0, 1.0]]
    """
    if features.ndim < 2 or features.numel() == 0 or not features.is_floating_point():
        raise ShapeError(
            "expected features (images, ...) of a floating type, got shape "
            f"{tuple(features.shape)} of {str(features.dtype).removeprefix('torch.')}"
        )
    precision = torch.float64 if features.dtype == torch.float64 else torch.float32
    rows = _as_they_lie(features.detach())
    inner = torch.zeros(len(rows), len(rows), dtype=torch.float64)
    common = torch.zeros((), dtype=torch.float64)  # where it does not overflow as products of `precision` may
    with torch.autocast(features.device.type, enabled=False):
        for block in torch.split(rows, _COLUMNS.get(features.device.type, _COLUMNS_ELSEWHERE), dim=1):
            part = block.to(precision)
            origin = part[:1]
            part = part - origin
            inner += (part @ part.T).cpu().double()
            common += origin.cpu().double().square().sum()
    # The first image was taken off in every place, which leaves equal features exactly zero; of what is left the mean.
    inner -= inner.mean(dim=0)
    inner -= inner.mean(dim=1, keepdim=True)
    if float(inner.trace()) <= len(inner) * float(common) * torch.finfo(precision).eps ** 2:
        return torch.zeros_like(inner)
    return inner


def _as_they_lie(features: Tensor) -> Tensor:
    """Flatten features, ``(n, D)``, in the order in which memory holds them: inner products do not depend on it."""
    if features.ndim == 4 and features.is_contiguous(memory_format=torch.channels_last):
        features = features.permute(0, 2, 3, 1)
    return features.flatten(1)


def hsic1(k: Tensor, l: Tensor) -> float:  # noqa: E741 (K and L are what the papers call them)
    """How far two sets of similarities between the same images go together.

    The unbiased estimate of the Hilbert-Schmidt independence criterion (Song et al. 2012): with ``K̃, L̃`` the Gram
    matrices with zeros on the diagonal,
    ``[tr(K̃L̃) + (1ᵀK̃1)(1ᵀL̃1)/((n-1)(n-2)) - 2/(n-2) · 1ᵀK̃L̃1] / (n(n-3))``.

    Args:
        k: Gram matrix of the first features, ``(n, n)``, symmetric, n at least 4.
        l: Gram matrix of the second features of the same images in the same order, ``(n, n)``.

    Returns:
        Product of the units of both; about 0 for independent features, of either sign; NaN where an entry is not
        finite.

    Raises:
        ShapeError: If the matrices are not square, differ in shape, or n is below 4.

    Example:
        >>> pairs = torch.block_diag(torch.ones(2, 2), torch.ones(2, 2))
        >>> round(hsic1(pairs, pairs), 4)
        0.6667
    """
    n = _images([k, l])
    first, second = _hollow(k.cpu().double()), _hollow(l.cpu().double())
    trace = (first * second.T).sum()
    totals = first.sum() * second.sum() / ((n - 1) * (n - 2))
    rows = 2 / (n - 2) * (first.sum(dim=0) @ second.sum(dim=1))
    return float((trace + totals - rows) / (n * (n - 3)))


class CkaAccumulator:
    """Similarity of all stages of one network to all stages of another, from one pass over minibatches.

    Linear CKA with the unbiased HSIC (Nguyen, Raghu & Kornblith 2021, eq. 3): the mean over minibatches of
    ``HSIC1(K, L)``, over the root of the product of the means of ``HSIC1(K, K)`` and ``HSIC1(L, L)``. It is averaged
    before it is divided, each minibatch counting once. Blind to rotation, to scale and to a common shift of either
    side. Being unbiased, it can come out slightly below 0 or above 1, and is not clipped.

    A stage whose features are not finite or do not vary is left undefined; all others are as if it were not there.

    Args:
        first: Names of the stages of the first network, each once.
        second: Names of the stages of the second, each once. Names may occur on both sides.

    Raises:
        ShapeError: If a side has no stage, or one of them twice.

    Example:
        >>> features = torch.randn(8, 5, generator=torch.Generator().manual_seed(0))
        >>> pairs = CkaAccumulator(["early", "late"], ["early"])
        >>> pairs.add({"early": gram(features), "late": gram(features.relu())}, {"early": gram(3 * features.flip(1))})
        >>> round(pairs.cka("early", "early"), 4), pairs.cka("late", "early") < 0.9
        (1.0, True)
    """

    def __init__(self, first: Sequence[str], second: Sequence[str]) -> None:
        self._first = _positions(first, "first")
        self._second = _positions(second, "second")
        self._minibatches: list[_Minibatch] = []

    @property
    def batches(self) -> int:
        """Minibatches seen."""
        return len(self._minibatches)

    @property
    def images(self) -> int:
        """Images seen, over all minibatches."""
        return sum(minibatch.images for minibatch in self._minibatches)

    def add(self, first: Mapping[str, Tensor], second: Mapping[str, Tensor]) -> None:
        """Take in one minibatch.

        Args:
            first: Gram matrix of every stage of the first network, ``(n, n)`` as `gram` makes them, by name.
            second: The same of the second network, of the same images in the same order.

        Raises:
            ShapeError: If a stage is missing or unknown, a matrix is not square, they differ in shape, or n is below 4.
                Nothing is taken in then.
        """
        _check_names(first, self._first, "first")
        _check_names(second, self._second, "second")
        grams = [first[name] for name in self._first] + [second[name] for name in self._second]
        n = _images(grams)
        centred, floor = _centred(grams)
        across = centred[: len(self._first)] @ centred[len(self._first) :].T
        own = centred.square().sum(dim=1)
        pairs = n * (n - 3)
        self._minibatches.append(_Minibatch(n, across / pairs, own / pairs, floor / pairs))

    def parts(self) -> CkaParts:
        """Give all that was taken in, in the order in which it came."""
        one, two = len(self._first), len(self._second)
        shapes = ((one, two), (one + two,), (one + two,))
        rows: list[list[Tensor]] = [[torch.empty(0, *shape, dtype=torch.float64)] for shape in shapes]
        for _, *numbers in self._minibatches:
            for row, number in zip(rows, numbers, strict=True):
                row.append(number[None])
        images = torch.tensor([minibatch.images for minibatch in self._minibatches], dtype=torch.int64)
        return CkaParts(images, *(torch.cat(row) for row in rows))

    @classmethod
    def of_parts(cls, first: Sequence[str], second: Sequence[str], parts: CkaParts) -> Self:
        """Put an accumulator together again, or several of the same stages into one.

        Args:
            first: Names of the stages of the first network.
            second: Names of the stages of the second.
            parts: What `parts` gave, or those of several one after the other; resampling depends on the order of the
                minibatches.

        Raises:
            ShapeError: If they are not of so many stages, or not all of as many minibatches.
        """
        found = cls(first, second)
        count, one, two = len(parts.images), len(first), len(second)
        expected = [(count,), (count, one, two), (count, one + two), (count, one + two)]
        shapes = [tuple(part.shape) for part in parts]
        if shapes != expected:
            raise ShapeError(
                f"expected parts of the stages {list(first)} and {list(second)}, of shapes {expected}, got {shapes}"
            )
        images, *numbers = parts
        found._minibatches = [_Minibatch(*row) for row in zip(images.tolist(), *numbers, strict=True)]
        return found

    def cka(self, first: str, second: str) -> float:
        """Similarity of one stage of the first network to one of the second.

        Args:
            first: Name of a stage of the first network.
            second: Name of a stage of the second.

        Returns:
            Ratio, 1 = alike up to rotation and scale, about 0 = unrelated; may leave [0, 1] by the noise of the
            estimate.

        Raises:
            ShapeError: If a name is unknown.
            DegenerateError: If there is no minibatch, or a stage's features are not finite or do not vary.
        """
        across, own, _ = self._varying(first, second)
        return float(across.mean() / own.mean(dim=0).prod().sqrt())

    def resampled(self, first: str, second: str, resamples: int, generator: np.random.Generator) -> Tensor:
        """The similarity again for minibatches drawn with replacement, to see how far it could have come out otherwise.

        Bootstrap over minibatches (Efron 1979), each resample averaged before it is divided. The same generator state
        draws the same minibatches for any pair of stages.

        Args:
            first: Name of a stage of the first network.
            second: Name of a stage of the second.
            resamples: How many times to draw, at least 1.
            generator: Source of randomness.

        Returns:
            ``(R,)`` float64 ratios. R falls short of `resamples` by those in which a stage does not vary, which are
            left out.

        Raises:
            ShapeError: If a name is unknown.
            MeasureError: If `resamples` is below 1.
            DegenerateError: As for `cka`; or if there are fewer than `MINIMUM_FOR_BOOTSTRAP` minibatches.
        """
        if resamples < 1:
            raise MeasureError(f"at least one resample is needed, got {resamples}")
        across, own, floor = self._varying(first, second)
        if self.batches < MINIMUM_FOR_BOOTSTRAP:
            raise DegenerateError(f"resampling needs at least {MINIMUM_FOR_BOOTSTRAP} minibatches, got {self.batches}")
        ratios = []
        for weights in _draws(self.batches, resamples, generator):
            means = weights @ own
            varies = (means > weights @ floor).all(dim=1)
            ratios.append((weights @ across / means.prod(dim=1).sqrt())[varies])
        return torch.cat(ratios)

    def matrix(self) -> Tensor:
        """Similarity of every stage of the first network to every stage of the second.

        Returns:
            ``(S1, S2)`` float64 in the order the stages were named in; NaN where `cka` would raise, all of it before
            the first minibatch.
        """
        if not self._minibatches:
            return torch.full((len(self._first), len(self._second)), torch.nan, dtype=torch.float64)
        across = torch.stack([minibatch.across for minibatch in self._minibatches]).mean(dim=0)
        own = torch.stack([minibatch.own for minibatch in self._minibatches]).mean(dim=0)
        floor = torch.stack([minibatch.floor for minibatch in self._minibatches]).mean(dim=0)
        varying = torch.where(own > floor, own, torch.nan)
        one, two = varying[: len(self._first)], varying[len(self._first) :]
        return across / (one[:, None] * two).sqrt()

    def _varying(self, first: str, second: str) -> tuple[Tensor, Tensor, Tensor]:
        """HSIC1 of two stages, ``(B,)``, of each with itself, and what that could be by rounding, ``(B, 2)`` each."""
        for name, places, side in ((first, self._first, "first"), (second, self._second, "second")):
            if name not in places:
                raise ShapeError(f"expected a stage of the {side} network, one of {list(places)}, got {name!r}")
        if not self._minibatches:
            raise DegenerateError(f"no minibatch of at least {MINIMUM_IMAGES} images was seen: nothing to compare")
        row, column = self._first[first], self._second[second]
        sides = [row, len(self._first) + column]
        own = torch.stack([minibatch.own[sides] for minibatch in self._minibatches])
        floor = torch.stack([minibatch.floor[sides] for minibatch in self._minibatches])
        _check_varies(f"stage {first!r} of the first network", own[:, 0], floor[:, 0])
        _check_varies(f"stage {second!r} of the second network", own[:, 1], floor[:, 1])
        return torch.stack([minibatch.across[row, column] for minibatch in self._minibatches]), own, floor


def _check_varies(stage: str, own: Tensor, floor: Tensor) -> None:
    broken = int((~own.isfinite()).sum())
    if broken:
        raise DegenerateError(
            f"the features of {stage} are NaN, infinite or too large to multiply in {broken} of {len(own)} minibatches"
        )
    if float(own.mean()) <= float(floor.mean()):
        raise DegenerateError(
            f"the features of {stage} are constant or collapsed: between images they do not vary beyond rounding"
        )


def _draws(count: int, resamples: int, generator: np.random.Generator) -> Iterator[Tensor]:
    """Share of each of `count` minibatches in each resample, ``(R, count)`` in parts that bound the memory."""
    at_once = max(1, _CELLS_AT_ONCE // count)
    for start in range(0, resamples, at_once):
        drawn = generator.multinomial(count, [1 / count] * count, size=min(at_once, resamples - start))
        yield torch.from_numpy(drawn).double() / count


def _positions(names: Sequence[str], side: str) -> dict[str, int]:
    """Position of each name, in order."""
    twice = sorted({name for name in names if list(names).count(name) > 1})
    if twice or not names:
        raise ShapeError(
            f"expected stages of the {side} network, each once, got {f'{twice} more than once' if twice else 'none'}"
        )
    return {name: place for place, name in enumerate(names)}


def _check_names(grams: Mapping[str, Tensor], places: Mapping[str, int], side: str) -> None:
    missing = [name for name in places if name not in grams]
    unknown = [name for name in grams if name not in places]
    if missing or unknown:
        raise ShapeError(
            f"expected a Gram matrix for each stage of the {side} network, got none for {missing} and "
            f"some for {unknown}, which are no stages of it"
        )


def _images(grams: Sequence[Tensor]) -> int:
    """n, if all are ``(n, n)`` of one n that is large enough."""
    shapes = sorted({tuple(matrix.shape) for matrix in grams})
    if len(shapes) > 1 or len(shapes[0]) != 2 or shapes[0][0] != shapes[0][1]:
        raise ShapeError(f"expected square Gram matrices of the same images, got shapes {shapes}")
    n = shapes[0][0]
    if n < MINIMUM_IMAGES:
        raise ShapeError(f"expected at least {MINIMUM_IMAGES} images in a minibatch, got {n}")
    return n


def _hollow(matrices: Tensor) -> Tensor:
    """The same with zeros on the diagonal, ``(..., n, n)``."""
    return matrices * (1 - torch.eye(matrices.shape[-1], dtype=matrices.dtype))


def _centred(grams: Sequence[Tensor]) -> tuple[Tensor, Tensor]:
    """U-centred Gram matrices, a row each, whose products are ``n(n-3)`` HSIC1; and their squares if all is rounding.

    U-centring (Székely & Rizzo 2014): zeros on the diagonal, then rows and columns that sum to zero beside it.
    """
    matrices = torch.stack([matrix.cpu().double() for matrix in grams])
    n = matrices.shape[-1]
    floors = matrices.square().sum(dim=(1, 2)) * _ROUNDING**2
    hollow = _hollow(matrices)
    sums = hollow.sum(dim=2) / (n - 2)
    total = hollow.sum(dim=(1, 2)) / ((n - 1) * (n - 2))
    centred = _hollow(hollow - sums[:, :, None] - sums[:, None, :] + total[:, None, None])
    return centred.flatten(1), floors
