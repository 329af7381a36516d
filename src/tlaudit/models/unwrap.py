"""From what a training script saved to the tensors of one network: containers opened, wrappers' prefixes taken off."""

from __future__ import annotations

import itertools
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn

from tlaudit.errors import CheckpointError, NoAveragedWeightsError
from tlaudit.models.wording import described, listed, shown

if TYPE_CHECKING:
    from collections.abc import Iterable

CONTAINERS = ("state_dict", "model", "model_state_dict", "net")
AVERAGED = ("state_dict_ema", "ema_state_dict", "model_ema", "ema")

# Components a wrapper puts anywhere into a key: torch.compile, fully sharded training, activation checkpointing.
_WRAPPERS = ("_orig_mod", "_fsdp_wrapped_module", "_checkpoint_wrapped_module")
_PACKED = {"torch.float4_e2m1fn_x2", *(f"torch.bits{kind}" for kind in ("1x8", "2x4", "4x2", "8", "16"))}
"""Types of numbers that torch can hold and cannot read."""
_LOOKED_AT = 1000
"""Entries in which weights are looked for, to say where they are."""
_DEEPEST = 16
"""Containers in one another, and prefixes before one key, that are taken off: no training script writes as many."""
# A data-parallel or averaging wrapper holds nothing but the network and a counter.
_WHOLE_PREFIX = "module."
_COUNTER = "n_averaged"
# A Lightning module may hold losses and metrics beside the network.
_PARTIAL_PREFIXES = ("model.", "net.")


@dataclass(frozen=True)
class Reading:
    """One way to read the keys of a file.

    Attributes:
        state: Tensors of the network by key.
        ignored: Names of what was found beside it.
    """

    state: dict[str, Tensor]
    ignored: tuple[str, ...]


@dataclass(frozen=True)
class Unwrapped:
    """The weights of a file.

    Attributes:
        readings: Most prefixes taken off first; a network of the user's own may really have a child named ``model``,
            so the readings that keep it follow.
        notes: What had to be chosen.
    """

    readings: tuple[Reading, ...]
    notes: tuple[str, ...]


def unwrap(content: object, file: str, *, use_ema: bool = False, size: int | None = None) -> Unwrapped:
    """Find the weights in what was saved.

    Containers are opened (``state_dict``, ``model``, ``model_state_dict``, ``net``, also nested), optimizer and
    bookkeeping entries left alone, and the prefixes of wrappers taken off the keys.

    Args:
        content: What the file holds: a state dict, a dict with one in it, or a whole module.
        file: Name of the file, for messages.
        use_ema: Take the averaged weights.
        size: Bytes of the file, where it is one: no tensor in it can have more.

    Returns:
        The tensors, read in one or more ways, and notes.

    Raises:
        CheckpointError: If there are no tensors, tensors that hold no plain numbers or more than the file does, or
            two for one key.
        NoAveragedWeightsError: If `use_ema` is set and there are no averaged weights.
    """
    mapping, notes = _open_containers(content, file, use_ema=use_ema)
    # Detached by torch's own function: what a pickle sets on a tensor stays behind, also where it goes by this name.
    state = {
        key: Tensor.detach(value)
        for key, value in mapping.items()
        if isinstance(key, str) and isinstance(value, Tensor)
    }
    if not state:
        raise CheckpointError(f"{file}: no weights in it. {_looks_like(mapping)}")
    for key, tensor in state.items():
        _refuse_unusual(key, tensor, file, size)
    # Numbers that are negative by a mark on the tensor only are no numbers to NumPy.
    state = {key: tensor.resolve_neg() for key, tensor in state.items()}
    others = tuple(_name(key) for key, value in mapping.items() if not isinstance(value, Tensor))
    return Unwrapped(_strip(state, others, file), tuple(notes))


def entries_of(mapping: Mapping[object, object]) -> dict[object, object]:
    """Give the entries; a pickle may have put anything in the place of an ordered dict's own methods."""
    return dict(_items(mapping))


def _items(mapping: Mapping[object, object]) -> Iterable[tuple[object, object]]:
    return dict.items(mapping) if isinstance(mapping, dict) else mapping.items()


def _entry(mapping: Mapping[object, object], name: str) -> object:
    return dict.get(mapping, name) if isinstance(mapping, dict) else mapping.get(name)


def _state_of(module: nn.Module, file: str) -> object:
    try:
        return module.state_dict()
    except (AttributeError, KeyError, RuntimeError, TypeError) as error:
        # As of one that another torch saved, or that never was whole.
        raise CheckpointError(
            f"{file}: the module in it does not give its weights ({type(error).__name__}: {shown(str(error))}); "
            "re-save it with torch.save(model.state_dict(), ...)"
        ) from None


def _name(key: object) -> str:
    return key if isinstance(key, str) else described(key)


def _open_containers(content: object, file: str, *, use_ema: bool) -> tuple[Mapping[object, object], list[str]]:
    """Walk from the outermost container to the mapping that holds the tensors."""
    notes: list[str] = []
    averaged_taken = False
    for _ in range(_DEEPEST):
        if isinstance(content, nn.Module):
            kind = shown(type(content).__qualname__)
            notes.append(f"the file holds a whole module of class {kind}; its weights were taken")
            content = _state_of(content, file)
        if not isinstance(content, Mapping):
            raise CheckpointError(
                f"{file}: expected a state_dict, or a dict that holds one, got {described(content)}; "
                "re-save it with torch.save(model.state_dict(), ...)"
            )
        content = entries_of(content)
        plain = [name for name in CONTAINERS if _holds_weights(content.get(name))]
        averaged = [name for name in AVERAGED if _holds_weights(content.get(name))]
        if use_ema and averaged:
            averaged_taken = True
            chosen, left = averaged[0], averaged[1:] + plain
        elif plain or averaged:
            chosen, *left = plain + averaged
            if not plain:
                averaged_taken = True
                notes.append(f"only averaged (EMA) weights are in the file; those under {chosen!r} were taken")
        else:
            break
        notes.extend(_choices(chosen, left, averaged))
        content = content[chosen]
    else:
        raise CheckpointError(
            f"{file}: more than {_DEEPEST} containers in one another, or one that holds itself; "
            "re-save it with torch.save(model.state_dict(), ...)"
        )
    if use_ema and not averaged_taken:
        raise NoAveragedWeightsError(
            f"{file}: --use-ema was given, but there are no averaged weights in it (looked for {', '.join(AVERAGED)})"
        )
    return content, notes


def _choices(chosen: str, left: Iterable[str], averaged: Iterable[str]) -> Iterable[str]:
    for name in left:
        hint = "; give --use-ema to take them" if name in averaged and chosen not in averaged else ""
        kind = "averaged (EMA) weights" if name in averaged else "weights"
        yield f"the file also holds {kind} under {name!r}, which are not used; those under {chosen!r} are{hint}"


def _holds_weights(value: object, known: dict[int, bool] | None = None) -> bool:
    """Look for weights in containers within containers, each once: they may hold one another, and themselves.

    Args:
        value: What may be a container.
        known: Whether a container, by its id, has weights of its own; what is found is added.
    """
    known = {} if known is None else known
    waiting, seen = [value], set[int]()
    while waiting:
        one = waiting.pop()
        if isinstance(one, nn.Module):
            return True
        if not isinstance(one, Mapping) or id(one) in seen:
            continue
        seen.add(id(one))
        if id(one) not in known:
            known[id(one)] = any(isinstance(key, str) and isinstance(tensor, Tensor) for key, tensor in _items(one))
        if known[id(one)]:
            return True
        waiting.extend(_entry(one, name) for name in (*CONTAINERS, *AVERAGED))
    return False


def _looks_like(mapping: Mapping[object, object]) -> str:
    known = f"Weights are looked for at the top level and under {', '.join((*CONTAINERS, *AVERAGED))}"
    first = itertools.islice(mapping.items(), _LOOKED_AT)
    own: dict[int, bool] = {}
    candidates = [_name(key) for key, value in first if _holds_weights(value, own)]
    if candidates:
        return f"{known}; {listed(candidates)} looks like a state_dict: save that one alone"
    return f"{known}; there is {listed([_name(key) for key in mapping])}"


def _refuse_unusual(key: str, tensor: Tensor, file: str, size: int | None) -> None:
    kind = _unusual(tensor)
    if kind:
        raise CheckpointError(f"{file}: {shown(key)} is {kind}; expected ordinary dense floating-point weights")
    claimed = tensor.numel() * tensor.element_size()
    if size is not None and claimed > size:
        raise CheckpointError(
            f"{file}: {shown(key)} claims {claimed} bytes of numbers, the whole file has {size}; "
            "re-save it with every tensor written out (tensor.contiguous())"
        )


def _unusual(tensor: Tensor) -> str:
    """Say what keeps a tensor from being plain numbers; nothing where it is."""
    if type(tensor) is not Tensor:
        return f"a tensor of a kind of its own ({shown(type(tensor).__name__)})"
    kinds = {
        "quantized": tensor.is_quantized,
        "without data (meta device)": tensor.is_meta,
        "complex": tensor.is_complex(),
        "nested": tensor.is_nested,
        "sparse": tensor.layout != torch.strided,
        f"of {str(tensor.dtype).removeprefix('torch.')}": str(tensor.dtype) in _PACKED,
    }
    return next((kind for kind, is_so in kinds.items() if is_so), "")


def _strip(state: dict[str, Tensor], others: tuple[str, ...], file: str) -> tuple[Reading, ...]:
    """Take prefixes off until none is left; every step is a reading of its own."""
    readings = [Reading(_without_wrappers(state, file), others)]
    while len(readings) <= _DEEPEST and (step := _without_prefix(readings[-1], file)) is not None:
        readings.append(step)
    return tuple(reversed(readings))


def _without_wrappers(state: dict[str, Tensor], file: str) -> dict[str, Tensor]:
    stripped: dict[str, Tensor] = {}
    for key, tensor in state.items():
        name = ".".join(part for part in key.split(".") if part not in _WRAPPERS)
        if name in stripped:
            raise CheckpointError(
                f"{file}: two tensors claim the key {shown(name)} once {', '.join(_WRAPPERS)} are taken off; "
                "re-save the state_dict of the unwrapped network"
            )
        stripped[name] = tensor
    return stripped


def _without_prefix(reading: Reading, file: str) -> Reading | None:
    """Take one prefix off, or give None where there is none."""
    state = reading.state
    for prefix in (_WHOLE_PREFIX, *_PARTIAL_PREFIXES):
        inside = {key.removeprefix(prefix): tensor for key, tensor in state.items() if key.startswith(prefix)}
        outside = {key: tensor for key, tensor in state.items() if not key.startswith(prefix)}
        if not inside or (prefix == _WHOLE_PREFIX and set(outside) - {_COUNTER}):
            continue
        for key in inside.keys() & outside.keys():
            if not _same(inside[key], outside[key]):
                raise CheckpointError(
                    f"{file}: {prefix}{shown(key)} and {shown(key)} differ, so that it is unclear which network is "
                    "meant; re-save the state_dict of one of them"
                )
        return Reading(inside, (*reading.ignored, *outside))
    return None


def _same(one: Tensor, other: Tensor) -> bool:
    return one.dtype == other.dtype and torch.equal(one, other)
