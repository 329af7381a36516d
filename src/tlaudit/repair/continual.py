"""Several tasks learnt one after another, each training kept near the network that the one before left."""

from __future__ import annotations

import copy
import dataclasses
import re
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

import torch

from tlaudit.checks.asking import Network as Fed
from tlaudit.checks.asking import asked
from tlaudit.checks.base import Stopwatch
from tlaudit.checks.recognition import recognise
from tlaudit.data.kinds import KINDS, set_in
from tlaudit.data.said_once import said_once
from tlaudit.distributed import ALONE
from tlaudit.errors import DivergedError, UsageError
from tlaudit.models.pair import hybrid
from tlaudit.models.pretrained import fingerprint
from tlaudit.models.runtime import class_scores
from tlaudit.progress import silent
from tlaudit.repair.base import refuse_without_images
from tlaudit.repair.candidate import files_of
from tlaudit.repair.continual_told import Sequence, told
from tlaudit.repair.ground import Ground
from tlaudit.repair.judge import Judge
from tlaudit.repair.trainer import Trainer, refuse_strange_steps

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from torch import Tensor, nn

    from tlaudit.distributed import Group
    from tlaudit.models.sources import Model
    from tlaudit.options import Settings
    from tlaudit.progress import Progress
    from tlaudit.repair.base import Bench, Init, Method
    from tlaudit.repair.places import Places
    from tlaudit.results import CheckResult, Finding

SETS = ("train", "val")
_NAME = re.compile(r"\w[\w.-]*")


def parse_tasks(given: Iterable[str]) -> dict[str, Path]:
    """Read ``NAME=DIR``; each folder holds the training images in ``train``, held-out ones in ``val`` (docs/data.md).

    Raises:
        UsageError: If one is written otherwise, named twice, or its folders are missing; or there is one task only.
    """
    tasks: dict[str, Path] = {}
    for text in given:
        name, equals, folder = text.partition("=")
        if not equals or not _NAME.fullmatch(name) or not folder:
            raise UsageError(
                f"--task {text}: expected NAME=DIR; the name, of letters, digits and any of _-., is part of file names"
            )
        if name in tasks:
            raise UsageError(f"--task {name}: named twice")
        missing = [part for part in SETS if set_in(Path(folder), part) is None]
        if missing:
            raise UsageError(f"--task {name}: expected train and val in {folder}, each {KINDS}; no {missing[0]} there")
        tasks[name] = Path(folder)
    if len(tasks) < 2:
        raise UsageError("--task: a sequence has at least two tasks; one is --train-data and --val-data")
    return tasks


@said_once()
def learn_in_turn(
    source: Model,
    tasks: Mapping[str, Path],
    methods: Mapping[str, Method],
    settings: Settings,
    places: Places,
    *,
    progress: Progress = silent,
    group: Group = ALONE,
) -> CheckResult:
    """Learn tasks in turn by each method, asking after each one what is known of all of them.

    Args:
        source: The pretrained network.
        tasks: Folders by name, in order.
        methods: By name.
        settings: All options.
        places: What is written where: of each method and task one network.
        progress: Shows how far it is.
        group: Processes that share the work; the first one writes.

    Returns:
        Accuracy of every task after every task, forgetting, forward transfer.

    Raises:
        UsageError: If an option, folder or network cannot be what was meant.
        DataError: If images cannot be read, a file cannot be written, or a training diverges.
    """
    watch = Stopwatch()
    idle = [name for name, method in methods.items() if "finetuned" in method.needs]
    if idle:
        raise UsageError(f"--method {idle[0]}: weights between two networks are no training, so there is no sequence")
    names = [f"{method}.{task}" for method in methods for task in tasks]
    for method in methods.values():
        refuse_without_images(method, settings)
    places.refuse(names, files_of(source))
    refuse_strange_steps(places, names)
    grounds = {name: _ground(source, folder, settings, progress, group) for name, folder in tasks.items()}
    trainer = Trainer(places, names, progress, group)
    sequences, diverged = [], []
    for method in methods.values():
        try:
            sequences.append(_Course(source, grounds, method, trainer).run())
        except DivergedError as error:
            diverged.append(f"{method.name}, {error}")
    if not sequences:
        raise DivergedError("; ".join(diverged))
    return told(grounds, sequences, diverged, watch)


def _ground(source: Model, folder: Path, settings: Settings, progress: Progress, group: Group) -> Ground:
    train, val = (set_in(folder, part) for part in SETS)
    data = settings.data.model_copy(update={"val": val})
    repair = settings.repair.model_copy(update={"train": train})
    settings = settings.model_copy(update={"data": data, "repair": repair})
    return Ground(source, None, settings, progress=progress, group=group)


@dataclass
class _Course:
    """One method's way through all tasks.

    Attributes:
        source: Where it begins.
        grounds: Of each task, with the source's network.
        method: How each task is learnt.
        trainer: Trains and writes.
        learnt: Networks after each task.
        regarded: The tasks for the network that the last one left, with a linear probe for a head.
        findings: What the reader has to know of how networks came about.
    """

    source: Model
    grounds: dict[str, Ground]
    method: Method
    trainer: Trainer
    learnt: dict[str, Model] = field(default_factory=dict)
    regarded: dict[str, Ground] = field(default_factory=dict)
    findings: list[Finding] = field(default_factory=list)

    def run(self) -> Sequence:
        """Learn all tasks; after each one ask about all of them."""
        own: dict[tuple[str, str], Tensor] = {}
        probes: dict[tuple[str, str], Tensor] = {}
        known: dict[str, Tensor] = {}
        self._probe("", self.source, probes)
        known[""] = self._source_right(self.source)
        for name in self.grounds:
            self.learnt[name] = self._learn(name)
            reference = _followed(self.source, self.learnt[name], f"{self.method.name} after {name}")
            for earlier, model in self.learnt.items():
                network = hybrid(self.learnt[name], model, self.grounds[earlier].head)
                own[name, earlier] = self._right(network, earlier)
            self._probe(name, reference, probes)
            known[name] = self._source_right(reference)
        return Sequence(self.method.name, own, probes, known, tuple(self.findings))

    def _learn(self, name: str) -> Model:
        """Learn a task from what the one before left."""
        ground = self.regarded[name]
        options = ground.settings.repair
        init: Init = options.init or self.method.init
        if init not in self.method.inits or init == "finetuned":
            raise UsageError(f"--init {init}: in a sequence {self.method.name} begins with source-lp or source")
        bench = self._bench(ground, init)
        setup = self.method.setup(bench)
        told = (*ground.findings, *setup.findings, *self.trainer.drawn_apart(setup))
        self.findings += [one.model_copy(update={"message": f"{name}: {one.message}"}) for one in told]
        label = f"{self.method.name}.{name}"
        trained, diverged = self.trainer.train(label, self.method, init, setup, bench, ground.val)
        if trained is not None:
            model = ground.model(trained.network, label)
            parents = {"first": self.source.record.sha256}
            trained_here = bool(trained.history)
            self.trainer.write(label, model, self.method, init, bench, parents, trained=trained_here)
        if trained is None or diverged is not None:
            raise DivergedError(f"task {name}: {diverged}", trained)
        return model

    def _bench(self, ground: Ground, init: Init) -> Bench:
        lingering: tuple[int, ...] = ()
        if "lingering" in self.method.needs:
            judge = Judge(ground.subject, ground.settings.repair, ground.settings.lingering)
            lingering = judge.lingering(ground.before)
        return ground.bench(init, lingering, None)

    def _probe(self, after: str, model: Model, probes: dict[tuple[str, str], Tensor]) -> None:
        """Fit a linear probe for each task on a network's features, and ask it about the held-out images."""
        for name, ground in self.grounds.items():
            self.regarded[name] = ground if model is self.source else ground.regarding(model)
            probes[after, name] = self._right(self.regarded[name].before.module, name)

    def _right(self, network: nn.Module, name: str) -> Tensor:
        """Which held-out images of a task a network recognises, ``(N,)`` bool."""
        ground = self.grounds[name]
        assert ground.val is not None  # a task has such images
        placed = ground.execution.place(network)
        right = torch.zeros(len(ground.val.usable), dtype=torch.bool)
        fed = Fed(placed, ground.preprocessing)
        for batch in ground.val.epoch(0, seed=0, batch_size=ground.execution.batch_size, flip=False):
            with ground.execution.inference(), asked(self.method.name, fed, "validation images"):
                found = class_scores(placed, ground.normalizer(batch.pixels)).argmax(dim=1).cpu()
            right[batch.index] = found == batch.labels
        return right[ground.val.usable]

    def _source_right(self, model: Model) -> Tensor:
        """Which source images are recognised under the source's head, ``(N,)`` bool; none without such images."""
        subject = next(iter(self.grounds.values())).subject
        if not subject.source.images.items:
            return torch.zeros(0, dtype=torch.bool)
        networks = {"source": subject.network(model.module, "source")}
        return recognise(subject, subject.source, networks, "source images").right["source"]


def _followed(source: Model, learnt: Model, name: str) -> Model:
    """Give the source's form with the backbone a task left behind, for the next task to begin with."""
    module = hybrid(learnt, source)
    record = source.record.model_copy(update={"spec": name, "sha256": fingerprint(module.state_dict())})
    return dataclasses.replace(source, module=copy.deepcopy(module), record=record)
