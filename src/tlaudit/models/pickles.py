"""What a pickle asks torch to do, walked through before torch does it: no weights need much memory made of little.

Torch keeps pickles from running code. It does not keep them from taking any amount of memory or time, nor the process
with them: by tuples in tuples that are hashed, by calls that copy the same list again and again, by numbers that are
the size of a buffer.
"""

from __future__ import annotations

import io
import mmap
import pickle
import re
import struct
from _compat_pickle import IMPORT_MAPPING, NAME_MAPPING
from typing import IO, TYPE_CHECKING

import torch

from tlaudit.errors import CheckpointError
from tlaudit.models.pickled_calls import HUNGRY, LATIN, PLAIN, TEXT, Kind, Thing, cost, is_ordinary, made_by
from tlaudit.models.wording import shown

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

_DEEPEST = 100
"""Tuples in one another."""
_SPENT, _SPENT_PER_BYTE = 10**6, 4
"""Entries that tuples and calls may ask for, sharing unfolded; a pickle of weights asks for less than one a byte."""
_LEGACY_PICKLES = 5
"""Magic number, protocol, system, content and names of storages, in the format before the zip archive."""
_TEXT_PER_ENTRY = 16  # characters that cost as much as an entry

KNOWN = re.compile(
    r"torch\.\w+|torch\.(?:\w+\.)+\w*(?:Tensor|Storage)|torch\._utils\._rebuild_\w+|torch\._tensor\._rebuild_\w+|"
    r"torch\.nn\.parameter\.Parameter|torch\.serialization\._get_layout|collections\.(?:OrderedDict|Counter)|"
    r"builtins\.(?:bytearray|set|complex)|_codecs\.encode"
)
"""At least what torch lets a pickle name; at any other name torch itself ends."""
_SHARDED = re.compile(r"torch\.distributed\.(?:tensor|_tensor|_shard|device_mesh)\b")


_FOUR = struct.Struct("<I")


class _RefusedError(Exception):
    """A pickle that asks for too much; says for what."""


def refuse_costly(file: IO[bytes], place: str) -> None:
    """Walk through the pickles of a file as torch will read them, as far as torch will.

    Args:
        file: A zip archive or a legacy file of torch's.
        place: Where that is, for messages.

    Raises:
        CheckpointError: If reading it could take any amount of memory or time, or it holds sharded tensors.
        RuntimeError: If torch finds no pickle in the archive.
    """
    file.seek(0)
    is_archive = file.read(4) == b"PK\x03\x04"
    file.seek(0)
    try:
        if is_archive:
            # Torch's own reader, so that it is the same entry that torch will read.
            _walk(torch._C.PyTorchFileReader(file).get_record("data.pkl"), 1)  # noqa: SLF001 - the public one loads
        elif isinstance(file, io.BytesIO):
            _walk(file.getvalue(), _LEGACY_PICKLES)
        else:
            with mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as content:
                _walk(content, _LEGACY_PICKLES)
    except _RefusedError as error:
        raise CheckpointError(f"{place}: {error}") from None


def _walk(content: bytes | mmap.mmap, number: int) -> None:
    place = 0
    for _ in range(number):
        walk = _Walk(content, place)
        try:
            whole = walk.ends()
        except (IndexError, KeyError, UnicodeDecodeError, struct.error):
            return  # cut off or never whole: torch will say so at the same place
        if not whole:
            return
        place = walk.place


class _Walk:
    """One pickle, and what lies on its stack. The stack and the marks are kept as torch keeps them."""

    def __init__(self, content: bytes | mmap.mmap, place: int):
        self.content, self.place = content, place
        self.stack: list[Thing] = []
        self.marks: list[list[Thing]] = []
        self.memo: dict[int, Thing] = {}
        self.spent = 0

    def ends(self) -> bool:
        """Go to the end; not true where torch will stop before."""
        content = self.content
        while True:
            code = content[self.place]
            self.place += 1
            if code == pickle.STOP[0]:
                return True
            step = _STEPS.get(code)
            if step is None or step(self) is False:
                return False

    def number(self, size: int) -> int:
        """Read an unsigned number."""
        place, self.place = self.place, self.place + size
        if size == 1:
            return self.content[place]
        number: int = _FOUR.unpack_from(self.content, place)[0]
        return number

    def text(self, length: int) -> None:
        """Read a text."""
        text = self.content[self.place : self.place + length] if length < len(b"latin-1") + 1 else b""
        self.place += length
        if text in (b"latin1", b"latin-1"):
            self.stack.append(LATIN)
        elif length < _TEXT_PER_ENTRY:
            self.stack.append(TEXT)
        else:
            self.stack.append(Thing(Kind.TEXT, weight=1 + length // _TEXT_PER_ENTRY))

    def line(self) -> str:
        """Read up to the end of a line."""
        end = self.content.find(b"\n", self.place)
        if end < 0:
            raise IndexError
        data = self.content[self.place : end]
        self.place = end + 1
        return data.decode("utf-8")

    def spend(self, entries: int) -> None:
        """Count what is asked for."""
        self.spent += entries
        if self.spent > _SPENT + _SPENT_PER_BYTE * self.place:
            raise _refusal("it copies the same entries again and again")

    def since_mark(self) -> list[Thing]:
        """Take what lies above the last mark."""
        items, self.stack = self.stack, self.marks.pop()
        return items


def _refusal(what: str) -> _RefusedError:
    return _RefusedError(
        f"refused, because reading it could take any amount of memory or time: {what}. Re-save it where you trust it "
        "as torch.save(model.state_dict(), ...)"
    )


def _contained(items: Sequence[Thing]) -> None:
    """Refuse in a container what may only be called at once: from there others could call it."""
    for item in items:
        if item.kind is Kind.GLOBAL and item.name in HUNGRY:
            raise _refusal(f"{item.name} is handed on")


def _global(walk: _Walk) -> bool:
    module, name = walk.line(), walk.line()
    if (module, name) in NAME_MAPPING:
        module, name = NAME_MAPPING[(module, name)]
    full = f"{IMPORT_MAPPING.get(module, module)}.{name}"
    if _SHARDED.match(full):
        raise _RefusedError(
            f"holds sharded tensors ({shown(full)}); save the gathered state dict instead, as "
            "torch.distributed.checkpoint.state_dict.get_model_state_dict gives it with full_state_dict=True"
        )
    walk.stack.append(Thing(Kind.GLOBAL, name=full))
    return KNOWN.fullmatch(full) is not None


def _tuple(walk: _Walk, items: Sequence[Thing]) -> None:
    weight = depth = 1
    for item in items:
        weight += item.weight
        if item.depth >= depth:
            depth = item.depth + 1
        if item.kind is Kind.GLOBAL:
            _contained((item,))
    if depth > _DEEPEST:
        raise _refusal(f"tuples in more than {_DEEPEST} tuples")
    walk.spend(weight)
    walk.stack.append(Thing(Kind.TUPLE, weight=weight, items=items, depth=depth))


def _last(number: int) -> Callable[[_Walk], None]:
    def step(walk: _Walk) -> None:
        if len(walk.stack) < number:
            raise IndexError
        items = walk.stack[-number:]
        del walk.stack[-number:]
        _tuple(walk, items)

    return step


def _get(size: int) -> Callable[[_Walk], None]:
    def step(walk: _Walk) -> None:
        thing = walk.memo[walk.number(size)]
        if thing.kind is Kind.TUPLE:
            walk.spend(thing.weight)  # whoever fetches it may hash it
        walk.stack.append(thing)

    return step


def _put(size: int) -> Callable[[_Walk], None]:
    def step(walk: _Walk) -> None:
        walk.memo[walk.number(size)] = walk.stack[-1]

    return step


def _append(walk: _Walk, items: Sequence[Thing]) -> None:
    _contained(items)
    target = walk.stack[-1]
    if isinstance(target.items, list):
        target.items.extend(items)


def _set_items(walk: _Walk, items: Sequence[Thing]) -> None:
    _contained(items)
    target = walk.stack[-1]
    if target.kind is Kind.DICT:
        target.weight += len(items)


def _set_item(walk: _Walk) -> None:
    items = [walk.stack.pop(), walk.stack.pop()]
    _set_items(walk, items)


def _call(walk: _Walk) -> None:
    arguments, function = walk.stack.pop(), walk.stack.pop()
    if function.kind is not Kind.GLOBAL or arguments.kind is not Kind.TUPLE:
        raise _refusal("it calls what is no function, or with what are no arguments")
    given, name = arguments.items, function.name
    walk.spend(sum(map(cost, given)))
    if name == "builtins.set":
        walk.spend(sum(entry.weight for item in given for entry in item.items))
    if not is_ordinary(name, given):
        raise _refusal(f"it calls {shown(name)} as no weights need it")
    if name == "torch.Size":
        _tuple(walk, given[0].items)
    else:
        weight = 1 + sum(item.weight for item in given) if name in HUNGRY else 1
        walk.stack.append(Thing(made_by(name), weight=weight))


def _build(walk: _Walk) -> None:
    state, target = walk.stack.pop(), walk.stack[-1]
    walk.spend(state.weight)
    if state.kind is not Kind.DICT and (state.kind is not Kind.TUPLE or target.kind is not Kind.TENSOR):
        raise _refusal("it sets a state that is none")


def _persistent(walk: _Walk) -> None:
    walk.stack[-1] = Thing(Kind.MADE)


def _mark(walk: _Walk) -> None:
    walk.marks.append(walk.stack)
    walk.stack = []


def _skipping(size: int) -> Callable[[_Walk], None]:
    def step(walk: _Walk) -> None:
        walk.place += size
        walk.stack.append(PLAIN)

    return step


def _long(walk: _Walk) -> None:
    length = walk.number(1)
    walk.place += length
    walk.stack.append(PLAIN)


def _protocol(walk: _Walk) -> None:
    walk.place += 1


_STEPS: dict[int, Callable[[_Walk], bool | None]] = {
    code[0]: step
    for code, step in {
        pickle.GLOBAL: _global,
        pickle.REDUCE: _call,
        pickle.NEWOBJ: _call,
        pickle.BUILD: _build,
        pickle.APPEND: lambda walk: _append(walk, [walk.stack.pop()]),
        pickle.APPENDS: lambda walk: _append(walk, walk.since_mark()),
        pickle.SETITEM: _set_item,
        pickle.SETITEMS: lambda walk: _set_items(walk, walk.since_mark()),
        pickle.MARK: _mark,
        pickle.TUPLE: lambda walk: _tuple(walk, walk.since_mark()),
        pickle.TUPLE1: _last(1),
        pickle.TUPLE2: _last(2),
        pickle.TUPLE3: _last(3),
        pickle.EMPTY_TUPLE: lambda walk: _tuple(walk, []),
        pickle.NONE: _skipping(0),
        pickle.NEWFALSE: _skipping(0),
        pickle.NEWTRUE: _skipping(0),
        pickle.EMPTY_LIST: lambda walk: walk.stack.append(Thing(Kind.LIST, items=[])),
        pickle.EMPTY_DICT: lambda walk: walk.stack.append(Thing(Kind.DICT)),
        pickle.EMPTY_SET: lambda walk: walk.stack.append(Thing(Kind.MADE)),
        pickle.BINPERSID: _persistent,
        pickle.BININT: _skipping(4),
        pickle.BININT1: _skipping(1),
        pickle.BININT2: _skipping(2),
        pickle.BINFLOAT: _skipping(8),
        pickle.BINUNICODE: lambda walk: walk.text(walk.number(4)),
        pickle.SHORT_BINSTRING: lambda walk: walk.text(walk.number(1)),
        pickle.BINGET: _get(1),
        pickle.LONG_BINGET: _get(4),
        pickle.BINPUT: _put(1),
        pickle.LONG_BINPUT: _put(4),
        pickle.LONG1: _long,
        pickle.PROTO: _protocol,
    }.items()
}
"""What every instruction that torch knows does to the stack."""
