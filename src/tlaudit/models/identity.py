"""What a network is, in one number: two networks of one identity give the same bits for the same inputs.

A network that came out of a file may have been changed since, so nothing of the file is asked: neither its name nor
its hash.
"""

from __future__ import annotations

import enum
import functools
import hashlib
import inspect
import sys
from dataclasses import fields, is_dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch import fx, nn

if TYPE_CHECKING:
    from collections.abc import Iterator
    from types import ModuleType

_VERSIONED = {"numpy", "timm", "tlaudit", "torch", "torchvision"}
"""Packages whose version says what is in them; of all others the source is read."""
_INSTALLED = {"site-packages", "dist-packages"}
_OF_EVERY_MODULE = set(vars(nn.Module()))
_HOOKS = ("_forward_hooks", "_forward_pre_hooks")
_DEEPEST = 12


class _UnknowableError(Exception):
    """Something about a network cannot be told by what it is made of."""


def identity(module: nn.Module) -> str | None:
    """SHA-256 over all that decides what a network answers, 64 hexadecimal digits; None where that cannot be told.

    Over names, types, shapes and bytes of parameters and buffers, the classes of all modules, their plain attributes,
    and, for classes that no versioned library brings, the source of the modules they come from and of those beside it.

    None for a network that is training, that carries hooks, whose ``forward`` has been replaced, that is compiled to
    TorchScript, that holds things of unknown kinds, or whose source cannot be read. What a network reads from
    elsewhere, such as a file or a global variable, is not seen.

    Args:
        module: On any device; it is left as it is.
    """
    result = hashlib.sha256()
    places: set[str] = set()
    try:
        for path, child in module.named_modules(remove_duplicate=False):
            _refuse_changed(child)
            places |= _places(type(child))
            result.update(f"{path}\t{_qualified(type(child))}\n".encode())
            _take(result, path, child, places)
        for file in sorted(_sources(places)):
            result.update(Path(file).read_bytes())
    except (_UnknowableError, OSError):
        return None
    return result.hexdigest()


def _refuse_changed(module: nn.Module) -> None:
    """Refuse what makes a module do something else than its class says."""
    if module.training or any(vars(module).get(name) for name in _HOOKS) or "forward" in vars(module):
        raise _UnknowableError
    if any(vars(nn.modules.module).get(f"_global{name}") for name in _HOOKS):
        raise _UnknowableError
    if isinstance(module, torch.jit.ScriptModule):
        raise _UnknowableError
    if isinstance(module, fx.GraphModule):
        return
    definer = next(one for one in type(module).__mro__ if "forward" in vars(one))
    # A class may have been patched. What is wrapped, or shared by classes of one package, names that package.
    if _package(getattr(vars(definer)["forward"], "__module__", "")) != _package(definer.__module__):
        raise _UnknowableError


def _package(place: str | None) -> str:
    return (place or "").partition(".")[0]


def _take(result: Any, path: str, module: nn.Module, places: set[str]) -> None:
    """Take in one module: its tensors, its plain attributes and, of a graph, its code."""
    own = [*module.named_parameters(recurse=False), *module.named_buffers(recurse=False)]
    for name, tensor in own:
        _take_tensor(result, f"{path}.{name}", tensor)
    if isinstance(module, fx.GraphModule):
        result.update(module.code.encode())
        return
    for name, value in sorted(vars(module).items()):
        if name not in _OF_EVERY_MODULE:
            result.update(f"{name}=".encode())
            for part in _described(value, places, _DEEPEST):
                result.update(part)


def _take_tensor(result: Any, name: str, tensor: torch.Tensor) -> None:
    result.update(f"{name}\t{tensor.dtype}\t{tuple(tensor.shape)}\n".encode())
    result.update(_bytes(tensor))


def _bytes(tensor: torch.Tensor) -> memoryview:
    if tensor.layout is not torch.strided or tensor.is_quantized or tensor.is_meta:
        raise _UnknowableError
    flat = tensor.detach().resolve_conj().resolve_neg().cpu().contiguous().reshape(-1)
    return flat.view(torch.uint8).numpy().data


def _described(value: Any, places: set[str], depth: int) -> Iterator[bytes | memoryview]:
    """Say a plain value unmistakably; refuse what is not plain."""
    if depth == 0:
        raise _UnknowableError
    below = functools.partial(_described, places=places, depth=depth - 1)
    if value is None or isinstance(value, bool | int | float | complex | str | bytes | torch.dtype | torch.device):
        yield f"{type(value).__name__}:{value!r};".encode(errors="surrogatepass")
    elif isinstance(value, enum.Enum):
        yield f"{_qualified(type(value))}.{value.name};".encode()
    elif isinstance(value, torch.Tensor):
        yield f"{value.dtype}{tuple(value.shape)}:".encode()
        yield _bytes(value)
    elif isinstance(value, dict | list | tuple | set | frozenset):
        unordered = isinstance(value, set | frozenset)
        parts = list(value.items()) if isinstance(value, dict) else sorted(value, key=repr) if unordered else value
        yield f"{type(value).__name__}({len(parts)}):".encode()
        for part in parts:
            yield from below(part)
    elif isinstance(value, functools.partial):
        yield b"partial:"
        yield from below((value.func, value.args, value.keywords))
    elif isinstance(value, type):
        places |= _places(value)
        yield f"{_qualified(value)};".encode()
    elif inspect.isroutine(value):
        yield from _routine(value, places, depth)
    elif is_dataclass(value):
        places |= _places(type(value))
        yield f"{_qualified(type(value))}:".encode()
        yield from below({field.name: getattr(value, field.name) for field in fields(value)})
    else:
        raise _UnknowableError


def _routine(value: Any, places: set[str], depth: int) -> Iterator[bytes | memoryview]:
    """A function by its name and what it holds on to; its source is that of its module."""
    owner = getattr(value, "__self__", None)
    if owner is not None and not inspect.ismodule(owner):
        raise _UnknowableError
    place = getattr(value, "__module__", None) or "builtins"
    yield f"{place}.{value.__qualname__};".encode()
    places.add(place)
    code = getattr(value, "__code__", None)
    if code is not None:
        yield f"{code.co_firstlineno};".encode()
    held = [cell.cell_contents for cell in getattr(value, "__closure__", None) or ()]
    yield from _described([held, getattr(value, "__defaults__", None)], places, depth - 1)


def _qualified(kind: type) -> str:
    return f"{kind.__module__}.{kind.__qualname__}"


def _places(kind: type) -> set[str]:
    return {one.__module__ for one in kind.__mro__}


def _sources(places: set[str]) -> set[str]:
    """Source files of modules that no versioned library brings, and of all that is loaded beside them."""
    found: set[str] = set()
    roots: set[Path] = set()
    for name in places:
        if _package(name) in _VERSIONED | sys.stdlib_module_names:
            continue
        file = _file(sys.modules.get(name))
        if file is None:
            raise _UnknowableError
        found.add(str(file))
        top = _file(sys.modules.get(_package(name)))
        roots.add((top if "." in name and top is not None else file).parent)
    folders = [root for root in roots if root.name not in _INSTALLED]
    # Thousands of modules are loaded, of which few begin with the right letters.
    beginnings = tuple(str(folder) for folder in folders)
    for loaded in list(sys.modules.values()) if folders else []:
        place = getattr(loaded, "__file__", None)
        if isinstance(place, str) and place.startswith(beginnings):
            file = _file(loaded)
            if file is not None and any(_lies_in(file, folder) for folder in folders):
                found.add(str(file))
    return found


def _file(module: ModuleType | None) -> Path | None:
    file = getattr(module, "__file__", None)
    return Path(file) if isinstance(file, str) and file.endswith(".py") else None


def _lies_in(file: Path, folder: Path) -> bool:
    """Whether a file is one of a project's own: not of what is installed inside its folder."""
    return file.is_relative_to(folder) and not _INSTALLED & set(file.relative_to(folder).parts)
