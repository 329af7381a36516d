"""Source images through source network, hybrid and control: the pass that several checks can share."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import torch

from tlaudit.checks.asking import asked, refuse_nan
from tlaudit.checks.compared import compare, compared_before
from tlaudit.checks.recognition import Recogniser, recognise, remember
from tlaudit.models.runtime import class_scores
from tlaudit.models.taps import tapped

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from typing import Literal

    from torch import Tensor

    from tlaudit.checks.asking import Network
    from tlaudit.checks.base import Subject
    from tlaudit.checks.compared import Compared
    from tlaudit.checks.recognition import Recognition

LABEL = "source images"
_ROLES = {"source": "source", "hybrid": "finetuned"}
"""What `tlaudit lingering` and `tlaudit erosion` call the same network."""


@dataclass(frozen=True)
class Survey:
    """What one pass over the source images found, to the last bit what each check would have found alone.

    Attributes:
        recognition: Through ``source``, ``hybrid`` and, with a baseline, ``control``.
        compared: Features of ``source``, ``finetuned`` and, with a baseline, ``baseline``; None where other images are
            compared.
    """

    recognition: Recognition
    compared: Compared | None = None


def recognise_source(subject: Subject, *, control: bool = True) -> Recognition:
    """Ask source network, hybrid and, with a baseline, control about the source images, unless that has been done.

    Args:
        subject: Networks of one backbone, and the images.
        control: Whether the control is wanted.

    Raises:
        UsageError: If a network cannot work on images of this size.
        DataError: If no image can be read, or a network gives NaN.
    """
    if subject.survey is not None:
        found = subject.survey.recognition
        if control or "control" not in found.own:
            return found
        own, right = ({n: of[n] for n in of if n != "control"} for of in (found.own, found.right))
        return replace(found, own=own, right=right)
    return recognise(
        subject, subject.source, _asked(subject, control=control), LABEL, subject.mixed(subject.source.images)
    )


def survey(
    subject: Subject, stages: Mapping[str, Sequence[str]], *, features: Literal["pooled", "flat"], keep: bool
) -> Survey:
    """Recognise the source images and compare the networks' features on them in one pass.

    The control has the baseline's backbone, so that its features are the baseline's; whether they are is tried first,
    and where they are not the baseline runs beside it.

    Args:
        subject: Networks of one backbone, and the images.
        stages: Module paths by role, as `tlaudit.checks.compared.compare` wants them.
        features: Whose spectrum is taken.
        keep: Whether the pooled features of the last stages are kept.

    Raises:
        UsageError: If a network cannot work on images of this size.
        DataError: If no image can be read, or a network gives NaN.
    """
    if subject.execution.fuse or subject.execution.compile:
        # A network whose stages are looked at runs as it is, while alone it would have been asked as a faster one.
        subject = replace(subject, cache=None)
    images = subject.source.images
    networks = _asked(subject, control=True)
    together = {role: networks[name] for name, role in _ROLES.items()}
    known_as = dict(together)
    names = dict(_ROLES)
    if "control" in networks and "baseline" in stages:
        assert subject.pair.baseline is not None  # there is no control without one
        baseline = subject.network(subject.pair.baseline.module, "baseline")
        known_as["baseline"] = baseline
    known = compared_before(subject, images, known_as, stages, features=features, keep=keep, label=LABEL)
    if known is not None:
        return Survey(recognise_source(subject), known)
    if "baseline" in known_as:
        same = _same_features(subject, networks["control"], baseline, stages["baseline"])
        names["control"] = "baseline" if same else "control"
        together |= {"baseline": networks["control"]} if same else {"baseline": baseline}
        together |= {} if same else {"control": networks["control"]}
    recogniser = Recogniser(subject.source, names)

    def answered(index: Tensor, logits: Mapping[str, Tensor]) -> None:
        with subject.execution.inference():
            scores = {name: logits[role].float().softmax(dim=1) for name, role in names.items()}
        for name, probabilities in scores.items():
            refuse_nan(probabilities, name, LABEL)
        recogniser.add(index, scores)

    compared = compare(
        subject,
        images,
        together,
        stages,
        features=features,
        keep=keep,
        label=LABEL,
        answered=answered,
        known_as=known_as,
    )
    recognition = recogniser.recognition(compared.record, subject.group)
    remember(subject, subject.source, networks, LABEL, subject.mixed(images), recognition)
    return Survey(recognition, compared)


def _asked(subject: Subject, *, control: bool) -> dict[str, Network]:
    pair = subject.pair
    networks = {
        "source": subject.network(pair.source.module, "source"),
        "hybrid": subject.network(pair.hybrid(), "finetuned"),
    }
    module = pair.control_hybrid() if control else None
    if module is not None:
        networks["control"] = subject.network(module, "baseline")
    return networks


def _same_features(subject: Subject, one: Network, other: Network, paths: Sequence[str]) -> bool:
    """Whether two networks with one preprocessing give the same bits at these stages, tried on noise."""
    if not {path for path, _ in one.module.named_modules()} >= set(paths):
        return False
    side = one.preprocessing.crop
    noise = torch.randn(2, 3, side, side, generator=torch.Generator().manual_seed(0))
    noise = noise.to(subject.execution.device, memory_format=torch.channels_last)
    seen = []
    for network in (one, other):
        outputs: list[tuple[str, object]] = []
        with (
            subject.execution.inference(),
            asked("baseline", network, LABEL),
            # A copy, because a layer behind this one may write over its output.
            tapped(
                network.module,
                paths,
                lambda path, output, kept=outputs: kept.append(  # type: ignore[misc]
                    (path, output.clone() if isinstance(output, torch.Tensor) else None)
                ),
            ),
        ):
            class_scores(network.module, noise)
        seen.append(outputs)
    return len(seen[0]) == len(seen[1]) and all(
        path == where and isinstance(ours, torch.Tensor) and isinstance(theirs, torch.Tensor) and ours.equal(theirs)
        for (path, ours), (where, theirs) in zip(*seen, strict=True)
    )
