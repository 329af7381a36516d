"""Work that may fail without taking other work with it: the boundary between the checks of an audit."""

from __future__ import annotations

import logging
from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeVar

from tlaudit.distributed import ALONE
from tlaudit.errors import ClassMatchError, TlauditError
from tlaudit.failures import ElsewhereError, is_the_end
from tlaudit.files import crash_details, crash_line

if TYPE_CHECKING:
    from collections.abc import Callable

    from tlaudit.distributed import Group

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
        """Say on stderr what failed; the traceback of a crash goes to a file, whose name stays out of the results.

        Of several processes that which crashed has it.
        """
        if self.crash is None or isinstance(self.crash, ElsewhereError):
            log.warning("%s could not be made: %s", what, self.reason)
        else:
            log.error("%s could not be made: %s%s", what, self.reason, crash_details(self.crash))


def attempt(work: Callable[[], T], group: Group = ALONE) -> T | Failure:
    """Do some work, and turn whatever it raises into a `Failure`.

    That a network's own code ends the program is a failure too. An interruption ends the audit as it should.

    Args:
        work: What is tried.
        group: Processes that try it together: what fails in one is a failure in all.

    Raises:
        ClassMatchError: That a folder fits no class is written wrongly, and no failure of what was tried.
        EndedError: If the processes cannot go on together.
        KeyboardInterrupt: If the user wants no more.
    """
    try:
        with group.agreed():
            return work()
    except ClassMatchError:
        raise
    except SystemExit as stop:
        return Failure(f"code of the model's own ended the program (exit code {stop.code})")
    except TlauditError as error:
        if is_the_end(error):
            raise
        return Failure(" ".join(str(error).split()))
    except ElsewhereError as error:
        return Failure(f"crashed {error}", error)
    except Exception as error:
        # The frame of one check: its crash leaves the others their answers.
        if is_the_end(error):
            raise
        return Failure(crash_line(error), error)
