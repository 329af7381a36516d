"""One entry as the bytes of a safetensors file, and back: what was changed on the way is not believed."""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load, save

from tlaudit.errors import TlauditError

if TYPE_CHECKING:
    from collections.abc import Mapping

    from torch import Tensor

_LENGTH = 8
"""Bytes at the beginning of a safetensors file, which say how long its header is."""


class BrokenEntryError(TlauditError):
    """An entry is not what was written."""


@dataclass(frozen=True)
class Entry:
    """What one entry holds.

    Attributes:
        tensors: By name, on the CPU.
        told: What else there is, made of what JSON knows.
    """

    tensors: Mapping[str, Tensor]
    told: Mapping[str, Any]


def canonical(value: object) -> str:
    """Write what JSON knows in one way only, whatever the order of its keys.

    Raises:
        ValueError: If a number is not finite.
        TypeError: If there is something in it that JSON does not know.
    """
    return json.dumps(value, sort_keys=True, separators=(",", ":"), allow_nan=False)


def encoded(key: str, entry: Entry) -> bytes:
    """Give the bytes of a file that holds an entry, the key it answers to, and the digest of all of it."""
    tensors = {name: tensor.detach().cpu().contiguous() for name, tensor in entry.tensors.items()}
    told = json.dumps(entry.told, allow_nan=False)
    data: bytes = save(tensors, metadata={"key": key, "told": told, "sha256": _digest(key, told, tensors)})
    return data


def decoded(data: bytes, key: str) -> Entry:
    """Read an entry back.

    Args:
        data: All bytes of the file.
        key: What the entry has to answer to.

    Raises:
        BrokenEntryError: If it is none, answers to another key, or is not what was written, to the last bit.
    """
    try:
        length = int.from_bytes(data[:_LENGTH], "little")
        metadata = json.loads(data[_LENGTH : _LENGTH + length])["__metadata__"]
        found, told, sha256 = metadata["key"], metadata["told"], metadata["sha256"]
        if found != key:
            raise BrokenEntryError("it answers to another key")
        tensors: dict[str, Tensor] = load(data)
        if _digest(found, told, tensors) != sha256:
            raise BrokenEntryError("its content is not what was written")
        return Entry(tensors, json.loads(told))
    except (SafetensorError, ValueError, KeyError, TypeError, AttributeError, RuntimeError, RecursionError) as error:
        raise BrokenEntryError(f"it cannot be read: {type(error).__name__}") from error


def _digest(key: str, told: str, tensors: Mapping[str, Tensor]) -> str:
    """SHA-256 over everything an entry says."""
    result = hashlib.sha256()
    shapes = {name: [str(tensor.dtype), list(tensor.shape)] for name, tensor in tensors.items()}
    for text in (key, told, canonical(shapes)):
        result.update(f"{len(text)}:{text}".encode(errors="surrogatepass"))
    for name in sorted(tensors):
        result.update(bytes_of(tensors[name]))
    return result.hexdigest()


def bytes_of(tensor: Tensor) -> memoryview:
    """The numbers of a tensor as they lie in memory, row by row."""
    flat = tensor.detach().cpu().contiguous().reshape(-1)
    return flat.view(torch.uint8).numpy().data
