"""Runs a function of a test file in several processes, with the environment that torchrun gives them.

As a script it is the process that all of them are forked from, so that torch, which is what takes the time, is imported
once: ``processes.py SIZE FILE FUNCTION FOLDER [ARGUMENTS]``.
"""

from __future__ import annotations

import importlib.util
import json
import os
import signal
import socket
import subprocess
import sys
from pathlib import Path

import torch


def ended(
    size: int, file: str, function: str, folder: Path, *arguments: str, within: float = 120
) -> list[tuple[int, str]]:
    """Call `function(*arguments)` in so many processes and wait for their end.

    Returns:
        Of each its exit status, negative where a signal ended it, and what it said.
    """
    command = [sys.executable, __file__, str(size), file, function, str(folder), *arguments]
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    parent = subprocess.Popen(
        command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, start_new_session=True
    )
    try:
        statuses, said = parent.communicate(timeout=within)
    except subprocess.TimeoutExpired:
        os.killpg(parent.pid, signal.SIGKILL)
        parent.communicate()
        raise
    assert parent.returncode == 0, said
    texts = [(folder / f"{function}-{rank}.txt").read_text(encoding="utf-8") for rank in range(size)]
    return list(zip(json.loads(statuses), texts, strict=True))


def results(size: int, file: str, function: str, folder: Path, *arguments: str) -> list[object]:
    """What `function(*arguments)` gives in each of the processes."""
    for status, said in ended(size, file, function, folder, *arguments):
        assert status == 0, said
    return [torch.load(folder / f"{function}-{rank}.pt", weights_only=True) for rank in range(size)]


def _main(size: int, file: str, function: str, folder: Path, *arguments: str) -> None:
    torch.set_num_threads(1)
    sys.path.insert(0, str(Path(__file__).parent))
    spec = importlib.util.spec_from_file_location(Path(file).stem, file)
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        port = str(listener.getsockname()[1])
    os.environ.update(WORLD_SIZE=str(size), MASTER_ADDR="127.0.0.1", MASTER_PORT=port)
    children = []
    for rank in range(size):
        children.append(os.fork())
        if not children[-1]:
            os.environ.update(RANK=str(rank), LOCAL_RANK=str(rank))
            place = folder / f"{function}-{rank}"
            said = os.open(place.with_suffix(".txt"), os.O_WRONLY | os.O_CREAT)
            os.dup2(said, 1)
            os.dup2(said, 2)
            torch.save(getattr(module, function)(*arguments), place.with_suffix(".pt"))
            return
    sys.stdout.write(json.dumps([os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) for child in children]))


if __name__ == "__main__":
    _main(int(sys.argv[1]), sys.argv[2], sys.argv[3], Path(sys.argv[4]), *sys.argv[5:])
