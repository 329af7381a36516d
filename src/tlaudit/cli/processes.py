"""A command in several processes, as torchrun starts them: who shares its work, and which of them speaks."""

from __future__ import annotations

import contextlib
import os
from typing import TYPE_CHECKING, NamedTuple

from tlaudit.cli.output import ProgressBar
from tlaudit.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tlaudit.cli.options import Output
    from tlaudit.distributed import Group
    from tlaudit.options import Settings

SHARED = ("lingering", "distraction", "erosion", "stress", "audit", "repair")
"""Commands whose work several processes share."""


class Together(NamedTuple):
    """What each process of a command works with.

    Attributes:
        settings: With the device of this process.
        group: All of them.
        progress: Shown by the one that leads.
    """

    settings: Settings
    group: Group
    progress: ProgressBar


@contextlib.contextmanager
def together(settings: Settings, output: Output) -> Iterator[Together]:
    """Share a command with the processes that torchrun has started, if it has; what fails in one fails in all.

    Args:
        settings: The device among them.
        output: Whether progress is shown.

    Raises:
        UsageError: If the environment is none of torchrun's, or a device cannot be shared out.
        EndedError: If another process has ended.
    """
    from tlaudit.distributed import joined
    from tlaudit.models.runtime import keep_memory

    keep_memory()
    with joined(settings.execution.device) as (group, device), group.agreed():
        execution = settings.execution.model_copy(update={"device": device})
        yield Together(
            settings.model_copy(update={"execution": execution}),
            group,
            ProgressBar(quiet=output.quiet or not group.leads),
        )


def refuse_several(command: str) -> None:
    """Stop a command that several processes have been started for, each of which would do all of its work.

    Raises:
        UsageError: If so.
    """
    size = os.environ.get("WORLD_SIZE", "")
    if command not in SHARED and "RANK" in os.environ and size.isascii() and size.isdigit() and int(size) > 1:
        raise UsageError(
            f"tlaudit {command} is the work of one process, and {size} were started: start it without torchrun, or "
            f"unset RANK and WORLD_SIZE; several processes share {', '.join(SHARED)}"
        )
