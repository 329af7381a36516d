"""Where memory is too short for a batch, its halves go through one after the other."""

from __future__ import annotations

import contextlib
import gc
import logging
import re
from typing import TYPE_CHECKING, TypeVar

import torch
from torch.nn.modules.batchnorm import _BatchNorm

from tlaudit.errors import DataError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from torch import Tensor, nn

T = TypeVar("T")

log = logging.getLogger(__name__)

_SAID = re.compile(
    # CUDA, HIP and MPS; the two ways in which torch says it of the main memory; cuDNN and cuBLAS.
    r"out of memory|can't allocate memory|not enough memory: you tried to allocate|_ALLOC(ATION)?_FAILED",
    re.IGNORECASE,
)
_ADVICE = "close what else uses its memory, or give another --device, --precision bf16 or a smaller --crop"


def is_out_of_memory(error: BaseException) -> bool:
    """Whether something failed for want of memory, on a device or in main memory."""
    if isinstance(error, MemoryError | torch.OutOfMemoryError):
        return True
    return isinstance(error, RuntimeError) and _SAID.search(str(error)) is not None


class Halving:
    """How many images go through a network at once: as many as come, until memory is too short for them.

    What failed is made again in halves, and the smaller size is remembered, so that not every batch fails first.

    Attributes:
        most: So many images fit as far as is known; None as long as every batch did.
        whole: Whether what comes out for an image depends on those beside it, so that no batch may be made in parts.
    """

    most: int | None
    whole: bool

    def __init__(self, what: str, *, whole: bool = False) -> None:
        """Begin without a limit.

        Args:
            what: Whose memory it is about, for messages: "the source network".
            whole: Whether no batch may be made in parts.
        """
        self._what = what
        self.most, self.whole = None, whole

    def run(self, count: int, step: Callable[[slice], T]) -> list[T]:
        """Do something with all images of a batch, in as few parts as fit into memory.

        What a part in vain left behind must be no harm to the next one with the same images.

        Args:
            count: Images of the batch, at least 1.
            step: Does it with some of them that follow each other.

        Returns:
            What `step` gave for each part, in the order of the images.

        Raises:
            DataError: If not even one image fits, or a batch does not that has to stay whole.
        """
        found: list[T] = []
        start, tried = 0, 0
        while start < count:
            part = slice(start, min(start + (self.most or count), count))
            size = part.stop - part.start
            done = _unless_out_of_memory(step, part)
            if done is None:
                tried = max(tried, size)
                self._halve(size)
                continue
            if tried:
                log.warning("%s: out of memory with %d images at once: going on with %d", self._what, tried, size)
                tried = 0
            found.append(done[0])
            start = part.stop
        return found

    def _halve(self, size: int) -> None:
        if size == 1:
            raise DataError(f"{self._what}: out of memory with a single image: {_ADVICE}")
        if self.whole:
            raise DataError(
                f"{self._what}: out of memory with {size} images, which cannot go through in parts: it has batch norms "
                "without running statistics (track_running_stats=False), so that what it gives for an image depends on "
                "those beside it; give a smaller --batch-size, with which its numbers are others, or another --device"
            )
        self.most = (size + 1) // 2
        free()


def statistics_of_batches(network: nn.Module) -> tuple[str, ...]:
    """Find batch norms that take the statistics of the batch in eval mode too, having none of their own.

    Returns:
        Module paths; empty where what the network gives for an image does not depend on those beside it.
    """
    return tuple(
        path
        for path, module in network.named_modules()
        if isinstance(module, _BatchNorm) and module.running_mean is None and module.running_var is None
    )


def _unless_out_of_memory(step: Callable[[slice], T], part: slice) -> tuple[T] | None:
    """Make a step; None if it ran out of memory. With its exception goes what the frames of its traceback hold."""
    try:
        return (step(part),)
    except (RuntimeError, MemoryError) as error:
        if not is_out_of_memory(error):
            raise
    return None


def joined(parts: Sequence[Tensor]) -> Tensor:
    """Put the rows of parts of a batch together; a whole batch stays as it came."""
    return parts[0] if len(parts) == 1 else torch.cat(list(parts))


def free() -> None:
    """Let go of what nothing holds any more, and of the blocks that torch keeps for later."""
    gc.collect()
    if torch.cuda.is_initialized():  # type: ignore[no-untyped-call]
        torch.cuda.empty_cache()
    if torch.backends.mps.is_available():
        torch.mps.empty_cache()


@contextlib.contextmanager
def enough_memory(what: str, advice: str = _ADVICE) -> Iterator[None]:
    """Say of what cannot be halved that memory is too short for it.

    Args:
        what: What is done within, for messages: "a training step with 32 images".
        advice: What to do.

    Raises:
        DataError: If what is done within runs out of memory.
    """
    try:
        yield
    except (RuntimeError, MemoryError) as error:
        if not is_out_of_memory(error):
            raise
        said = (str(error).strip() or type(error).__name__).splitlines()[0][:200]
        raise DataError(f"{what}: out of memory ({said}): {advice}") from None
