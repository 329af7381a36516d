"""What a training tells: of each step, of each epoch, of the whole; and a file with a row a step."""

from __future__ import annotations

import csv
import io
import json
import logging
import math
import os
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

from tlaudit.errors import DataError, UsageError
from tlaudit.files import refuse_unwritable

if TYPE_CHECKING:
    from pathlib import Path

    from torch import nn

log = logging.getLogger(__name__)

TASK = "cross_entropy"
"""The term of a loss that is about the task; the others are penalties."""

SUFFIXES = (".csv", ".jsonl")
_COLUMNS = ("step", "epoch", "images", "learning_rate", "loss")
_LAST_COLUMNS = ("gradient_norm", "penalty_ratio")

_BEGINNINGS = {
    ".csv": f"{','.join(_COLUMNS)},".encode(),
    ".jsonl": f"{json.dumps(dict.fromkeys(_COLUMNS[:3], 1))[:-1]}, ".encode(),
}
"""What such files begin with, whole numbers taken for 1."""
_LONGEST_BEGINNING = 200

Cell = int | float | None


@dataclass(frozen=True)
class Step:
    """What one step did.

    Attributes:
        number: Of the step, counted from 0.
        epoch: That it belongs to, counted from 0.
        images: Of its batch.
        learning_rate: That it was made with.
        losses: Terms of the loss before it, by name.
        epochs: How many epochs there are to be.
        gradient_norm: Euclidean, over all weights that learn, before clipping; None if it is no finite number, as may
            happen in fp16, where such a step is left out.
    """

    number: int
    epoch: int
    images: int
    learning_rate: float
    losses: dict[str, float]
    epochs: int
    gradient_norm: float | None

    @property
    def penalty_ratio(self) -> float | None:
        """All other terms over the cross-entropy; None where that is 0 or no term."""
        task = self.losses.get(TASK)
        return sum(value for name, value in self.losses.items() if name != TASK) / task if task else None

    @property
    def text(self) -> str:
        """Epoch and losses in one line, such as ``epoch 2/3  cross_entropy 0.123  ldifs 0.045``."""
        terms = [f"{name} {value:.3g}" for name, value in self.losses.items()]
        return "  ".join([f"epoch {self.epoch + 1}/{self.epochs}", *terms])


@dataclass(frozen=True)
class Epoch:
    """What one epoch did.

    Attributes:
        number: Counted from 0.
        losses: Terms of the loss by name, mean over the images as they came by.
        learning_rate: Of its last step.
        accuracy: On the validation images after it; None where there are none.
    """

    number: int
    losses: dict[str, float]
    learning_rate: float
    accuracy: float | None


@dataclass(frozen=True, eq=False)
class Trained:
    """A network that has been trained.

    Attributes:
        network: On the device, in eval mode, no parameter wants a gradient.
        history: One entry an epoch.
        kept: Number of the epoch, from 0, after which the network was as it is now; None where nothing was trained.
        stopped: Whether the training ended early because no epoch was better any more.
    """

    network: nn.Module
    history: tuple[Epoch, ...]
    kept: int | None
    stopped: bool


def refuse_strange(path: Path) -> None:
    """Find out before the work starts that a file holds something else than what the steps of a training did.

    Args:
        path: File that ends in ``.csv`` or ``.jsonl``. Only how it begins is looked at, which may be torn off anywhere.

    Raises:
        UsageError: If it holds something else.
        DataError: If it cannot be read.
    """
    try:
        with path.open("rb") as file:
            found = re.sub(rb"\d+", b"1", file.readline(_LONGEST_BEGINNING))
    except FileNotFoundError:
        return
    except OSError as error:
        raise _failed(path, error) from None
    beginning = _BEGINNINGS[path.suffix]
    if not found.startswith(beginning) and not beginning.startswith(found):
        raise _strange(path)


def _strange(path: Path) -> UsageError:
    return UsageError(f"{path}: expected what the steps of this training did; name another file, or remove it")


def _failed(path: Path, error: OSError) -> DataError:
    return DataError(f"{path}: what the steps did cannot be written: {error.strerror or error}")


class StepFile:
    """A file with a row for each step, as CSV or as a JSON object a line; steps and epochs are counted from 1.

    Columns: step, epoch, images, learning_rate, loss (the sum of its terms), each term by its name, gradient_norm,
    penalty_ratio. Numbers are written such that they are read back exactly; what is not defined is empty, or null.
    """

    def __init__(self, path: Path) -> None:
        """Find out that the file can be written; nothing is written yet.

        Args:
            path: File that ends in ``.csv`` or ``.jsonl``.

        Raises:
            UsageError: If it ends otherwise, holds something else than such rows, or cannot be written.
        """
        if path.suffix not in SUFFIXES:
            raise UsageError(f"{path}: expected a name that ends in {' or '.join(SUFFIXES)}, for what each step did")
        refuse_unwritable(path)
        refuse_strange(path)
        self._path, self._is_csv = path, path.suffix == ".csv"
        self._file: io.FileIO | None = None
        self._terms: tuple[str, ...] | None = None

    def begin(self, step: int) -> None:
        """Open the file for the rows from a step on; those of earlier steps stay, where it has them.

        Args:
            step: Number of the step that comes next, from 0: 0 begins the file anew.

        Raises:
            UsageError: If the file holds something else than such rows.
            DataError: If it cannot be read or written.
        """
        # Hours may have passed since it was looked at.
        refuse_strange(self._path)
        try:
            content = self._path.read_bytes() if step and self._path.exists() else b""
            kept, rows = self._kept(content, step)
            # Without a buffer: what could not be written must not be tried again when the file is closed.
            self._path.touch()
            self._file = self._path.open("r+b", buffering=0)
            self._file.truncate(kept)
            self._file.seek(kept)
        except OSError as error:
            raise _failed(self._path, error) from None
        if rows < step:
            log.warning("%s: has rows of %d of the first %d steps; it goes on from there", self._path, rows, step)

    def _kept(self, content: bytes, step: int) -> tuple[int, int]:
        """How many bytes of a file stay, and how many rows these are."""
        length = rows = 0
        for line in content.splitlines(keepends=True):
            if not line.endswith(b"\n"):
                break
            if self._is_csv and not length:
                self._terms = self._terms_of(line)
            elif self._number(line) <= step:
                rows += 1
            else:
                break
            length += len(line)
        return (length, rows) if rows else (0, 0)

    def _terms_of(self, line: bytes) -> tuple[str, ...]:
        names = tuple(next(csv.reader([line.decode("utf-8", "replace")])))
        first, last = len(_COLUMNS), len(names) - len(_LAST_COLUMNS)
        if (names[:first], names[last:]) != (_COLUMNS, _LAST_COLUMNS):
            raise _strange(self._path)
        return names[first:last]

    def _number(self, line: bytes) -> int:
        """Number of a row's step, from 1."""
        try:
            return int(line.split(b",", 1)[0]) if self._is_csv else int(json.loads(line)["step"])
        except (ValueError, KeyError, TypeError):
            raise _strange(self._path) from None

    def write(self, step: Step) -> None:
        """Add a row, whole or not at all; it outlives the end of this process, but not that of the machine: see `sync`.

        Raises:
            UsageError: If the terms of the loss are not those of the file's columns.
            DataError: If the disk is full.
        """
        if self._file is None:
            raise RuntimeError("begin a file of steps before rows are written")
        lines = []
        if self._is_csv and (self._terms is None or not self._file.tell()):
            self._terms = tuple(step.losses)
            lines.append(_csv_line([*_COLUMNS, *self._terms, *_LAST_COLUMNS]))
        if self._terms is not None and self._terms != tuple(step.losses):
            raise _strange(self._path)
        row: dict[str, Cell] = {
            "step": step.number + 1,
            "epoch": step.epoch + 1,
            "images": step.images,
            "learning_rate": step.learning_rate,
            "loss": math.fsum(step.losses.values()),
            **step.losses,
            "gradient_norm": step.gradient_norm,
            "penalty_ratio": step.penalty_ratio,
        }
        lines.append(_csv_line(list(row.values())) if self._is_csv else json.dumps(row, allow_nan=False) + "\n")
        try:
            _write_whole(self._file, "".join(lines).encode())
        except OSError as error:
            raise _failed(self._path, error) from None

    def sync(self) -> None:
        """See to it that the rows so far outlive the end of the machine.

        Raises:
            DataError: If they cannot be written.
        """
        if self._file is not None:
            try:
                os.fsync(self._file.fileno())
            except OSError as error:
                raise _failed(self._path, error) from None

    def close(self) -> None:
        """Close the file; rows can be written again after another `begin`.

        Raises:
            DataError: If the disk says only now that rows cannot be written.
        """
        file, self._file = self._file, None
        if file is not None:
            try:
                file.close()
            except OSError as error:
                raise _failed(self._path, error) from None


def _write_whole(file: io.FileIO, content: bytes) -> None:
    """Add to a file, or leave it as it was."""
    end = file.tell()
    try:
        # A disk that is nearly full takes a part.
        while content:
            content = content[file.write(content) :]
    except OSError:
        file.seek(end)
        file.truncate()
        raise


def _csv_line(cells: list[str] | list[Cell]) -> str:
    stream = io.StringIO()
    csv.writer(stream, lineterminator="\n").writerow(cells)
    return stream.getvalue()
