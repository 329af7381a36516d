"""How many directions a stage's features spread over: spectra of their covariance, and ranks read from them."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import torch

from tlaudit.errors import DegenerateError, MeasureError, ShapeError

if TYPE_CHECKING:
    from torch import Tensor

RANK_THRESHOLD = 1e-3
"""Share of the largest eigenvalue above which an eigenvalue counts towards the numerical rank."""

_CELLS_AT_ONCE = 2_000_000  # 16 MB of float64: bounds the copy that a Gram matrix is computed from


class CovarianceSpectrum:
    """Eigenvalues of the features' sample covariance, from one pass over batches of rows.

    The covariance is kept in float64 on the CPU, ``(D, D)``, and joined batch by batch about the means (Chan, Golub &
    LeVeque 1979), so that a large common mean costs no digits. For rows too wide for that, see `GramSpectrum`.

    Example:
        >>> spectrum = CovarianceSpectrum()
        >>> spectrum.add(torch.tensor([[1.0, 0.0], [-1.0, 0.0]]))
        >>> spectrum.add(torch.tensor([[0.0, 2.0], [0.0, -2.0]]))
        >>> [round(value, 4) for value in spectrum.eigenvalues().tolist()]
        [2.6667, 0.6667]
    """

    def __init__(self) -> None:
        self._count = 0
        self._broken = 0
        self._mean = torch.zeros(0, dtype=torch.float64)
        self._scatter = torch.zeros(0, 0, dtype=torch.float64)

    @property
    def count(self) -> int:
        """N, rows seen."""
        return self._count

    @property
    def dimensions(self) -> int:
        """D, numbers of a row; 0 before the first."""
        return len(self._mean)

    def add(self, features: Tensor) -> None:
        """Take in some rows.

        Args:
            features: ``(n, D)`` of any floating type, on any device; row i belongs to image i.

        Raises:
            ShapeError: If they are not such rows, or D differs from that of earlier ones.
        """
        _check_rows(features, self.dimensions)
        rows = features.detach().cpu().double()
        self._broken += _broken(rows)
        self._start(rows.shape[1])
        mean = rows.mean(dim=0)
        rows = rows - mean
        self._scatter.addmm_(rows.T, rows)
        self._move(len(rows), mean)

    def merge(self, other: CovarianceSpectrum) -> None:
        """Take in the rows of another process; the order of merging matters to rounding only.

        Args:
            other: Spectrum of rows as wide; left as it is.

        Raises:
            ShapeError: If its rows have another width.
        """
        if not other.count:
            return
        self._start(other.dimensions)
        _check_width(other.dimensions, self.dimensions)
        self._broken += other._broken
        self._scatter.add_(other._scatter)
        self._move(other.count, other._mean)

    def eigenvalues(self) -> Tensor:
        """Variances along the principal directions.

        Of the sample covariance, which divides by N - 1. What rounding brought below 0, or above it in the directions
        that N rows cannot span, is 0; so are all if rows differ by no more than the rounding of float32.

        Returns:
            ``(D,)`` float64 in falling order, at least 0, in squared units of the features; at most N - 1 of them
            above 0.

        Raises:
            DegenerateError: If there are fewer than two rows, or some are not finite.
        """
        _check_measurable(self._count, self._broken)
        common = float(self._mean.square().sum())
        return _falling(self._scatter, self._count, self.dimensions, common)

    def _start(self, dimensions: int) -> None:
        if self._count:
            return
        self._mean = torch.zeros(dimensions, dtype=torch.float64)
        with torch.inference_mode(mode=False):  # what is made in inference mode could not be added to outside it
            self._scatter = torch.zeros(dimensions, dimensions, dtype=torch.float64)

    def _move(self, count: int, mean: Tensor) -> None:
        """Account for the distance between the mean so far and that of `count` rows whose scatter was added."""
        total = self._count + count
        apart = mean - self._mean
        self._scatter.addr_(apart, apart, alpha=self._count * count / total)
        self._mean = self._mean + apart * (count / total)
        self._count = total


class GramSpectrum:
    """The same eigenvalues from rows too wide for a covariance: flattened maps of more numbers than there are images.

    Keeps the rows, on the CPU in the precision they come in, and takes the nonzero eigenvalues from their inner
    products, ``(N, N)``, centred and in float64.

    Example:
        >>> spectrum = GramSpectrum()
        >>> spectrum.add(torch.tensor([[1.0, 0.0, 0.0], [-1.0, 0.0, 0.0]]))
        >>> [round(value, 4) for value in spectrum.eigenvalues().tolist()]
        [2.0]
    """

    def __init__(self) -> None:
        self._rows: list[Tensor] = []
        self._broken = 0

    @property
    def count(self) -> int:
        """N, rows seen."""
        return sum(len(rows) for rows in self._rows)

    @property
    def dimensions(self) -> int:
        """D, numbers of a row; 0 before the first."""
        return self._rows[0].shape[1] if self._rows else 0

    def add(self, features: Tensor) -> None:
        """Take in some rows, of which a copy is kept.

        Args:
            features: ``(n, D)`` of any floating type, on any device; row i belongs to image i.

        Raises:
            ShapeError: If they are not such rows, or D differs from that of earlier ones.
        """
        _check_rows(features, self.dimensions)
        self._broken += _broken(features.detach())
        self._rows.append(features.detach().to("cpu", copy=True))

    def merge(self, other: GramSpectrum) -> None:
        """Take in the rows of another process; the order of merging matters to rounding only.

        Args:
            other: Spectrum of rows as wide; left as it is.

        Raises:
            ShapeError: If its rows have another width.
        """
        if other._rows and self._rows:
            _check_width(other.dimensions, self.dimensions)
        self._broken += other._broken
        self._rows += other._rows

    def eigenvalues(self) -> Tensor:
        """Variances along the principal directions that the rows span.

        Returns:
            ``(min(N - 1, D),)`` float64 in falling order, otherwise as of `CovarianceSpectrum`, whose further ones
            are 0.

        Raises:
            DegenerateError: If there are fewer than two rows, or some are not finite.
        """
        _check_measurable(self.count, self._broken)
        inner = torch.zeros(self.count, self.count, dtype=torch.float64)
        common = 0.0
        width = max(1, _CELLS_AT_ONCE // self.count)
        for start in range(0, self.dimensions, width):
            columns = torch.cat([rows[:, start : start + width].double() for rows in self._rows])
            mean = columns.mean(dim=0)
            columns -= mean
            common += float(mean.square().sum())
            inner.addmm_(columns, columns.T)
        return _falling(inner, self.count, self.dimensions, common)[: min(self.count - 1, self.dimensions)]


def numerical_rank(eigenvalues: Tensor, threshold: float = RANK_THRESHOLD) -> int:
    """Directions along which features vary noticeably.

    Number of eigenvalues of the sample covariance above `threshold` times the largest. On singular values, the roots of
    the eigenvalues, the same threshold counts far more: all of 512 that fall as ``1 / i``, of whose squares 31 count.

    Args:
        eigenvalues: Of the sample covariance, ``(D,)``, at least 0, in any order.
        threshold: Share of the largest eigenvalue, in [0, 1).

    Returns:
        Rank, from 1 to D.

    Raises:
        ShapeError: If the eigenvalues are not a vector of at least one.
        DegenerateError: If all are 0: constant features.
        MeasureError: If the threshold is outside [0, 1), or an eigenvalue is negative or not finite.

    Example:
        >>> numerical_rank(torch.tensor([1.0, 0.5, 0.0011, 0.0009]))
        3
    """
    if not 0 <= threshold < 1:
        raise MeasureError(f"the threshold must lie in [0, 1), got {threshold}")
    variances = _variances(eigenvalues)
    return int((variances > threshold * variances.max()).sum())


def effective_rank(eigenvalues: Tensor) -> float:
    """Directions that features spread over, each counting by its share.

    Exponential of the entropy of the normalised singular values, the roots of the eigenvalues (Roy & Vetterli 2007).

    Args:
        eigenvalues: Of the sample covariance, ``(D,)``, at least 0, in any order.

    Returns:
        Rank, from 1 = one direction to D = all alike.

    Raises:
        ShapeError: If the eigenvalues are not a vector of at least one.
        DegenerateError: If all are 0: constant features.
        MeasureError: If an eigenvalue is negative or not finite.

    Example:
        >>> round(effective_rank(torch.tensor([4.0, 4.0, 4.0, 0.0])), 4)
        3.0
    """
    singular = _variances(eigenvalues).sqrt()
    shares = singular / singular.sum()
    return math.exp(-float(torch.xlogy(shares, shares).sum()))


def participation_ratio(eigenvalues: Tensor) -> float:
    """Directions that hold the variance: few as soon as some hold most of it.

    Square of the sum of the eigenvalues, over the sum of their squares.

    Args:
        eigenvalues: Of the sample covariance, ``(D,)``, at least 0, in any order.

    Returns:
        Rank, from 1 = one direction to D = all alike.

    Raises:
        ShapeError: If the eigenvalues are not a vector of at least one.
        DegenerateError: If all are 0: constant features.
        MeasureError: If an eigenvalue is negative or not finite.

    Example:
        >>> round(participation_ratio(torch.tensor([3.0, 1.0])), 4)
        1.6
    """
    variances = _variances(eigenvalues)
    shares = variances / variances.max()
    return float(shares.sum() ** 2 / shares.square().sum())


def _falling(products: Tensor, count: int, dimensions: int, common: float) -> Tensor:
    """Eigenvalues of a matrix of products of centred rows or columns over N - 1; `common` is the mean row, squared."""
    found = products.new_zeros(len(products))
    if float(products.trace()) <= count * common * torch.finfo(torch.float32).eps ** 2:
        return found
    spanned = min(count - 1, dimensions)
    found[:spanned] = torch.linalg.eigvalsh(products).flip(0)[:spanned].clamp(min=0) / (count - 1)
    return found


def _variances(eigenvalues: Tensor) -> Tensor:
    if eigenvalues.ndim != 1 or len(eigenvalues) == 0:
        raise ShapeError(f"expected a vector of eigenvalues, got shape {tuple(eigenvalues.shape)}")
    variances = eigenvalues.detach().cpu().double()
    if not bool((variances.isfinite() & (variances >= 0)).all()):
        raise MeasureError("expected the eigenvalues of a covariance, finite and at least 0, got others")
    if float(variances.max()) == 0:
        raise DegenerateError("the features are constant: no direction varies, so that there is no rank to speak of")
    return variances


def _broken(rows: Tensor) -> int:
    return int((~rows.isfinite().all(dim=1)).sum())


def _check_rows(features: Tensor, dimensions: int) -> None:
    if features.ndim != 2 or features.numel() == 0 or not features.is_floating_point():
        raise ShapeError(
            "expected rows of features (images, dimensions) of a floating type, got shape "
            f"{tuple(features.shape)} of {str(features.dtype).removeprefix('torch.')}"
        )
    if dimensions:
        _check_width(features.shape[1], dimensions)


def _check_width(found: int, dimensions: int) -> None:
    if found != dimensions:
        raise ShapeError(f"expected rows of {dimensions} features, as before, got rows of {found}")


def _check_measurable(count: int, broken: int) -> None:
    if count < 2:
        raise DegenerateError(f"a covariance needs at least 2 images, got {count}")
    if broken:
        raise DegenerateError(f"the features of {broken} of {count} images hold NaN or infinite values")
