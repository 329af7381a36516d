"""Commands in processes forked from this one, which has imported torch: a start takes 0.1 s, not three seconds."""

from __future__ import annotations

import logging
import multiprocessing.util
import os
import signal
import sys
import tempfile
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

_STEP = 0.002
"""Seconds between two looks at a process."""


@dataclass
class Process:
    """A command under way, the first of a session and of a group of processes.

    Attributes:
        pid: Of the process and of its group.
        file: What it writes to stdout and stderr.
        status: How it ended, negative for a signal; None while it is not known.
    """

    pid: int
    file: Path
    status: int | None = None

    def ended(self) -> bool:
        """Whether it has ended."""
        if self.status is None:
            pid, status = os.waitpid(self.pid, os.WNOHANG)
            if pid:
                self.status = os.waitstatus_to_exitcode(status)
        return self.status is not None

    def wait(self, seconds: float) -> int:
        """Wait for its end and give its exit status, negative for a signal.

        Raises:
            TimeoutError: If it has not ended by then; it is killed, and all that it started.
        """
        until = time.monotonic() + seconds
        while not self.ended():
            if time.monotonic() > until:
                os.killpg(self.pid, signal.SIGKILL)
                os.waitpid(self.pid, 0)
                self.status = -signal.SIGKILL
                raise TimeoutError(f"process {self.pid} has not ended within {seconds:g} s: {self.said()}")
            time.sleep(_STEP)
        assert self.status is not None
        return self.status

    def said(self) -> str:
        """What it has written so far."""
        return self.file.read_text(encoding="utf-8", errors="backslashreplace")


def prepare() -> None:
    """Import what commands import, once, in the process that they are forked from; one thread for torch."""
    import importlib

    import torch

    torch.set_num_threads(1)
    for name in (
        *("api", "cli.app", "demo.audit", "repair.continual", "repair.session", "reports", "scaffold", "screen"),
        *("policy", "comparison", "data.inputs", "data.rows", "distributed", "checks", "auditing.session", "documents"),
    ):
        importlib.import_module(f"tlaudit.{name}")
    for name in ("sklearn.linear_model", "plotly.graph_objects", "plotly.offline", "jinja2", "_strptime", "rich.table"):
        importlib.import_module(name)


def started(
    words: Sequence[str],
    said: Path,
    before: Callable[[], None] | None = None,
    *,
    folder: Path | None = None,
    **environment: str,
) -> Process:
    """Start ``tlaudit WORDS``.

    Args:
        words: Its arguments.
        said: File for what it writes to stdout and stderr.
        before: Called in the new process before the command is.
        folder: In which it runs; default that of this process.
        **environment: Variables on top of those of this process.
    """
    prepare()
    sys.stdout.flush()
    sys.stderr.flush()
    # Signals wait until the child has its own way with them: those of the tests are none of a command's.
    earlier = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT, signal.SIGTERM})
    try:
        pid = os.fork()
        if not pid:
            _run(words, said, before, folder, environment)
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, earlier)
    return Process(pid, said)


def _run(
    words: Sequence[str],
    said: Path,
    before: Callable[[], None] | None,
    folder: Path | None,
    environment: dict[str, str],
) -> None:
    """The whole life of the forked process; nothing of the one it comes from may happen here."""
    status = 70
    try:
        os.setsid()
        nothing, file = os.open(os.devnull, os.O_RDONLY), os.open(said, os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
        for descriptor, number in ((nothing, 0), (file, 1), (file, 2)):
            os.dup2(descriptor, number)
        sys.stdin, sys.stdout, sys.stderr = (os.fdopen(number, "w" if number else "r") for number in range(3))
        if folder is not None:
            os.chdir(folder)
        os.environ.update(environment)
        tempfile.tempdir = None
        logging.getLogger("tlaudit").setLevel(logging.NOTSET)
        signal.signal(signal.SIGINT, signal.default_int_handler)
        signal.signal(signal.SIGTERM, signal.SIG_DFL)
        if before is not None:
            before()
        sys.argv = ["tlaudit", *words]
        from tlaudit.cli.app import main

        signal.pthread_sigmask(signal.SIG_SETMASK, set())
        main()
        status = 0
    except SystemExit as stop:
        status = stop.code if isinstance(stop.code, int) else 0 if stop.code is None else 1
    except BaseException:  # noqa: BLE001 - the outermost frame
        # As Python ends with what nobody caught.
        sys.excepthook(*sys.exc_info())
        status = 1
    finally:
        _end(status)


def _end(status: int) -> None:
    """What of Python's own end concerns a command, then the end."""
    try:
        multiprocessing.util._exit_function()  # noqa: SLF001 - nothing else does what it does
        sys.stdout.flush()
        sys.stderr.flush()
    finally:
        os._exit(status)
