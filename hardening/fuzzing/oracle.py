"""What has to hold of whatever is accepted, and what must never happen while it is read."""

from __future__ import annotations

import contextlib
import math
import sys
import time
from typing import TYPE_CHECKING, Any

from pydantic import BaseModel

if TYPE_CHECKING:
    from collections.abc import Iterator

SECONDS = 10.0
"""Of this process's own time that one input may take; the kernel's share of a busy machine does not count."""

_DEEDS = ("os.system", "os.exec", "os.posix_spawn", "os.spawn", "os.fork", "subprocess.Popen", "socket.connect")
_CHANGES = ("os.mkdir", "os.remove", "os.rename", "os.rmdir", "os.chmod", "os.link", "os.symlink", "shutil.rmtree")
_WRITING = 0o1 | 0o2 | 0o100 | 0o1000


class BrokenPromiseError(Exception):
    """An input was accepted that must not be, or made the program do what no input may."""


class Watch:
    """Notices what a program does to the world, through the interpreter's own audit events."""

    def __init__(self) -> None:
        self.deeds: list[str] = []
        self._looking = False
        sys.addaudithook(self._noticed)

    def _noticed(self, event: str, arguments: tuple[Any, ...]) -> None:
        if not self._looking:
            return
        if event in _DEEDS or event in _CHANGES:
            self.deeds.append(f"{event} {arguments[:1]!r}")
        elif event == "open" and isinstance(arguments[2], int) and arguments[2] & _WRITING:
            self.deeds.append(f"open for writing {arguments[0]!r}")

    @contextlib.contextmanager
    def looking(self) -> Iterator[None]:
        """Notice what is done in here, and how long it takes.

        Raises:
            BrokenPromiseError: If something was executed, written or removed, or it took too long.
        """
        self.deeds.clear()
        begun = time.process_time()
        self._looking = True
        try:
            yield
        finally:
            self._looking = False
        if self.deeds:
            raise BrokenPromiseError(f"reading it did: {'; '.join(self.deeds[:5])}")
        took = time.process_time() - begun
        if took > SECONDS:
            raise BrokenPromiseError(f"it took {took:.1f} s, more than {SECONDS:.0f} s")


def demand(holds: bool, what: str) -> None:
    """Refuse what was accepted wrongly.

    Raises:
        BrokenPromiseError: If it does not hold.
    """
    if not holds:
        raise BrokenPromiseError(what)


def demand_finite(value: Any, place: str = "") -> None:
    """Demand that there is no NaN and no infinity anywhere in plain values or records."""
    if isinstance(value, BaseModel):
        value = {name: getattr(value, name) for name in type(value).model_fields}
    if isinstance(value, dict):
        for key, one in value.items():
            demand_finite(one, f"{place}.{key}")
    elif isinstance(value, list | tuple):
        for number, one in enumerate(value):
            demand_finite(one, f"{place}[{number}]")
    elif isinstance(value, float):
        demand(math.isfinite(value), f"accepted with {value} at {place.removeprefix('.')}")
    elif isinstance(value, str):
        demand(_is_text(value), f"accepted with a text that no file can hold at {place.removeprefix('.')}")


def _is_text(value: str) -> bool:
    try:
        value.encode()
    except UnicodeEncodeError:
        return False
    return True


def demand_in_range(options: BaseModel, place: str = "") -> None:
    """Demand the documented bounds of every number in options, read from the fields and looked at one by one."""
    for name, field in type(options).model_fields.items():
        value, where = getattr(options, name), f"{place}.{name}"
        if isinstance(value, BaseModel):
            demand_in_range(value, where)
        elif isinstance(value, tuple) and value and isinstance(value[0], BaseModel):
            for number, one in enumerate(value):
                demand_in_range(one, f"{where}[{number}]")
        elif isinstance(value, int | float) and not isinstance(value, bool):
            for bound in field.metadata:
                _demand_bound(value, bound, where)


def _demand_bound(value: float, bound: object, where: str) -> None:
    for name, holds in _BOUNDS.items():
        limit = getattr(bound, name, None)
        if isinstance(limit, int | float):
            demand(holds(value, limit), f"accepted with {where} = {value}, documented as {name} {limit}")


_BOUNDS = {
    "ge": lambda value, limit: value >= limit,
    "gt": lambda value, limit: value > limit,
    "le": lambda value, limit: value <= limit,
    "lt": lambda value, limit: value < limit,
}
