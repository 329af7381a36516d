"""What a network is, in one number: two networks of one identity give the same bits for the same inputs.

A network that came out of a file may have been changed since, so nothing of the file is asked: neither its name nor
its hash.
"""

from __future__ import annotations

import hashlib
import logging
import sys
from pathlib import Path
from types import FunctionType
from typing import TYPE_CHECKING

import torch
from torch import fx, nn
from torch.nn import functional

from tlaudit.models.bytecode import said
from tlaudit.models.described import INSTALLED, Description, UnknowableError, package_of

if TYPE_CHECKING:
    from collections.abc import Iterator
    from types import ModuleType

    from tlaudit.models.described import Parts

log = logging.getLogger(__name__)

_OF_EVERY_MODULE = set(vars(nn.Module()))
_HOOKS = ("_forward_hooks", "_forward_pre_hooks")
_IN_C = sorted(name for name in dir(torch._C._VariableFunctions) if not name.startswith("_"))  # noqa: SLF001
_INSTEAD = ("forward", "_call_impl", "_compiled_call_impl", "_slow_forward", "_wrapped_call_impl")
"""Set on one module, they take the place of what its class does."""


def identity(module: nn.Module) -> str | None:
    """SHA-256 over all that decides what a network answers, 64 hexadecimal digits; None where that cannot be told.

    Over names, types, shapes, layout in memory and bytes of parameters and buffers, the plain attributes of all modules
    and their classes. A library's class is told by its name, because its version is told elsewhere. A class of your own
    is told by the code of its methods as it lies in memory, by what that holds or reaches through global names, and by
    the source of the modules it comes from and of those beside it.

    None for a network that is training, that carries hooks, whose ``forward`` has been replaced, that is compiled, that
    holds things of unknown kinds, or whose source cannot be read; and where others have changed a library. What is read
    from elsewhere, such as a file, is not seen.

    Args:
        module: On any device; it is left as it is.
    """
    result = hashlib.sha256()
    try:
        for part in _parts(module):
            result.update(part)
    except UnknowableError:
        return None
    except Exception as error:  # noqa: BLE001 - objects of a user are asked, which may answer with anything
        log.debug("a network cannot be told: %s", type(error).__name__)
        return None
    return result.hexdigest()


def _parts(module: nn.Module) -> Parts:
    """Say all of a network."""
    description = Description()
    for path, child in module.named_modules(remove_duplicate=False):
        _refuse_changed(child)
        yield f"\n{path}\t".encode(errors="surrogatepass")
        yield from _module(child, description)
    yield from description.rest()
    for name, function in _called():
        if isinstance(function, FunctionType):
            yield name.encode()
            yield from description.unchanged(function)
    for file in sorted(_sources(description)):
        yield Path(file).read_bytes()


def _refuse_changed(module: nn.Module) -> None:
    """Refuse what makes a module do something else than its class says."""
    held = vars(module)
    if module.training or any(held.get(name) for name in _HOOKS) or any(held.get(name) for name in _INSTEAD):
        raise UnknowableError
    if any(vars(nn.modules.module).get(f"_global{name}") for name in _HOOKS):
        raise UnknowableError
    if isinstance(module, torch.jit.ScriptModule) or not all(isinstance(name, str) for name in held):
        raise UnknowableError


def _module(module: nn.Module, description: Description) -> Parts:
    """Say one module: its class, its tensors, its plain attributes and, of a graph, its code."""
    own = [*module.named_parameters(recurse=False), *module.named_buffers(recurse=False)]
    for name, tensor in own:
        yield f".{name}=".encode(errors="surrogatepass")
        yield from description.tensor(tensor)
    if isinstance(module, fx.GraphModule):
        # Each has a class of its own, written by torch.
        yield from description.value(type(module).__bases__)
        yield module.code.encode()
        yield from said(type(module).forward.__code__)
        yield from description.value([node.target for node in module.graph.nodes if node.op == "call_function"])
        return
    yield from description.value(type(module))
    yield from description.slots(module)
    for name, value in sorted(vars(module).items()):
        if name not in _OF_EVERY_MODULE:
            yield f"{name}=".encode(errors="surrogatepass")
            yield from description.value(value)


def _called() -> Iterator[tuple[str, object]]:
    """What networks call of torch, by name: of its own namespace those functions that are written in C."""
    yield from vars(functional).items()
    names = vars(torch)
    yield from ((name, names.get(name)) for name in _IN_C)


def _sources(description: Description) -> set[str]:
    """Source files of modules that no versioned library brings, and of all that is loaded beside them."""
    found: set[str] = set()
    roots: set[Path] = set()
    for name in description.places:
        if description.trusted(name):
            continue
        file = _file(sys.modules.get(name))
        if file is None:
            raise UnknowableError
        found.add(str(file))
        top = _file(sys.modules.get(package_of(name)))
        roots.add((top if "." in name and top is not None else file).parent)
    folders = [root for root in roots if root.name not in INSTALLED]
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
    return file.is_relative_to(folder) and not INSTALLED & set(file.relative_to(folder).parts)
