"""The state of a training on disk: what was made is never made again, and never believed if it is damaged."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from tlaudit.errors import CheckpointError, DataError, UsageError
from tlaudit.files import clear_away, refuse_unwritable
from tlaudit.training.state_file import read_state, write_state

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from tlaudit.training.loop import Training

_NOT_SET = "not set"


class SavedState:
    """A file with the state of a training, and with what that training depends on.

    At any moment it holds the last state that was written whole, however the program ends.

    Attributes:
        path: The file.
        every: Steps between two saves beside those after each epoch; 0 for none.
    """

    def __init__(self, path: Path, key: Mapping[str, Any], every: int = 0) -> None:
        """Find out that the file can be written; nothing is written yet.

        Args:
            path: The file.
            key: All that the training depends on, by name, as JSON knows it: options, fingerprints, versions.
            every: Steps between two saves.

        Raises:
            UsageError: If it cannot be written.
        """
        refuse_unwritable(path)
        self.path, self.every = path, every
        self._key: dict[str, Any] = json.loads(json.dumps(dict(key)))

    def is_due(self, training: Training) -> bool:
        """Whether the state is to be saved now, in the middle of an epoch."""
        return bool(self.every) and training.step % self.every == 0 and not training.is_at_end_of_epoch

    def write(self, training: Training) -> None:
        """Save the state; the last one is replaced when all is written.

        Raises:
            DataError: If the disk is full or the folder not writable; the last state then is as it was.
        """
        try:
            write_state(self.path, {"key": json.dumps(self._key), "state": training.state()})
        except OSError as error:
            raise DataError(
                f"{self.path}: the state of the training cannot be saved: {error.strerror or error}"
            ) from None

    def restore(self, training: Training) -> bool:
        """Let a training go on where the saved one was.

        Args:
            training: Made with the same arguments; no step was made.

        Returns:
            Whether there is a saved state.

        Raises:
            UsageError: If the saved training depends on something else; what differs is named.
            CheckpointError: If the file is damaged or none of these.
        """
        clear_away(self.path.resolve().parent)
        if not self.path.exists():
            return False
        content: Any = read_state(self.path)
        try:
            key, state = json.loads(content["key"]), content["state"]
            self._refuse_other(key)
            training.restore(state)
        except (KeyError, TypeError, ValueError, AttributeError, RuntimeError, CheckpointError) as error:
            raise CheckpointError(f"{self.path}: does not hold the state of such a training ({error})") from error
        return True

    def remove(self) -> None:
        """Remove the file, when what came of the training is safely written."""
        self.path.unlink(missing_ok=True)

    def _refuse_other(self, key: Mapping[str, Any]) -> None:
        differing = [
            f"{name} {_shown(key, name)}, now {_shown(self._key, name)}"
            for name in sorted(key.keys() | self._key.keys())
            if _shown(key, name) != _shown(self._key, name)
        ]
        if differing:
            raise UsageError(
                f"--resume: the saved training was made with other options: {'; '.join(differing)}; give the same, or "
                f"begin anew without --resume ({self.path})"
            )


def _shown(key: Mapping[str, Any], name: str) -> str:
    return json.dumps(key[name], ensure_ascii=False) if name in key else _NOT_SET
