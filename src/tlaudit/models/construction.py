"""Building networks without side effects: random numbers as they were, and shapes without memory."""

from __future__ import annotations

import contextlib
import random
import warnings
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch.overrides import TorchFunctionMode

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    from torch import nn

Shape = tuple[int, ...]


_FILLS = frozenset(
    {
        torch.Tensor.add_,
        torch.Tensor.clamp_,
        torch.Tensor.copy_,
        torch.Tensor.erfinv_,
        torch.Tensor.fill_,
        torch.Tensor.mul_,
        torch.Tensor.normal_,
        torch.Tensor.uniform_,
        torch.Tensor.zero_,
    }
)


class _EmptyWithoutMemory(TorchFunctionMode):
    """Sends `torch.empty` to the meta device, and skips filling what is there: nothing else changes.

    Layers allocate their parameters with it. Under ``torch.device("meta")`` the small tensors that some networks
    compute with while they are built (torchvision's RegNet) would have no values either, and the building fails.
    """

    def __torch_function__(
        self,
        func: Callable[..., Any],
        types: Any,
        args: tuple[Any, ...] = (),
        kwargs: Mapping[str, Any] | None = None,
    ) -> Any:
        if func in _FILLS and args[0].is_meta:
            return args[0]
        options = dict(kwargs or {})
        if func is torch.empty:
            options["device"] = "meta"
        return func(*args, **options)


@contextlib.contextmanager
def undisturbed() -> Iterator[None]:
    """Put the global random numbers of torch (CPU), NumPy and Python back as they were."""
    python, numpy = random.getstate(), np.random.get_state()
    try:
        with torch.random.fork_rng(devices=[]):
            yield
    finally:
        random.setstate(python)
        np.random.set_state(numpy)


def outline(build: Callable[[], nn.Module]) -> nn.Module:
    """Build a network whose parameters have shapes but no memory: milliseconds, also for the largest.

    Args:
        build: Makes the network.

    Returns:
        The network; most of its parameters lie on the meta device. One that runs a forward pass while it is built, to
        learn the size of its own features, is built with memory.
    """
    try:
        with undisturbed(), warnings.catch_warnings(), _EmptyWithoutMemory():
            # Initial values copied into such parameters are lost, which is what is wanted, and torch warns about.
            warnings.simplefilter("ignore")
            return build()
    except (RuntimeError, NotImplementedError) as error:
        if "meta" not in str(error):
            raise
    with undisturbed():
        return build()


def shapes_of(module: nn.Module) -> dict[str, Shape]:
    """Give the shape of every tensor in a network's state, by key."""
    return {key: tuple(value.shape) for key, value in module.state_dict().items() if isinstance(value, torch.Tensor)}
