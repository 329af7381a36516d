"""Distraction: a network that looks at what it should have forgotten instead of at what it is asked about."""

from __future__ import annotations

import contextlib
import functools
import itertools
from typing import TYPE_CHECKING

import numpy as np

from tlaudit.checks.base import Stopwatch, provenance, refuse_strangers
from tlaudit.checks.composed import composed, shared_out
from tlaudit.checks.distraction_classes import Gallery, InTurn, Names, of_classes, worth_sending
from tlaudit.checks.distraction_kept import NOTHING, Found, found_before
from tlaudit.checks.explained import LABEL, Explainer
from tlaudit.checks.judged import COMMON, LINGERING, Judgement
from tlaudit.checks.measured import Recorder
from tlaudit.checks.tally import Background
from tlaudit.checks.target_task import other_task, target_classes
from tlaudit.checks.vocabulary_distraction import ROW_COLUMNS
from tlaudit.data.composite_files import CompositeFolder
from tlaudit.data.rows import RowFile
from tlaudit.documents import source_classes
from tlaudit.metrics.distraction import QUANTITIES
from tlaudit.results import CheckResult, Finding

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence

    from tlaudit.checks.base import Subject
    from tlaudit.checks.explained import Seen
    from tlaudit.data.composites import CompositeBatch, CompositeStream
    from tlaudit.documents import SourceClass
    from tlaudit.metrics.base import Quantity
    from tlaudit.options import DistractionOptions
    from tlaudit.records import Cell
    from tlaudit.results import Measurement

NAME = "distraction"
HEADLINE = (
    "distraction.mean",
    "distraction.excess_over_null",
    "distraction.excess_over_baseline",
    "distraction.flip_rate",
    "distraction.composite_accuracy",
    "distraction.grey_accuracy",
)


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
            found = found_before(subject, options, chosen, functools.partial(_look, subject, options, chosen))
        else:
            found = NOTHING
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


def _look(subject: Subject, options: DistractionOptions, chosen: Sequence[Background]) -> Found:
    """Make the composites, ask the networks, add up class by class; processes that share the work have classes each."""
    group, indices = subject.group, [one.source.index for one in chosen]
    rounds = shared_out(
        indices, per_class=options.per_class, batch_size=subject.execution.batch_size, processes=group.size
    )
    gallery, tallies = Gallery(options.gallery), []
    with contextlib.ExitStack() as files:
        with group.agreed():
            # Opened first: what cannot be written is better known before the work.
            written = _Written(files, options) if group.leads else None
            work = _Work(subject, options, indices, [index for turn in rounds for index in _of_rank(turn, group.rank)])
            seen = work.seen(written.folder if written is not None else None)
            classes = InTurn(of_classes(seen, chosen, work.explainer, work.names, rows=options.save_rows is not None))
        for turn in rounds:
            with group.agreed():
                found = classes.next(_of_rank(turn, group.rank))
                found = found if group.size == 1 else worth_sending(found, options.gallery)
            for one in itertools.chain.from_iterable(group.gathered(found)):
                tallies.append(one.tally)
                gallery.offer(one.tally, one.best)
                if written is not None and written.table is not None:
                    written.table.add(one.rows)
        with group.agreed():
            classes.finish()
            exhibits = tuple(gallery.exhibits(work.explainer, work.names)) if group.leads else ()
        exhibits = group.told(exhibits)
        if group.size > 1:
            work.stream.bring_together()
    return Found(
        tallies=tuple(tallies),
        exhibits=exhibits,
        records={"composites": work.stream.record, "overlays": work.pool.record},
        layer=work.explainer.layer,
        no_labels=work.targets.unknown,
        overlays=len(work.pool.items),
    )


class _Work:
    """Networks and composites, ready to be looked at by this process.

    Attributes:
        explainer: Asks the networks.
        pool: Overlays.
        stream: Composites of this process's classes.
        targets: Classes of the overlays.
        names: Words for numbers.
    """

    def __init__(
        self, subject: Subject, options: DistractionOptions, indices: Sequence[int], own: Sequence[int]
    ) -> None:
        # Under --strict-data an image that cannot be read ends the run; else it is known from the check before.
        skipped = () if subject.strict else subject.earlier["lingering"].provenance.data["source"].skipped
        self._unusable = {one.file for one in skipped}
        self._subject, self._options, self._indices = subject, options, indices
        self.explainer = Explainer(subject, options)
        mine = own if subject.group.size > 1 else None
        self.pool, self.stream = composed(subject, indices, options, self._unusable, mine)
        self.targets = target_classes(subject)
        self.names = Names(subject, self.targets)

    def seen(self, folder: CompositeFolder | None) -> Iterator[Seen]:
        """Ask the networks about all composites of this process, class after class.

        Args:
            folder: Gets all composites; those of several processes are drawn once more for it, by the one that has it,
                because the others may be on machines that do not.
        """
        if folder is None or self._subject.group.size == 1:
            return self._asked(folder)
        every = composed(self._subject, self._indices, self._options, self._unusable, pool=self.pool)[1]
        for batch in self._followed(every, "drawing"):
            folder.add(batch, self.names.row)
        return self._asked(None)

    def _asked(self, folder: CompositeFolder | None) -> Iterator[Seen]:
        for batch in self._followed(self.stream, LABEL):
            if folder is not None:
                folder.add(batch, self.names.row)
            yield from self.explainer(batch, self.targets.labels[[one.target for one in batch.composites]])

    def _followed(self, stream: CompositeStream, label: str) -> Iterable[CompositeBatch]:
        return self._subject.progress(stream, total=len(stream), label=label, size=lambda one: len(one.composites))


def _of_rank(turn: Sequence[Sequence[int]], rank: int) -> Sequence[int]:
    """Classes of one process in a round; there may be none left for it."""
    return turn[rank] if rank < len(turn) else ()


class _Written:
    """What is written while the composites are looked at."""

    def __init__(self, files: contextlib.ExitStack, options: DistractionOptions) -> None:
        self.folder = files.enter_context(CompositeFolder(options.save_composites)) if options.save_composites else None
        self.table = files.enter_context(RowFile(options.save_rows, ROW_COLUMNS)) if options.save_rows else None


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
