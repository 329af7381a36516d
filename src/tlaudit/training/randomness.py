"""Random numbers that depend on the seed and the step alone, and leave the program's own as they were."""

from __future__ import annotations

import contextlib
import random
from typing import TYPE_CHECKING

import numpy as np
import torch

from tlaudit.models.construction import undisturbed

if TYPE_CHECKING:
    from collections.abc import Iterator


@contextlib.contextmanager
def seeded(device: torch.device, *entropy: int) -> Iterator[None]:
    """Draw the global random numbers of torch, NumPy and Python from these seeds within.

    So a step can be made again without those before it. Afterwards all generators are as they were.

    Args:
        device: Whose generator is seeded beside that of the CPU.
        entropy: Numbers from 0 on, such as seed and step.
    """
    state = [int(word) for word in np.random.SeedSequence(list(entropy)).generate_state(3)]
    with undisturbed(), _device_seeded(device, state[0]):
        torch.default_generator.manual_seed(state[0])
        np.random.seed(state[1])
        random.seed(state[2])
        yield


@contextlib.contextmanager
def _device_seeded(device: torch.device, seed: int) -> Iterator[None]:
    if device.type == "cuda":
        with torch.cuda.device(device):
            before = torch.cuda.get_rng_state()
            torch.cuda.manual_seed(seed)
            try:
                yield
            finally:
                torch.cuda.set_rng_state(before)
    elif device.type == "mps":
        before = torch.mps.get_rng_state()
        torch.mps.manual_seed(seed)
        try:
            yield
        finally:
            torch.mps.set_rng_state(before)
    else:
        yield
