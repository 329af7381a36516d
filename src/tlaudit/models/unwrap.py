"""From what a training script saved to the tensors of one network: containers opened, wrappers' prefixes taken off."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn

from tlaudit.errors import CheckpointError, NoAveragedWeightsError
from tlaudit.models.wording import listed

if TYPE_CHECKING:
    from collections.abc import Iterable

CONTAINERS = ("state_dict", "model", "model_state_dict", "net")
AVERAGED = ("state_dict_ema", "ema_state_dict", "model_ema", "ema")

# Components a wrapper puts anywhere into a key: torch.compile, fully sharded training, activation checkpointing.
_WRAPPERS = ("_orig_mod", "_fsdp_wrapped_module", "_checkpoint_wrapped_module")
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


def unwrap(content: object, file: str, *, use_ema: bool = False) -> Unwrapped:
    """Find the weights in what was saved.

    Containers are opened (``state_dict``, ``model``, ``model_state_dict``, ``net``, also nested), optimizer and
    bookkeeping entries left alone, and the prefixes of wrappers taken off the keys.

    Args:
        content: What the file holds: a state dict, a dict with one in it, or a whole module.
        file: Name of the file, for messages.
        use_ema: Take the averaged weights.

    Returns:
        The tensors, read in one or more ways, and notes.

    Raises:
        CheckpointError: If there are no tensors, tensors that hold no plain numbers, or two for one key.
        NoAveragedWeightsError: If `use_ema` is set and there are no averaged weights.
    """
    mapping, notes = _open_containers(content, file, use_ema=use_ema)
    state = {
        key: value.detach() for key, value in mapping.items() if isinstance(key, str) and isinstance(value, Tensor)
    }
    if not state:
        raise CheckpointError(f"{file}: no weights in it. {_looks_like(mapping)}")
    for key, tensor in state.items():
        _refuse_unusual(key, tensor, file)
    others = tuple(str(key) for key, value in mapping.items() if not isinstance(value, Tensor))
    return Unwrapped(_strip(state, others, file), tuple(notes))


def _open_containers(content: object, file: str, *, use_ema: bool) -> tuple[Mapping[object, object], list[str]]:
    """Walk from the outermost container to the mapping that holds the tensors."""
    notes: list[str] = []
    averaged_taken = False
    while True:
        if isinstance(content, nn.Module):
            notes.append(f"the file holds a whole module of class {type(content).__qualname__}; its weights were taken")
            content = content.state_dict()
        if not isinstance(content, Mapping):
            raise CheckpointError(
                f"{file}: expected a state_dict, or a dict that holds one, got {type(content).__name__}; "
                "re-save it with torch.save(model.state_dict(), ...)"
            )
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


def _holds_weights(value: object) -> bool:
    if isinstance(value, nn.Module):
        return True
    if not isinstance(value, Mapping):
        return False
    if any(isinstance(key, str) and isinstance(tensor, Tensor) for key, tensor in value.items()):
        return True
    return any(_holds_weights(value.get(name)) for name in (*CONTAINERS, *AVERAGED))


def _looks_like(mapping: Mapping[object, object]) -> str:
    known = f"Weights are looked for at the top level and under {', '.join((*CONTAINERS, *AVERAGED))}"
    candidates = [str(key) for key, value in mapping.items() if _holds_weights(value)]
    if candidates:
        return f"{known}; {listed(candidates)} looks like a state_dict: save that one alone"
    return f"{known}; there is {listed([str(key) for key in mapping])}"


def _refuse_unusual(key: str, tensor: Tensor, file: str) -> None:
    if tensor.is_quantized or tensor.layout != torch.strided or tensor.is_meta or tensor.is_complex():
        kind = (
            "quantized"
            if tensor.is_quantized
            else "without data (meta device)"
            if tensor.is_meta
            else "complex"
            if tensor.is_complex()
            else "sparse"
        )
        raise CheckpointError(f"{file}: {key} is {kind}; expected ordinary dense floating-point weights")


def _strip(state: dict[str, Tensor], others: tuple[str, ...], file: str) -> tuple[Reading, ...]:
    """Take prefixes off until none is left; every step is a reading of its own."""
    readings = [Reading(_without_wrappers(state, file), others)]
    while (step := _without_prefix(readings[-1], file)) is not None:
        readings.append(step)
    return tuple(reversed(readings))


def _without_wrappers(state: dict[str, Tensor], file: str) -> dict[str, Tensor]:
    stripped: dict[str, Tensor] = {}
    for key, tensor in state.items():
        name = ".".join(part for part in key.split(".") if part not in _WRAPPERS)
        if name in stripped:
            raise CheckpointError(
                f"{file}: two tensors claim the key {name} once {', '.join(_WRAPPERS)} are taken off; "
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
            if not torch.equal(inside[key], outside[key]):
                raise CheckpointError(
                    f"{file}: {prefix}{key} and {key} differ, so that it is unclear which network is meant; "
                    "re-save the state_dict of one of them"
                )
        return Reading(inside, (*reading.ignored, *outside))
    return None
