"""The stress test: what planted shortcuts do to a network's features, by dose."""

from __future__ import annotations

import dataclasses
import importlib.metadata
from collections import Counter
from typing import TYPE_CHECKING

from tlaudit.checks.base import Stopwatch, provenance
from tlaudit.checks.compared import chosen_stages
from tlaudit.checks.measured import Recorder
from tlaudit.checks.stress_data import StressImages, divide
from tlaudit.checks.stress_judged import drawn_apart, findings, inherited, left_out, summary, verdict
from tlaudit.checks.stress_runs import Shelf, behaviour_digest, refuse_runs, weights_digest
from tlaudit.checks.stress_told import Told, plasticity_measurements, plasticity_table
from tlaudit.checks.stress_trials import Bench
from tlaudit.checks.vocabulary_stress import (
    DOSE_CHART,
    PLASTICITY_CHART,
    RANK_CHART,
    SHORTCUT_CHART,
)
from tlaudit.data.squares import class_colours
from tlaudit.errors import UsageError
from tlaudit.measure.similarity import MINIMUM_IMAGES
from tlaudit.metrics.stress import quantities
from tlaudit.results import CheckResult
from tlaudit.training.loop import refuse_single_images

if TYPE_CHECKING:
    from collections.abc import Mapping

    from tlaudit.checks.base import Subject
    from tlaudit.metrics.base import Quantity
    from tlaudit.options import StressOptions
    from tlaudit.records import Cell
    from tlaudit.results import DataRecord, Measurement, Provenance

NAME = "stress"
HEADLINE = (
    "stress.clean_accuracy.before",
    "stress.max_drop",
    "stress.threshold_ratio",
    "stress.plasticity.area_difference",
)
HALVINGS = 6
"""A bisection ends when the ratio is known to one image, or to about 1/64 of the step between two ratios (ours)."""


class StressCheck:
    """The check behind `tlaudit stress`."""

    name = NAME
    needs: tuple[str, ...] = ()
    headline = HEADLINE

    def refuse(self, subject: Subject, options: StressOptions) -> None:
        """Look whether the test can be made, before any image is read.

        Raises:
            UsageError: If a ratio or stage is named twice, what is asked for needs squares and no ratio is above 0,
                batches are too small for CKA or for batch norms, there is one class only, the test images do not fit,
                or the folder of finished runs cannot be made.
            MeasureError: If there are more classes than colours.
            DataError: If there are too few test images.
        """
        # Measurements are named after ratios as they print.
        twice = [name for name, count in Counter(f"{ratio:g}" for ratio in options.ratios).items() if count > 1]
        if twice:
            raise UsageError(f"--ratios: {', '.join(twice)} named twice")
        if not any(options.ratios) and (options.plasticity or options.bisect is not None):
            flag = "--plasticity" if options.plasticity else "--bisect"
            raise UsageError(f"{flag} needs a training with squares: expected --ratios with one above 0, got 0 alone")
        if subject.execution.batch_size < MINIMUM_IMAGES:
            raise UsageError(
                f"--batch-size {subject.execution.batch_size}: a batch is a minibatch of CKA, which needs at least "
                f"{MINIMUM_IMAGES} images"
            )
        class_colours(subject.pair.source.num_classes)
        self._stages(subject, options)
        split = divide(subject, options)
        refuse_single_images(subject.pair.source.module, len(split.training.labels), options.training)
        if options.runs is not None and subject.group.leads:
            refuse_runs(options.runs)

    def quantities(self, subject: Subject, options: StressOptions) -> Mapping[str, Quantity]:  # noqa: ARG002
        """Give what is measured, by name, at the ratios asked for and without squares."""
        return quantities(sorted({0.0, *options.ratios}))

    def run(self, subject: Subject, options: StressOptions) -> CheckResult:
        """Train the network on its own task with squares on a share of the images, share by share, and look.

        Args:
            subject: The network (as ``source``), and labelled images of the task it knows.
            options: Ratios, square, schedule, test images.

        Returns:
            Measurements, the tables ``runs``, ``shortcut``, ``stages`` and, where asked for, ``plasticity``, findings,
            provenance.

        Raises:
            UsageError: As of `refuse`.
            DataError: If images cannot be read, a training diverges, or a finished run cannot be written.
        """
        watch = Stopwatch()
        with subject.group.agreed():
            # A step of a training takes its images from anywhere: every process reads all of them.
            images = StressImages(divide(subject, options), subject, options)
        read = {"training images": images.training, "test images": images.test}
        subject.group.refuse_different({name: one.record.fingerprint for name, one in read.items()}, "after reading")
        ratios, without = images.doses(sorted({0.0, *options.ratios}))
        recorder = Recorder(quantities(ratios), subject.seed, options.bootstrap, options.confidence)
        bench = self._bench(subject, options, images, recorder, ratios[-1] if options.plasticity else None)
        before = bench.hits(subject.network(subject.pair.source.module, "source").module)
        trials = bench.sweep(ratios, "stress")
        told = Told(recorder, before, trials, ratios, images.chance)
        threshold, told = _bisected(bench, told, options.bisect)
        relearning = bench.relearn(ratios[-1]) if options.plasticity and told.planted else None
        why = "no ratio plants an image" if options.plasticity else "it was not asked for (--plasticity)"
        measurements = [*told.measurements(), threshold, *plasticity_measurements(relearning, told, why)]
        tables = {"runs": told.runs(), "shortcut": told.shortcut(), "stages": told.stages()}
        return CheckResult(
            check=NAME,
            verdict=verdict(told),
            summary=summary(told),
            headline=HEADLINE,
            measurements=tuple(measurements),
            tables=tables | ({"plasticity": plasticity_table(relearning, recorder)} if relearning else {}),
            charts=(DOSE_CHART, SHORTCUT_CHART, RANK_CHART, *((PLASTICITY_CHART,) if relearning else ())),
            findings=(
                *inherited(subject),
                *drawn_apart(subject),
                *left_out(without),
                *findings(told, relearning, bench),
            ),
            provenance=_provenance(subject, images, _resolved(bench, options, ratios)),
            run=watch.stop(subject.execution),
        )

    def _stages(self, subject: Subject, options: StressOptions) -> tuple[str, ...]:
        return chosen_stages({"source": subject.pair.source}, options.stages, subject.pair.head)["source"]

    def _bench(
        self, subject: Subject, options: StressOptions, images: StressImages, recorder: Recorder, again: float | None
    ) -> Bench:
        stages = self._stages(subject, options)
        shelf = Shelf(options.runs, _basis(subject, options, images, stages), subject.group)
        return Bench(subject, options.training, images, stages, recorder, shelf, again)


def _basis(
    subject: Subject, options: StressOptions, images: StressImages, stages: tuple[str, ...]
) -> dict[str, object]:
    """Everything a run depends on beside its ratio."""
    model, split = subject.pair.source, images.split
    return {
        "weights": weights_digest(model.module),
        "behaviour": behaviour_digest(subject),
        "architecture": model.architecture,
        "preprocessing": subject.preprocessing["source"].model_dump(mode="json", exclude={"origin"}),
        "data": {
            "training": [images.training.record.fingerprint, split.training.digest()],
            "test": [images.test.record.fingerprint, split.test.digest()],
        },
        "training": options.training.model_dump(mode="json"),
        "side": images.side,
        "stages": list(stages),
        "intervals": [options.bootstrap, options.confidence],
        "seed": subject.seed,
        "precision": subject.execution.precision,
        "device": subject.execution.device.type,
        "batch_size": subject.execution.batch_size,
        "processes": subject.group.size,
        "versions": {name: importlib.metadata.version(name) for name in ("tlaudit", "torch", "torchvision", "pillow")},
    }


def _provenance(subject: Subject, images: StressImages, resolved: dict[str, Cell]) -> Provenance:
    """What the numbers depend on; the network that stands beside itself is named once."""
    found = provenance(subject, _records(images), resolved)
    return found.model_copy(update={"models": {"source": found.models["source"]}})


def _resolved(bench: Bench, options: StressOptions, ratios: list[float]) -> dict[str, Cell]:
    training = {f"training.{key}": value for key, value in options.training.model_dump(mode="json").items()}
    return {
        "ratios": ", ".join(f"{ratio:g}" for ratio in ratios),
        "square": options.square,
        "square_pixels": bench.images.side,
        "bisect": options.bisect,
        "plasticity": options.plasticity,
        "test": "held out" if bench.images.split.held_out else "given",
        "stages": ", ".join(bench.stages),
        "minibatch": bench.subject.execution.batch_size,
        "bootstrap": options.bootstrap,
        "confidence": options.confidence,
        **training,
    }


def _records(images: StressImages) -> dict[str, DataRecord]:
    split = images.split
    return {
        "training": images.training.record.model_copy(update={"labels": split.training.digest()}),
        "test": images.test.record.model_copy(update={"labels": split.test.digest()}),
    }


def _bisected(bench: Bench, told: Told, limit: float | None) -> tuple[Measurement, Told]:
    """Find the smallest ratio with a drop above the limit, between the last of the sweep without and the first with."""
    name, recorder = "stress.threshold_ratio", told.recorder
    if limit is None:
        return recorder.absent(name, "no limit was given (--bisect)"), told
    above = [ratio for ratio in told.asked if float(told.drop(ratio).mean()) > limit]
    if not above:
        return recorder.absent(name, f"at no ratio of the sweep does clean accuracy fall by more than {limit:g}"), told
    high = above[0]
    low = max(ratio for ratio in told.asked if ratio < high)
    images = len(bench.images.training)
    trials = dict(told.trials)
    for _ in range(HALVINGS):
        # At a ratio of whole images, so that no training is made twice under two names.
        middle = round((low + high) / 2 * images) / images
        if not round(low * images) < round(middle * images) < round(high * images):
            break
        trials |= bench.sweep([middle], f"bisection, at {middle:.3g}")
        told = dataclasses.replace(told, trials=dict(sorted(trials.items())))
        low, high = (low, middle) if float(told.drop(middle).mean()) > limit else (middle, high)
    why = f"the drop passes {limit:g} between {low:.4g} and {high:.4g}, found by bisection with one training a ratio"
    return recorder.exact(name, high, images, why=why), told
