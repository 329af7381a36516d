"""One training of a repair: kept safe while it runs, written when it is done."""

from __future__ import annotations

import importlib.metadata
import logging
from dataclasses import dataclass
from typing import TYPE_CHECKING

from tlaudit.errors import DataError, DivergedError
from tlaudit.models.pretrained import fingerprint
from tlaudit.models.runtime import class_scores
from tlaudit.models.wording import listed
from tlaudit.options.repair import MethodOptions
from tlaudit.repair.candidate import write_candidate
from tlaudit.results import Finding
from tlaudit.training.loop import Trained, train
from tlaudit.training.state import SavedState
from tlaudit.training.steps import StepFile, refuse_strange
from tlaudit.training.together import unmatched

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence
    from pathlib import Path

    from torch import nn

    from tlaudit.data.training import TrainingImages
    from tlaudit.distributed import Group
    from tlaudit.models.sources import Model
    from tlaudit.options import RepairOptions
    from tlaudit.progress import Progress
    from tlaudit.records import Cell
    from tlaudit.repair.base import Bench, Init, Method, Setup
    from tlaudit.repair.places import Places

log = logging.getLogger(__name__)


def refuse_strange_steps(places: Places, names: Sequence[str]) -> None:
    """Find out before the work starts that a file for the steps of a training holds something else.

    Args:
        places: What is written where.
        names: Of the networks that will be made.

    Raises:
        UsageError: If one does.
        DataError: If one cannot be read.
    """
    for name in names:
        steps = places.steps_of(name, names)
        if steps is not None:
            refuse_strange(steps)


@dataclass(frozen=True)
class Trainer:
    """Trains, and writes what came of it.

    Attributes:
        places: Files.
        names: Of all networks that this run makes.
        progress: Shows how far a training is.
        group: Processes that share the work.
    """

    places: Places
    names: list[str]
    progress: Progress
    group: Group

    def train(
        self, name: str, method: Method, init: Init | None, setup: Setup, bench: Bench, val: TrainingImages | None
    ) -> tuple[Trained | None, str | None]:
        """Train, or go on, or find out that there is nothing to train.

        Args:
            name: Of the network.
            method: Which one.
            init: Network it begins with.
            setup: What it made ready.
            bench: What it was given.
            val: Held-out images that say which epoch is best.

        Returns:
            The network, None where nothing came of it; and why it diverged, None where it did not.

        Raises:
            UsageError: If a saved state is of other data or options; what differs is named.
            CheckpointError: If it is damaged.
            DataError: If a file cannot be written, or an image no longer be read.
        """
        if setup.objective is None:
            return Trained(setup.network, (), 0, stopped=False), None
        options = bench.options
        state, steps = self.places.state_of(name, self.names), self.places.steps_of(name, self.names)
        key = self._key(method, init, setup, bench, val)
        if state is not None and self.group.leads:
            self._warn(state)
        try:
            trained = train(
                setup.network,
                setup.images,
                options.training,
                execution=bench.execution,
                normalizer=bench.normalizer,
                seed=bench.seed,
                objective=setup.objective,
                progress=self.progress,
                label=name,
                validate=_accuracy_on(val, bench) if val is not None else None,
                keep=options.keep,
                patience=options.patience,
                saved=SavedState(state, key, options.save_every) if state is not None else None,
                resume=self.places.resume,
                step_file=StepFile(steps) if steps is not None and self.group.leads else None,
                group=self.group,
            )
        except DivergedError as error:
            return error.trained, str(error)
        return trained, None

    def _warn(self, state: Path) -> None:
        """Say so where a training begins anew that was meant to go on, or the other way round."""
        if self.places.resume and not state.exists():
            log.warning("%s: no saved state is there, so that this training begins anew", state)
        elif state.exists() and not self.places.resume:
            log.warning("%s: a saved training is replaced by a new one; --resume would have gone on with it", state)

    def drawn_apart(self, setup: Setup) -> Iterator[Finding]:
        """Say where several processes do not do what one would."""
        if self.group.size == 1 or setup.objective is None:
            return
        apart = unmatched(setup.network)
        if apart:
            message = (
                f"{listed(apart)} draw random numbers of their own in each of {self.group.size} processes: the network "
                "is not the one that a single process makes."
            )
            yield Finding(code="repair.drawn_apart", severity="warning", message=message)

    def _key(
        self, method: Method, init: Init | None, setup: Setup, bench: Bench, val: TrainingImages | None
    ) -> dict[str, Cell]:
        """Everything the training depends on."""
        options, training = bench.options, bench.training
        key: dict[str, Cell] = {
            "method": method.name,
            "init": init,
            "source": bench.source.record.sha256,
            "network begun with": fingerprint(setup.network.state_dict()),
            "training images": training.record.fingerprint,
            "classes of the training images": training.record.labels,
            "validation images": val.record.fingerprint if val is not None else None,
            "keep": options.keep,
            "patience": options.patience,
            "seed": bench.seed,
            "precision": bench.execution.precision,
            "device": bench.execution.device.type,
            "processes": self.group.size,
        }
        if method.needs & {"source_data", "lingering"}:
            key |= {"source images": bench.source_images.digest(), "lingering classes": str(list(bench.lingering))}
        key |= {f"preprocessing.{name}": str(value) for name, value in bench.preprocessing if name != "origin"}
        return key | _options(method, options) | _versions()

    def write(
        self,
        name: str,
        model: Model,
        method: Method,
        init: Init | None,
        bench: Bench,
        parents: Mapping[str, str | None],
        *,
        trained: bool,
    ) -> Path | None:
        """Write a network as a checkpoint, in the first process, if a file was named.

        Args:
            name: Of the network.
            model: That network.
            method: That made it.
            init: What it began with; None for a mixture.
            bench: What it was made of.
            parents: SHA-256 of further things it was made of.
            trained: Whether it was trained, so that the settings of the training count.

        Returns:
            The file, or None where none was written.

        Raises:
            DataError: If it cannot be written.
        """
        path = self.places.checkpoint_of(name, self.names)
        if path is None or not self.group.leads:
            return None
        known = {"source": bench.source.record.sha256, **parents, "training images": bench.training.record.fingerprint}
        if "source_data" in method.needs:
            known["names and classes of source images"] = bench.source_images.digest()
        recipe: dict[str, Cell] = {"method": method.name, "init": init, "seed": bench.seed}
        recipe = {key: value for key, value in recipe.items() if value is not None}
        try:
            write_candidate(
                path,
                model,
                parents={what: digest for what, digest in known.items() if digest is not None},
                recipe=recipe | _versions() | _options(method, bench.options, trained=trained),
            )
        except OSError as error:
            raise DataError(f"{path}: cannot be written: {error.strerror}") from error
        log.info("written: %s", path)
        return path


def _accuracy_on(val: TrainingImages, bench: Bench) -> Callable[[nn.Module], float]:
    """A function that gives the share of the held-out images a network recognises."""

    def accuracy(network: nn.Module) -> float:
        hits = 0
        for batch in val.epoch(0, seed=0, batch_size=bench.execution.batch_size, flip=False):
            with bench.execution.inference():
                found = class_scores(network, bench.normalizer(batch.pixels)).argmax(dim=1).cpu()
            hits += int((found == batch.labels).sum())
        return hits / len(val)

    return accuracy


def _options(method: Method, options: RepairOptions, *, trained: bool = True) -> dict[str, Cell]:
    """Options of the training, where there was one, and of one method."""
    own = getattr(options, method.name.replace("-", "_"), None)
    told: dict[str, Cell] = {}
    if trained:
        told |= {f"training.{name}": value for name, value in options.training.model_dump().items()}
    if isinstance(own, MethodOptions):
        told |= {f"{method.name}.{name}": _cell(value) for name, value in own.model_dump().items()}
    return told


def _cell(value: object) -> Cell:
    return value if value is None or isinstance(value, str | int | float) else ", ".join(map(str, value))  # type: ignore[call-overload]


def _versions() -> dict[str, Cell]:
    return {f"version of {name}": importlib.metadata.version(name) for name in ("tlaudit", "torch")}
