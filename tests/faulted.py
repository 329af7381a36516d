"""The room `hardening` for tests: its modules, small disks, and a world that a process builds once."""

from __future__ import annotations

import contextlib
import importlib
import resource
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).parents[1]
sys.path.insert(0, str(ROOT))  # hardening is no part of the package

clocks, disks, mounts, places, trials = (
    importlib.import_module(f"hardening.injections.{name}")
    for name in ("clocks", "disks", "mounts", "places", "trials")
)
commands, world = importlib.import_module("hardening.commands"), importlib.import_module("hardening.world")

_built = []


def bench():
    """A world and what commands make of it; the folder goes when the process does."""
    if not _built:
        folder = tempfile.TemporaryDirectory(prefix="tlaudit-faults-")
        _built.extend((trials.Bench(world.build(Path(folder.name) / "world")), folder))
    return _built[0]


def lost(outcomes):
    """Say what was lost, and that something was injected at all."""
    assert outcomes
    assert all(outcome.injected for outcome in outcomes)
    return [f"{one.injection}, {one.command}: {line}" for one in outcomes for line in one.lost]


@contextlib.contextmanager
def small_disk(place, size):
    """A folder in which files find so many bytes of room; a limit of each file's size where nothing can be mounted."""
    place.mkdir(exist_ok=True)
    if mounts.allowed():
        with mounts.memory(place, size=size):
            yield place
        return
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, before[1]))
    try:
        yield place
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
