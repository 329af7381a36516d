"""Decoding in processes of its own, batches of files as the unit of work.

Pixels travel through a fixed number of shared buffers that are used over and over: memory and file handles do not grow
with the number of images, and a worker writes each crop straight to where the main process reads it. Workers know
nothing of torch or of any device, whatever the start method of processes.
"""

from __future__ import annotations

import contextlib
import logging
import multiprocessing
import os
import shutil
import signal
import tempfile
import threading
import warnings
from collections import deque
from concurrent.futures import Future, ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from tlaudit.data.decoding import DecodedBatch, decode_batch
from tlaudit.errors import DataError

if TYPE_CHECKING:
    from collections.abc import Callable, Generator, Iterable, Iterator, Sequence

    from tlaudit.data.decoding import Geometry, Pixels

log = logging.getLogger(__name__)

SLOTS_PER_WORKER = 2
"""One being filled, one waiting to be read or to be filled next: more would only hold memory."""

Work = tuple[DecodedBatch, list["Pixels"]]


class Batches:
    """Batches of locations that are put together one by one while the pass goes on; how many there are is known."""

    def __init__(self, count: int, begin: Callable[[], Iterable[Sequence[str]]]) -> None:
        """Say how they are had.

        Args:
            count: How many batches there are.
            begin: Gives them from the first one on, each time it is called.
        """
        self._count, self._begin = count, begin

    def __len__(self) -> int:
        return self._count

    def __iter__(self) -> Iterator[Sequence[str]]:
        return iter(self._begin())


def decode_all(
    batches: Batches | Sequence[Sequence[str]], geometries: Sequence[Geometry], batch_size: int, workers: int
) -> Generator[Work]:
    """Decode batches of files, in order.

    A single batch is decoded in this process, because there is nothing that could go on meanwhile. So is everything
    where the system has no room for the shared buffers.

    Args:
        batches: Locations (`tlaudit.data.locations`), at most ``batch_size`` in each.
        geometries: Resize, crop and interpolation wanted.
        batch_size: Rows of a buffer.
        workers: How many processes to start; 0 for none.

    Yields:
        What became of a batch, and for each geometry its pixels, ``(n, crop, crop, 3)`` uint8, memory of the caller's
        own. Closing the iterator early ends the processes.

    Raises:
        DataError: If a worker process dies.
    """
    workers = min(workers, len(batches))
    slot_bytes = sum(_bytes_of(geometry, batch_size) for geometry in geometries)
    if workers > 0 and len(batches) > 1:
        if _has_room(slot_bytes * SLOTS_PER_WORKER * workers):
            return _decode_in_workers(batches, geometries, batch_size, workers)
        log.warning(
            "no room for %d MB of memory shared between processes: images are decoded in the main process",
            slot_bytes * SLOTS_PER_WORKER * workers >> 20,
        )
    return _decode_here(batches, geometries)


def _decode_here(batches: Batches | Sequence[Sequence[str]], geometries: Sequence[Geometry]) -> Generator[Work]:
    for files in batches:
        memory = np.empty(sum(_bytes_of(geometry, len(files)) for geometry in geometries), dtype=np.uint8)
        buffers = _views(memory, geometries, len(files))
        decoded = decode_batch(files, geometries, buffers)
        yield decoded, [buffer[: len(decoded.kept)] for buffer in buffers]


def _decode_in_workers(
    batches: Batches | Sequence[Sequence[str]], geometries: Sequence[Geometry], batch_size: int, workers: int
) -> Generator[Work]:
    context = multiprocessing.get_context()
    slot_bytes = sum(_bytes_of(geometry, batch_size) for geometry in geometries)
    others = multiprocessing.active_children()
    try:
        slots = [context.RawArray("B", slot_bytes) for _ in range(SLOTS_PER_WORKER * workers)]
        stop = context.RawValue("b", 0)
        pool = ProcessPoolExecutor(workers, context, _start_worker, (slots, tuple(geometries), batch_size, stop))
        _submit(pool, 0, ())  # starts the processes
    except OSError as error:
        # Room may go between asking and taking, semaphores lie on /dev/shm alone, and processes may be limited. Those
        # that were started would wait for work for ever, and this one for them.
        for child in multiprocessing.active_children():
            if child not in others:
                child.terminate()
        log.warning("no processes to decode images (%s): that is done in the main process", error.strerror or error)
        yield from _decode_here(batches, geometries)
        return
    buffers = [_views(slot, geometries, batch_size) for slot in slots]
    todo = iter(batches)
    running: deque[tuple[int, Future[DecodedBatch]]] = deque()
    try:
        for number, files in zip(range(len(slots)), todo, strict=False):
            running.append((number, _submit(pool, number, files)))
        while running:
            number, future = running.popleft()
            decoded = future.result()
            pixels = [buffer[: len(decoded.kept)].copy() for buffer in buffers[number]]
            for files in todo:
                running.append((number, _submit(pool, number, files)))
                break
            yield decoded, pixels
    except BrokenProcessPool:
        hint = "it was killed, perhaps for want of memory; try fewer workers, or 0"
        if context.get_start_method() != "fork":
            hint += '; a script of your own must start its work below `if __name__ == "__main__":`'
        raise DataError(f"a process that decodes images died: {hint}") from None
    finally:
        stop.value = 1
        pool.shutdown(cancel_futures=True)


def _submit(pool: ProcessPoolExecutor, number: int, files: Sequence[str]) -> Future[DecodedBatch]:
    with warnings.catch_warnings(), _deaf():
        # Python warns of forking with threads about, which torch always has. These children take no lock of theirs.
        warnings.filterwarnings("ignore", message=".*fork", category=DeprecationWarning)
        return pool.submit(_fill_slot, number, tuple(files))


@contextlib.contextmanager
def _deaf() -> Iterator[None]:
    """Let processes that are started begin without hearing Ctrl-C, which reaches the whole group of processes.

    The main one decides, and ends the workers. It hears what came meanwhile as soon as they are started.
    """
    if not hasattr(signal, "pthread_sigmask"):
        yield
        return
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def _bytes_of(geometry: Geometry, rows: int) -> int:
    return rows * geometry[1] * geometry[1] * 3


def _views(memory: Any, geometries: Sequence[Geometry], rows: int) -> list[Pixels]:
    """See a piece of memory as one ``(rows, crop, crop, 3)`` array for each geometry, one after the other."""
    views, offset = [], 0
    for geometry in geometries:
        size = _bytes_of(geometry, rows)
        flat = np.frombuffer(memory, dtype=np.uint8, count=size, offset=offset)
        views.append(flat.reshape(rows, geometry[1], geometry[1], 3))
        offset += size
    return views


def _has_room(size: int) -> bool:
    """Tell whether shared memory of that many bytes can be had; taking more than there is would kill the process.

    Python puts it on ``/dev/shm``, and where that is small, as in many containers, in a file of the temporary folder.
    """
    for place in ("/dev/shm", tempfile.gettempdir()):  # noqa: S108 - asked how full it is, nothing is written
        try:
            if shutil.disk_usage(place).free > size:
                return True
        except OSError:
            continue
    return False


# From here on: what runs in a worker. Its bench is set once, as it starts, because a pool hands tasks nothing but data.
class _Bench(NamedTuple):
    slots: list[list[Pixels]]
    geometries: Sequence[Geometry]
    stop: Any


_bench: list[_Bench] = []


def _start_worker(slots: Sequence[Any], geometries: Sequence[Geometry], batch_size: int, stop: Any) -> None:
    # Where signals cannot be kept from a process before it begins.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    threading.Thread(target=_end_with_parent, daemon=True).start()
    _bench[:] = [_Bench([_views(slot, geometries, batch_size) for slot in slots], geometries, stop)]


def _end_with_parent() -> None:
    """Leave no orphan waiting for work for ever when the main process is killed."""
    parent = multiprocessing.parent_process()
    if parent is not None:
        parent.join()
        os._exit(1)


def _fill_slot(number: int, files: Sequence[str]) -> DecodedBatch:
    bench = _bench[0]
    # When the pass is broken off nobody wants the rest of the batch, which may be seconds of work.
    wanted = (file for file in files if not bench.stop.value)
    return decode_batch(wanted, bench.geometries, bench.slots[number])
