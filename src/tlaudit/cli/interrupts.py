"""Ctrl-C, whenever it comes: one line, exit code 130, no traceback. Imports nothing that takes time."""

from __future__ import annotations

import contextlib
import os
import signal
import sys
from typing import TYPE_CHECKING, NoReturn

if TYPE_CHECKING:
    from collections.abc import Iterator
    from types import FrameType

INTERRUPTED = 130


class _Now:
    """Where the program is, as far as an interruption is concerned."""

    process = 0
    """The one that listens; those forked from it have nothing to say."""
    at_work = False
    """Whether there is somebody who catches a KeyboardInterrupt, and has not had one yet."""


def listen() -> None:
    """Hear Ctrl-C from now on, unless this program was started to ignore it."""
    if signal.getsignal(signal.SIGINT) is signal.default_int_handler:
        _Now.process = os.getpid()
        signal.signal(signal.SIGINT, _interrupt)
        sys.unraisablehook = _unraisable


@contextlib.contextmanager
def raised() -> Iterator[None]:
    """Make the first Ctrl-C a KeyboardInterrupt: what is under way is put in order by whoever catches it.

    Outside, and with the second one, the program ends at once. Nothing is lost by that: what is unfinished has a name
    of its own, and the next run clears it away.
    """
    _Now.at_work = True
    try:
        yield
    finally:
        _Now.at_work = False


def hush() -> None:
    """Ignore Ctrl-C from now on: that it was heard is about to be said."""
    if signal.getsignal(signal.SIGINT) is _interrupt:
        signal.signal(signal.SIGINT, signal.SIG_IGN)


def _interrupt(_number: int, frame: FrameType | None) -> None:
    # Modules are imported before or between what is written. Torch aborts where its import is broken off, others make
    # an error of their own of it.
    if not _Now.at_work or os.getpid() != _Now.process or _is_importing(frame):
        _leave()
    _Now.at_work = False
    raise KeyboardInterrupt


def _is_importing(frame: FrameType | None) -> bool:
    while frame is not None:
        if frame.f_code.co_filename == "<frozen importlib._bootstrap>":
            return True
        frame = frame.f_back
    return False


def _unraisable(unraisable: sys.UnraisableHookArgs) -> None:
    """End the program where the interruption came at a moment that Python would only tell of and go on."""
    if issubclass(unraisable.exc_type, KeyboardInterrupt):
        _leave()
    sys.__unraisablehook__(unraisable)


def _leave() -> NoReturn:
    if os.getpid() == _Now.process:
        with contextlib.suppress(OSError):
            os.write(2, f"tlaudit: {which()}interrupted\n".encode())
    os._exit(INTERRUPTED)


def which() -> str:
    """Say which process this is, before what it says; nothing for the one that leads, or is alone."""
    rank, size = (os.environ.get(name, "") for name in ("RANK", "WORLD_SIZE"))
    numbers = all(number.isascii() and number.isdigit() for number in (rank, size))
    return f"process {rank} of {size}: " if numbers and 0 < int(rank) < int(size) else ""
