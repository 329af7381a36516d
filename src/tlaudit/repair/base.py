"""What every repair method is given and what it gives back."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar, Literal

from tlaudit.data.picture_pool import PicturePool
from tlaudit.errors import UsageError
from tlaudit.results import Finding

if TYPE_CHECKING:
    from torch import nn

    from tlaudit.checks.base import LabelledImages
    from tlaudit.data.training import TrainingImages
    from tlaudit.models.preprocess import Normalizer
    from tlaudit.models.runtime import Execution
    from tlaudit.models.sources import Model
    from tlaudit.options import RepairOptions, Settings
    from tlaudit.results import Preprocessing
    from tlaudit.training.objective import Objective

Init = Literal["source-lp", "source", "finetuned"]
Need = Literal["source_data", "lingering", "finetuned"]


@dataclass(frozen=True)
class Bench:
    """What a method works with. Networks are in eval mode, on the CPU, without gradients; none may be changed.

    Attributes:
        source: The pretrained network M^s.
        head: Module path of the head, in the source as in the networks for the target task.
        start: Where the training begins: the source's architecture with as many outputs as the task has classes.
        finetuned: A finetuned network of the same form; None where no chosen method needs one.
        training: Training images of the task, labelled by output of `start`.
        source_images: Images of source classes, labelled by class index of the source network; maybe none.
        lingering: Source classes that linger before the repair, by index, best recognised first.
        options: Of the repair.
        preprocessing: How pictures become inputs, of all these networks.
        execution: Device and precision.
        seed: For every random choice.
    """

    source: Model
    head: str
    start: nn.Module
    finetuned: nn.Module | None
    training: TrainingImages
    source_images: LabelledImages
    lingering: tuple[int, ...]
    options: RepairOptions
    preprocessing: Preprocessing
    execution: Execution
    normalizer: Normalizer
    seed: int


@dataclass(frozen=True)
class Setup:
    """What makes a training one of this method.

    Attributes:
        network: Where it begins, or, for a method that does not train, where it ends.
        images: What is learnt.
        objective: What is minimised; None for a method that does not train.
        variants: Further networks on the way between others, by name, for methods that sweep.
        findings: What the reader has to know of how it came about.
    """

    network: nn.Module
    images: TrainingImages
    objective: Objective | None
    variants: tuple[tuple[str, nn.Module], ...] = ()
    findings: tuple[Finding, ...] = ()


class Method(ABC):
    """One way to finetune again.

    Attributes:
        name: As ``--method`` takes it.
        summary: What it does, in half a sentence.
        init: Network it begins with where the user does not say.
        inits: Those it may begin with; none for a method that makes its own of the finetuned network.
        needs: What it cannot do without.
    """

    name: ClassVar[str]
    summary: ClassVar[str]
    init: ClassVar[Init] = "source-lp"
    inits: ClassVar[tuple[Init, ...]] = ("source-lp", "source", "finetuned")
    needs: ClassVar[frozenset[Need]] = frozenset()

    @abstractmethod
    def setup(self, bench: Bench) -> Setup:
        """Make ready.

        Raises:
            UsageError: If an option cannot be met by these networks and images.
            DataError: If images that are needed cannot be read.
        """


def lingering_pictures(bench: Bench) -> PicturePool:
    """Decode source images of the classes that linger, as many as are kept in memory.

    Raises:
        DataError: If none can be read.
    """
    return PicturePool.load(
        bench.source_images.images,
        bench.source_images.labels,
        bench.lingering,
        bench.preprocessing,
        seed=bench.seed,
        batch_size=bench.execution.batch_size,
        workers=bench.execution.workers,
    )


def nothing_lingers(name: str) -> Finding:
    """Say that a method which removes what lingers has nothing to remove, so that it is plain finetuning."""
    message = (
        f"{name}: no source class lingers before the repair, so that it had nothing to remove and was as plain is."
    )
    return Finding(code="repair.nothing_lingers", severity="warning", message=message)


def pictures_left_out(name: str, pool: PicturePool) -> tuple[Finding, ...]:
    """Say how many source images a method does not draw from; nothing where it draws from all."""
    kept, broken = len(pool.labels), len(pool.record.skipped)
    if kept == pool.available:
        return ()
    message = (
        f"{name}: it drew from {kept} of {pool.available} images of lingering classes; {broken} could not be read, and "
        f"{pool.available - kept - broken} had no room."
    )
    return (Finding(code="repair.pictures_left_out", severity="info", message=message),)


def refuse_without_images(method: Method, settings: Settings) -> None:
    """Find out that a method has no images of source classes, which it cannot do without.

    Raises:
        UsageError: If so.
    """
    if {"source_data", "lingering"} & method.needs and settings.data.source is None:
        raise UsageError(f"--method {method.name} needs images of source classes: give --source-data")
