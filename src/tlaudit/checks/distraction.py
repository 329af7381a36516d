"""Distraction: a network that looks at what it should have forgotten instead of at what it is asked about."""

from __future__ import annotations

import contextlib
import itertools
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np

from tlaudit.checks.base import Stopwatch, provenance, refuse_strangers
from tlaudit.checks.composed import composed
from tlaudit.checks.explained import LABEL, Explainer
from tlaudit.checks.gallery import exhibit
from tlaudit.checks.judged import COMMON, LINGERING, Judgement
from tlaudit.checks.measured import Recorder
from tlaudit.checks.tally import Background, composite_rows, mean, tally
from tlaudit.checks.target_task import other_task, target_classes
from tlaudit.checks.vocabulary_distraction import ROW_COLUMNS
from tlaudit.data.composite_files import CompositeFolder, CompositeRow
from tlaudit.data.rows import RowFile
from tlaudit.documents import source_classes
from tlaudit.metrics.distraction import QUANTITIES
from tlaudit.results import CheckResult, Finding

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from tlaudit.checks.base import Subject
    from tlaudit.checks.explained import Seen
    from tlaudit.checks.tally import Tally
    from tlaudit.checks.target_task import TargetClasses
    from tlaudit.data.composites import Composite, CompositeStream
    from tlaudit.documents import SourceClass
    from tlaudit.exhibits import Exhibit
    from tlaudit.metrics.base import Quantity
    from tlaudit.options import DistractionOptions
    from tlaudit.records import Cell
    from tlaudit.results import DataRecord, Measurement

NAME = "distraction"
HEADLINE = (
    "distraction.mean",
    "distraction.excess_over_null",
    "distraction.excess_over_baseline",
    "distraction.flip_rate",
    "distraction.composite_accuracy",
    "distraction.grey_accuracy",
)
GROUPS = {
    LINGERING: "Classes that distract most; of each class the most telling composite",
    COMMON: "Control: classes that the target data shows",
}


class DistractionCheck:
    """The check behind `tlaudit distraction`."""

    name = NAME
    needs: tuple[str, ...] = ("lingering",)
    headline = HEADLINE

    def refuse(self, subject: Subject, options: DistractionOptions) -> None:
        """Explain noise: what is wrong with layer, method or overlay is known before any image is read.

        Raises:
            MismatchError: If the networks have different backbones.
            UsageError: If layer or method do not exist, the layer has no spatial extent, or the overlay may cover all.
        """
        refuse_strangers(subject, NAME)
        Explainer(subject, options).probe()

    def quantities(self, subject: Subject, options: DistractionOptions) -> Mapping[str, Quantity]:  # noqa: ARG002
        """Give what is measured, by name."""
        return QUANTITIES

    def run(self, subject: Subject, options: DistractionOptions) -> CheckResult:
        """Paste target images on source images of lingering classes and see what the networks look at.

        Args:
            subject: Networks and images; ``earlier`` holds the result of ``lingering``.
            options: How composites are made and maps compared.

        Returns:
            Measurements, the table ``classes``, pictures, findings, provenance. If nothing lingers there is nothing to
            paste on; the result says so.

        Raises:
            UsageError: If layer or method do not exist, the layer has no spatial extent, or a file cannot be written.
            DataError: If no image of a set can be read.
        """
        watch = Stopwatch()
        lingering = subject.earlier["lingering"]
        classes = source_classes(lingering)
        chosen = choose(classes, options, subject.seed)
        if any(one.kind == LINGERING for one in chosen):
            found = _look(subject, options, chosen)
        else:
            found = _Found((), (), {}, None, None, 0)
        nothing = _nothing(classes)
        recorder = Recorder(QUANTITIES, subject.seed, options.bootstrap, options.confidence)
        judgement = Judgement(found.tallies, recorder, no_labels=found.no_labels, no_baseline=other_task(subject.pair))
        measurements = judgement.measurements(nothing)
        nothing_lingers = not found.tallies and any(one.status == "forgotten" for one in classes)
        records = {role: lingering.provenance.data[role] for role in ("source", "target")} | found.records
        return CheckResult(
            check=NAME,
            verdict=judgement.verdict(measurements, nothing_lingers=nothing_lingers, overlays=found.overlays),
            summary=_summary(measurements) if found.tallies else f"Nothing was looked at: {nothing}.",
            headline=HEADLINE,
            measurements=tuple(measurements.values()),
            tables={"classes": judgement.table()},
            charts=(judgement.chart(measurements),) if found.tallies else (),
            exhibits=found.exhibits,
            findings=(*subject.findings, _after(lingering.summary), *judgement.findings(measurements, found.overlays)),
            provenance=provenance(subject, records, _resolved(options, found.layer, lingering)),
            run=watch.stop(subject.execution),
        )


@dataclass(frozen=True)
class _Found:
    """What one pass over the composites leaves behind.

    Attributes:
        tallies: One for each class.
        exhibits: Pictures of the worst.
        records: What was read.
        layer: Whose output was explained.
        no_labels: Why no overlay has a known class, or None.
        overlays: How many target images could be pasted.
    """

    tallies: tuple[Tally, ...]
    exhibits: tuple[Exhibit, ...]
    records: dict[str, DataRecord]
    layer: str | None
    no_labels: str | None
    overlays: int


def choose(classes: Sequence[SourceClass], options: DistractionOptions, seed: int) -> list[Background]:
    """Pick the classes that composites are made of: lingering ones, and those the target data shows most as a control.

    Args:
        classes: All source classes.
        options: How many, and which.
        seed: Of a sample.
    """
    lingering = [one for one in classes if one.status == "lingering" and one.images]
    if options.max_classes is not None and options.max_classes < len(lingering) and options.class_choice == "sample":
        picked = np.random.default_rng(seed).choice(len(lingering), options.max_classes, replace=False)
        lingering = [lingering[number] for number in sorted(picked)]
    lingering.sort(key=lambda one: -(one.hybrid_probability or 0))
    common = [one for one in classes if one.status == "in target data" and one.images]
    common.sort(key=lambda one: -one.prevalence)
    return [
        *(Background(one, LINGERING) for one in lingering[: options.max_classes]),
        *(Background(one, COMMON) for one in common[: options.common_classes]),
    ]


def _look(subject: Subject, options: DistractionOptions, chosen: Sequence[Background]) -> _Found:
    """Make the composites, ask the networks, add up class by class."""
    with contextlib.ExitStack() as files:
        # Opened first: what cannot be written is better known before the work.
        folder = files.enter_context(CompositeFolder(options.save_composites)) if options.save_composites else None
        table = files.enter_context(RowFile(options.save_rows, ROW_COLUMNS)) if options.save_rows else None
        explainer = Explainer(subject, options)
        # Under --strict-data an image that cannot be read ends the run; else it is known from the check before.
        skipped = () if subject.strict else subject.earlier["lingering"].provenance.data["source"].skipped
        indices = [one.source.index for one in chosen]
        pool, stream = composed(subject, indices, options, unusable={one.file for one in skipped})
        targets = target_classes(subject)
        names = _Names(subject, targets)
        backgrounds = {one.source.index: one for one in chosen}
        gallery = _Gallery(options.gallery)
        tallies = []
        everything = _each(subject, explainer, stream, targets, folder, names)
        for index, group in itertools.groupby(everything, key=lambda one: one.composite.class_index):
            # Only the most telling composite of a class keeps its pixels: a class may have any number of them.
            best, seen = None, []
            for one in group:
                best = one if best is None or telling(one) > telling(best) else best
                needed = {role: one.maps[role] for role in ("source", "finetuned")}
                seen.append(replace(one, scene=None, maps=needed))
            seen.sort(key=lambda one: one.composite.number)
            nulls = explainer.null(seen)
            tallies.append(tally(backgrounds[index], seen, nulls))
            gallery.offer(tallies[-1], best)
            if table is not None:
                table.add(composite_rows(backgrounds[index], seen, nulls, files=names.files, name=names.task))
        exhibits = tuple(gallery.exhibits(explainer, names))
    return _Found(
        tallies=tuple(tallies),
        exhibits=exhibits,
        records={"composites": stream.record, "overlays": pool.record},
        layer=explainer.layer,
        no_labels=targets.unknown,
        overlays=len(pool.items),
    )


def _each(
    subject: Subject,
    explainer: Explainer,
    stream: CompositeStream,
    targets: TargetClasses,
    folder: CompositeFolder | None,
    names: _Names,
) -> Iterator[Seen]:
    """All composites, class after class."""
    batches = subject.progress(stream, total=len(stream), label=LABEL, size=lambda batch: len(batch.composites))
    for batch in batches:
        if folder is not None:
            folder.add(batch, names.row)
        yield from explainer(batch, targets.labels[[composite.target for composite in batch.composites]])


class _Names:
    """Words for the numbers in a composite."""

    def __init__(self, subject: Subject, targets: TargetClasses) -> None:
        self._subject, self._targets = subject, targets

    def task(self, index: int) -> str:
        """Name of a class of the target task; its index where the baseline has more of them."""
        names = self._targets.names
        return names[index] if index < len(names) else str(index)

    def background(self, composite: Composite) -> str:
        """Name of the source class."""
        return self._subject.classes.display(composite.class_index)

    def overlay(self, composite: Composite) -> str:
        """Name of the overlay's class, or of its file where the class is not known."""
        label = int(self._targets.labels[composite.target])
        return self.task(label) if label >= 0 else self._subject.target.items[composite.target].name

    def files(self, one: Seen) -> tuple[str, str]:
        """Names of source image and target image."""
        source, target = self._subject.source.images, self._subject.target
        return source.items[one.composite.source].name, target.items[one.composite.target].name

    def row(self, composite: Composite) -> CompositeRow:
        """What the manifest of saved composites says of one."""
        label = int(self._targets.labels[composite.target])
        return CompositeRow(
            class_name=self.background(composite),
            source_image=self._subject.source.images.items[composite.source].name,
            target_image=self._subject.target.items[composite.target].name,
            target_label=self.task(label) if label >= 0 else "",
        )


def telling(one: Seen) -> tuple[bool, float]:
    """How well a composite shows what distraction is: flipped ones first, then by distraction beyond the baseline's."""
    answer = one.answers["finetuned"]
    ours, theirs = one.distraction["finetuned"], one.distraction.get("baseline")
    return answer.predicted != one.label == answer.on_grey, (ours or 0) - (theirs or 0)


class _Gallery:
    """Keeps the most telling composites of the most distracting classes, and half as many of the control."""

    def __init__(self, size: int) -> None:
        self._sizes = {LINGERING: size, COMMON: (size + 1) // 2}
        self._kept: dict[str, list[tuple[float, Seen]]] = {LINGERING: [], COMMON: []}

    def offer(self, one: Tally, best: Seen | None) -> None:
        """Consider a class."""
        value = mean(one.distraction["finetuned"])
        if best is None or value is None:
            return
        kept = self._kept[one.background.kind]
        kept.append((value - (mean(one.distraction.get("baseline", [])) or 0), best))
        kept.sort(key=lambda pair: -pair[0])
        del kept[self._sizes[one.background.kind] :]

    def exhibits(self, explainer: Explainer, names: _Names) -> Iterator[Exhibit]:
        """Make the pictures, worst class first."""
        for kind, kept in self._kept.items():
            for _, seen in kept:
                yield exhibit(
                    seen,
                    explainer,
                    group=GROUPS[kind],
                    background=names.background(seen.composite),
                    overlay=names.overlay(seen.composite),
                    name=names.task,
                )


def _nothing(classes: Sequence[SourceClass]) -> str:
    """Why there is no lingering class to paste on."""
    status = [one.status for one in classes]
    if "forgotten" in status:
        return f"no class lingers; all {status.count('forgotten')} tested source-only classes are forgotten"
    return "no source-only class could be tested, so that none is known to linger"


def _summary(measurements: dict[str, Measurement]) -> str:
    values = {name.removeprefix("distraction."): m.value for name, m in measurements.items()}
    text = f"{_count(values['composites'], 'composite')} of {_count(values['classes'], 'lingering class')}: "
    if values["mean"] is None:
        return f"{text}no map of the finetuned network could be compared with the source's."
    text += f"outside the overlay the finetuned network's map overlaps the source's by {values['mean']:.3f}"
    others = [("the null", values["null_mean"]), ("the from-scratch network", values["baseline_mean"])]
    told = ", ".join(f"{what} {value:.3f}" for what, value in others if value is not None)
    text += f" ({told})" if told else ""
    if values["composite_accuracy"] is None:
        return f"{text}."
    return (
        f"{text}. It is right in {100 * values['composite_accuracy']:.1f} % of them, "
        f"and in {100 * (values['grey_accuracy'] or 0):.1f} % with mid-grey for the background."
    )


def _count(number: float | None, what: str) -> str:
    plural = "es" if what.endswith("s") else "s"
    return f"{number} {what}{'' if number == 1 else plural}"


def _after(summary: str) -> Finding:
    return Finding(code="distraction.lingering", severity="info", message=f"Before this, tlaudit lingering: {summary}")


def _resolved(options: DistractionOptions, layer: str | None, lingering: CheckResult) -> dict[str, Cell]:
    """The options as they were used, those of the check before included."""
    own = options.model_dump(mode="json", exclude={"lingering", "save_composites", "save_rows"})
    before: dict[str, Cell] = {}
    for key in ("k", "v_lo_count", "p_lo"):
        value = lingering.provenance.options.get(key)
        before[f"lingering.{key}"] = None if isinstance(value, list) else value
    return own | {"layer": layer} | before
