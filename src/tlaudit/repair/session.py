"""One repair from beginning to end: judge the network before, train by each method, write, judge again."""

from __future__ import annotations

import dataclasses
import logging
from dataclasses import dataclass
from typing import TYPE_CHECKING

from tlaudit.checks.base import Stopwatch
from tlaudit.data.said_once import said_once
from tlaudit.distributed import ALONE
from tlaudit.errors import UsageError
from tlaudit.models.checkpoint import read_checkpoint
from tlaudit.models.pair import load_pair
from tlaudit.models.wording import nearest
from tlaudit.options.repair import MethodOptions
from tlaudit.progress import silent
from tlaudit.repair import METHODS
from tlaudit.repair.base import refuse_without_images
from tlaudit.repair.candidate import files_of
from tlaudit.repair.ground import Ground
from tlaudit.repair.judge import Judge
from tlaudit.repair.told import Outcome, told
from tlaudit.repair.trainer import Trainer, refuse_strange_steps

if TYPE_CHECKING:
    from collections.abc import Sequence

    from tlaudit.distributed import Group
    from tlaudit.models.sources import Model
    from tlaudit.options import ModelOptions, Settings
    from tlaudit.progress import Progress
    from tlaudit.repair.base import Method
    from tlaudit.repair.places import Places
    from tlaudit.results import CheckResult

log = logging.getLogger(__name__)

PARENTS_OF_WISE_FT = ("lp-ft", "plain")
"""Methods whose network is taken between source and finetuned where no finetuned one is given, the first there is."""


def load(models: ModelOptions) -> tuple[Model, Model | None]:
    """Load the source and, where there is one, the finetuned network.

    Raises:
        UsageError: If there is no source.
        CheckpointError: If a network cannot be loaded, or they do not belong together.
    """
    if models.source is None:
        raise UsageError("missing: --source (on the command line or in tlaudit.toml)")
    pair = load_pair(
        models.source,
        models.finetuned or models.source,
        arch=models.arch if models.finetuned else models.source_arch or models.arch,
        source_arch=models.source_arch,
        head=models.head,
        use_ema=models.use_ema,
        allow_pickle=models.allow_pickle,
    )
    return pair.source, pair.finetuned if models.finetuned else None


def all_methods(settings: Settings, *, in_turn: bool = False) -> tuple[str, ...]:
    """Give the names of all methods that can be run with these networks, images and this beginning.

    Args:
        settings: All options.
        in_turn: Whether tasks are learnt in turn, which takes a method that trains and makes its own beginning.
    """
    options = settings.repair
    return tuple(
        name
        for name, method in METHODS.items()
        if (settings.data.source is not None or not method.needs & {"source_data", "lingering"})
        and (options.init is None or not method.inits or options.init in method.inits)
        and not (in_turn and "finetuned" in method.needs)
    )


def chosen_methods(names: Sequence[str]) -> dict[str, Method]:
    """Give the methods of these names; those that need another one's network come last.

    Raises:
        UsageError: If a name is unknown, or given twice.
    """
    unknown = [name for name in names if name not in METHODS]
    if unknown:
        raise UsageError(
            f"--method {unknown[0]}: no such method; nearest: {nearest(unknown[0], list(METHODS))}; "
            f"known are {', '.join(METHODS)}"
        )
    twice = sorted({name for name in names if names.count(name) > 1})
    if twice:
        raise UsageError(f"--method: {', '.join(twice)} named twice")
    return {name: METHODS[name] for name in sorted(names, key=lambda name: "finetuned" in METHODS[name].needs)}


@said_once()
def run(
    source: Model,
    finetuned: Model | None,
    settings: Settings,
    places: Places,
    *,
    progress: Progress = silent,
    group: Group = ALONE,
) -> CheckResult:
    """Repair, and say what it did.

    Args:
        source: The pretrained network.
        finetuned: A network finetuned for the task, or None.
        settings: All options.
        places: What is written where.
        progress: Shows how far it is.
        group: Processes that share the work; the first one writes.

    Returns:
        Before and after.

    Raises:
        UsageError: If an option, folder or network cannot be what was meant.
        DataError: If images cannot be read, or a file cannot be written.
    """
    watch = Stopwatch()
    methods = chosen_methods(settings.repair.methods)
    _refuse(methods, finetuned, settings)
    names = list(methods)
    places.refuse(names, files_of(source, finetuned))
    refuse_strange_steps(places, names)
    ground = Ground(source, finetuned, settings, progress=progress, group=group)
    session = _Session(ground, Trainer(places, names, progress, group))
    outcomes = [session.outcome(method) for method in methods.values()]
    subject = dataclasses.replace(ground.subject, findings=(*ground.subject.findings, *ground.findings))
    return told(subject, settings.repair, session.judge.facts, (ground.before_name, session.before), outcomes, watch)


def _refuse(methods: dict[str, Method], finetuned: Model | None, settings: Settings) -> None:
    """Find out what is missing before any image is read."""
    init = settings.repair.init
    for name, method in methods.items():
        refuse_without_images(method, settings)
        if "finetuned" in method.needs and finetuned is None and not set(PARENTS_OF_WISE_FT) & methods.keys():
            raise UsageError(
                f"--method {name} needs a finetuned network: give --finetuned, or "
                f"{' or '.join(PARENTS_OF_WISE_FT)} beside it"
            )
        if init is not None and method.inits and init not in method.inits:
            raise UsageError(f"--init {init}: {name} begins with {' or '.join(method.inits)}")
    if init is not None and not any(method.inits for method in methods.values()):
        raise UsageError(f"--init {init}: {', '.join(methods)} begins with no network of its own; leave it out")
    if init == "finetuned" and finetuned is None:
        raise UsageError("--init finetuned: give the network to begin with as --finetuned")
    for name in METHODS:
        own = getattr(settings.repair, name.replace("-", "_"), None)
        if name not in methods and isinstance(own, MethodOptions) and own.model_fields_set:
            named = ", ".join(sorted(own.model_fields_set))
            log.warning("%s: options of a method that is not run: %s", name, named)


@dataclass
class _Session:
    """What goes on from method to method."""

    ground: Ground
    trainer: Trainer

    def __post_init__(self) -> None:
        self.judge = Judge(self.ground.subject, self.ground.settings.repair, self.ground.settings.lingering)
        self.before = self.judge.before(self.ground.before)
        self.lingering = tuple(self.before.lingering_classes)
        self._made: dict[str, Model] = {}

    def outcome(self, method: Method) -> Outcome:
        """Train by one method, write the network, judge it."""
        init = (self.ground.settings.repair.init or method.init) if method.inits else None
        finetuned = self._finetuned(method)
        if "finetuned" in method.needs and finetuned is None:
            lost = f"{method.name}: the training whose network it takes came to nothing"
            return Outcome(method.name, None, diverged=lost)
        bench = self.ground.bench(init, self.lingering, finetuned.module if finetuned is not None else None)
        setup = method.setup(bench)
        trained, diverged = self.trainer.train(method.name, method, init, setup, bench, self.ground.val)
        findings = [*setup.findings, *self.trainer.drawn_apart(setup)]
        if trained is None:
            return Outcome(method.name, None, findings=tuple(findings), diverged=diverged)
        model = self.ground.model(trained.network, method.name)
        if method.name in PARENTS_OF_WISE_FT:
            self._made[method.name] = model
        parents = {"finetuned": finetuned.record.sha256 if finetuned is not None else None}
        file = self.trainer.write(method.name, model, method, init, bench, parents, trained=bool(trained.history))
        written = self.trainer.group.told((str(file), read_checkpoint(file).sha256) if file is not None else None)
        variants = [(name, self.judge.glance(self.ground.model(network, name))) for name, network in setup.variants]
        return Outcome(
            method.name,
            self.judge.after(model),
            history=trained.history,
            kept=trained.kept if trained.history else None,
            findings=tuple(findings),
            variants=tuple(variants),
            diverged=diverged,
            file=written[0] if written is not None else None,
            sha256=written[1] if written is not None else model.record.sha256,
        )

    def _finetuned(self, method: Method) -> Model | None:
        """The finetuned network a method begins with or mixes; None where it takes none, or it could not be made."""
        ground = self.ground
        if "finetuned" not in method.needs:
            return ground.finetuned if (ground.settings.repair.init or method.init) == "finetuned" else None
        if ground.finetuned is not None:
            return ground.finetuned
        return next((self._made[name] for name in PARENTS_OF_WISE_FT if name in self._made), None)
