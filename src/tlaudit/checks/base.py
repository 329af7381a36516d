"""What every check is given and what it must give back."""

from __future__ import annotations

import hashlib
import importlib.metadata
import platform
import shlex
import sys
import time
from array import array
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Protocol, TypeVar

import torch

from tlaudit.checks.asking import Network, asked, refuse_nan
from tlaudit.data.images import ImageSet, ImageStream
from tlaudit.distributed import ALONE
from tlaudit.errors import MismatchError
from tlaudit.models.faster import Faster, refuse_no_compiler
from tlaudit.models.halving import Halving
from tlaudit.models.preprocess import Normalizer
from tlaudit.models.runtime import Execution, default_workers, resolve_device
from tlaudit.progress import silent
from tlaudit.results import CheckResult, DataRecord, Finding, Preprocessing, Provenance, Run

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Mapping, Sequence

    from torch import Tensor, nn

    from tlaudit.cache.store import Cache
    from tlaudit.checks.survey import Survey
    from tlaudit.data.classes import ClassNames
    from tlaudit.data.kept_pixels import KeptPixels
    from tlaudit.distributed import Group
    from tlaudit.metrics.base import Quantity
    from tlaudit.models.pair import Pair
    from tlaudit.options import ExecutionOptions, Options
    from tlaudit.progress import Progress
    from tlaudit.records import Cell


@dataclass(frozen=True)
class LabelledImages:
    """Images with the index of their class in the model that is asked about them.

    Attributes:
        images: The set.
        labels: Class index of each item, ``(N,)`` int64, in the set's order.
    """

    images: ImageSet
    labels: Tensor

    def digest(self) -> str:
        """SHA-256 over names and classes, 64 hexadecimal digits: the same images may have been given other classes."""
        digest = hashlib.sha256()
        for item, label in zip(self.images.items, self.labels.tolist(), strict=True):
            digest.update(f"{item.name}\t{label}\n".encode())
        return digest.hexdigest()


@dataclass(frozen=True)
class Subject:
    """What is audited: the networks, the images, and how the work is done.

    Attributes:
        pair: The networks.
        source: Images of source classes, labelled by class index of the source network.
        classes: Names of the source network's classes.
        target: Images the network was finetuned on; labels are not needed.
        val: Held-out target images labelled by class index of the finetuned network, or None.
        preprocessing: Of ``source``, ``finetuned`` and ``baseline``.
        execution: Device, precision, batch size, workers.
        seed: For every random choice.
        limit: At most so many images of each set, or None.
        strict: Whether an unreadable image ends the run.
        class_map: File that says which folder is which class of the source network, or None.
        findings: What was noticed while this was put together.
        earlier: Results of other checks on this very subject, by name.
        progress: Shows how far a pass is.
        pixels: Kept from one pass over the images for another, or None where each file is decoded by every pass.
        survey: What one pass over the source images found for several checks, or None where each makes its own.
        group: Processes that share the work.
        halvings: How many images fit into memory at once, by what goes through: found out once, for all checks.
        cache: What earlier runs found and later ones may want, or None where everything is computed.
    """

    pair: Pair
    source: LabelledImages
    classes: ClassNames
    target: ImageSet
    val: LabelledImages | None
    preprocessing: Mapping[str, Preprocessing]
    execution: Execution
    seed: int
    limit: int | None
    strict: bool
    class_map: Path | None = None
    findings: tuple[Finding, ...] = ()
    earlier: Mapping[str, CheckResult] = field(default_factory=dict)
    progress: Progress = silent
    pixels: KeptPixels | None = None
    survey: Survey | None = None
    group: Group = ALONE
    halvings: dict[str, Halving] = field(default_factory=dict, compare=False)
    cache: Cache | None = field(default=None, compare=False)

    def network(self, module: nn.Module, role: str) -> Network:
        """Place a network whose backbone is that of `role` (``source``, ``finetuned`` or ``baseline``)."""
        preprocessing, execution = self.preprocessing[role], self.execution
        placed, faster = execution.place(module), None
        if execution.fuse or execution.compile:
            faster = Faster(placed, preprocessing.crop, fuse=execution.fuse, compiles=execution.compile)
        return Network(placed, preprocessing, self.halving(f"the {role} network"), faster)

    def halving(self, what: str) -> Halving:
        """Give what remembers how many images fit into memory at once, for what goes by this name in messages."""
        return self.halvings.setdefault(what, Halving(what))

    def predict(
        self,
        images: ImageSet,
        networks: Mapping[str, Network],
        label: str,
        order: Sequence[int] | None = None,
        known: Collection[str] = (),
    ) -> Prediction:
        """Begin one pass over the images, in the order of their names or another, through all but `known` networks."""
        return Prediction(self, images, networks, label, order, known)

    def mixed(self, images: ImageSet) -> Sequence[int]:
        """Give the images' numbers in an order drawn by the seed, in which a minibatch shows many classes."""
        order = torch.randperm(len(images.items), generator=torch.Generator().manual_seed(self.seed))
        return array("q", order.numpy().tobytes())


class Prediction:
    """One pass over a set of images through several networks, each file decoded once.

    Several processes that share it have whole batches each; what they find is for the caller to bring together.
    """

    def __init__(
        self,
        subject: Subject,
        images: ImageSet,
        networks: Mapping[str, Network],
        label: str,
        order: Sequence[int] | None = None,
        known: Collection[str] = (),
    ) -> None:
        self._execution, self._progress, self._label = subject.execution, subject.progress, label
        self._networks = {name: network for name, network in networks.items() if name not in known}
        self._group = subject.group
        self._normalizers = {
            n.preprocessing: Normalizer(n.preprocessing, self._execution.device) for n in networks.values()
        }
        self._stream = ImageStream(
            images,
            list(self._normalizers),
            batch_size=self._execution.batch_size,
            workers=self._execution.workers,
            strict=subject.strict,
            order=order,
            kept=subject.pixels,
            group=subject.group,
        )

    def ask(self, take: Callable[[Tensor, dict[str, Tensor]], None]) -> DataRecord:
        """Run the pass: ask all networks about all images.

        Args:
            take: Called batch by batch with the indices of the images in the set, ``(N,)`` int64, and the class
                probabilities of each network, ``(N, K)`` float32 on the device.

        Returns:
            What was read, by all processes.

        Raises:
            UsageError: If a network cannot work on images of this size.
            DataError: If no image can be read, or a network gives NaN.
        """

        def asked_all(index: Tensor, inputs: dict[str, Tensor]) -> None:
            with self._execution.inference():
                scores = {name: self._ask(name, network, inputs[name]) for name, network in self._networks.items()}
            take(index, scores)

        return self.show(asked_all)

    def show(self, take: Callable[[Tensor, dict[str, Tensor]], None]) -> DataRecord:
        """Run the pass and ask nobody: hand over the inputs of each network, ``(N, 3, H, W)`` on the device.

        Args:
            take: Called batch by batch with the indices of the images, ``(N,)`` int64, and the inputs.

        Returns:
            What was read, by all processes.

        Raises:
            DataError: If no image can be read.
        """
        total = self._stream.total
        with self._group.agreed():
            for batch in self._progress(self._stream, total=total, label=self._label, size=lambda b: len(b.index)):
                with self._execution.inference():
                    inputs = {p: normalize(batch.pixels[p.geometry]) for p, normalize in self._normalizers.items()}
                take(batch.index, {name: inputs[network.preprocessing] for name, network in self._networks.items()})
        if self._group.size > 1:
            self._stream.bring_together()
        return self._stream.record()

    def _ask(self, name: str, network: Network, inputs: Tensor) -> Tensor:
        """Give a network's probabilities, or say which network cannot give any."""
        with asked(name, network, self._label):
            probabilities = network.logits(inputs).float().softmax(dim=1)
        refuse_nan(probabilities, name, self._label)
        return probabilities


def refuse_strangers(subject: Subject, what: str) -> None:
    """Stop a check that puts one network's head on another's backbone where the backbones do not match.

    Raises:
        MismatchError: With how they differ.
    """
    if not subject.pair.alike:
        found = [one.message for one in subject.pair.findings if one.code == "lineage.other_backbone"]
        raise MismatchError(
            f"the two networks have different backbones, so that {what}, which puts the source's head on the finetuned "
            f'one, cannot be made; checks = ["erosion"] in [audit] leaves it out. {" ".join(found)}'
        )


OptionsT_contra = TypeVar("OptionsT_contra", bound="Options", contravariant=True)


class Check(Protocol[OptionsT_contra]):
    """One check: a name, what it builds on, and a run that leaves the subject as it was."""

    @property
    def name(self) -> str:
        """Name of the check, of its subcommand and of its section of the configuration."""

    @property
    def needs(self) -> tuple[str, ...]:
        """Names of the checks whose results it looks up in ``subject.earlier``."""

    @property
    def headline(self) -> tuple[str, ...]:
        """Names of the measurements that are shown first."""

    def quantities(self, subject: Subject, options: OptionsT_contra) -> Mapping[str, Quantity]:
        """Give what the check measures of this subject, by name, without measuring anything."""

    def refuse(self, subject: Subject, options: OptionsT_contra) -> None:
        """Raise what is wrong with the options for this subject, before any image is read."""

    def run(self, subject: Subject, options: OptionsT_contra) -> CheckResult:
        """Measure."""


def settled(options: ExecutionOptions, group: Group = ALONE) -> Execution:
    """Pick device and workers; raises UsageError if the device is not there, or what is needed to compile."""
    device = resolve_device(options.device)
    workers = default_workers(device, group.here) if options.workers is None else options.workers
    if options.compile:
        refuse_no_compiler(device)
    return Execution(device, options.precision, options.batch_size, workers, options.fuse, options.compile)


class Stopwatch:
    """Notes when a run began, for the one part of a result that the clock may touch."""

    def __init__(self) -> None:
        self._started = datetime.now(UTC)
        self._clock = time.perf_counter()

    def stop(self, execution: Execution) -> Run:
        """Give the facts of the run that ends now."""
        return Run(
            started_at=self._started.isoformat(timespec="seconds"),
            seconds=time.perf_counter() - self._clock,
            command=shlex.join([Path(sys.argv[0]).name, *sys.argv[1:]]),
            batch_size=execution.batch_size,
            workers=execution.workers,
        )


def provenance(subject: Subject, data: Mapping[str, DataRecord], options: Mapping[str, Cell]) -> Provenance:
    """Gather what the numbers of a check depend on.

    Args:
        subject: What was audited.
        data: What was read of each set of images.
        options: The check's options as they were resolved.
    """
    models = {"source": subject.pair.source, "finetuned": subject.pair.finetuned, "baseline": subject.pair.baseline}
    return Provenance(
        models={
            role: model.record.model_copy(update={"preprocessing": subject.preprocessing[role]})
            for role, model in models.items()
            if model is not None
        },
        backbone=subject.pair.backbone,
        data=dict(data),
        options={**options, "limit": subject.limit, "strict_data": subject.strict, **_faster(subject.execution)},
        seed=subject.seed,
        precision=subject.execution.precision,
        device=subject.execution.device.type,
        versions=_versions(),
    )


def _faster(execution: Execution) -> dict[str, Cell]:
    """What was done to networks to make them faster, which changes last digits; nothing where nothing was."""
    return {name: True for name in ("fuse", "compile") if getattr(execution, name)}


def _versions() -> dict[str, str]:
    packages = ("tlaudit", "torch", "torchvision", "pillow", "numpy", "scipy")
    return {"python": platform.python_version()} | {name: importlib.metadata.version(name) for name in packages}
