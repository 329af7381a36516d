"""What one of several processes fails of, as the others are told of it. Imports no torch."""

from __future__ import annotations

from typing import NamedTuple, TypeVar

from tlaudit import errors
from tlaudit.errors import DataError, TlauditError

E = TypeVar("E", bound=BaseException)

_MARK, _TOLD, _END = "_tlaudit_group", "told", "end"
"""What is noted in an error: that all processes have it, or that no other one can be told of it."""


class EndedError(DataError):
    """The processes of a run cannot go on together: one of them has ended, or has to."""


class ElsewhereError(RuntimeError):
    """What another process crashed of, which keeps the details."""


class Failure(NamedTuple):
    """What failed in one process, as another one can be told.

    Attributes:
        rank: Of the process.
        kind: Name of its error, if it is one of this package; else empty.
        message: What the error says.
    """

    rank: int
    kind: str
    message: str

    @classmethod
    def of(cls, error: BaseException, rank: int, size: int) -> Failure:
        """Put an error of one of `size` processes into words."""
        if isinstance(error, TlauditError):
            kind = next(one.__name__ for one in type(error).__mro__ if one.__module__ == errors.__name__)
            return cls(rank, kind, str(error))
        said = " ".join(str(error).split())
        return cls(rank, "", f"in process {rank} of {size}: {type(error).__name__}: {said}")

    def error(self) -> Exception:
        """Make an error of it again."""
        if not self.kind:
            return ElsewhereError(self.message)
        found: type[TlauditError] = getattr(errors, self.kind)
        return found(self.message)


def told(error: E) -> E:
    """Note in an error that all processes have it."""
    error.__dict__[_MARK] = _TOLD
    return error


def ending(error: E) -> E:
    """Note in an error that the processes cannot go on together."""
    error.__dict__[_MARK] = _END
    return error


def is_told(error: BaseException) -> bool:
    """Whether all processes have failed of this, for the same reason."""
    return error.__dict__.get(_MARK) == _TOLD


def is_the_end(error: BaseException) -> bool:
    """Whether the processes cannot go on together after this."""
    return isinstance(error, EndedError) or error.__dict__.get(_MARK) == _END
