"""Where a repair writes, and where it left off."""

from __future__ import annotations

import os
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from tlaudit.errors import UsageError
from tlaudit.files import refuse_unwritable
from tlaudit.models.checkpoint import WRITTEN

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

_STEPS = (".csv", ".jsonl")


@dataclass(frozen=True)
class Places:
    """Files of a repair.

    Attributes:
        checkpoint: Repaired network, ``.safetensors`` or ``.pth``; None writes none, and saves no state.
        steps: Metrics of each step, ``.csv`` or ``.jsonl``.
        resume: Whether trainings that were stopped go on.
        others: Files that the caller writes, by option; None for one that is not asked for.
        read: Files that the caller has read, such as manifests, by option.
    """

    checkpoint: Path | None = None
    steps: Path | None = None
    resume: bool = False
    others: Mapping[str, Path | None] = field(default_factory=dict)
    read: Mapping[str, Path] = field(default_factory=dict)

    def refuse(self, names: Sequence[str], read: Mapping[str, Path] | None = None) -> None:
        """Find out before the work starts what cannot be written, or would be written over something else.

        Args:
            names: Of the networks that will be made; each has files of its own where there are several.
            read: Files that are read beside those that the caller named, by option.

        Raises:
            UsageError: If an extension is unknown, a folder missing or read-only, two things have one file, or a state
                is to be resumed from and no place for it was named.
        """
        if self.resume and self.checkpoint is None:
            raise UsageError("--resume goes on from the state that lies beside the checkpoint: give --output")
        for path, known in ((self.checkpoint, WRITTEN), (self.steps, _STEPS)):
            if path is not None and path.suffix not in known:
                raise UsageError(f"{path}: expected a name that ends in {' or '.join(known)}")
        named = {**self.others, **self.read, **(read or {})}
        # A link that leads to itself is refused below, or where it is read.
        taken = {os.path.realpath(path): option for option, path in named.items() if path is not None}
        for name in names:
            for option, place in (
                ("--output", self.checkpoint_of(name, names)),
                ("--steps", self.steps_of(name, names)),
                ("the saved state", self.state_of(name, names)),
            ):
                if place is None:
                    continue
                refuse_unwritable(place)
                other = taken.setdefault(os.path.realpath(place), f"{option} of {name}")
                if other != f"{option} of {name}":
                    raise UsageError(f"{place}: both {other} and {option} of {name} name it; give each its own file")

    def checkpoint_of(self, name: str, names: Sequence[str]) -> Path | None:
        """Give the file of one network's weights."""
        return _own(self.checkpoint, name, names)

    def steps_of(self, name: str, names: Sequence[str]) -> Path | None:
        """Give the file of one training's metrics."""
        return _own(self.steps, name, names)

    def forget(self, names: Sequence[str]) -> None:
        """Remove the states of trainings whose results are safe."""
        for name in names:
            state = self.state_of(name, names)
            if state is not None:
                state.unlink(missing_ok=True)

    def state_of(self, name: str, names: Sequence[str]) -> Path | None:
        """Give the file that holds a training under way, beside the checkpoint it is going to be."""
        path = self.checkpoint_of(name, names)
        return None if path is None else path.with_name(f"{path.name}.state")


def _own(path: Path | None, name: str, names: Sequence[str]) -> Path | None:
    if path is None or len(names) == 1:
        return path
    return path.with_name(f"{path.stem}.{name}{path.suffix}")
