"""How the processes of a run meet: what torchrun tells each of them, and how long they wait.

Nothing here is for the work itself, which is that of `tlaudit.distributed`.
"""

from __future__ import annotations

import contextlib
import logging
import os
import signal
import threading
import time
from datetime import timedelta
from typing import TYPE_CHECKING

import torch
from torch import distributed

from tlaudit.errors import UsageError
from tlaudit.failures import EndedError

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

log = logging.getLogger(__name__)

TIMEOUT = timedelta(days=7)
"""How long a process waits for the others at work: rank zero may judge networks for hours, and torchrun ends those that
wait for one that is gone."""

JOINING = timedelta(minutes=15)
"""How long a process waits for the others at the beginning, where all there is to do is to start: machines of a cluster
may be minutes apart, and whoever has not come by then has failed."""

_PATIENCE = timedelta(seconds=30)
"""After so long a process says whom it waits for."""

_STEP = 0.05
"""Seconds after which a process that waits listens to signals."""

_NUMBERS = ("RANK", "WORLD_SIZE", "LOCAL_RANK", "MASTER_PORT")


def place_in(environment: Mapping[str, str]) -> tuple[int, int, int]:
    """Give rank, number of processes and rank on this machine, as torchrun says them.

    Raises:
        UsageError: If the environment is none of torchrun's.
    """
    if not {"RANK", "WORLD_SIZE", "LOCAL_RANK"} & environment.keys():
        return 0, 1, 0
    found = {name: environment.get(name, "") for name in (*_NUMBERS, "MASTER_ADDR")}
    said = ", ".join(f"{name}={value}" if value else f"no {name}" for name, value in found.items())
    right = all(found[name].isascii() and found[name].isdigit() for name in _NUMBERS) and bool(found["MASTER_ADDR"])
    if right:
        rank, size, local = (int(found[name]) for name in ("RANK", "WORLD_SIZE", "LOCAL_RANK"))
        if local <= rank < size:
            return rank, size, local
    if found["WORLD_SIZE"] == "1":
        return 0, 1, 0
    raise UsageError(
        f"the environment of this process is not as torchrun makes it: expected ranks below WORLD_SIZE and the address "
        f"of a master, got {said}; start with torchrun, or unset RANK, WORLD_SIZE and LOCAL_RANK"
    )


def here_in(environment: Mapping[str, str], size: int) -> int:
    """Give the number of processes on this machine, of which torchrun tells."""
    said = environment.get("LOCAL_WORLD_SIZE", "")
    return int(said) if said.isascii() and said.isdigit() and 1 <= int(said) <= size else size


def meet(backend: str, size: int) -> None:
    """Meet the others, in a thread of its own: torch listens to no signal while it waits.

    Args:
        backend: Of their messages.
        size: How many they are.

    Raises:
        EndedError: If they do not come, or cannot be reached.
    """
    failed: list[BaseException] = []

    def join() -> None:
        try:
            distributed.init_process_group(backend, timeout=TIMEOUT)
        except BaseException as error:  # noqa: BLE001 - raised where it is waited for
            failed.append(error)

    meeting = threading.Thread(target=join, name="joining", daemon=True)
    place = f"{os.environ['MASTER_ADDR']}:{os.environ['MASTER_PORT']}"
    begun, said = time.monotonic(), False
    meeting.start()
    while meeting.is_alive():
        meeting.join(_STEP)
        waited = timedelta(seconds=time.monotonic() - begun)
        if waited > JOINING:
            raise EndedError(
                f"not all of the {size} processes of this run have met at {place} within {waited.seconds // 60} "
                "minutes; see what the others say, and whether all were started with the same address and port"
            )
        if waited > _PATIENCE and not said:
            said = True
            # An error by rank, because those that do not lead say nothing else, and the one that leads may be missing.
            log.error("waiting for the others of %d processes at %s", size, place)
    with others_alive():
        for error in failed:
            raise error


@contextlib.contextmanager
def ended_in_words() -> Iterator[None]:
    """Turn torchrun's way of ending those that are left into an error, so that what is half-written is removed."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return

    def end(*_: object) -> None:
        raise EndedError("ended from outside, as torchrun does when another process of this run has failed")

    before = signal.signal(signal.SIGTERM, end)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


def device_of(name: str, local: int) -> torch.device:
    """Choose the device of one of several processes.

    Raises:
        UsageError: If a device of this name cannot be shared out, or there are too few.
    """
    if not distributed.is_available():
        raise UsageError("this torch is built without torch.distributed: start one process, without torchrun")
    if name == "auto":
        name = "cuda" if torch.cuda.is_available() else "cpu"
    if name == "cpu":
        return torch.device("cpu")
    if name != "cuda":
        raise UsageError(
            f"several processes cannot share the device {name!r}: expected cpu, cuda or auto under torchrun, where "
            "each process takes a CUDA device of its own; start one process, or choose another --device"
        )
    count = torch.cuda.device_count()
    if local >= count:
        raise UsageError(
            f"expected a CUDA device for each process, got {count} devices and at least {local + 1} processes on this "
            "machine; lower torchrun's --nproc-per-node"
        )
    return torch.device("cuda", local)


@contextlib.contextmanager
def others_alive() -> Iterator[None]:
    """Say in words that another process has ended, which the libraries tell by a RuntimeError."""
    try:
        yield
    except RuntimeError as error:
        reason = " ".join(str(error).split())
        raise EndedError(
            f"another process of this run has ended, or can no longer be reached ({reason}); see what it says above, "
            "and start again (a training with --resume, if a state was saved)"
        ) from error
