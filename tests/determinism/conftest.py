"""A world on which every command is run, and what each left the first time."""

from __future__ import annotations

import contextlib
import os
import time

import pytest
import torch

import repeated
from elsewhere import backwards, generators, stand_at, stand_elsewhere


class First(dict):
    """What each command left when it was run as it comes, in one thread; run when it is first asked for."""

    def __init__(self, root):
        super().__init__()
        self.root, self.place = root, root.parent / "place"

    def __missing__(self, name):
        self[name] = self.again(name)
        return self[name]

    def again(self, name, *more, threads=1):
        """Run it again, with further words."""
        before = torch.get_num_threads()
        torch.set_num_threads(threads)
        try:
            return repeated.ran(self.root, self.place, name, *more)
        finally:
            torch.set_num_threads(before)


@pytest.fixture(scope="session")
def first(tmp_path_factory):
    root = tmp_path_factory.mktemp("determinism") / "world"
    root.mkdir()
    return First(repeated.build(root))


@pytest.fixture
def elsewhere(first, tmp_path):
    """A context in which everything around a command is another: nothing of it may be seen in what it leaves."""

    @contextlib.contextmanager
    def entered():
        home = tmp_path / "home"
        home.mkdir()
        zone = {"TZ": "XYZ-14", "LC_ALL": "tr_TR.UTF-8", "LANG": "tr_TR.UTF-8"}
        others = {"COLUMNS": "43", "LINES": "7", "HOME": str(home), "USER": "somebody", "TMPDIR": str(home)}
        for number, path in enumerate([*sorted(first.root.rglob("*"), reverse=True), first.root]):
            os.utime(path, (10**9 + number, 10**9 + number))
        before, mask = generators(), os.umask(0o077)
        stand_elsewhere()
        try:
            with pytest.MonkeyPatch.context() as patched, backwards():
                patched.chdir(home)
                for name, value in (zone | others).items():
                    patched.setenv(name, value)
                time.tzset()
                yield
        finally:
            time.tzset()
            os.umask(mask)
            stand_at(before)

    return entered
