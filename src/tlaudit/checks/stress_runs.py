"""Finished runs of a stress test: what is kept of each, and how it is found again when the test is repeated."""

from __future__ import annotations

import hashlib
import json
import logging
from typing import TYPE_CHECKING, TypeVar

import torch
from torch import Tensor

from tlaudit.checks.asking import asked
from tlaudit.distributed import ALONE
from tlaudit.errors import DataError, UsageError
from tlaudit.files import refuse_unwritable, write_atomically
from tlaudit.models.preprocess import Normalizer
from tlaudit.models.runtime import class_scores
from tlaudit.records import Record

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from torch import nn

    from tlaudit.checks.base import Subject
    from tlaudit.distributed import Group

log = logging.getLogger(__name__)

R = TypeVar("R", bound=Record)

Hits = tuple[bool, ...]
"""Whether each test image was recognised, in the order of the set."""


class StageAfter(Record):
    """A stage of the trained network beside that of the network before.

    Attributes:
        stage: Module path.
        n: Images; None, as all numbers, where it could not be measured.
        d: Features.
        cka: With the network before.
        cka_low: Lower bound of its interval.
        cka_high: Upper bound.
        cka_n: Images that entered CKA.
        rank_before: Numerical rank before.
        rank: After; 0 where it collapsed.
        effective_rank_before: Effective rank before.
        effective_rank: After.
        participation_ratio_before: Participation ratio before.
        participation_ratio: After.
        collapsed: Whether features that vary before are constant or no numbers after.
        absent: Why numbers are missing; empty where none is.
    """

    stage: str
    n: int | None
    d: int | None
    cka: float | None
    cka_low: float | None
    cka_high: float | None
    cka_n: int | None
    rank_before: int | None
    rank: int | None
    effective_rank_before: float | None
    effective_rank: float | None
    participation_ratio_before: float | None
    participation_ratio: float | None
    collapsed: bool
    absent: str

    @property
    def rank_ratio(self) -> float | None:
        """Rank after as a share of the rank before."""
        return self.rank / self.rank_before if self.rank is not None and self.rank_before else None

    @property
    def effective_rank_ratio(self) -> float | None:
        """The same of the effective rank."""
        if self.effective_rank is None or not self.effective_rank_before:
            return None
        return self.effective_rank / self.effective_rank_before


class Trial(Record):
    """One training with squares on a share of the images, and what became of the network.

    Attributes:
        ratio: The share.
        planted: Images with a square.
        losses: Mean loss of each epoch.
        clean: Test images as they are.
        own: With a square of their class's colour.
        other: With a square of another class's colour.
        stages: In order of depth.
    """

    ratio: float
    planted: int
    losses: tuple[float, ...]
    clean: Hits
    own: Hits
    other: Hits
    stages: tuple[StageAfter, ...]


class Relearning(Record):
    """The original task learnt again after a training with squares, and from scratch.

    Attributes:
        ratio: Share of images with a square in between.
        relearning: Test images recognised before the first and after each epoch.
        relearning_losses: Mean loss of each epoch.
        scratch: The same of a network with fresh weights; empty where there is none.
        scratch_losses: Its losses.
        scratch_absent: Why there is none.
    """

    ratio: float
    relearning: tuple[Hits, ...]
    relearning_losses: tuple[float, ...]
    scratch: tuple[Hits, ...]
    scratch_losses: tuple[float, ...]
    scratch_absent: str


def refuse_runs(folder: Path) -> None:
    """Make the folder of finished runs, and find out before the work starts that none can be kept there.

    Raises:
        UsageError: If it is no folder and cannot become one, or is not writable.
        DataError: If the disk is full.
    """
    try:
        if folder.exists() and not folder.is_dir():
            raise UsageError(f"{folder}: --runs names a folder for finished runs, this is a file")
        refuse_unwritable(folder / "run.json" if folder.is_dir() else folder)
    except OSError as error:
        raise UsageError(f"{folder}: the folder for finished runs cannot be made: {error.strerror}") from error
    try:
        folder.mkdir(exist_ok=True)
    except OSError as error:
        raise DataError(f"{folder}: the folder for finished runs cannot be made: {error.strerror}") from error


class Shelf:
    """Where finished runs are kept, each in a file of its own; nowhere without a folder.

    A file is named after a digest of everything the run depends on, and holds a digest of its own content: one that
    is about something else, or damaged, is not believed.
    """

    def __init__(self, folder: Path | None, basis: Mapping[str, object], group: Group = ALONE) -> None:
        """Open it.

        Args:
            folder: Made where it is not there; see `refuse_runs`.
            basis: What all runs depend on, as JSON can hold it.
            group: Processes that share the test: the first one reads and writes.
        """
        self._folder, self._basis, self._group = folder, basis, group
        if folder is not None and group.leads:
            refuse_runs(folder)

    def find(self, kind: type[R], ratio: float) -> R | None:
        """Give a finished run, or None; the same in all processes."""
        return self._group.told(self._found(kind, ratio) if self._group.leads else None)

    def _found(self, kind: type[R], ratio: float) -> R | None:
        if self._folder is None:
            return None
        key, path = self._place(kind, ratio)
        if not path.is_file():
            return None
        try:
            return kind.model_validate(_content(path, key))
        except (OSError, ValueError, KeyError, TypeError, RecursionError) as error:
            log.warning("%s: is damaged and is made again: %s", path, " ".join(str(error).split()))
            return None

    def keep(self, run: Trial | Relearning) -> None:
        """Write a finished run.

        Raises:
            DataError: If it cannot be written.
        """
        if self._folder is None or not self._group.leads:
            return
        key, path = self._place(type(run), run.ratio)
        content = run.model_dump(mode="json")
        document = {"key": key, "sha256": _digest(content), "run": content}
        try:
            write_atomically(path, json.dumps(document, allow_nan=False).encode())
        except OSError as error:
            raise DataError(f"{path}: cannot be written: {error.strerror or error}") from error

    def _place(self, kind: type[Record], ratio: float) -> tuple[str, Path]:
        assert self._folder is not None
        name = kind.__name__.lower()
        key = _digest({**self._basis, "kind": name, "ratio": ratio})
        return key, self._folder / f"{name}-{ratio:g}-{key[:16]}.json"


def _content(path: Path, key: str) -> object:
    document = json.loads(path.read_text(encoding="utf-8"))
    if document["key"] != key or document["sha256"] != _digest(document["run"]):
        raise ValueError("its digest is that of another content")
    return document["run"]


def _digest(content: object) -> str:
    return hashlib.sha256(json.dumps(content, sort_keys=True, allow_nan=False).encode()).hexdigest()


def weights_digest(network: nn.Module) -> str:
    """SHA-256 over names, types and values of all tensors of a network's state, 64 hexadecimal digits."""
    result = hashlib.sha256()
    for name, tensor in network.state_dict().items():
        if not isinstance(tensor, Tensor):
            continue
        result.update(f"{name}\t{tensor.dtype}\t{tuple(tensor.shape)}\n".encode())
        result.update(tensor.detach().cpu().contiguous().numpy().tobytes())
    return result.hexdigest()


def behaviour_digest(subject: Subject) -> str:
    """SHA-256 over what a network answers to two images of seeded noise, 64 hexadecimal digits.

    The same weights in a network of other code answer differently.

    Raises:
        UsageError: If the network cannot work on images of its size.
    """
    network, execution = subject.network(subject.pair.source.module, "source"), subject.execution
    side = network.preprocessing.crop
    noise = torch.randint(256, (2, 3, side, side), generator=torch.Generator().manual_seed(0)).to(torch.uint8)
    normalizer = Normalizer(network.preprocessing, execution.device)
    with execution.inference(), asked("source", network, "noise"):
        logits = class_scores(network.module, normalizer(noise))
    return hashlib.sha256(logits.float().cpu().contiguous().numpy().tobytes()).hexdigest()
