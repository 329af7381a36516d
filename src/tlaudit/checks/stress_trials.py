"""The trainings of a stress test, and what is asked of each network afterwards."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import torch

from tlaudit.checks.asking import Network, asked
from tlaudit.checks.compared import compare
from tlaudit.checks.profile import Profile
from tlaudit.checks.stress_runs import Relearning, StageAfter, Trial
from tlaudit.errors import UsageError
from tlaudit.models.preprocess import Normalizer
from tlaudit.models.runtime import class_scores
from tlaudit.progress import silent
from tlaudit.results import Interval
from tlaudit.training.fresh import fresh
from tlaudit.training.loop import Training

if TYPE_CHECKING:
    from collections.abc import Generator, Iterator

    from torch import nn

    from tlaudit.checks.base import Subject
    from tlaudit.checks.compared import Compared
    from tlaudit.checks.measured import Recorder
    from tlaudit.checks.stress_data import StressImages
    from tlaudit.checks.stress_runs import Hits, Shelf
    from tlaudit.data.training import TrainingBatch, TrainingImages
    from tlaudit.options import TrainingOptions
    from tlaudit.training.loop import Trained


@dataclass(frozen=True)
class Bench:
    """What all trainings of a test share.

    Attributes:
        subject: The network, its images, how the work is done.
        training: The schedule.
        images: Learnt from, and asked about.
        stages: Module paths that are compared.
        recorder: Seed, resamples and confidence of intervals.
        shelf: Where finished runs are kept.
        again: Ratio whose trained network is needed once more after the sweep; None for none.
        trained: That network by its ratio, where it was trained in this run.
    """

    subject: Subject
    training: TrainingOptions
    images: StressImages
    stages: tuple[str, ...]
    recorder: Recorder
    shelf: Shelf
    again: float | None = None
    trained: dict[float, nn.Module] = field(default_factory=dict)

    @property
    def images_a_training(self) -> int:
        """How many images one training sees, epochs counted."""
        return self.training.epochs * len(self.images.training)

    def sweep(self, ratios: list[float], label: str) -> dict[float, Trial]:
        """Make, or find, the trial of each ratio; the progress counts the images that are still to be learnt from.

        Raises:
            DataError: If a training diverges, or a finished trial cannot be written.
        """
        found = {ratio: trial for ratio in ratios if (trial := self.shelf.find(Trial, ratio)) is not None}
        missing = [ratio for ratio in ratios if ratio not in found]

        def work() -> Iterator[int]:
            for ratio in missing:
                trained = yield from self._trained(self.subject.pair.source.module, self.images.planted(ratio))
                if ratio == self.again:
                    self.trained[ratio] = trained.network
                found[ratio] = self._judged(ratio, trained)
                self.shelf.keep(found[ratio])

        self._follow(work(), len(missing), label)
        return {ratio: found[ratio] for ratio in ratios}

    def relearn(self, ratio: float) -> Relearning:
        """Make, or find, the sequence original, planted, original, and the same schedule from scratch.

        Raises:
            DataError: If a training diverges, or the finished sequence cannot be written.
        """
        known = self.shelf.find(Relearning, ratio)
        if known is not None:
            return known
        found: list[Relearning] = []
        self._follow(self._sequence(ratio, found), 2 if ratio in self.trained else 3, "plasticity")
        self.shelf.keep(found[0])
        return found[0]

    def _follow(self, work: Iterator[int], trainings: int, label: str) -> None:
        if trainings:
            total = trainings * self.images_a_training
            for _ in self.subject.progress(work, total=total, label=label, size=int):
                pass

    def _sequence(self, ratio: float, found: list[Relearning]) -> Iterator[int]:
        original, images = self.subject.pair.source, self.images.training
        planted = self.trained.get(ratio)
        if planted is None:
            planted = (yield from self._trained(original.module, self.images.planted(ratio))).network
        again: list[Hits] = [self.hits(planted)]
        relearnt = yield from self._trained(planted, images, again)
        anew: list[Hits] = []
        losses: tuple[float, ...] = ()
        reason = ""
        try:
            with self.subject.group.agreed():
                begun = fresh(original, self.subject.seed)
        except UsageError as error:
            reason = str(error)
        else:
            self.subject.group.share_weights(begun)
            anew.append(self.hits(self.subject.execution.place(begun)))
            scratch = yield from self._trained(begun, images, anew)
            losses = _losses(scratch)
        found.append(
            Relearning(
                ratio=ratio,
                relearning=tuple(again),
                relearning_losses=_losses(relearnt),
                scratch=tuple(anew),
                scratch_losses=losses,
                scratch_absent=reason,
            )
        )

    def _trained(
        self, network: nn.Module, data: TrainingImages, curve: list[Hits] | None = None
    ) -> Generator[int, None, Trained]:
        """Train a copy, telling the images of each step; the curve gets the test images recognised after each epoch."""
        execution = self.subject.execution
        normalizer = Normalizer(self.subject.preprocessing["source"], execution.device)
        training = Training(
            network,
            data,
            self.training,
            execution=execution,
            normalizer=normalizer,
            seed=self.subject.seed,
            group=self.subject.group,
        )

        def note(_: int, network: nn.Module) -> None:
            if curve is not None:
                curve.append(self.hits(network))

        with self.subject.group.in_step():
            for step in training.run(note):
                yield step.images
        return training.finish()

    def hits(self, network: nn.Module, squares: str = "none") -> Hits:
        """Ask a network on the device about the test images, as they are or with squares.

        Args:
            network: In eval mode.
            squares: As of `StressImages.tests`.

        Returns:
            Whether it is right, for each image that can be used in the order of the set.

        Raises:
            UsageError: If it cannot work on images of this size.
        """
        execution, preprocessing = self.subject.execution, self.subject.preprocessing["source"]
        normalizer, usable = Normalizer(preprocessing, execution.device), self.images.test.usable
        right, group = torch.zeros(len(usable), dtype=torch.int64), self.subject.group
        with group.agreed():
            for number, batch in enumerate(self.images.tests(squares)):
                if number % group.size != group.rank:
                    continue
                with execution.inference(), asked("source", Network(network, preprocessing), "test images"):
                    right[batch.index] = _right(network, normalizer, batch).long()
        right = torch.stack(group.gathered(right)).sum(dim=0)
        return tuple(right[usable].bool().tolist())

    def _judged(self, ratio: float, trained: Trained) -> Trial:
        return Trial(
            ratio=ratio,
            planted=self.images.count(ratio),
            losses=_losses(trained),
            clean=self.hits(trained.network),
            own=self.hits(trained.network, "own"),
            other=self.hits(trained.network, "other"),
            stages=self._stages(trained.network),
        )

    def _stages(self, network: nn.Module) -> tuple[StageAfter, ...]:
        """Compare the network before and after on the clean test images."""
        # The sweep has a bar of its own.
        subject = dataclasses.replace(self.subject, progress=silent)
        networks = {
            "source": subject.network(subject.pair.source.module, "source"),
            "finetuned": Network(network, subject.preprocessing["source"]),
        }
        stages = dict.fromkeys(networks, self.stages)
        compared = compare(subject, self.images.split.test.images, networks, stages, label="test images")
        profile = Profile(compared, self.recorder, alike=True)
        return tuple(_stage(stage, compared, profile) for stage in self.stages)


def _right(network: nn.Module, normalizer: Normalizer, batch: TrainingBatch) -> torch.Tensor:
    logits = class_scores(network, normalizer(batch.pixels)).cpu()
    return (logits.argmax(dim=1) == batch.labels) & ~logits.isnan().any(dim=1)


def _losses(trained: Trained) -> tuple[float, ...]:
    return tuple(sum(epoch.losses.values()) for epoch in trained.history)


def _stage(stage: str, compared: Compared, profile: Profile) -> StageAfter:
    before, after = (compared.spectra[role].get(stage) for role in ("source", "finetuned"))
    value, interval = profile.cka["finetuned"].get(stage, (None, ""))
    collapsed = stage in profile.collapsed
    measured = after or (before if collapsed else None)
    return StageAfter(
        stage=stage,
        n=measured.n if measured else None,
        d=measured.d if measured else None,
        cka=value,
        cka_low=interval.low if isinstance(interval, Interval) else None,
        cka_high=interval.high if isinstance(interval, Interval) else None,
        cka_n=compared.cka["finetuned"].images if value is not None else None,
        rank_before=before.rank if before else None,
        rank=after.rank if after else 0 if collapsed else None,
        effective_rank_before=before.effective_rank if before else None,
        effective_rank=after.effective_rank if after else None,
        participation_ratio_before=before.participation_ratio if before else None,
        participation_ratio=after.participation_ratio if after else None,
        collapsed=collapsed,
        absent=_absent(stage, compared, profile, interval),
    )


def _absent(stage: str, compared: Compared, profile: Profile, interval: Interval | str) -> str:
    """Why numbers of a stage are missing; empty where none is."""
    reasons = [
        f"{when}: {known[role][stage]}"
        for known in (compared.reasons, compared.without)
        for when, role in (("before", "source"), ("after", "finetuned"))
        if stage in known[role]
    ]
    if not reasons:
        reasons.append(profile.no_cka["finetuned"].get(stage, ""))
    if isinstance(interval, str):
        reasons.append(interval)
    return "; ".join(filter(None, reasons))
