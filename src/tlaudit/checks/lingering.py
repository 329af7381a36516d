"""Lingering memories: source classes the target data never shows and the finetuned backbone still recognises."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

import torch

from tlaudit.checks.base import Stopwatch, Subject, provenance, refuse_strangers
from tlaudit.checks.measured import Recorder
from tlaudit.checks.prevalence import shown_classes
from tlaudit.checks.survey import recognise_source
from tlaudit.checks.target_task import accuracies, no_baseline, recognise_target
from tlaudit.checks.vocabulary import CLASS_COLUMNS
from tlaudit.errors import UsageError
from tlaudit.exhibits import Level, Scatter
from tlaudit.measure import prevalence as measure
from tlaudit.measure.uncertainty import MINIMUM_FOR_BOOTSTRAP
from tlaudit.metrics.lingering import QUANTITIES
from tlaudit.results import CheckResult, Finding, Interval, Measurement, Table

if TYPE_CHECKING:
    from collections.abc import Mapping

    from torch import Tensor

    from tlaudit.checks.recognition import Recognition
    from tlaudit.metrics.base import Quantity
    from tlaudit.models.pair import Pair
    from tlaudit.options import LingeringOptions
    from tlaudit.records import Cell
    from tlaudit.results import DataRecord

NAME = "lingering"
NONE_TESTED = "no source-only class has images in the source data"

HEADLINE = ("lingering.count", "lingering.fraction", "lingering.pooled_retention", "control.lingering_count")

CONTROL_NEAR_CHANCE = 3
"""The control's mean probability may be this many times chance before the reader is warned (our choice)."""

MINIMUM_TARGET_IMAGES = 100
"""Below so many target images a class is easily missing by accident; the reader is warned (our choice)."""


@dataclass(frozen=True)
class _Evidence:
    """What the passes over the images leave behind, K source classes.

    Attributes:
        prevalences: Target images that show each class, ``(K,)`` int64.
        target: Which target images were read.
        source: Source images through ``source``, ``hybrid`` and, with a baseline, ``control``.
        val: Validation images through ``finetuned`` and, with a baseline, ``baseline``; None without such images.
    """

    prevalences: Tensor
    target: DataRecord
    source: Recognition
    val: Recognition | None


@dataclass(frozen=True)
class _Thresholds:
    v_lo: int
    p_lo: float


@dataclass(frozen=True)
class _Classes:
    """The verdict on each class, ``(K,)`` tensors."""

    counts: Tensor
    means: dict[str, Tensor]
    source_only: Tensor
    tested: Tensor
    lingering: Tensor
    control: Tensor | None


class LingeringCheck:
    """The check behind `tlaudit lingering`."""

    name = NAME
    needs: tuple[str, ...] = ()
    headline = HEADLINE

    def refuse(self, subject: Subject, options: LingeringOptions) -> None:
        """Look whether there is a hybrid, and whether k and p_lo can be met.

        Raises:
            MismatchError: If the networks have different backbones.
            UsageError: If k exceeds the number of classes, or no probability can exceed p_lo.
        """
        refuse_strangers(subject, NAME)
        _p_lo(subject, options)

    def quantities(self, subject: Subject, options: LingeringOptions) -> Mapping[str, Quantity]:  # noqa: ARG002
        """Give what is measured, by name."""
        return QUANTITIES

    def run(self, subject: Subject, options: LingeringOptions) -> CheckResult:
        """Look at the target images through the source network, at the source images through all networks, and judge.

        Args:
            subject: Networks and images.
            options: k, thresholds, intervals.

        Returns:
            Measurements, the tables ``classes`` (one row for each source class) and ``lineage``, findings, provenance.

        Raises:
            UsageError: If k exceeds the number of classes, or no probability can exceed p_lo.
            DataError: If no image of a set can be read.
        """
        watch = Stopwatch()
        p_lo = _p_lo(subject, options)
        evidence = _collect(subject, options.k)
        v_lo = options.v_lo_count
        if v_lo is None:
            fraction = 0.001 if options.v_lo is None else options.v_lo
            v_lo = measure.default_v_lo(evidence.target.images, fraction)
        thresholds = _Thresholds(v_lo, p_lo)
        classes = _judge(evidence, thresholds)
        recorder = Recorder(QUANTITIES, subject.seed, options.bootstrap, options.confidence)
        source = evidence.source.record.model_copy(update={"labels": subject.source.digest()})
        records = {"source": source, "target": evidence.target}
        if evidence.val is not None and subject.val is not None:
            records["val"] = evidence.val.record.model_copy(update={"labels": subject.val.digest()})
        measurements = {m.name: m for m in _measurements(subject.pair, evidence, classes, recorder)}
        resolved: dict[str, Cell] = {
            "k": options.k,
            "v_lo_count": thresholds.v_lo,
            "p_lo": thresholds.p_lo,
            "bootstrap": options.bootstrap,
            "confidence": options.confidence,
        }
        return CheckResult(
            check=NAME,
            verdict=_verdict(measurements),
            summary=_summary(classes, thresholds),
            headline=HEADLINE,
            measurements=tuple(measurements.values()),
            tables={
                "classes": _table(subject, evidence, classes, recorder),
                "lineage": subject.pair.lineage.table(),
            },
            charts=(_chart(thresholds),),
            findings=(*subject.findings, *_findings(evidence, classes)),
            provenance=provenance(subject, records, resolved),
            run=watch.stop(subject.execution),
        )


def _p_lo(subject: Subject, options: LingeringOptions) -> float:
    """The threshold on the probability, and a look at whether the choices can be met at all."""
    total = subject.pair.source.num_classes
    if options.k > total:
        raise UsageError(f"--k must not exceed the number of source classes ({total}), got {options.k}")
    if options.p_lo is not None:
        p_lo, origin = options.p_lo, ""
    else:
        p_lo, origin = measure.default_p_lo(total), f" (the default, ten times chance of {total} source classes)"
    if p_lo >= 1:
        raise UsageError(f"no probability can exceed p_lo = {p_lo:g}{origin}; give --p-lo below 1")
    return p_lo


def _collect(subject: Subject, k: int) -> _Evidence:
    """One pass over each set of images."""
    prevalences, target = shown_classes(subject, k)
    return _Evidence(
        prevalences=prevalences,
        target=target,
        source=recognise_source(subject),
        val=recognise_target(subject),
    )


def _judge(evidence: _Evidence, thresholds: _Thresholds) -> _Classes:
    total = len(evidence.prevalences)
    labels = evidence.source.labels
    counts = torch.bincount(labels, minlength=total)
    means = {name: measure.class_means(own, labels, total)[0] for name, own in evidence.source.own.items()}
    source_only = measure.source_only(evidence.prevalences, thresholds.v_lo)
    return _Classes(
        counts=counts,
        means=means,
        source_only=source_only,
        tested=source_only & (counts > 0),
        lingering=measure.lingering(source_only, means["hybrid"], thresholds.p_lo),
        control=measure.lingering(source_only, means["control"], thresholds.p_lo) if "control" in means else None,
    )


def _verdict(measurements: Mapping[str, Measurement]) -> Literal["concern", "clear", "open"]:
    """A concern if classes linger, and no fewer than chance would have it where there is a control to tell."""
    found, control = measurements["lingering.fraction"], measurements["control.lingering_fraction"]
    if found.value is None or found.interval is None:
        return "open"
    if found.value == 0:
        return "clear"
    if control.interval is None or found.interval.low > control.interval.high:
        return "concern"
    return "open"


def _chart(thresholds: _Thresholds) -> Scatter:
    return Scatter(
        title="What the finetuned backbone still recognises",
        reading=(
            "One dot a source class: how probable it is on its own images to the source network, and to the finetuned "
            "backbone under the source's head. On the diagonal nothing was forgotten; below the line it does not count."
        ),
        table="classes",
        x="source_probability",
        y="hybrid_probability",
        name="class_name",
        group="status",
        diagonal=True,
        levels=(Level(axis="y", value=thresholds.p_lo, label=f"p_lo = {thresholds.p_lo:g}"),),
    )


def _summary(classes: _Classes, thresholds: _Thresholds) -> str:
    tested, lingering = int(classes.tested.sum()), int(classes.lingering.sum())
    if tested == 0:
        return f"No source-only class could be tested ({int(classes.source_only.sum())} are source-only)."
    text = (
        f"{lingering} of {tested} tested source-only classes linger: the finetuned backbone still recognises them "
        f"(mean probability above {thresholds.p_lo:g})"
    )
    if classes.control is None:
        return f"{text}; there is no from-scratch control."
    return f"{text}; through the from-scratch control it is {int(classes.control.sum())}."


def _findings(evidence: _Evidence, classes: _Classes) -> list[Finding]:
    """What the reader has to know beside the numbers."""
    found: list[Finding] = []
    chance = 1 / len(classes.counts)
    if "control" in classes.means and classes.tested.any():
        level = float(classes.means["control"][classes.tested].mean())
        if level > CONTROL_NEAR_CHANCE * chance:
            message = (
                f"The from-scratch control recognises source-only classes with a mean probability of {level:.4g}, "
                f"{level / chance:.1f} times chance ({chance:.4g}). It should be near chance: either the baseline saw "
                "source data, or the probabilities say something else than that memories linger."
            )
            found.append(Finding(code="control.above_chance", severity="warning", message=message))
    sizes = classes.counts[classes.counts > 0]
    if len(sizes) and int(sizes.min()) < MINIMUM_FOR_BOOTSTRAP:
        few = int((sizes < MINIMUM_FOR_BOOTSTRAP).sum())
        message = (
            f"{few} of {len(sizes)} source classes have fewer than {MINIMUM_FOR_BOOTSTRAP} images: their means rest on "
            "so little that they carry no interval. Read the summary, not a single such class."
        )
        found.append(Finding(code="data.few_images", severity="info", message=message))
    if evidence.target.images < MINIMUM_TARGET_IMAGES:
        message = (
            f"There are only {evidence.target.images} target images: a class may be missing from them by accident "
            "and count as source-only."
        )
        found.append(Finding(code="data.few_target_images", severity="warning", message=message))
    return found


def _table(subject: Subject, evidence: _Evidence, classes: _Classes, recorder: Recorder) -> Table:
    """All source classes; a short view shows the lingering ones, best recognised first."""
    ranked = classes.means["hybrid"].where(classes.lingering, -1).argsort(descending=True, stable=True)
    brief = ["class_name", "n", "prevalence", "source_probability", "hybrid_probability", "retention"]
    return Table(
        title="Lingering classes",
        columns=CLASS_COLUMNS,
        rows=_class_rows(subject, evidence, classes, recorder),
        worst=tuple(ranked[: int(classes.lingering.sum())].tolist()),
        brief=(*brief, "control_probability") if "control" in classes.means else tuple(brief),
    )


def _class_rows(
    subject: Subject, evidence: _Evidence, classes: _Classes, recorder: Recorder
) -> tuple[dict[str, Cell], ...]:
    """One row for each class of the source network, in index order."""
    order = evidence.source.labels.argsort(stable=True)
    per_class = torch.split(evidence.source.own["hybrid"][order], classes.counts.tolist())
    rows: list[dict[str, Cell]] = []
    for index, values in enumerate(per_class):
        reasons = []
        means = {name: float(column[index]) if len(values) else None for name, column in classes.means.items()}
        interval: Interval | str = "no image of this class in the source data"
        if len(values):
            interval = recorder.interval(values, stream=index + 1)
        if isinstance(interval, str):
            reasons.append(interval)
        if "control" not in means:
            reasons.append(no_baseline(subject.pair) or "")
        source, hybrid = means["source"], means["hybrid"]
        if source == 0:
            reasons.append("retention: the source network gives the class no probability at all")
        rows.append(
            {
                "class_index": index,
                "class_name": subject.classes.display(index),
                "wordnet_id": subject.classes.wordnet_id(index),
                "status": _status(classes, index),
                "prevalence": int(evidence.prevalences[index]),
                "source_only": bool(classes.source_only[index]),
                "n": len(values),
                "source_probability": source,
                "hybrid_probability": hybrid,
                "hybrid_low": interval.low if isinstance(interval, Interval) else None,
                "hybrid_high": interval.high if isinstance(interval, Interval) else None,
                "retention": hybrid / source if source and hybrid is not None else None,
                "control_probability": means.get("control"),
                "absent": "; ".join(reasons) or None,
            }
        )
    return tuple(rows)


def _status(classes: _Classes, index: int) -> str:
    if not classes.source_only[index]:
        return "in target data"
    if not classes.tested[index]:
        return "untested"
    return "lingering" if classes.lingering[index] else "forgotten"


def _measurements(pair: Pair, evidence: _Evidence, classes: _Classes, recorder: Recorder) -> tuple[Measurement, ...]:
    """The summary: how many classes, how much is retained, how well the networks do."""
    total, absent, tested = len(classes.counts), int(classes.source_only.sum()), int(classes.tested.sum())
    in_full = "counted over all classes and target images as they are; nothing was sampled"
    hybrid, source = classes.means["hybrid"], classes.means["source"]
    retained = classes.lingering & (source > 0)
    if_none = "no class lingers" if tested else NONE_TESTED
    found = [
        recorder.exact("source_only.count", absent, total, why=in_full),
        recorder.share("source_only.fraction", absent, total, if_none="there are no source classes"),
        recorder.exact("tested.count", tested, absent, why=in_full),
        recorder.share("tested.fraction", tested, absent, if_none="no class is source-only"),
        *_recognised("lingering.count", "lingering.fraction", classes.lingering, tested, recorder),
        recorder.mean("lingering.mean_retention", (hybrid / source)[retained], if_none=if_none),
        recorder.ratio("lingering.pooled_retention", hybrid[retained], source[retained], if_none=if_none),
    ]
    names = ("control.lingering_count", "control.lingering_fraction")
    if classes.control is not None:
        found += _recognised(*names, classes.control, tested, recorder)
    else:
        found += [recorder.absent(name, no_baseline(pair) or "") for name in names]
    for network in ("source", "hybrid", "control"):
        found += _recognition(network, evidence, classes, recorder, if_none=no_baseline(pair) or "")
    return (*found, *accuracies(pair, evidence.val, recorder))


def _recognised(count: str, fraction: str, mask: Tensor, tested: int, recorder: Recorder) -> list[Measurement]:
    hits = int(mask.sum())
    return [
        recorder.count(count, hits, tested, if_none=NONE_TESTED),
        recorder.share(fraction, hits, tested, if_none=NONE_TESTED),
    ]


def _recognition(
    network: str, evidence: _Evidence, classes: _Classes, recorder: Recorder, *, if_none: str
) -> list[Measurement]:
    """How well a network knows the source classes: the tested ones by probability, all images by top-1."""
    probability, top1 = f"{network}.mean_probability", f"{network}.source_top1"
    if network not in classes.means:
        return [recorder.absent(probability, if_none), recorder.absent(top1, if_none)]
    right = evidence.source.right[network]
    return [
        recorder.mean(probability, classes.means[network][classes.tested], if_none=NONE_TESTED),
        recorder.share(top1, int(right.sum()), len(right), if_none="no source image was read"),
    ]
