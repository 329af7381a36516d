"""Feature erosion: how far finetuning moved the features, stage by stage, and what was lost with them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

import torch

from tlaudit.checks.base import Stopwatch, provenance
from tlaudit.checks.compared import Compared, chosen_stages, compare
from tlaudit.checks.measured import Recorder
from tlaudit.checks.probed import not_asked, probe
from tlaudit.checks.profile import Profile
from tlaudit.checks.survey import recognise_source
from tlaudit.data.classes import match_folders
from tlaudit.data.images import ImageSet
from tlaudit.errors import ClassMatchError, DataError, UsageError
from tlaudit.measure.similarity import MINIMUM_IMAGES
from tlaudit.metrics.erosion import quantities
from tlaudit.results import CheckResult, Finding

if TYPE_CHECKING:
    from collections.abc import Mapping

    from torch import Tensor

    from tlaudit.checks.base import Subject
    from tlaudit.metrics.base import Quantity
    from tlaudit.models.pair import Pair
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
ENOUGH_TO_CLEAR = 60
"""Fewer images could all be right by chance although more than 0.05 are lost: 3 / 0.05 (rule of three)."""
KEPT_SIMILARITY = 0.95
"""There, too: with a CKA above this at every stage the features are as they were (our choice)."""
NO_HYBRID = "the two networks have different backbones, so that the source's head does not fit the finetuned one"
OPTION = "with --source-data"


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
    headline = HEADLINE

    def refuse(self, subject: Subject, options: ErosionOptions) -> None:
        """Look whether the stages are there, and images enough.

        Raises:
            UsageError: If a stage is named twice or missing, or there are no images.
            DataError: If there are fewer than 4 images.
        """
        followed_stages(subject.pair, options)
        compared_images(subject, options)
        if subject.execution.batch_size < MINIMUM_IMAGES:
            raise UsageError(
                f"--batch-size {subject.execution.batch_size}: a batch is a minibatch of CKA, which needs at least "
                f"{MINIMUM_IMAGES} images"
            )

    def quantities(self, subject: Subject, options: ErosionOptions) -> Mapping[str, Quantity]:
        """Give what is measured, by name; of stages those that can be found."""
        try:
            stages = followed_stages(subject.pair, options)["source"] if subject.pair.alike else ()
        except UsageError:
            stages = ()
        return quantities(stages)

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
        pair = subject.pair
        stages, images = followed_stages(pair, options), compared_images(subject, options)
        compared = _compared(subject, images, stages, options)
        if len(compared.index) < MINIMUM_IMAGES:
            raise DataError(
                f"{images.root}: CKA needs at least {MINIMUM_IMAGES} images, {len(compared.index)} can be used"
            )
        recorder = Recorder(
            quantities(stages["source"] if pair.alike else ()), subject.seed, options.bootstrap, options.confidence
        )
        profile = Profile(compared, recorder, alike=pair.alike)
        known = _known(subject, options, images, compared)
        records = {"data": compared.record} | ({"source": known.record} if known.record is not None else {})
        probed = probe(images, compared, recorder) if options.probe else not_asked(recorder)
        found = (*profile.measurements(), *_accuracies(known, recorder), *probed.measurements)
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
            verdict=_verdict(measurements, profile, chance=1 / pair.source.num_classes),
            summary=_summary(measurements, profile),
            headline=HEADLINE,
            measurements=found,
            tables=profile.tables(matrix=options.full_matrix or not pair.alike),
            charts=profile.charts(matrix=options.full_matrix or not pair.alike),
            findings=(*subject.findings, *profile.findings(), *_few(compared), *probed.findings),
            provenance=provenance(subject, records, resolved),
            run=watch.stop(subject.execution),
        )


def followed_stages(pair: Pair, options: ErosionOptions) -> dict[str, tuple[str, ...]]:
    """Give the module paths of the stages of each network, by role.

    Raises:
        UsageError: If a stage is named twice or missing.
    """
    models = {"source": pair.source, "finetuned": pair.finetuned, "baseline": pair.baseline}
    given = {role: model for role, model in models.items() if model is not None}
    return chosen_stages(given, options.stages, pair.head if pair.alike else None)


def _compared(
    subject: Subject, images: ImageSet, stages: Mapping[str, tuple[str, ...]], options: ErosionOptions
) -> Compared:
    """One pass over the images, unless it has been made together with another check's."""
    if subject.survey is not None and subject.survey.compared is not None:
        return subject.survey.compared
    pair = subject.pair
    modules = {"source": pair.source.module, "finetuned": pair.hybrid() if pair.alike else pair.finetuned.module}
    if pair.baseline is not None and "baseline" in stages:
        modules["baseline"] = pair.baseline.module
    networks = {role: subject.network(module, role) for role, module in modules.items()}
    return compare(subject, images, networks, stages, features=options.features, keep=options.probe)


def compared_images(subject: Subject, options: ErosionOptions) -> ImageSet:
    """Give the images that are compared: those named, else source images.

    Raises:
        UsageError: If there are none.
        DataError: If there are fewer than 4.
    """
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
        seen = recognise_source(subject, control=False)
        record = seen.record.model_copy(update={"labels": source.digest()})
        return _Known(seen.right["source"], seen.right["hybrid"], record=record)
    labels = source.labels if source.images.items == images.items else _labels(subject, images)
    if isinstance(labels, str):
        return _Known(none, none, labels)
    broken = {role: int((compared.predicted[role] < 0).sum()) for role in ("source", "finetuned")}
    for role, count in broken.items():
        if count:
            return _Known(none, none, f"the {role} network gives no number for {count} images (NaN)")
    wanted = labels[compared.index]
    return _Known(compared.predicted["source"] == wanted, compared.predicted["finetuned"] == wanted)


def _labels(subject: Subject, images: ImageSet) -> Tensor | str:
    """The source network's class of each image, from its folder, or why that is not known."""
    if any(item.folder is None for item in images.items):
        return f"the images lie in no class folders; give source images {OPTION}"
    try:
        match = match_folders(images.folders, subject.classes, subject.class_map)
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


def _verdict(
    measurements: Mapping[str, Measurement], profile: Profile, *, chance: float
) -> Literal["concern", "clear", "open"]:
    """A concern if a stage collapsed, half the rank of one is lost, or what the source network knew."""
    drop, cka = measurements["erosion.source_accuracy_drop"], measurements["erosion.cka.min"]
    before, ratio = measurements["erosion.source_accuracy_before"], profile.lowest_sure_ratio()
    if profile.collapsed or (ratio is not None and ratio < LOST_RANK):
        return "concern"
    # What the source network never knew cannot be lost.
    if drop.interval is not None and before.interval is not None and before.interval.low > chance:
        if drop.interval.low > LOST_ACCURACY:
            return "concern"
        sure = drop.n >= ENOUGH_TO_CLEAR and drop.interval.high <= LOST_ACCURACY
        return "clear" if sure and ratio is not None else "open"
    if cka.interval is not None and cka.interval.high < LOST_SIMILARITY:
        return "concern"
    return "clear" if cka.interval is not None and cka.interval.low > KEPT_SIMILARITY and ratio is not None else "open"


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
