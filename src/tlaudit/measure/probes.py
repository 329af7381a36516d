"""What a linear classifier still reads from frozen features, before finetuning and after."""

from __future__ import annotations

import warnings
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import torch

from tlaudit.errors import DegenerateError, MeasureError, ShapeError

if TYPE_CHECKING:
    from collections.abc import Iterator

    from numpy.typing import NDArray
    from sklearn.linear_model import LogisticRegression
    from sklearn.preprocessing import StandardScaler
    from torch import Tensor

    Rows = NDArray[np.float64]
    Labels = NDArray[np.int64]

STRENGTHS = (1e-5, 1e-4, 1e-3, 1e-2, 1e-1, 1.0, 10.0)
"""Inverse strengths of the penalty tried, scikit-learn's C (our choice): the smaller, the plainer the classifier."""

STRENGTH_UNTRIED = 1.0
"""Taken where a class has a single image and nothing can be tried out: scikit-learn's own default."""

MOST_FOLDS = 5
"""Parts that the fitting images are held out in, one at a time, to pick the strength (our choice)."""

_MOST_STEPS = 1000

_LARGEST = 1e100
"""Larger features are refused: the square of what they differ by may overflow in float64."""


@dataclass(frozen=True, eq=False)
class Probe:
    """A linear classifier on frozen features, as it did on images that it was not fitted to.

    Attributes:
        right: Which test images it classified rightly, ``(M,)`` bool, in the order they were given.
        strength: Inverse strength of its penalty, one of `STRENGTHS`, or `STRENGTH_UNTRIED`.
        folds: Parts of the cross-validation that picked it; 0 if none could be had.
        converged: The optimiser came to rest. If not, more accuracy may be there to be read.
    """

    right: Tensor
    strength: float
    folds: int
    converged: bool

    @property
    def accuracy(self) -> float:
        """Share of the test images classified rightly, in [0, 1]; higher = more of the classes can be read linearly."""
        return float(self.right.double().mean())


@dataclass(frozen=True, eq=False)
class Linear:
    """A linear classifier on frozen features as they are: what standardised them is part of its weights.

    Attributes:
        classes: Label that each row stands for, ``(K,)`` int64, rising.
        weight: ``(K, D)`` float64.
        bias: ``(K,)`` float64.
        strength: Inverse strength of its penalty, one of `STRENGTHS`, or `STRENGTH_UNTRIED`.
        folds: Parts of the cross-validation that picked it; 0 if none could be had.
        converged: The optimiser came to rest.
    """

    classes: Tensor
    weight: Tensor
    bias: Tensor
    strength: float
    folds: int
    converged: bool

    def __call__(self, features: Tensor) -> Tensor:
        """Logits ``(M, K)`` float64, on the CPU, of features ``(M, D)``; their softmax is the classifier's answer."""
        return features.cpu().double() @ self.weight.T + self.bias


def split(labels: Tensor, generator: torch.Generator, share: float = 0.5) -> Tensor:
    """Which images a probe is fitted to; it is tested on the others.

    Drawn class by class: of each the given share, rounded half up, but at least one and all but one. The only image of
    a class is for fitting, since a class that was never shown cannot be recognised: such a class is not tested.

    Args:
        labels: Class of each image, ``(N,)`` integers.
        generator: Source of randomness, on any device.
        share: Share to fit to, in (0, 1).

    Returns:
        ``(N,)`` bool on the CPU, True = for fitting.

    Raises:
        ShapeError: If the labels are not a vector of integers.
        MeasureError: If the share is outside (0, 1).
        DegenerateError: If there are fewer than two classes, or none has two images.

    Example:
        >>> labels = torch.tensor([0, 0, 0, 0, 1, 1, 7])
        >>> fitting = split(labels, torch.Generator().manual_seed(0))
        >>> labels[fitting].tolist(), labels[~fitting].tolist()
        ([0, 0, 1, 7], [0, 0, 1])
    """
    if not 0 < share < 1:
        raise MeasureError(f"the share to fit to must lie strictly between 0 and 1, got {share}")
    _check_labels(labels)
    places = [(labels.cpu() == label).nonzero()[:, 0] for label in sorted(set(labels.tolist()))]
    _check_classes(len(places))
    if max(map(len, places)) < 2:
        raise DegenerateError("no class has two images, one to fit a probe to and one to test it on")
    fitting = torch.zeros(len(labels), dtype=torch.bool)
    for own in places:
        drawn = torch.randperm(len(own), generator=generator, device=generator.device).cpu()
        wanted = int(len(own) * share + 0.5)
        fitting[own[drawn[: max(1, min(wanted, len(own) - 1))]]] = True
    return fitting


def linear_probe(features: Tensor, labels: Tensor, test_features: Tensor, test_labels: Tensor, seed: int) -> Probe:
    """Fit a linear classifier to the features of some images and test it on those of others.

    Multinomial logistic regression with an L2 penalty (scikit-learn), on features standardised with the mean and the
    spread of the images fitted to; columns that are constant there are left out of account. Of `STRENGTHS` the one
    that classifies most held-out images rightly is taken, the smallest of equals, by stratified cross-validation in as
    many parts as the smallest class has images, at most `MOST_FOLDS`; each part is standardised anew.

    Args:
        features: To fit to, ``(N, D)`` of any floating type, on any device; row i belongs to image i.
        labels: Class of each, ``(N,)`` integers, at least two classes.
        test_features: To test on, ``(M, D)``.
        test_labels: Class of each, ``(M,)`` integers, all among `labels`.
        seed: Of the parts that the cross-validation draws.

    Returns:
        Which test images were classified rightly, and how the probe came about.

    Raises:
        ShapeError: If a tensor is not as documented, there is no test image, or D differs.
        MeasureError: If a class to test has no image to fit to.
        DegenerateError: If there are fewer than two classes, or features that are not finite, or too large to
            be squared.

    Example:
        >>> features = torch.tensor([[0.0, 1.0], [1.0, 5.0], [0.0, 3.0], [1.0, 2.0]])
        >>> labels = torch.tensor([0, 1, 0, 1])
        >>> others = torch.tensor([[1.2, 3.0], [-0.1, 3.0]])
        >>> probe = linear_probe(features, labels, others, torch.tensor([1, 1]), seed=0)
        >>> probe.right.tolist(), probe.accuracy
        ([True, False], 0.5)
    """
    rows, wanted = _checked(features, labels, "fit to")
    test_rows, test_wanted = _checked(test_features, test_labels, "test on")
    if rows.shape[1] != test_rows.shape[1]:
        raise ShapeError(
            f"expected features of one width, got {rows.shape[1]} to fit to and {test_rows.shape[1]} to test"
        )
    classes, counts = np.unique(wanted, return_counts=True)
    _check_classes(len(classes))
    unknown = sorted(set(test_wanted.tolist()) - set(classes.tolist()))
    if unknown:
        raise MeasureError(f"images of classes {unknown} are to be tested, and none of them to be fitted to")
    strength, folds = _picked(rows, wanted, int(counts.min()), seed)
    scaler, classifier, converged = next(_fits(rows, wanted, (strength,)))
    found = classifier.predict(scaler.transform(test_rows))
    return Probe(torch.from_numpy(found == test_wanted), strength, folds, converged)


def fit_linear(features: Tensor, labels: Tensor, seed: int) -> Linear:
    """Give the weights of the classifier that `linear_probe` tests, in terms of the features as they are.

    With mean μ and spread σ of the images fitted to, ``w (x - μ)/σ + b`` is ``(w/σ) x + (b - (w/σ) μ)``. Of two classes
    logistic regression fits one difference z; their logits are then -z/2 and z/2.

    Args:
        features: To fit to, ``(N, D)`` of any floating type, on any device; row i belongs to image i.
        labels: Class of each, ``(N,)`` integers, at least two classes.
        seed: Of the parts that the cross-validation draws.

    Returns:
        The classifier. A column that is constant in `features` has weight 0.

    Raises:
        ShapeError: If a tensor is not as documented.
        DegenerateError: If there are fewer than two classes, or features that are not finite, or too large to
            be squared.

    Example:
        >>> features = torch.tensor([[0.0, 1.0], [1.0, 5.0], [0.0, 3.0], [1.0, 2.0]])
        >>> found = fit_linear(features, torch.tensor([0, 1, 0, 1]), seed=0)
        >>> found.weight.shape, found(torch.tensor([[1.2, 3.0], [-0.1, 3.0]])).argmax(1).tolist()
        (torch.Size([2, 2]), [1, 0])
    """
    rows, wanted = _checked(features, labels, "fit to")
    classes, counts = np.unique(wanted, return_counts=True)
    _check_classes(len(classes))
    strength, folds = _picked(rows, wanted, int(counts.min()), seed)
    scaler, classifier, converged = next(_fits(rows, wanted, (strength,)))
    # Rounding of their mean leaves constant columns a weight that is all but zero.
    weight = np.where(np.ptp(rows, axis=0) == 0, 0.0, classifier.coef_ / scaler.scale_)
    bias = classifier.intercept_ - weight @ scaler.mean_
    if len(classes) == 2:
        weight, bias = np.concatenate([-weight, weight]) / 2, np.concatenate([-bias, bias]) / 2
    known = torch.from_numpy(classes)
    return Linear(known, torch.from_numpy(weight), torch.from_numpy(bias), strength, folds, converged)


def paired_change(after: Probe, before: Probe) -> Tensor:
    """Change of what can be read from each test image; the mean is ΔLP.

    Linear probe of the finetuned network's features against that of the source's (Mukhoti et al. 2023), fitted to and
    tested on the same images; negative = forgotten.

    Args:
        after: Probe of the finetuned network.
        before: Probe of the source network, tested on the same images in the same order.

    Returns:
        ``(M,)`` float64: 1 if only `after` is right, -1 if only `before` is, else 0.

    Raises:
        ShapeError: If they were tested on different numbers of images.

    Example:
        >>> before = Probe(torch.tensor([True, True, False]), 1.0, 5, True)
        >>> after = Probe(torch.tensor([True, False, False]), 1.0, 5, True)
        >>> paired_change(after, before).tolist()
        [0.0, -1.0, 0.0]
    """
    if len(after.right) != len(before.right):
        raise ShapeError(f"expected probes tested on the same images, got {len(after.right)} and {len(before.right)}")
    return after.right.double() - before.right.double()


def _picked(rows: Rows, wanted: Labels, smallest: int, seed: int) -> tuple[float, int]:
    """The strength under which most held-out images are classified rightly, and in how many parts that was tried."""
    from sklearn.model_selection import StratifiedKFold

    folds = min(MOST_FOLDS, smallest)
    if folds < 2:
        return STRENGTH_UNTRIED, 0
    hits = np.zeros(len(STRENGTHS), dtype=np.int64)
    for fitting, held_out in StratifiedKFold(folds, shuffle=True, random_state=seed).split(rows, wanted):
        for place, (scaler, classifier, _) in enumerate(_fits(rows[fitting], wanted[fitting], STRENGTHS)):
            found = classifier.predict(scaler.transform(rows[held_out]))
            hits[place] += int((found == wanted[held_out]).sum())
    return STRENGTHS[int(hits.argmax())], folds


def _fits(
    rows: Rows, wanted: Labels, strengths: tuple[float, ...]
) -> Iterator[tuple[StandardScaler, LogisticRegression, bool]]:
    """For each strength what standardises, what classifies then, and whether the fit converged."""
    from sklearn.exceptions import ConvergenceWarning
    from sklearn.linear_model import LogisticRegression
    from sklearn.preprocessing import StandardScaler
    from threadpoolctl import threadpool_limits

    scaler = StandardScaler().fit(rows)
    scaled = scaler.transform(rows)
    for strength in strengths:
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always", ConvergenceWarning)
            # Products of one image's width: threads wait for each other thirty times longer than one takes alone.
            with threadpool_limits(1, user_api="blas"):
                classifier = LogisticRegression(C=strength, max_iter=_MOST_STEPS).fit(scaled, wanted)
        others = [warning for warning in caught if not issubclass(warning.category, ConvergenceWarning)]
        for warning in others:  # recorded along with those, and nobody else's to swallow
            warnings.warn_explicit(warning.message, warning.category, warning.filename, warning.lineno)
        yield scaler, classifier, len(others) == len(caught)


def _checked(features: Tensor, labels: Tensor, purpose: str) -> tuple[Rows, Labels]:
    """Features in float64 and labels, on the CPU."""
    if features.ndim != 2 or features.numel() == 0 or not features.is_floating_point():
        raise ShapeError(
            f"expected features (images, dimensions) of a floating type to {purpose}, got shape "
            f"{tuple(features.shape)} of {str(features.dtype).removeprefix('torch.')}"
        )
    _check_labels(labels)
    if len(labels) != len(features):
        raise ShapeError(f"expected a label for each of {len(features)} images to {purpose}, got {len(labels)}")
    rows = features.detach().cpu().double()
    broken = int((~(rows.abs() <= _LARGEST).all(dim=1)).sum())
    if broken:
        raise DegenerateError(
            f"the features of {broken} of {len(rows)} images to {purpose} hold NaN or infinite values, or such above "
            f"{_LARGEST:g}"
        )
    return rows.numpy(), labels.cpu().long().numpy()


def _check_labels(labels: Tensor) -> None:
    if labels.ndim != 1 or labels.is_floating_point() or labels.is_complex() or labels.dtype == torch.bool:
        raise ShapeError(
            "expected a vector of integer labels, got shape "
            f"{tuple(labels.shape)} of {str(labels.dtype).removeprefix('torch.')}"
        )


def _check_classes(count: int) -> None:
    if count < 2:
        raise DegenerateError(f"a probe tells classes apart and needs at least 2, got {count}")
