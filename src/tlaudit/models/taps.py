"""Looking at, or replacing, what modules take and give while a network runs: the only forward hooks of the package."""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    from torch import nn


@contextlib.contextmanager
def tapped(module: nn.Module, paths: Iterable[str], visit: Callable[[str, object], object | None]) -> Iterator[None]:
    """Show every output of some modules to a function while the block runs; afterwards no hook is left.

    The hooks are taken off also when the network or the function raises.

    Args:
        module: The network.
        paths: Module paths in it.
        visit: Called with a module path and that module's output, each time the module has run and in the order in
            which modules end. What it returns takes the output's place; None leaves the output as it is.

    Raises:
        AttributeError: If there is no module at one of the paths.
    """
    with contextlib.ExitStack() as hooks:
        for path in paths:
            handle = module.get_submodule(path).register_forward_hook(_shown_to(visit, path))
            hooks.callback(handle.remove)
        yield


@contextlib.contextmanager
def entered(module: nn.Module, paths: Iterable[str], visit: Callable[[str, object], None]) -> Iterator[None]:
    """Show what some modules take to a function while the block runs; afterwards no hook is left.

    Args:
        module: The network.
        paths: Module paths in it.
        visit: Called with a module path and the first of that module's arguments by position (None where it has
            none), each time before the module runs.

    Raises:
        AttributeError: If there is no module at one of the paths.
    """
    with contextlib.ExitStack() as hooks:
        for path in paths:
            handle = module.get_submodule(path).register_forward_pre_hook(_shown_before(visit, path))
            hooks.callback(handle.remove)
        yield


def _shown_to(
    visit: Callable[[str, object], object | None], path: str
) -> Callable[[nn.Module, object, object], object | None]:
    def hook(_module: nn.Module, _inputs: object, output: object) -> object | None:
        return visit(path, output)

    return hook


def _shown_before(visit: Callable[[str, object], None], path: str) -> Callable[[nn.Module, tuple[object, ...]], None]:
    def hook(_module: nn.Module, inputs: tuple[object, ...]) -> None:
        visit(path, inputs[0] if inputs else None)

    return hook
