"""What all methods of one repair stand on: task, images, networks to begin with, the network before."""

from __future__ import annotations

import copy
import dataclasses
from typing import TYPE_CHECKING

from tlaudit.checks.assembly import assemble
from tlaudit.checks.base import settled
from tlaudit.checks.sameness import refuse_different
from tlaudit.data.training import TrainingImages
from tlaudit.errors import DataError, UsageError
from tlaudit.models.heads import widest
from tlaudit.models.new_head import with_new_head
from tlaudit.models.pair import join
from tlaudit.models.preprocess import Normalizer, resolve_preprocessing
from tlaudit.repair.base import Bench
from tlaudit.repair.candidate import candidate
from tlaudit.repair.task import find_task
from tlaudit.training.loop import refuse_single_images
from tlaudit.training.probed_head import probed_head

if TYPE_CHECKING:
    from pathlib import Path

    from torch import nn

    from tlaudit.checks.base import LabelledImages, Subject
    from tlaudit.distributed import Group
    from tlaudit.models.sources import Model
    from tlaudit.options import Settings
    from tlaudit.progress import Progress
    from tlaudit.repair.base import Init
    from tlaudit.repair.task import Task
    from tlaudit.results import Finding, Preprocessing

BEFORE_LP = "source with a linear probe"


class Ground:
    """Task, images and networks of one repair.

    Attributes:
        source: The pretrained network.
        finetuned: A network finetuned for the task, or None.
        settings: All options.
        task: Classes and images.
        execution: Device and precision.
        preprocessing: Of the networks for the task.
        training: Training images, read.
        val: Held-out images, read; None without.
        head: Module path of the head.
        subject: What is judged: the network before, and the images.
        starts: Networks that trainings begin with, as they were needed.
        before: The finetuned network, else the source with a linear probe for a head.
        findings: What was noticed on the way.
    """

    def __init__(
        self, source: Model, finetuned: Model | None, settings: Settings, *, progress: Progress, group: Group
    ) -> None:
        """Find and read everything.

        Raises:
            UsageError: If a folder is missing or an option cannot be met.
            ClassMatchError: If folders are not the classes of a network.
            MismatchError: If source and finetuned network do not belong together.
            DataError: If images cannot be read.
        """
        options, data = settings.repair, settings.data
        folder = options.train or data.target
        if folder is None:
            raise UsageError("missing: --train-data (on the command line or in tlaudit.toml)")
        self.source, self.finetuned, self.settings = source, finetuned, settings
        self._progress, self._group = progress, group
        self.execution = settled(settings.execution, group)
        self.task: Task = find_task(folder, data.val, finetuned, data, settings.execution.seed)
        self.head = widest([source.head, *([finetuned.head] if finetuned else [])])
        self.preprocessing = self._preprocessing()
        self.training = self._read(self.task.training)
        self._refuse_unreadable_classes(self.task.training, self.training)
        refuse_single_images(source.module, len(self.training), options.training)
        self.val = self._read(self.task.val) if self.task.val else None
        if self.task.val is not None and self.val is not None:
            self._refuse_unreadable_classes(self.task.val, self.val)
        self.normalizer = Normalizer(self.preprocessing, self.execution.device)
        self.findings: list[Finding] = []
        self.starts: dict[Init, nn.Module] = {}
        self.before = finetuned if finetuned is not None else self._with_probe()
        self.subject = self._subject(folder)

    def regarding(self, source: Model) -> Ground:
        """Give the same task and images for another network of the source's form, which takes the source's place."""
        other = copy.copy(self)
        other.source, other.findings, other.starts = source, [], {}
        other.before = other._with_probe()  # noqa: SLF001 - a copy of this one
        pair = dataclasses.replace(join(source, other.before), findings=())
        other.subject = dataclasses.replace(self.subject, pair=pair)
        return other

    @property
    def seed(self) -> int:
        """For every random choice."""
        return self.settings.execution.seed

    @property
    def before_name(self) -> str:
        """What the network before is called."""
        return "finetuned" if self.finetuned is not None else BEFORE_LP

    def start(self, init: Init) -> nn.Module:
        """Give a network that trainings begin with, the same in every process.

        Raises:
            UsageError: If it is to be the finetuned one and there is none.
        """
        if init not in self.starts:
            with self._group.agreed():
                network = self._begun(init)
            self._group.share_weights(network)
            self.starts[init] = network
        return self.starts[init]

    def bench(self, init: Init | None, lingering: tuple[int, ...], finetuned: nn.Module | None) -> Bench:
        """Give what a method works with.

        Args:
            init: Network it begins with; None for a method that makes its own of the finetuned one.
            lingering: Source classes that linger before, best recognised first.
            finetuned: A finetuned network, where the method needs one.
        """
        return Bench(
            source=self.source,
            head=self.head,
            start=self._start_of(init, finetuned),
            finetuned=finetuned,
            training=self.training,
            source_images=self.subject.source,
            lingering=lingering,
            options=self.settings.repair,
            preprocessing=self.preprocessing,
            execution=self.execution,
            normalizer=self.normalizer,
            seed=self.seed,
        )

    def _start_of(self, init: Init | None, finetuned: nn.Module | None) -> nn.Module:
        if init is not None:
            return self.start(init)
        if finetuned is None:
            raise ValueError("a method that begins with no network of its own needs the finetuned one")
        return finetuned

    def model(self, network: nn.Module, name: str) -> Model:
        """Make a model of a network for the task."""
        return candidate(
            self.source,
            network,
            name=name,
            head=self.head,
            classes=self.task.classes,
            preprocessing=self.preprocessing,
        )

    def _with_probe(self) -> Model:
        """The source with a linear probe for a head."""
        return self.model(self.start("source-lp"), f"{self.source.record.spec} with a linear probe")

    def _begun(self, init: Init) -> nn.Module:
        if init == "finetuned":
            if self.finetuned is None:
                raise UsageError("--init finetuned: give the network to begin with as --finetuned")
            return self.finetuned.module
        fresh = with_new_head(self.source, len(self.task.classes), self.seed)
        if init == "source":
            return fresh
        probed = probed_head(
            self.source,
            fresh,
            self.training,
            normalizer=self.normalizer,
            execution=self.execution,
            seed=self.seed,
            progress=self._progress,
        )
        self.findings += probed.findings
        return probed.network

    def _preprocessing(self) -> Preprocessing:
        table = self.settings.preprocess
        known = self.finetuned.preprocessing if self.finetuned else None
        return resolve_preprocessing(known or self.source.preprocessing, table.finetuned, table)

    def _refuse_unreadable_classes(self, given: LabelledImages, read: TrainingImages) -> None:
        """A class none of whose images can be read can be neither learnt nor asked about."""
        readable = set(given.labels[read.usable].tolist())
        lost = [name for index, name in enumerate(self.task.classes) if index not in readable]
        if lost:
            raise DataError(f"{given.images.root}: no image can be read of the classes {', '.join(lost)}")

    def _read(self, images: LabelledImages) -> TrainingImages:
        with self._group.agreed():
            # A step takes its images from anywhere: every process reads all of them.
            read = TrainingImages(
                images.images,
                images.labels,
                self.preprocessing,
                workers=self.execution.workers,
                strict=self.settings.data.strict,
                progress=self._progress,
            )
        found = {f"images of {images.images.root} (fingerprint)": read.record.fingerprint}
        self._group.refuse_different(found, "after reading")
        read.record = read.record.model_copy(update={"labels": images.digest()})
        return read

    def _subject(self, folder: Path) -> Subject:
        pair = join(self.source, self.before)
        if self.finetuned is None:
            # That its backbone is the source's is how it was made, and no finding.
            pair = dataclasses.replace(pair, findings=())
        data = self.settings.data.model_copy(update={"target": folder, "val": None})
        subject = assemble(
            pair,
            data,
            preprocess=self.settings.preprocess,
            execution=self.settings.execution,
            progress=self._progress,
            needed=(),
            group=self._group,
        )
        refuse_different(subject)
        preprocessing = {**subject.preprocessing, "finetuned": self.preprocessing}
        return dataclasses.replace(subject, val=self.task.val, preprocessing=preprocessing)
