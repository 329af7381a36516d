"""Work that may fail without taking other work with it: the boundary between the checks of an audit."""

from __future__ import annotations

import logging
from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeVar

from tlaudit.errors import TlauditError
from tlaudit.files import crash_line, keep_traceback

if TYPE_CHECKING:
    from collections.abc import Callable

log = logging.getLogger(__name__)

T = TypeVar("T")


@dataclass(frozen=True)
class Failure:
    """Why something could not be done.

    Attributes:
        reason: One line.
        crash: The error, where it is none that is foreseen.
    """

    reason: str
    crash: BaseException | None = None

    def report(self, what: str) -> None:
        """Say on stderr what failed; the traceback of a crash goes to a file, whose name stays out of the results."""
        details = "" if self.crash is None else f" (details: {keep_traceback(self.crash)})"
        log.warning("%s could not be made: %s%s", what, self.reason, details)


def attempt(work: Callable[[], T]) -> T | Failure:
    """Do some work, and turn whatever it raises into a `Failure`; an interruption ends the audit as it should."""
    try:
        return work()
    except TlauditError as error:
        return Failure(" ".join(str(error).split()))
    except Exception as error:  # noqa: BLE001 - the frame of one check: its crash leaves the others their answers
        return Failure(crash_line(error), error)
