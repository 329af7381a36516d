"""What all tests share."""

from __future__ import annotations

import logging
import os
import signal

import pytest
import torch
from hypothesis import settings

settings.register_profile("tlaudit", derandomize=True, database=None, deadline=None, max_examples=50)
settings.load_profile("tlaudit")

THREADS = torch.get_num_threads()

if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    # As in the background of a shell. Commands started from here are to hear Ctrl-C as in the foreground.
    signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.fixture(autouse=True, scope="module")
def one_thread_for_what_a_module_shares(request):
    """Sums of two threads differ in the last digit from those of one, which is what tests compare them with."""
    marks = request.module.__dict__.get("pytestmark", [])
    real = any(mark.name == "realdata" for mark in (marks if isinstance(marks, list) else [marks]))
    torch.set_num_threads(THREADS if real else 1)
    yield
    torch.set_num_threads(THREADS)


@pytest.fixture(autouse=True)
def one_thread(request):
    """Small networks are quicker on one thread than on two that wait for each other; real ones take all cores."""
    torch.set_num_threads(1 if request.node.get_closest_marker("realdata") is None else THREADS)


@pytest.fixture(autouse=True, scope="session")
def no_cache():
    """What is compared has to be computed twice; tests of the cache name a folder of their own."""
    before = os.environ.get("TLAUDIT_CACHE_DIR")
    os.environ["TLAUDIT_CACHE_DIR"] = ""
    yield
    del os.environ["TLAUDIT_CACHE_DIR"]
    if before is not None:
        os.environ["TLAUDIT_CACHE_DIR"] = before


@pytest.fixture(autouse=True)
def logging_as_it_was():
    """The command line sets up logging for its process; here many commands share one."""
    root, ours = logging.getLogger(), logging.getLogger("tlaudit")
    ours.setLevel(logging.NOTSET)  # what a whole module shares may have run commands before this
    handlers, levels = list(root.handlers), (root.level, ours.level)
    yield
    root.handlers[:] = handlers
    root.setLevel(levels[0])
    ours.setLevel(levels[1])
