"""Calls a function in a process of its own, so that its memory and its threads are its own.

As a program it is that process: ``python -m bench.apart MODULE FUNCTION ARGUMENTS FILE``, arguments as JSON.
"""

from __future__ import annotations

import importlib
import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any, NamedTuple

ROOT = Path(__file__).parent.parent


class Answer(NamedTuple):
    """What a function gave, and the largest resident set of its process in bytes, None where nobody counts it."""

    value: Any
    peak: int | None


class FailedError(Exception):
    """The process ended without an answer; what it said is on stderr."""


def call(module: str, function: str, *, within: float = 900, **arguments: Any) -> Answer:
    """Call ``bench.module.function(**arguments)``, which takes and gives what JSON can hold.

    Args:
        module: Name of a file in this folder.
        function: In it.
        within: Seconds.
        **arguments: Of the function.

    Raises:
        FailedError: If it raises, dies, or takes longer.
    """
    with tempfile.TemporaryDirectory() as folder:
        answer = Path(folder) / "answer.json"
        command = [sys.executable, "-m", "bench.apart", module, function, json.dumps(arguments), str(answer)]
        try:
            # What it prints must not get into the table; torch_cka's progress bars would take part of its time.
            quiet = {**os.environ, "TQDM_DISABLE": "1"}
            finished = subprocess.run(command, cwd=ROOT, env=quiet, stdout=sys.stderr, timeout=within, check=False)
            status = finished.returncode
        except subprocess.TimeoutExpired:
            raise FailedError(f"it did not end within {within:.0f} s") from None
        if status != 0 or not answer.exists():
            raise FailedError(f"it ended with exit code {status}")
        return Answer(**json.loads(answer.read_text(encoding="utf-8")))


def _peak() -> int | None:
    """Largest resident set; `resource` would count that of the process this one was forked from."""
    status = Path("/proc/self/status")
    if not status.exists():
        return None
    lines = status.read_text(encoding="ascii", errors="replace").splitlines()
    found = [line.split()[1] for line in lines if line.startswith("VmHWM:")]
    return 1024 * int(found[0]) if found else None


def _main(module: str, function: str, arguments: str, answer: str) -> None:
    called = getattr(importlib.import_module(f"bench.{module}"), function)
    value = called(**json.loads(arguments))
    Path(answer).write_text(json.dumps({"value": value, "peak": _peak()}), encoding="utf-8")


if __name__ == "__main__":
    _main(*sys.argv[1:])
