"""Linear probes on the last features of source and finetuned network: what can be read from them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch

from tlaudit.errors import DegenerateError
from tlaudit.measure.probes import linear_probe, paired_change, split
from tlaudit.results import Finding

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tlaudit.checks.compared import Compared
    from tlaudit.checks.measured import Recorder
    from tlaudit.data.images import ImageSet
    from tlaudit.measure.probes import Probe
    from tlaudit.results import Measurement

ROLES = ("source", "finetuned")
NAMES = ("erosion.probe_accuracy.source", "erosion.probe_accuracy.finetuned", "erosion.delta_lp")


@dataclass(frozen=True)
class Probed:
    """What probes say.

    Attributes:
        measurements: Accuracy of each probe and their difference.
        findings: What the reader has to know of how they were fitted.
    """

    measurements: tuple[Measurement, ...]
    findings: tuple[Finding, ...] = ()


def not_asked(recorder: Recorder) -> Probed:
    """Say that no probe was fitted."""
    return Probed(tuple(recorder.absent(name, "no linear probe was asked for (--probe)") for name in NAMES))


def probe(images: ImageSet, compared: Compared, recorder: Recorder) -> Probed:
    """Fit a probe to each network's features on half of the images of each folder, and test both on the other half.

    Args:
        images: Whose first-level folders are the classes.
        compared: With features kept.
        recorder: Seed of the halves, of the cross-validation and of the intervals.
    """
    try:
        before, after = _fitted(images, compared, recorder.seed)
    except DegenerateError as error:
        return Probed(tuple(recorder.absent(name, str(error)) for name in NAMES))
    why, n = "no image was left to test the probe on", len(before.right)
    measurements = (
        recorder.share(NAMES[0], int(before.right.sum()), n, if_none=why),
        recorder.share(NAMES[1], int(after.right.sum()), n, if_none=why),
        recorder.mean(NAMES[2], paired_change(after, before), if_none=why),
    )
    return Probed(measurements, tuple(_findings(before, after)))


def _fitted(images: ImageSet, compared: Compared, seed: int) -> tuple[Probe, Probe]:
    """A probe of each network, on the same images.

    Raises:
        DegenerateError: If there is nothing to learn or to learn from.
    """
    for role in ROLES:
        if role not in compared.kept:
            last = compared.stages[role][-1]
            reason = compared.reasons[role].get(last) or compared.without[role].get(last)
            raise DegenerateError(f"the {role} network's last stage, {last}, cannot be probed: {reason}")
    folders = [images.items[index].folder for index in compared.index.tolist()]
    classes: dict[str | None, int] = {folder: index for index, folder in enumerate(images.folders)}
    if None in folders:
        raise DegenerateError("the images lie in no class folders, so that there is nothing to learn")
    labels = torch.tensor([classes[folder] for folder in folders])
    fitted = split(labels, torch.Generator().manual_seed(seed))
    before, after = (
        linear_probe(x[fitted], labels[fitted], x[~fitted], labels[~fitted], seed)
        for x in (compared.kept[role] for role in ROLES)
    )
    return before, after


def _findings(before: Probe, after: Probe) -> Iterator[Finding]:
    for role, fitted in zip(ROLES, (before, after), strict=True):
        if not fitted.converged:
            message = f"The probe on the {role} network's features did not come to rest; more may be there to be read."
            yield Finding(code="erosion.probe_not_converged", severity="warning", message=message)
    if not before.folds:
        message = (
            "Some class has a single image to fit the probes to, so that there was no cross-validation: their strength "
            f"is {before.strength:g}, untried."
        )
        yield Finding(code="erosion.probe_untried", severity="warning", message=message)
