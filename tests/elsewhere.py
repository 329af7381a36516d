"""What surrounds a command and has no say in what it leaves: the order of folders, the state of random generators."""

from __future__ import annotations

import contextlib
import os
import random

import numpy as np
import torch


@contextlib.contextmanager
def backwards():
    """Folders are listed from their last entry to their first."""

    class Entries(list):
        def __enter__(self):
            return self

        def __exit__(self, *_):
            return None

        def close(self):
            """As of the iterator that it stands for."""

        def __next__(self):
            return self.pop(0)

    def reversed_(original, entries):
        def listed(path="."):
            with contextlib.ExitStack() as stack:
                found = original(path)
                if hasattr(found, "close"):
                    stack.callback(found.close)
                return entries(sorted(found, key=lambda one: getattr(one, "name", one), reverse=True))

        return listed

    scandir, listdir = os.scandir, os.listdir
    os.scandir, os.listdir = reversed_(scandir, Entries), reversed_(listdir, list)
    try:
        yield
    finally:
        os.scandir, os.listdir = scandir, listdir


def generators():
    """Where the random numbers of this process stand."""
    kind, keys, *rest = np.random.get_state()
    return random.getstate(), (kind, keys.tolist(), *rest), torch.get_rng_state().tolist()


def stand_elsewhere():
    """Move all generators."""
    random.seed(7)
    np.random.seed(8)
    torch.manual_seed(9)


def stand_at(state):
    """Put all generators where they stood."""
    random.setstate(state[0])
    np.random.set_state(state[1])
    torch.set_rng_state(torch.tensor(state[2], dtype=torch.uint8))
