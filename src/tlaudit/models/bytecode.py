"""What a function does, as its code lies in memory."""

from __future__ import annotations

import dis
import importlib.util
from types import CodeType
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterator

_IMPORT = dis.opmap["IMPORT_NAME"]


def said(code: CodeType) -> Iterator[bytes]:
    """Say what a function does, whatever it is called and wherever it was written."""
    yield f"code:{code.co_name}{code.co_flags}".encode()
    yield f"{code.co_argcount},{code.co_posonlyargcount},{code.co_kwonlyargcount};".encode()
    yield repr((code.co_names, code.co_varnames, code.co_freevars, code.co_cellvars)).encode()
    yield from (code.co_code, code.co_exceptiontable, str(len(code.co_consts)).encode())
    for constant in code.co_consts:
        yield from _constant(constant)


def _constant(constant: Any) -> Iterator[bytes]:
    if isinstance(constant, CodeType):
        yield from said(constant)
    elif isinstance(constant, tuple):
        yield f"({len(constant)}".encode()
        for one in constant:
            yield from _constant(one)
    elif isinstance(constant, frozenset):
        # Its order is another one in each process.
        yield repr(sorted(map(repr, constant))).encode()
    else:
        yield f"{type(constant).__name__}:{constant!r};".encode(errors="surrogatepass")


def names_in(code: CodeType) -> set[str]:
    """Global names and names of attributes in a function and those within it."""
    within = (one for one in code.co_consts if isinstance(one, CodeType))
    return set(code.co_names).union(*map(names_in, within))


def imported_by(code: CodeType, package: str) -> Iterator[str]:
    """Names of modules that a function imports when it runs."""
    if _IMPORT in code.co_code[::2]:
        steps = list(dis.get_instructions(code))
        for level, _, step in zip(steps, steps[1:], steps[2:], strict=False):
            if step.opcode == _IMPORT:
                yield importlib.util.resolve_name("." * (level.argval or 0) + step.argval, package)
    for one in code.co_consts:
        if isinstance(one, CodeType):
            yield from imported_by(one, package)
