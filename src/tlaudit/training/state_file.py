"""A file of tensors and numbers that is written whole, and read only if it is as it was written."""

from __future__ import annotations

import hashlib
import os
from typing import IO, TYPE_CHECKING

import torch

from tlaudit.errors import CheckpointError
from tlaudit.files import replacing
from tlaudit.models.checkpoint import read_plain

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

_MAGIC = b"tlaudit training state 1\n"
_DIGEST = hashlib.sha256().digest_size


class _Digested:
    """A file to write to, with the SHA-256 of what was written."""

    def __init__(self, file: IO[bytes]) -> None:
        self._file, self.sha256 = file, hashlib.sha256()
        self.error: OSError | None = None

    def write(self, content: bytes) -> int:
        try:
            written = self._file.write(content)
        except OSError as error:
            # What torch raises in its place does not say why.
            self.error = error
            raise
        self.sha256.update(content)
        return written

    def flush(self) -> None:
        """Do nothing: torch calls this, and the file is flushed once all is written."""


def write_state(path: Path, state: Mapping[str, object]) -> None:
    """Write what `read_state` reads; at any moment either the old or the new content is there.

    Args:
        path: File to write or replace.
        state: Tensors, numbers, texts, lists and dicts.

    Raises:
        OSError: If the file cannot be written; an old one then is as it was.
    """
    with replacing(path) as temporary, temporary.open("wb") as file:
        file.write(_MAGIC + bytes(_DIGEST))
        digested = _Digested(file)
        try:
            torch.save(dict(state), digested)  # type: ignore[arg-type]
        except RuntimeError:
            if digested.error is None:
                raise
            raise digested.error from None
        file.seek(len(_MAGIC))
        file.write(digested.sha256.digest())
        file.flush()
        os.fsync(file.fileno())


def read_state(path: Path) -> object:
    """Read what `write_state` wrote, tensors on the CPU; no code is run.

    Raises:
        CheckpointError: If the file cannot be read, is another one, or is not as it was written.
    """
    try:
        with path.open("rb") as file:
            magic, digest, content = file.read(len(_MAGIC)), file.read(_DIGEST), file.read()
    except OSError as error:
        raise CheckpointError(f"{path}: cannot be read ({error.strerror or error})") from None
    if magic != _MAGIC:
        raise CheckpointError(f"{path}: expected the saved state of a training, this is something else; remove it")
    if hashlib.sha256(content).digest() != digest:
        raise CheckpointError(f"{path}: damaged: not as it was written; remove it, and begin the training anew")
    return read_plain(content, path)
