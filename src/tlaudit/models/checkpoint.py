"""The only reader and writer of checkpoint files: safely, fingerprinted, and saying what was found.

No file is loaded in a way that runs its code unless that was asked for in so many words.
"""

from __future__ import annotations

import contextlib
import hashlib
import io
import json
import logging
import os
import pickle
import re
import struct
import warnings
from collections import OrderedDict
from dataclasses import dataclass
from pathlib import Path
from typing import IO, TYPE_CHECKING

import safetensors
import safetensors.torch
import torch

from tlaudit.errors import CheckpointError, UnsafeCheckpointError, UsageError
from tlaudit.files import write_atomically
from tlaudit.models.file_kinds import SAFETENSORS, opened, recognise, where
from tlaudit.models.metadata import ATTRIBUTE, Metadata, from_container, from_header, to_header
from tlaudit.models.pickles import refuse_costly
from tlaudit.models.unwrap import Reading, unwrap
from tlaudit.models.wording import listed, shown

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence
    from io import BufferedReader

    from torch import Tensor

    from tlaudit.records import Cell
    from tlaudit.results import Preprocessing

log = logging.getLogger(__name__)

WRITTEN = (SAFETENSORS, ".pth")
"""Kinds of files that are written."""

# What torch's unpickler and zip reader raise on damaged files, found by cutting and flipping bytes.
DAMAGE = (
    AssertionError,
    AttributeError,
    EOFError,
    ImportError,
    LookupError,
    MemoryError,
    OSError,
    OverflowError,
    RuntimeError,
    TypeError,
    ValueError,
    pickle.UnpicklingError,
    struct.error,
)
_FORCED = "TORCH_FORCE_WEIGHTS_ONLY_LOAD"
_BLOCKED = re.compile(r"unsupported global:? (?:GLOBAL )?([\w.]+)", re.IGNORECASE)


@dataclass(frozen=True, eq=False)
class Checkpoint:
    """The weights of one file and what is known about them.

    Attributes:
        name: The file as it was named.
        readings: Ways to read the keys, most wrappers' prefixes taken off first.
        sha256: Of the file.
        format: What kind of file it is.
        classes: Class names in index order, where the file has them.
        preprocessing: Where the file has it.
        architecture: Where the file names it.
        notes: What was chosen or left out.
        blocked: Code the pickle asked for; empty where the file loads without running any.
    """

    name: str
    readings: tuple[Reading, ...]
    sha256: str
    format: str
    classes: tuple[str, ...] | None = None
    preprocessing: Preprocessing | None = None
    architecture: str | None = None
    notes: tuple[str, ...] = ()
    blocked: tuple[str, ...] = ()

    @property
    def state(self) -> dict[str, Tensor]:
        """Tensors by key, all wrappers' prefixes taken off."""
        return self.readings[0].state


def read_checkpoint(path: str | os.PathLike[str], *, use_ema: bool = False, allow_pickle: bool = False) -> Checkpoint:
    """Read the weights of a file, without running code that it may contain.

    Args:
        path: A ``.pt``, ``.pth``, ``.th``, ``.ckpt`` or ``.safetensors`` file.
        use_ema: Take averaged weights where the file holds both.
        allow_pickle: Run the code a pickle asks for, where it asks for any.

    Returns:
        The tensors on the CPU in the dtype of the file, and what the file says of them.

    Raises:
        UsageError: If there is no such file, it is a folder, a device or a pipe, its extension is unknown, or `use_ema`
            finds nothing.
        UnsafeCheckpointError: If loading would run code and `allow_pickle` is not set.
        CheckpointError: If it is no checkpoint, damaged, changed while it is read, or holds no weights.
    """
    path = Path(path)
    with opened(path) as file:
        kind = recognise(file, path)
        # One open file for hash and weights, so that both are of the same content.
        file.seek(0)
        sha256 = hashlib.file_digest(file, "sha256").hexdigest()
        read = _read_safetensors if kind == "safetensors" else _read_pickle
        content, metadata, blocked = read(file, path, allow_pickle)
        size = os.fstat(file.fileno()).st_size
    unwrapped = unwrap(content, where(path), use_ema=use_ema, size=size)
    notes = [*metadata.notes, *unwrapped.notes]
    if blocked:
        notes.append(f"loaded by running code of the file (--allow-pickle): {listed(blocked)}")
    return Checkpoint(
        name=str(path),
        readings=unwrapped.readings,
        sha256=sha256,
        format=kind,
        classes=metadata.classes,
        preprocessing=metadata.preprocessing,
        architecture=metadata.architecture,
        notes=tuple(notes),
        blocked=blocked,
    )


def write_checkpoint(
    path: str | os.PathLike[str],
    state: Mapping[str, Tensor],
    *,
    classes: Sequence[str] | None = None,
    preprocessing: Preprocessing | None = None,
    architecture: str | None = None,
    parents: Mapping[str, str] | None = None,
    recipe: Mapping[str, Cell] | None = None,
) -> None:
    """Write weights and what is known about them as a ``.safetensors`` or ``.pth`` file, whole or not at all.

    Both are plain state dicts to torch and torchvision. The bytes of a ``.safetensors`` file depend on the arguments
    only, so that the same weights give the same SHA-256.

    Args:
        path: File to write or replace.
        state: Tensors by key; written contiguous, from the CPU.
        classes: Class names in index order.
        preprocessing: How a picture becomes an input.
        architecture: Torchvision's name.
        parents: SHA-256 of what the weights were made from, by what it was.
        recipe: How they were made, by option.

    Raises:
        UsageError: If the extension is another one.
        OSError: If the file cannot be written; an old one then is as it was.
    """
    path = Path(path)
    if path.suffix not in WRITTEN:
        raise UsageError(f"{where(path)}: expected a name that ends in {' or '.join(WRITTEN)}")
    # Clones, because the format refuses tensors that share memory.
    tensors = {key: tensor.detach().cpu().contiguous().clone() for key, tensor in state.items()}
    names = tuple(classes) if classes is not None else None
    header = to_header(Metadata(names, preprocessing, architecture, parents, recipe))
    if path.suffix == SAFETENSORS:
        content = _in_fixed_order(safetensors.torch.save(tensors, metadata=header or None))
    else:
        plain = OrderedDict(tensors)
        # What a network wrote beside its tensors: some of torchvision's refuse a state dict without version numbers.
        vars(plain).update(
            vars(state) if isinstance(state, OrderedDict) else {}, **({ATTRIBUTE: header} if header else {})
        )
        archive = io.BytesIO()
        torch.save(plain, archive)
        content = archive.getvalue()
    write_atomically(path, content)


def _in_fixed_order(content: bytes) -> bytes:
    """Sort the metadata of a safetensors file; the library writes it in an order that changes from run to run."""
    length = int.from_bytes(content[:8], "little")
    header = json.loads(content[8 : 8 + length])
    if "__metadata__" in header:
        header = {"__metadata__": dict(sorted(header.pop("__metadata__").items())), **header}
    text = json.dumps(header, separators=(",", ":"), ensure_ascii=False).encode()
    text += b" " * (-len(text) % 8)
    return len(text).to_bytes(8, "little") + text + content[8 + length :]


def read_plain(content: bytes, path: Path) -> object:
    """Read what `torch.save` made of tensors, numbers, texts, lists and dicts; no code is run.

    Args:
        content: What it wrote.
        path: Where that was, for the message.

    Returns:
        The same, tensors on the CPU.

    Raises:
        CheckpointError: If it is damaged, or holds something else.
    """
    try:
        file = io.BytesIO(content)
        refuse_costly(file, where(path))
        return _load(file, weights_only=True)
    except DAMAGE as error:
        raise CheckpointError(f"{where(path)}: damaged, or written by another torch ({_reason(error)})") from None


def _read_safetensors(
    file: BufferedReader, path: Path, _allow_pickle: bool
) -> tuple[object, Metadata, tuple[str, ...]]:
    """Load tensors and header; the format holds no code.

    The library checks the header. Its tensors are the file itself, so that whoever writes to it would change weights
    whose hash has been taken, and whoever cuts it off end this process: they say what to read, and are not read.
    """
    try:
        with safetensors.safe_open(path, framework="pt", device="cpu") as archive:
            file.seek(0)
            file.seek(8 + int.from_bytes(file.read(8), "little"))
            # In the order of the file, where one tensor begins as the one before it ends.
            read = {key: _next_tensor(file, archive.get_tensor(key)) for key in archive.offset_keys()}
            state = {key: read[key] for key in archive.keys()}  # noqa: SIM118 - not a dict
            header = archive.metadata() or {}
    except (safetensors.SafetensorError, RuntimeError, TypeError, ValueError) as error:
        raise CheckpointError(f"{where(path)}: damaged or cut off ({_reason(error)})") from None
    return state, from_header(header, where(path)), ()


def _next_tensor(file: BufferedReader, like: Tensor) -> Tensor:
    numbers = torch.empty(like.nbytes, dtype=torch.uint8)
    if file.readinto(numbers.numpy().data) != like.nbytes:
        raise ValueError("ends within a tensor")
    return numbers.view(like.dtype).reshape(like.shape)


def _read_pickle(file: BufferedReader, path: Path, allow_pickle: bool) -> tuple[object, Metadata, tuple[str, ...]]:
    """Load what torch saved, and name the code it asked for."""
    content, blocked = _unpickle(file, path, allow_pickle=allow_pickle)
    return content, from_container(content, where(path)), blocked


def _unpickle(file: IO[bytes], path: Path, *, allow_pickle: bool) -> tuple[object, tuple[str, ...]]:
    try:
        refuse_costly(file, where(path))
        return _load(file, weights_only=True), ()
    except pickle.UnpicklingError as error:
        blocked, reason = _blocked_globals(file, str(error)), _reason(error)
    except DAMAGE as error:
        raise CheckpointError(f"{where(path)}: damaged or cut off ({_reason(error)})") from None
    if not allow_pickle and not blocked:
        raise CheckpointError(
            f"{where(path)}: damaged, or saved in a way that only running its code could read ({reason})"
        )
    if not allow_pickle:
        raise UnsafeCheckpointError(
            f"{where(path)}: refused, because loading it would run code: it asks for {listed(blocked, 8)}. Re-save it "
            "where you trust it as torch.save(model.state_dict(), ...), or give --allow-pickle if you trust whoever "
            "made it"
        )
    if os.environ.get(_FORCED, "").lower() in ("1", "y", "yes", "true"):
        raise CheckpointError(
            f"{where(path)}: --allow-pickle was given, but {_FORCED} is set and keeps torch from running code; unset it"
        )
    blocked = blocked or (reason,)
    log.warning("%s: --allow-pickle: running the code this file asks for: %s", where(path), listed(blocked, 8))
    try:
        return _load(file, weights_only=False), blocked
    except Exception as error:  # the file's own code runs here and may raise anything
        raise CheckpointError(
            f"{where(path)}: its code failed ({type(error).__name__}: {_reason(error)}); are the modules it was saved "
            "with importable here?"
        ) from error


def _load(file: IO[bytes], *, weights_only: bool) -> object:
    file.seek(0)
    with _only_torchs_own() if weights_only else contextlib.nullcontext(), warnings.catch_warnings():
        # Old files warn about storage classes and about sources that changed, which nobody here can act on.
        warnings.simplefilter("ignore")
        return torch.load(file, map_location="cpu", weights_only=weights_only)


@contextlib.contextmanager
def _only_torchs_own() -> Iterator[None]:
    """Empty the list of classes that others allowed files to make: making some of them talks to other processes."""
    kept = torch.serialization.get_safe_globals()
    torch.serialization.clear_safe_globals()
    try:
        yield
    finally:
        torch.serialization.add_safe_globals(kept)


def _blocked_globals(file: IO[bytes], message: str) -> tuple[str, ...]:
    """Name the code a pickle asks for: all of it where torch can list it, else the first, from its message."""
    file.seek(0)
    try:
        with _only_torchs_own():
            blocked = torch.serialization.get_unsafe_globals_in_checkpoint(file)
    except DAMAGE:
        blocked = []
    return tuple(map(shown, sorted(blocked))) or tuple(dict.fromkeys(_BLOCKED.findall(message)))


def _reason(error: BaseException) -> str:
    """Give the line that says what happened, without torch's advice to load unsafely."""
    text = str(error).rpartition("WeightsUnpickler error:")[2].strip()
    lines = text.splitlines()
    return shown(lines[0]) if lines else type(error).__name__
