"""How a step is shared out among processes; alone nothing is."""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING

import torch

from tlaudit.training import together
from tlaudit.training.objective import Part

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from torch import Tensor, nn

    from tlaudit.distributed import Group


@contextlib.contextmanager
def shared(network: nn.Module, group: Group, places: Tensor, total: int) -> Iterator[tuple[Part, float]]:
    """Tell a network which images of a step's batch this process has.

    Args:
        network: As `together.prepared` gives it, where there are several processes.
        group: The processes.
        places: Of the images in the whole batch, ``(N,)`` int64, one after the other.
        total: Images of the whole batch. If they are fewer than the processes, each process has all of them.

    Yields:
        The part, and the weight of this process's loss, a mean over its images, in that of the whole batch.
    """
    part = Part(int(places[0]), int(places[-1]) + 1, total)
    if group.size == 1:
        yield part, 1.0
        return
    divided = total >= group.size
    together.set_part(network, part)
    with together.synchronised(network, divided):
        yield part, (part.stop - part.start) / total if divided else 1 / group.size


def add_gradients(parameters: Sequence[nn.Parameter], group: Group) -> None:
    """Give every process the sum of all gradients; a parameter that none has a gradient of stays without.

    Args:
        parameters: Those that learn.
        group: The processes.

    Raises:
        DataError: If another process has ended.
    """
    if group.size == 1 or not parameters:
        return
    owned = torch.tensor([float(p.grad is not None) for p in parameters], device=parameters[0].device)
    group.sum_([owned])
    found = [parameter for parameter, count in zip(parameters, owned.tolist(), strict=True) if count]
    for parameter in found:
        if parameter.grad is None:
            parameter.grad = torch.zeros_like(parameter)
    group.sum_([parameter.grad for parameter in found if parameter.grad is not None])


def told_by_first(group: Group, ask: Callable[[], float]) -> float:
    """Ask rank zero alone and give its answer to all: others might round differently, and decide differently.

    Args:
        group: The processes.
        ask: Called in rank zero.

    Raises:
        DataError: If another process has ended.
    """
    with group.agreed():
        answer = ask() if group.leads else 0.0
    return group.told(answer)
