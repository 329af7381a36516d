"""The page that GitHub shows for a job: a file named by an environment variable, of limited size."""

from __future__ import annotations

import logging
import os

log = logging.getLogger(__name__)

VARIABLE = "GITHUB_STEP_SUMMARY"
LIMIT = 1024 * 1024
"""Bytes; a larger summary is not shown at all."""
_CUT = "\n*Cut here: the summary of a step holds 1 MiB.*\n"


def append(text: str) -> None:
    """Add Markdown to the summary, cut at a whole line where there is no room for all of it.

    Without the variable nothing is done. A summary that cannot be written is a warning: it says nothing that the other
    formats do not say.

    Args:
        text: Markdown.
    """
    name = os.environ.get(VARIABLE)
    if not name:
        return
    try:
        # Not waiting: a pipe that nobody reads would hold the verdict up.
        with open(name, "ab", opener=_without_waiting) as file:
            there = file.seek(0, os.SEEK_END)
            content = _fitting(text, there)
            if content:
                file.write(content)
            else:
                log.warning("%s: no room left in the step summary", name)
    except (OSError, ValueError) as error:
        log.warning("%s: the step summary cannot be written: %s", name, error)


def _without_waiting(name: str, flags: int) -> int:
    return os.open(name, flags | getattr(os, "O_NONBLOCK", 0), 0o666)


def _fitting(text: str, there: int) -> bytes:
    """As much of it as there is room for beside so many bytes; nothing where not even a note of the cut fits."""
    gap = "\n" if there else ""
    content = (gap + text).encode("utf-8", "backslashreplace")
    if there + len(content) <= LIMIT:
        return content
    room = LIMIT - there - len(_CUT.encode())
    lines = content[: max(room, 0)].rpartition(b"\n")[0]
    return lines + b"\n" + _CUT.encode() if lines.strip() else b""
