"""Which source classes occur in the target data, and which of the others the finetuned backbone still recognises.

Equations 1 to 3 of *Detrimental Memories in Transfer Learning*.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import torch

from tlaudit.errors import DegenerateError, MeasureError, ShapeError

if TYPE_CHECKING:
    from torch import Tensor


def prevalence(scores: Tensor, k: int) -> Tensor:
    """How many images show each class among their k highest scores.

    ``v(c) = |{x : c in top_k(M(x))}|`` (eq. 1). Counts of batches add up to the count of all their images.

    Args:
        scores: Logits or probabilities, ``(N, K)``. Row i belongs to image i. N may be 0.
        k: How many classes an image counts for, 1 to K.

    Returns:
        Counts, ``(K,)`` int64 on the CPU, each in [0, N]; they sum to N·k.

    Raises:
        ShapeError: If `scores` is not a matrix.
        MeasureError: If k is outside [1, K].
        DegenerateError: If a score is NaN, which has no place among others.

    Example:
        >>> scores = torch.tensor([[0.7, 0.2, 0.1], [0.1, 0.8, 0.1], [0.5, 0.4, 0.1]])
        >>> prevalence(scores, k=1).tolist()
        [2, 1, 0]
        >>> prevalence(scores[:1], k=2).tolist()
        [1, 1, 0]
    """
    if scores.ndim != 2:
        raise ShapeError(f"scores must be a matrix (images, classes), got shape {tuple(scores.shape)}")
    classes = scores.shape[1]
    if not 1 <= k <= classes:
        raise MeasureError(f"k must lie between 1 and the number of classes ({classes}), got {k}")
    highest = scores.topk(k, dim=1)
    # NaN comes before all numbers.
    broken = int(highest.values[:, 0].isnan().sum())
    if broken:
        raise DegenerateError(f"the scores of {broken} of {len(scores)} images hold NaN")
    return torch.bincount(highest.indices.flatten().cpu(), minlength=classes)


def default_v_lo(images: int, fraction: float = 0.001) -> int:
    """The highest prevalence at which a class still counts as absent from the target data.

    ``floor(fraction · |D^t|)``; the fraction is this project's choice, the paper leaves it open.

    Args:
        images: Number of target images, |D^t|.
        fraction: Share of the target images, in [0, 1].

    Returns:
        A count of images, at least 0.

    Raises:
        MeasureError: If the fraction is outside [0, 1].

    Example:
        >>> default_v_lo(25_000), default_v_lo(1_200), default_v_lo(999)
        (25, 1, 0)
    """
    if not 0 <= fraction <= 1:
        raise MeasureError(f"v_lo as a fraction must lie in [0, 1], got {fraction}; for a count use v_lo_count")
    # The tiny lift keeps 0.001 · 3000 = 2.9999… from being floored to 2.
    return math.floor(fraction * images * (1 + 1e-12))


def default_p_lo(classes: int) -> float:
    """The probability above which a class counts as recognised: ten times chance.

    The paper's 0.01 for the 1000 classes of ImageNet.

    Args:
        classes: Number of source classes, K.

    Returns:
        ``10 / K``; at K <= 10 that is a probability no class can exceed.

    Example:
        >>> default_p_lo(1000)
        0.01
    """
    return 10 / classes


def source_only(prevalences: Tensor, v_lo: int) -> Tensor:
    """Which classes (almost) never occur in the target data: ``v(c) <= v_lo`` (eq. 2).

    Args:
        prevalences: Counts from `prevalence`, ``(K,)``.
        v_lo: Highest count that still is "absent", in images.

    Returns:
        Mask, ``(K,)`` bool.

    Example:
        >>> source_only(torch.tensor([12, 1, 0]), v_lo=1).tolist()
        [False, True, True]
    """
    return prevalences <= v_lo


def class_means(values: Tensor, labels: Tensor, classes: int) -> tuple[Tensor, Tensor]:
    """Average a value per image over the images of each class.

    Args:
        values: One value per image, ``(N,)``, finite.
        labels: Class index of each image, ``(N,)`` int64 in [0, classes).
        classes: Number of classes, K.

    Returns:
        Means, ``(K,)`` float64, NaN where a class has no image, and the number of images of each class, ``(K,)`` int64.

    Raises:
        ShapeError: If there is not one label for each value.
        MeasureError: If a label is outside [0, classes).
        DegenerateError: If a value is NaN or infinite.

    Example:
        >>> means, counts = class_means(torch.tensor([0.5, 1.0, 0.25]), torch.tensor([0, 0, 2]), 3)
        >>> means.tolist(), counts.tolist()
        ([0.75, nan, 0.25], [2, 0, 1])
    """
    if values.ndim != 1 or values.shape != labels.shape:
        raise ShapeError(f"one label a value is needed, got shapes {tuple(values.shape)} and {tuple(labels.shape)}")
    if len(labels) and not 0 <= int(labels.min()) <= int(labels.max()) < classes:
        raise MeasureError(
            f"labels must lie between 0 and the number of classes ({classes}), got {int(labels.min())} to "
            f"{int(labels.max())}"
        )
    broken = int((~values.isfinite()).sum())
    if broken:
        raise DegenerateError(f"{broken} of {len(values)} values are NaN or infinite")
    counts = torch.bincount(labels, minlength=classes)
    sums = torch.zeros(classes, dtype=torch.float64).index_add_(0, labels, values.double())
    return sums / counts, counts


def lingering(absent: Tensor, hybrid_means: Tensor, p_lo: float) -> Tensor:
    """Which source-only classes the finetuned backbone still recognises (eq. 3).

    ``c`` is source-only and the mean of ``p_c(M^st(x))`` over the images of c exceeds `p_lo`.

    Args:
        absent: Mask of source-only classes, ``(K,)`` bool.
        hybrid_means: Mean probability of each class on its own images through the hybrid network, ``(K,)`` in [0, 1];
            NaN for a class without images, which then is untested and not in the mask.
        p_lo: Probability that has to be exceeded, in [0, 1].

    Returns:
        Mask, ``(K,)`` bool.

    Example:
        >>> lingering(torch.tensor([True, True, False]), torch.tensor([0.5, float("nan"), 0.9]), p_lo=0.01).tolist()
        [True, False, False]
    """
    return absent & (hybrid_means > p_lo)
