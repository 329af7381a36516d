"""Several processes that share one run: who they are, what they tell each other, how they end.

``torchrun`` starts them and, when one of them fails, ends the others. Nothing here is needed by a single process, for
which everything is done by `ALONE`.

Whatever is shared out is brought together again in every process, to the last bit the same in each, so that all of
them go on in the same way; only what is written, shown or said is left to the one that leads. A process that cannot go
on tells the others why at the next thing they do together, or leaves, which ends them.
"""

from __future__ import annotations

import contextlib
import os
from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeVar

import torch
from torch import distributed

from tlaudit.errors import DataError, DivergedError, TlauditError
from tlaudit.failures import EndedError, Failure, ending, is_the_end, is_told, told
from tlaudit.meeting import device_of, ended_in_words, here_in, meet, others_alive, place_in

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence

    from torch import Tensor, nn

T = TypeVar("T")

_AT_ONCE = 1 << 24
"""Most numbers that are sent in one message; a larger tensor is one of its own."""


@dataclass(frozen=True)
class Group:
    """The processes of one run. What it does, all of them have to do, in the same order.

    Attributes:
        rank: Which of them this is, from 0.
        size: How many there are; for one alone every method does nothing.
        here: How many of them share this machine.
    """

    rank: int
    size: int
    here: int = 1

    @property
    def leads(self) -> bool:
        """Whether this is the one that writes, judges and reports."""
        return self.rank == 0

    def sum_(self, tensors: Sequence[Tensor]) -> None:
        """Put into each tensor the sum of what all processes have there: bit for bit the same in each of them.

        Args:
            tensors: Of the same shapes, types and kinds of device in all processes; changed in place.

        Raises:
            EndedError: If another process has ended.
        """
        self._sent(tensors, distributed.all_reduce)

    def spread_(self, tensors: Sequence[Tensor]) -> None:
        """Put into each tensor what rank zero has there; arguments and errors as of `gathered` and `sum_`."""
        # One that has failed on its way here could not tell the others by tensors.
        self.wait()
        self._sent(tensors, lambda message: distributed.broadcast(message, src=0))

    def share_weights(self, network: nn.Module) -> None:
        """Take the weights of the first process: sums may end in other digits on another machine."""
        self.spread_([tensor.detach() for tensor in (*network.parameters(), *network.buffers())])

    def part(self, total: int) -> slice:
        """Say which of `total` rows are this process's.

        Returns:
            Rows that follow each other; the parts of all processes, in their order, make up the whole and differ in
            size by one at most. All rows where there are fewer of them than processes.

        Example:
            >>> [Group(rank, 3).part(8) for rank in range(3)]
            [slice(0, 3, None), slice(3, 6, None), slice(6, 8, None)]
            >>> Group(1, 3).part(2)
            slice(0, 2, None)
        """
        if total < self.size:
            return slice(0, total)
        each, over = divmod(total, self.size)
        start = self.rank * each + min(self.rank, over)
        return slice(start, start + each + (self.rank < over))

    def dealt(self, things: Sequence[T]) -> Sequence[T]:
        """Give those of a run of things that are this process's: each is one process's, no more than one of a round.

        Example:
            >>> [Group(rank, 3).dealt("abcdefgh") for rank in range(3)]
            ['adg', 'beh', 'cf']
        """
        return things[self.rank :: self.size]

    def gathered(self, value: T) -> list[T]:
        """Give every process what each of them has, in the order of ranks.

        Args:
            value: Anything that can be pickled.

        Raises:
            EndedError: If another process has ended.
            TlauditError: If another process cannot go on, in all processes for the same reason.
            ElsewhereError: The same, if it crashed.
        """
        if self.size == 1:
            return [value]
        found: list[T | None] = [None] * self.size
        with others_alive():
            distributed.all_gather_object(found, value)
        failure = next((one for one in found if isinstance(one, Failure)), None)
        if failure is not None:
            raise told(failure.error())
        return found  # type: ignore[return-value]  # every place is filled

    def rows(self, batches: Sequence[Tensor]) -> Tensor:
        """Give every process the rows of all of them, those of rank zero first.

        Args:
            batches: ``(N, ...)`` each, on the CPU, alike but for N; how many there are may differ from process to
                process, and be 0 but in one.

        Raises:
            EndedError: If another process has ended.
        """
        own = [torch.cat(list(batches))] if batches else []
        return torch.cat([rows for everyone in self.gathered(own) for rows in everyone])

    @contextlib.contextmanager
    def agreed(self) -> Iterator[None]:
        """Within, what fails in one process fails in all, for the same reason.

        So that no process waits for one that has gone another way, and what goes on after a failure goes on together.
        May stand within another one. What is shared out by sums alone is to be `in_step`.

        Raises:
            TlauditError: What the first of those that failed says, in all processes.
            ElsewhereError: If what it failed of is none of this package's errors, in the others.
        """
        if self.size == 1:
            yield
            return
        own: Exception | None = None
        try:
            yield
        except SystemExit as stop:
            own = DataError(_ended_by(stop))
        except Exception as error:
            if is_told(error) or is_the_end(error):
                raise
            own = error
        found: list[Failure | None] = [None] * self.size
        with others_alive():
            distributed.all_gather_object(found, None if own is None else Failure.of(own, self.rank, self.size))
        failures = [one for one in found if isinstance(one, Failure)]
        if not failures:
            return
        if own is not None and failures[0].rank == self.rank:
            raise told(own)
        raise told(failures[0].error()) from own

    @contextlib.contextmanager
    def in_step(self) -> Iterator[None]:
        """Within, processes wait for each other's sums, by which nothing can be told.

        So a process that fails ends, and with it the others; but for a training that diverges, which all see in the
        same sum. What a network fails of they may all see, or one alone: that is no difference here.

        Raises:
            EndedError: In place of any other error of this package, and where code of the model's own ends the program.
        """
        try:
            yield
        except (DivergedError, EndedError):
            raise
        except SystemExit as stop:
            if self.size == 1:
                raise
            raise EndedError(_ended_by(stop)) from stop
        except Exception as error:
            if self.size == 1 or is_told(error):
                raise
            if isinstance(error, TlauditError):
                raise EndedError(str(error)) from error
            ending(error)
            raise

    def told(self, value: T) -> T:
        """Give every process what rank zero has.

        Args:
            value: Anything that can be pickled; that of the other processes is ignored.

        Raises:
            EndedError: If another process has ended.
        """
        return value if self.size == 1 else self.gathered(value if self.leads else None)[0]  # type: ignore[return-value]

    def refuse_different(self, found: Mapping[str, object], what: str) -> None:
        """Stop where processes do not see the same.

        Args:
            found: What this process sees, by name.
            what: Of what, for the message.

        Raises:
            DataError: In all processes, with the name of the first thing that differs and who sees what.
        """
        everyone = self.gathered(dict(found))
        for name in everyone[0]:
            seen = [one.get(name) for one in everyone]
            other = next((rank for rank, value in enumerate(seen) if value != seen[0]), None)
            if other is not None:
                raise DataError(
                    f"{what}: the processes do not see the same {name}: process 0 of {self.size} has {seen[0]}, "
                    f"process {other} has {seen[other]}; give all machines the same files at the same paths"
                )

    def wait(self) -> None:
        """Go on when all processes have come here.

        Raises:
            EndedError: If another process has ended.
        """
        self.gathered(None)

    def _sent(self, tensors: Sequence[Tensor], send: Callable[[Tensor], object]) -> None:
        """Send tensors in few messages, and put back what comes."""
        if self.size == 1:
            return
        with torch.no_grad():
            for together in _messages(tensors):
                message = torch.cat([tensor.detach().reshape(-1) for tensor in together])
                with others_alive():
                    send(message)
                pieces = torch.split(message, [tensor.numel() for tensor in together])
                for tensor, piece in zip(together, pieces, strict=True):
                    tensor.copy_(piece.view(tensor.shape))


ALONE = Group(0, 1)


@contextlib.contextmanager
def joined(device_name: str) -> Iterator[tuple[Group, str]]:
    """Join the other processes that torchrun has started, if it has, and leave them at the end.

    Messages between CPUs go by gloo, between CUDA devices by NCCL.

    Args:
        device_name: As of ``--device``: ``auto``, ``cpu``, ``cuda``. With several processes each takes the CUDA device
            of its local rank.

    Yields:
        The group, and the device of this process; `ALONE` and `device_name` without torchrun.

    Raises:
        UsageError: If the environment is none of torchrun's, or a device cannot be shared out among processes.
        EndedError: If another process has ended before it joined.
    """
    rank, size, local = place_in(os.environ)
    if size == 1:
        yield ALONE, device_name
        return
    device = device_of(device_name, local)
    if device.type == "cuda":
        torch.cuda.set_device(device)
    with ended_in_words():
        meet("cpu:gloo,cuda:nccl" if device.type == "cuda" else "gloo", size)
        try:
            yield Group(rank, size, here_in(os.environ, size)), str(device)
        except BaseException:
            if device.type == "cuda" and distributed.group.WORLD is not None:
                # NCCL would first finish what the others may never take part in.
                distributed.group.WORLD.abort()
            raise
        finally:
            # Whoever still waits for this process is told by the connection that closes, or ended by torchrun.
            distributed.destroy_process_group()


def _messages(tensors: Iterable[Tensor]) -> Iterator[list[Tensor]]:
    """Tensors of one type on one device, as many as go into one message."""
    alike: dict[tuple[torch.dtype, torch.device], list[Tensor]] = {}
    for tensor in tensors:
        alike.setdefault((tensor.dtype, tensor.device), []).append(tensor)
    for group in alike.values():
        message: list[Tensor] = []
        for tensor in group:
            if message and sum(other.numel() for other in message) + tensor.numel() > _AT_ONCE:
                yield message
                message = []
            message.append(tensor)
        yield message


def _ended_by(stop: SystemExit) -> str:
    return f"code of the model's own ended the program (exit code {stop.code})"
