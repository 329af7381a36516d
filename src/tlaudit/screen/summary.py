"""What screening found, as a record: threshold, rates, and which classes images remind of."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal, Self

from tlaudit.checks.base import provenance
from tlaudit.checks.measured import Recorder
from tlaudit.data.images import ImageSet
from tlaudit.documents import lingering_classes, source_classes
from tlaudit.metrics.screen import QUANTITIES
from tlaudit.results import CheckResult, Finding, Table, columns
from tlaudit.screen.rates import NOTHING_LINGERS, on_clean_images, on_composites
from tlaudit.screen.threshold import saturated

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from pathlib import Path

    from tlaudit.checks.base import Stopwatch
    from tlaudit.options import DataOptions, ScreenOptions
    from tlaudit.records import Cell
    from tlaudit.results import Measurement
    from tlaudit.screen.asker import Asker
    from tlaudit.screen.rates import Clean, Composites
    from tlaudit.screen.rows import Tally
    from tlaudit.screen.threshold import Threshold

NAME = "screen"
HEADLINE = ("screen.flagged", "screen.threshold", "screen.false_positive_rate", "screen.true_positive_rate")
COLUMNS = columns(
    ("class_index", "index", "Output of the source network, counted from 0."),
    ("class_name", "text", "Name of the class; its index where the checkpoint names none."),
    ("hybrid_probability", "probability", "Mean probability on its source images, when it was found to linger."),
    ("reminded", "images", "Screened images that remind of this class most."),
    ("flagged", "images", "Those of them that are flagged."),
    ("composites", "images", "Composites of the class."),
    ("composites_flagged", "share", "Those of them that are flagged, for whichever class."),
    ("grey_flagged", "share", "The same overlays on mid-grey that are flagged."),
    ("absent", "text", "Why cells of this row are empty."),
)


@dataclass(frozen=True)
class Sets:
    """Clean target images to draw the line by and to judge it by.

    Attributes:
        calibration: The threshold is set by these, or None.
        val: The false-positive rate is measured on these, or None.
        split: Whether half of the calibration images is kept to measure on: no others are given.
        shared: Validation images that also set the threshold, and are therefore left out of the rate.
    """

    calibration: ImageSet | None
    val: ImageSet | None
    split: bool
    shared: int = 0

    @classmethod
    def scan(cls, data: DataOptions, calibrate: Path | None, seed: int) -> Self:
        """Find the images; labels are not needed.

        Raises:
            UsageError: If a folder is missing.
            DataError: If a folder holds no image.
        """

        def scanned(root: Path | None) -> ImageSet | None:
            return None if root is None else ImageSet.scan(root, labelled=False, limit=data.limit, seed=seed)

        calibration, val, shared = scanned(calibrate), scanned(data.val), 0
        if calibration is not None and val is not None:
            known = {item.content for item in calibration.items}
            kept = [number for number, item in enumerate(val.items) if item.content not in known]
            shared = len(val.items) - len(kept)
            val = val.part(kept, available=len(kept)) if kept else None
        return cls(calibration, val, split=calibration is not None and val is None, shared=shared if val else 0)


def summarise(
    asker: Asker, options: ScreenOptions, threshold: Threshold, tally: Tally, sets: Sets, watch: Stopwatch
) -> CheckResult:
    """Measure how good the flags are, and put everything into a record.

    Args:
        asker: Knows the threshold.
        options: How composites are made.
        threshold: What `settle_threshold` gave.
        tally: What all the rows add up to.
        sets: Clean target images.
        watch: Started before the first image was read.

    Raises:
        DataError: If no image of a set can be read.
    """
    subject = asker.subject
    lingering = subject.earlier["lingering"]
    clean = on_clean_images(asker, threshold, sets.val)
    composites = on_composites(asker, options)
    recorder = Recorder(QUANTITIES, subject.seed, options.bootstrap, options.confidence)
    measurements = _measurements(recorder, asker, threshold, tally, clean, composites)
    read = {"images": tally.record, "calibration": threshold.record, "val": clean.record}
    records = {role: record for role, record in read.items() if record is not None} | composites.records
    before = Finding(
        code="screen.lingering", severity="info", message=f"Before this, tlaudit lingering: {lingering.summary}"
    )
    return CheckResult(
        check=NAME,
        verdict=_verdict(asker, threshold, tally),
        summary=_summary(asker, threshold, tally, measurements),
        headline=HEADLINE,
        measurements=tuple(measurements.values()),
        tables={"classes": _table(asker, tally, composites)},
        findings=(
            *subject.findings,
            before,
            *_findings(asker, threshold, measurements),
            *threshold.findings,
            *_limits(threshold, sets),
        ),
        provenance=provenance(subject, records, _resolved(options, threshold)),
        run=watch.stop(subject.execution),
    )


def _measurements(
    recorder: Recorder, asker: Asker, threshold: Threshold, tally: Tally, clean: Clean, composites: Composites
) -> dict[str, Measurement]:
    flagged, counted = tally.flagged.total(), "counted, all of them"
    lingers, exact = len(asker.lingering), recorder.exact
    line = (
        exact("screen.threshold", threshold.value, threshold.n, why=f"chosen, not measured: {threshold.how}")
        if lingers
        else recorder.absent("screen.threshold", NOTHING_LINGERS)
    )
    no_composites = composites.absent or NOTHING_LINGERS
    found = (
        exact("screen.flagged", flagged, tally.images, why=counted),
        recorder.share("screen.flagged_share", flagged, tally.images, if_none="no image could be read"),
        exact("screen.unread", tally.unread, tally.images + tally.unread, why=counted),
        exact("screen.lingering_classes", lingers, lingers, why="taken over from the result of lingering"),
        line,
        recorder.share(
            "screen.false_positive_rate", clean.flagged, clean.images, if_none=clean.absent or NOTHING_LINGERS
        ),
        recorder.clustered(
            "screen.true_positive_rate", composites.flagged, composites.composites, if_none=no_composites
        ),
        recorder.clustered(
            "screen.grey_flagged_share", composites.on_grey, composites.composites, if_none=no_composites
        ),
    )
    return {measurement.name: measurement for measurement in found}


def _verdict(asker: Asker, threshold: Threshold, tally: Tally) -> Literal["concern", "clear", "open"]:
    """A concern if any image is flagged; clear only if all were looked at by a detector that can flag."""
    if asker.lingering:
        seen = not tally.unread and threshold.value < 1
        return "concern" if tally.flagged else "clear" if seen else "open"
    statuses = {one.status for one in source_classes(asker.subject.earlier["lingering"])}
    return "clear" if "forgotten" in statuses else "open"


def _summary(asker: Asker, threshold: Threshold, tally: Tally, measurements: Mapping[str, Measurement]) -> str:
    unread = f", {tally.unread} could not be read" if tally.unread else ""
    if not asker.lingering:
        return f"No class lingers, so that none of {tally.images} images is flagged{unread}."
    text = (
        f"{tally.flagged.total()} of {tally.images} images flagged{unread}. Threshold {threshold.value:.6g}, "
        f"{threshold.how}."
    )
    for name, what in (
        ("screen.false_positive_rate", "clean target images"),
        ("screen.true_positive_rate", "composites"),
        ("screen.grey_flagged_share", "overlays on mid-grey"),
    ):
        m = measurements[name]
        if m.value is not None:
            text += f" Flagged {what}: {100 * m.value:.1f} % of {m.n}{_within(m)}."
    return text


def _within(measurement: Measurement) -> str:
    bounds = measurement.interval
    return f" ({100 * bounds.low:.1f} to {100 * bounds.high:.1f} %)" if bounds else ""


def _findings(asker: Asker, threshold: Threshold, measurements: Mapping[str, Measurement]) -> Iterator[Finding]:
    """What the reader has to know before trusting a flag."""
    if not asker.lingering:
        message = "No class lingers in the result of lingering: nothing is screened for, only predictions are given."
        yield Finding(code="screen.nothing_lingers", severity="warning", message=message)
    elif threshold.origin == "p_lo":
        message = (
            "The threshold p_lo was made for the mean over images of a class; single images of no such class may well "
            "exceed it. --calibrate DIR sets the threshold by clean target images."
        )
        yield Finding(code="screen.not_calibrated", severity="info", message=message)
    right, control = measurements["screen.true_positive_rate"].value, measurements["screen.grey_flagged_share"].value
    if right is not None and control is not None and right <= control:
        message = (
            "Composites are flagged no more often than the same overlays on mid-grey: at this threshold a flag does "
            "not show that the picture holds something of a lingering class."
        )
        yield Finding(code="screen.no_better_than_grey", severity="warning", message=message)


def _limits(threshold: Threshold, sets: Sets) -> Iterator[Finding]:
    """What the reader has to know of the threshold and of the images it was judged by."""
    off = saturated(threshold)
    if off is not None:
        yield off
    if sets.shared:
        message = (
            f"{sets.shared} images of --val-data are images of --calibrate too: they had a part in the threshold and "
            "are left out of the false-positive rate."
        )
        yield Finding(code="screen.shared_images", severity="warning", message=message)


def _table(asker: Asker, tally: Tally, composites: Composites) -> Table:
    """One row for each lingering class, in index order."""
    lingering = lingering_classes(asker.subject.earlier["lingering"])
    columns = (composites.composites, composites.flagged, composites.on_grey)
    counts = dict(zip(composites.classes, zip(*(c.tolist() for c in columns), strict=True), strict=True))
    rows: list[dict[str, Cell]] = []
    for one in lingering:
        made, flagged, on_grey = counts.get(one.index, (0, 0, 0))
        rows.append(
            {
                "class_index": one.index,
                "class_name": one.name,
                "hybrid_probability": one.hybrid_probability,
                "reminded": tally.reminded[one.index],
                "flagged": tally.flagged[one.index],
                "composites": made,
                "composites_flagged": flagged / made if made else None,
                "grey_flagged": on_grey / made if made else None,
                "absent": None if made else composites.absent or "no source image of the class could be read",
            }
        )
    worst = sorted(
        range(len(rows)), key=lambda n: (-tally.flagged[lingering[n].index], -tally.reminded[lingering[n].index])
    )
    return Table(
        title="Classes that screened images remind of",
        columns=COLUMNS,
        rows=tuple(rows),
        worst=tuple(n for n in worst if tally.reminded[lingering[n].index]),
        brief=("class_name", "reminded", "flagged", "composites_flagged", "grey_flagged"),
    )


def _resolved(options: ScreenOptions, threshold: Threshold) -> dict[str, Cell]:
    """The options as they were used; files and what changes no number are left out."""
    used: dict[str, Cell] = {"threshold": threshold.value, "threshold_origin": threshold.origin}
    if threshold.origin == "calibrated":
        used["alpha"] = options.alpha
    names = ("per_class", "overlay_scale", "overlays", "bootstrap", "confidence")
    return used | {name: getattr(options, name) for name in names}
