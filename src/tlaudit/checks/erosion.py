"""Feature erosion: how far finetuning moved the features, stage by stage, and what was lost with them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

import torch

from tlaudit.checks.base import Stopwatch, provenance
from tlaudit.checks.compared import Compared, chosen_stages, compare
from tlaudit.checks.measured import Recorder
from tlaudit.checks.profile import Profile
from tlaudit.checks.recognition import recognise
from tlaudit.checks.vocabulary_erosion import quantities
from tlaudit.data.classes import match_folders
from tlaudit.data.images import ImageSet
from tlaudit.errors import ClassMatchError, DataError, DegenerateError, UsageError
from tlaudit.measure.probes import linear_probe, split
from tlaudit.measure.similarity import MINIMUM_IMAGES
from tlaudit.results import CheckResult, Finding

if TYPE_CHECKING:
    from collections.abc import Mapping

    from torch import Tensor

    from tlaudit.checks.base import Subject
    from tlaudit.options import ErosionOptions
    from tlaudit.records import Cell
    from tlaudit.results import DataRecord, Measurement

NAME = "erosion"
HEADLINE = ("erosion.cka.min", "erosion.rank_ratio.min", "erosion.source_accuracy_drop", "erosion.delta_lp")
LOST_ACCURACY = 0.05
"""More accuracy on source images lost than this is a concern (our choice)."""
LOST_RANK = 0.5
"""A stage whose rank falls below this share of the source's is a concern (our choice)."""
LOST_SIMILARITY = 0.5
"""Where nothing tells what the source network knew, a CKA below this is a concern (our choice)."""
NO_HYBRID = "the two networks have different backbones, so that the source's head does not fit the finetuned one"
OPTION = "with --source-data"
NOT_ASKED = "no linear probe was asked for (--probe)"


@dataclass(frozen=True)
class _Known:
    """Whether each source image is recognised, before and after; or why that cannot be said.

    Attributes:
        before: By the source network, ``(N,)`` bool.
        after: By finetuned backbone and source head.
        reason: Why neither is known; empty where they are.
        record: Of the images, where they are others than those compared.
    """

    before: Tensor
    after: Tensor
    reason: str = ""
    record: DataRecord | None = None


class ErosionCheck:
    """The check behind `tlaudit erosion`."""

    name = NAME
    needs: tuple[str, ...] = ()

    def refuse(self, subject: Subject, options: ErosionOptions) -> None:
        """Look whether the stages are there, and images enough.

        Raises:
            UsageError: If a stage is named twice or missing, or there are no images.
            DataError: If there are fewer than 4 images.
        """
        self._stages(subject, options)
        _images(subject, options)

    def run(self, subject: Subject, options: ErosionOptions) -> CheckResult:
        """Compare the networks' features on the same images, and what they know of source images.

        Args:
            subject: Networks and images; target images are not looked at.
            options: Images, stages, features, probe, intervals.

        Returns:
            Measurements, the tables ``stages`` (one row a stage and network), ``spectra`` and ``cka_matrix`` (where it
            was asked for, or the backbones differ), findings, provenance.

        Raises:
            UsageError: If a stage is named twice or missing, or there are no images.
            DataError: If there are fewer than 4 images, or none can be read.
        """
        watch = Stopwatch()
        stages, images = self._stages(subject, options), _images(subject, options)
        pair = subject.pair
        modules = {"source": pair.source.module, "finetuned": pair.hybrid() if pair.alike else pair.finetuned.module}
        if pair.baseline is not None and "baseline" in stages:
            modules["baseline"] = pair.baseline.module
        networks = {role: subject.network(module, role) for role, module in modules.items()}
        compared = compare(subject, images, networks, stages, features=options.features, keep=options.probe)
        recorder = Recorder(
            quantities(stages["source"] if pair.alike else ()), subject.seed, options.bootstrap, options.confidence
        )
        profile = Profile(compared, recorder, alike=pair.alike)
        known = _known(subject, options, images, compared)
        records = {"data": compared.record} | ({"source": known.record} if known.record is not None else {})
        found = (*profile.measurements(), *_accuracies(known, recorder), *_probes(options, images, compared, recorder))
        measurements = {m.name: m for m in found}
        resolved: dict[str, Cell] = {
            "stages": ", ".join(dict.fromkeys(path for of_role in stages.values() for path in of_role)),
            "features": options.features,
            "full_matrix": options.full_matrix or not pair.alike,
            "probe": options.probe,
            "minibatch": subject.execution.batch_size,
            "bootstrap": options.bootstrap,
            "confidence": options.confidence,
        }
        return CheckResult(
            check=NAME,
            verdict=_verdict(measurements),
            summary=_summary(measurements, profile),
            headline=HEADLINE,
            measurements=found,
            tables=profile.tables(matrix=options.full_matrix or not pair.alike),
            charts=profile.charts(matrix=options.full_matrix or not pair.alike),
            findings=(*subject.findings, *profile.findings(), *_few(compared)),
            provenance=provenance(subject, records, resolved),
            run=watch.stop(subject.execution),
        )

    def _stages(self, subject: Subject, options: ErosionOptions) -> dict[str, tuple[str, ...]]:
        pair = subject.pair
        models = {"source": pair.source, "finetuned": pair.finetuned, "baseline": pair.baseline}
        given = {role: model for role, model in models.items() if model is not None}
        return chosen_stages(given, options.stages, pair.head if pair.alike else None)


def _images(subject: Subject, options: ErosionOptions) -> ImageSet:
    """The images that are compared: those named, else source images."""
    images = subject.source.images
    if options.data is not None:
        images = ImageSet.scan(options.data, labelled=False, limit=subject.limit, seed=subject.seed)
    if not images.items:
        raise UsageError("images are needed: --data DIR, or --source-data DIR")
    if len(images.items) < MINIMUM_IMAGES:
        raise DataError(f"{images.root}: CKA needs at least {MINIMUM_IMAGES} images, found {len(images.items)}")
    return images


def _known(subject: Subject, options: ErosionOptions, images: ImageSet, compared: Compared) -> _Known:
    """What the networks make of images of source classes, without a second pass where the compared ones are such."""
    none = torch.empty(0, dtype=torch.bool)
    if not subject.pair.alike:
        return _Known(none, none, NO_HYBRID)
    source = subject.source
    if options.data is not None and source.images.items and source.images.items != images.items:
        networks = {
            "source": subject.network(subject.pair.source.module, "source"),
            "hybrid": subject.network(subject.pair.hybrid(), "finetuned"),
        }
        seen = recognise(subject, source, networks, "source images")
        record = seen.record.model_copy(update={"labels": source.digest()})
        return _Known(seen.right["source"], seen.right["hybrid"], record=record)
    labels = source.labels if source.images.items == images.items else _labels(subject, images)
    if isinstance(labels, str):
        return _Known(none, none, labels)
    wanted = labels[compared.index]
    return _Known(compared.predicted["source"] == wanted, compared.predicted["finetuned"] == wanted)


def _labels(subject: Subject, images: ImageSet) -> Tensor | str:
    """The source network's class of each image, from its folder, or why that is not known."""
    if any(item.folder is None for item in images.items):
        return f"the images lie in no class folders; give source images {OPTION}"
    try:
        match = match_folders(images.folders, subject.classes, None)
    except ClassMatchError as error:
        return f"the folders of the images are not the source network's classes ({error}); give source images {OPTION}"
    if match.by_order:
        # Whoever says that these are source images may leave it at their order; any images may have as many folders.
        return f"nothing names the folders of the images as the source network's classes; give source images {OPTION}"
    return torch.tensor([match.indices[item.folder] for item in images.items if item.folder is not None])


def _accuracies(known: _Known, recorder: Recorder) -> list[Measurement]:
    names = [f"erosion.source_accuracy_{what}" for what in ("before", "after", "drop")]
    if known.reason:
        return [recorder.absent(name, known.reason) for name in names]
    why, n = "no source image was read", len(known.before)
    return [
        recorder.share(names[0], int(known.before.sum()), n, if_none=why),
        recorder.share(names[1], int(known.after.sum()), n, if_none=why),
        recorder.mean(names[2], known.before.double() - known.after.double(), if_none=why),
    ]


def _probes(options: ErosionOptions, images: ImageSet, compared: Compared, recorder: Recorder) -> list[Measurement]:
    """Linear probes on the last stage of both networks, fitted and tested on disjoint halves of the same images."""
    names = ["erosion.probe_accuracy.source", "erosion.probe_accuracy.finetuned", "erosion.delta_lp"]
    if not options.probe:
        return [recorder.absent(name, NOT_ASKED) for name in names]
    try:
        before, after = _probed(images, compared, recorder.seed)
    except DegenerateError as error:
        return [recorder.absent(name, str(error)) for name in names]
    why = "no image was left to test the probe on"
    return [
        recorder.share(names[0], int(before.sum()), len(before), if_none=why),
        recorder.share(names[1], int(after.sum()), len(after), if_none=why),
        recorder.mean(names[2], after.double() - before.double(), if_none=why),
    ]


def _probed(images: ImageSet, compared: Compared, seed: int) -> tuple[Tensor, Tensor]:
    """Which of the test images each network's probe gets right, ``(M,)`` bool.

    Raises:
        DegenerateError: If there is nothing to learn or to learn from.
    """
    roles = ("source", "finetuned")
    for role in roles:
        if role not in compared.kept:
            reason = compared.reasons[role][compared.stages[role][-1]]
            raise DegenerateError(f"the {role} network's last stage cannot be probed: {reason}")
    folders = [images.items[index].folder for index in compared.index.tolist()]
    classes: dict[str | None, int] = {folder: index for index, folder in enumerate(images.folders)}
    if None in folders:
        raise DegenerateError("the images lie in no class folders, so that there is nothing to learn")
    labels = torch.tensor([classes[folder] for folder in folders])
    fitted = split(labels, torch.Generator().manual_seed(seed))
    before, after = (
        linear_probe(x[fitted], labels[fitted], x[~fitted], labels[~fitted], seed).right
        for x in (compared.kept[role] for role in roles)
    )
    return before, after


def _verdict(measurements: Mapping[str, Measurement]) -> Literal["concern", "clear", "open"]:
    """A concern if the source's knowledge is lost beyond doubt, or half the rank of a stage is."""
    drop, rank, cka = (measurements[name] for name in reversed(HEADLINE[:3]))
    if rank.value is not None and rank.value < LOST_RANK:
        return "concern"
    if drop.interval is not None:
        if drop.interval.low > LOST_ACCURACY:
            return "concern"
        return "clear" if drop.interval.high <= LOST_ACCURACY and rank.value is not None else "open"
    if cka.value is not None and (cka.interval.high if cka.interval else cka.value) < LOST_SIMILARITY:
        return "concern"
    return "open"


def _summary(measurements: Mapping[str, Measurement], profile: Profile) -> str:
    before, after, _ = (measurements[f"erosion.source_accuracy_{what}"].value for what in ("before", "after", "drop"))
    parts = [profile.summary()]
    if before is not None and after is not None:
        parts.append(
            f"The source's head gets {before:.1%} of source images right on its own backbone, {after:.1%} after."
        )
    probe = measurements["erosion.delta_lp"].value
    if probe is not None:
        parts.append(f"A linear probe changes by {100 * probe:+.1f} points.")
    return " ".join(parts)


def _few(compared: Compared) -> list[Finding]:
    if not compared.left_out:
        return []
    message = (
        f"{compared.left_out} images in minibatches of fewer than {MINIMUM_IMAGES} were left out of CKA, which is not "
        "defined for so few."
    )
    return [Finding(code="erosion.left_out", severity="info", message=message)]
