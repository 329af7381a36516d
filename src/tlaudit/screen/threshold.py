"""Where the line is drawn: given, calibrated on clean images, or p_lo."""

from __future__ import annotations

import math
from dataclasses import dataclass
from fractions import Fraction
from typing import TYPE_CHECKING

import numpy as np
import torch

from tlaudit.measure.threshold import allowed_above, calibrated_threshold
from tlaudit.results import Finding

if TYPE_CHECKING:
    from torch import Tensor

    from tlaudit.data.images import ImageSet
    from tlaudit.options import ScreenOptions
    from tlaudit.results import DataRecord
    from tlaudit.screen.asker import Asker


@dataclass(frozen=True)
class Threshold:
    """The threshold and what it rests on.

    Attributes:
        value: Images whose score is above it are flagged, in [0, 1].
        origin: ``given``, ``calibrated``, ``p_lo``, or ``none`` where no class lingers.
        how: The same in words.
        n: Images it was calibrated on; 0 if it was not.
        spare: Scores of calibration images that had no part in it, ``(M,)`` float32, or None.
        record: The calibration images that were read, or None.
        findings: What the reader has to know of it.
    """

    value: float
    origin: str
    how: str
    n: int = 0
    spare: Tensor | None = None
    record: DataRecord | None = None
    findings: tuple[Finding, ...] = ()


def settle_threshold(asker: Asker, options: ScreenOptions, calibration: ImageSet | None, *, split: bool) -> Threshold:
    """Settle the threshold, and give it to the detector.

    Args:
        asker: Asked about the calibration images.
        options: ``threshold``, or ``alpha``.
        calibration: Clean target images, or None; not read where a threshold is given or no class lingers.
        split: Whether half of them, chosen by the seed, is kept to measure the false-positive rate on.

    Raises:
        DataError: If no calibration image can be read.
    """
    if not asker.lingering:
        return Threshold(asker.threshold, "none", "no class lingers")
    if options.threshold is not None:
        threshold = Threshold(options.threshold, "given", "given with --threshold")
    elif calibration is not None:
        threshold = _calibrated(asker, options.alpha, calibration, split=split)
    else:
        how = "p_lo of the result of lingering: neither --threshold nor --calibrate was given"
        threshold = Threshold(asker.threshold, "p_lo", how)
    asker.threshold = threshold.value
    return threshold


def _calibrated(asker: Asker, alpha: float, images: ImageSet, *, split: bool) -> Threshold:
    stream = asker.stream(images)
    answers = asker.follow(stream, len(images.items), "calibration images")
    scores = torch.cat([answer.score for _, answer in answers])
    n = (len(scores) + 1) // 2 if split and len(scores) > 1 else len(scores)
    order = torch.from_numpy(np.random.default_rng(asker.subject.seed).permutation(len(scores))) if split else None
    used, spare = (scores, None) if order is None else (scores[order[:n]], scores[order[n:]])
    allowed = allowed_above(alpha, n)
    half = " (half of them, drawn by the seed)" if split else ""
    return Threshold(
        value=calibrated_threshold(used, alpha),
        origin="calibrated",
        how=f"calibrated: at most {allowed} of {n} calibration images{half} lie above it, alpha {alpha:g}",
        n=n,
        spare=spare,
        record=stream.record(),
        findings=() if allowed else (_too_few(alpha, n),),
    )


def saturated(threshold: Threshold) -> Finding | None:
    """Say so where no probability exceeds a calibrated threshold: clean images already reach the highest there is."""
    if threshold.value < 1:
        return None
    message = (
        "Clean target images score as high as can be, so that the threshold is 1 and nothing is ever flagged: at this "
        "alpha the detector is off. A larger --alpha flags more, clean images too."
    )
    return Finding(code="screen.never_flags", severity="warning", message=message)


def _too_few(alpha: float, n: int) -> Finding:
    # As `allowed_above` reads it: alpha as it is written.
    needed = math.ceil(1 / Fraction(repr(float(alpha))))
    message = (
        f"{n} calibration images are too few for alpha {alpha:g}, which lets less than one of them be flagged: the "
        f"threshold is their highest score. At least {needed} are needed, or a larger alpha."
    )
    return Finding(code="screen.few_calibration_images", severity="warning", message=message)
