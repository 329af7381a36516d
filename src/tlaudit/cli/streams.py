"""Standard streams that may be of any encoding, closed, full, or read by somebody who went away."""

from __future__ import annotations

import io
import logging
import os
import sys
from typing import TYPE_CHECKING

from tlaudit.errors import DataError
from tlaudit.quoting import shown

if TYPE_CHECKING:
    from typing import TextIO


def settle() -> None:
    """Make what is written to the standard streams never depend on what they can hold.

    A character that stdout has not in its encoding is written as an escape, as Python does on stderr. Without a stderr
    what is meant for it is dropped.
    """
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(errors="backslashreplace")
    if sys.stderr is None:
        sys.stderr = open(os.devnull, "w", encoding="utf-8")  # noqa: PTH123, SIM115 - for as long as the program runs


def hand_over(text: str) -> None:
    """Write a document to stdout, as UTF-8 whatever its encoding; errors as of `show`."""
    buffer = getattr(sys.stdout, "buffer", None)
    if buffer is None:
        show(text)
        return
    try:
        sys.stdout.flush()
        buffer.write(text.encode("utf-8", "backslashreplace"))
        buffer.flush()
    except OSError as error:
        _give_up(sys.stdout, error)


def show(text: str) -> None:
    """Write what people read to stdout, in its encoding.

    A reader that went away has seen enough: the command goes on, and ends as it would have.

    Raises:
        DataError: If it cannot be written for another reason, such as a full disk.
    """
    try:
        sys.stdout.write(_holdable(text, sys.stdout))
        sys.stdout.flush()
    except OSError as error:
        _give_up(sys.stdout, error)


def tell(text: str) -> None:
    """Write a note to stderr; what cannot be written there is dropped, since there is nowhere else to say so."""
    if sys.stderr is None:
        return
    try:
        sys.stderr.write(_holdable(text, sys.stderr))
        sys.stderr.flush()
    except OSError:
        abandon(sys.stderr)


def say(line: str) -> None:
    """Write a message to stderr, in one line: of names in it, whatever they hold, no character does anything there."""
    tell(f"{shown(line)}\n")


class OneLine(logging.Formatter):
    """Warnings as `say` writes them."""

    def formatMessage(self, record: logging.LogRecord) -> str:  # noqa: N802 - logging calls it so
        """Put a warning into a line."""
        return shown(super().formatMessage(record))


def abandon(stream: TextIO) -> None:
    """Let a stream lead nowhere: what is still waiting in it would fail once more when Python ends."""
    nowhere = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, stream.fileno())
    os.close(nowhere)


def _give_up(stream: TextIO, error: OSError) -> None:
    abandon(stream)
    if not isinstance(error, BrokenPipeError):
        raise DataError(f"stdout: cannot be written: {error.strerror}") from None


def _holdable(text: str, stream: TextIO) -> str:
    """The text with escapes for what the stream's encoding has not."""
    encoding = stream.encoding or "utf-8"
    return text.encode(encoding, "backslashreplace").decode(encoding)
