"""What all tests share."""

from __future__ import annotations

import logging

import pytest
import torch


@pytest.fixture(autouse=True)
def one_thread(request):
    """Small networks are quicker on one thread than on two that wait for each other; slow tests take all cores."""
    threads = torch.get_num_threads()
    if request.node.get_closest_marker("slow") is None:
        torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


@pytest.fixture(autouse=True)
def logging_as_it_was():
    """The command line sets up logging for its process; here many commands share one."""
    root, ours = logging.getLogger(), logging.getLogger("tlaudit")
    handlers, levels = list(root.handlers), (root.level, ours.level)
    yield
    root.handlers[:] = handlers
    root.setLevel(levels[0])
    ours.setLevel(levels[1])
