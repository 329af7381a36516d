"""What is screened with: the networks, the result of `tlaudit lingering`, and whatever images there are."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import torch

from tlaudit.checks.assembly import assemble
from tlaudit.checks.base import LabelledImages, Subject, settled
from tlaudit.checks.target_task import target_classes
from tlaudit.data.classes import ClassNames
from tlaudit.data.images import NO_IMAGES, ImageSet
from tlaudit.documents import source_classes
from tlaudit.errors import UsageError
from tlaudit.models.preprocess import resolve_preprocessing
from tlaudit.models.recorded import other_networks
from tlaudit.results import Finding

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from tlaudit.models.pair import Pair
    from tlaudit.options import DataOptions, ExecutionOptions, PreprocessTable
    from tlaudit.progress import Progress
    from tlaudit.results import CheckResult, Preprocessing


def screened_subject(
    pair: Pair,
    lingering: CheckResult,
    data: DataOptions,
    *,
    preprocess: PreprocessTable,
    execution: ExecutionOptions,
    progress: Progress,
) -> Subject:
    """Put together what is screened with. Unlike an audit it needs no data set: sets not given are empty.

    The finetuned network is fed as it was when its lingering classes were found, unless the options say otherwise.

    Args:
        pair: The networks.
        lingering: What was found about them.
        data: Source and target images, if both are there: composites are made of them.
        preprocess: Overrides of how the networks are fed.
        execution: Device, precision, batch size, workers and seed.
        progress: Shows how far a pass is.

    Raises:
        UsageError: If the result is about other checkpoints, or an option cannot be met.
        ClassMatchError: If a folder of source images fits no class, or several.
        DataError: If a folder holds no image.
    """
    differences = list(other_networks(lingering, pair))
    if differences:
        raise UsageError(
            f"the result of lingering is about something else: {'; '.join(differences)}. Run tlaudit lingering on "
            "these networks"
        )
    if data.source is not None and data.target is not None:
        images = data.model_copy(update={"val": None})
        subject = assemble(pair, images, preprocess=preprocess, execution=execution, progress=progress)
    else:
        subject = _without_composites(pair, data, execution, progress)
    before = {role: model.preprocessing for role, model in lingering.provenance.models.items()}
    preprocessing = _preprocessing(pair, before, preprocess)
    findings = (*subject.findings, *_fed_otherwise(before["finetuned"], preprocessing["finetuned"]))
    return replace(subject, preprocessing=preprocessing, findings=findings, earlier={"lingering": lingering})


def _without_composites(pair: Pair, data: DataOptions, execution: ExecutionOptions, progress: Progress) -> Subject:
    target = data.target
    return Subject(
        pair=pair,
        source=LabelledImages(NO_IMAGES, torch.empty(0, dtype=torch.int64)),
        classes=ClassNames.of_model(pair.source.num_classes, pair.source.classes),
        target=ImageSet.scan(target, labelled=False, limit=data.limit, seed=execution.seed) if target else NO_IMAGES,
        val=None,
        preprocessing={},
        execution=settled(execution),
        seed=execution.seed,
        limit=data.limit,
        strict=data.strict,
        findings=pair.findings,
        progress=progress,
    )


def _preprocessing(
    pair: Pair, before: Mapping[str, Preprocessing | None], table: PreprocessTable
) -> dict[str, Preprocessing]:
    models = {"source": pair.source, "finetuned": pair.finetuned, "baseline": pair.baseline}
    return {
        role: resolve_preprocessing(before.get(role) or model.preprocessing, getattr(table, role), table)
        for role, model in models.items()
        if model is not None
    }


def _fed_otherwise(before: Preprocessing | None, now: Preprocessing) -> Iterator[Finding]:
    if before is not None and before.model_dump(exclude={"origin"}) != now.model_dump(exclude={"origin"}):
        message = (
            "The finetuned network is fed otherwise than when its lingering classes were found: scores may lie higher "
            "or lower, and p_lo may not fit them. Leave the preprocessing out, or run tlaudit lingering with it."
        )
        yield Finding(code="screen.preprocessing", severity="warning", message=message)


@dataclass(frozen=True)
class Names:
    """What classes are called.

    Attributes:
        source: Classes of the source network, by index.
        target: Classes of the finetuned network, in index order; their indices where nothing names them.
    """

    source: Mapping[int, str]
    target: tuple[str, ...]


def with_names(subject: Subject, val: ImageSet | None) -> tuple[Subject, Names]:
    """Name the classes: by the checkpoint, else by the class folders of target images, which is then a finding.

    Args:
        subject: What is screened with.
        val: Held-out target images, or None.

    Returns:
        The subject with what the reader has to know of the names, and the names.
    """
    source = {one.index: one.name for one in source_classes(subject.earlier["lingering"])}
    model = subject.pair.finetuned
    if model.classes is not None:
        return subject, Names(source, model.classes)
    for images in (subject.target, val):
        found = target_classes(replace(subject, target=images)) if images is not None else None
        if found is not None and found.unknown is None:
            named = ", ".join(f"{name} = {index}" for index, name in list(enumerate(found.names))[:10])
            message = f"The finetuned checkpoint names no classes; folders were taken to be its outputs: {named}."
            finding = Finding(code="classes.target_assumed", severity="info", message=message)
            return replace(subject, findings=(*subject.findings, finding)), Names(source, found.names)
    return subject, Names(source, tuple(str(index) for index in range(model.num_classes)))
