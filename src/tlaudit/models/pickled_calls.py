"""What a pickle may call, and with what: the calls that saved weights make, and no others."""

from __future__ import annotations

import enum
import re
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

HUNGRY = ("builtins.bytearray", "_codecs.encode")
"""What makes much memory of little; needed for bytes, and called at once there."""
_NEVER = re.compile(r"torch\._utils\._rebuild_device_tensor_from_\w+|torch\.(?:\w+\.)*\w*Storage")
_TENSORS = re.compile(r"torch\.(?:\w+\.)*\w*Tensor")


class Kind(enum.Enum):
    """What an object of a pickle is, as far as it matters; ``LATIN`` is the name of that codec."""

    PLAIN = enum.auto()
    TEXT = enum.auto()
    LATIN = enum.auto()
    BYTES = enum.auto()
    LIST = enum.auto()
    DICT = enum.auto()
    TUPLE = enum.auto()
    GLOBAL = enum.auto()
    MADE = enum.auto()
    LAYOUT = enum.auto()
    TENSOR = enum.auto()


class Thing:
    """What stands for an object of the pickle."""

    __slots__ = ("depth", "items", "kind", "name", "weight")

    def __init__(self, kind: Kind, *, weight: int = 1, name: str = "", items: Sequence[Thing] = (), depth: int = 0):
        self.kind, self.weight, self.name, self.items, self.depth = kind, weight, name, items, depth


PLAIN, TEXT, LATIN = Thing(Kind.PLAIN), Thing(Kind.TEXT), Thing(Kind.LATIN)
_TEXTS = (Kind.TEXT, Kind.LATIN)
_SIMPLE = (Kind.PLAIN, *_TEXTS)


def cost(thing: Thing) -> int:
    """Count what a call may copy of an argument."""
    # Lists and dicts may have grown since they were put into a tuple.
    return thing.weight + len(thing.items) + sum(one.weight for one in thing.items if one.kind is Kind.DICT)


def made_by(name: str) -> Kind:
    """Say what a call makes."""
    if name in HUNGRY:
        return Kind.BYTES
    if name == "torch.serialization._get_layout":
        return Kind.LAYOUT
    return Kind.TENSOR if name.startswith("torch.") else Kind.MADE


def is_ordinary(name: str, given: Sequence[Thing]) -> bool:
    """Whether a call is one that saved weights make, with arguments that cannot cost more than they are long."""
    kinds = tuple(item.kind for item in given)
    if _NEVER.fullmatch(name) or (_TENSORS.fullmatch(name) and kinds):
        return False
    match name:
        case "_codecs.encode":
            return len(kinds) == 2 and kinds[0] in _TEXTS and kinds[1] is Kind.LATIN
        case "builtins.bytearray":
            return kinds in ((), (Kind.BYTES,)) or (len(kinds) == 2 and kinds[0] in _TEXTS and kinds[1] is Kind.LATIN)
        case "builtins.set":
            return kinds in ((), (Kind.LIST,))
        case "collections.Counter":
            return kinds in ((), (Kind.DICT,))
        case "collections.OrderedDict":
            # Python 2 wrote its entries as a list of pairs.
            return kinds == () or (kinds == (Kind.LIST,) and all(map(_is_named_pair, given[0].items)))
        case "torch.Size":
            return kinds in ((Kind.TUPLE,), (Kind.LIST,)) and all(one.kind is Kind.PLAIN for one in given[0].items)
        case "builtins.complex" | "torch.device" | "torch.serialization._get_layout":
            return all(kind in _SIMPLE for kind in kinds)
        case _:
            return _is_ordinary_rebuilding(name.rpartition(".")[2], given)


def _is_ordinary_rebuilding(name: str, given: Sequence[Thing]) -> bool:
    """Whether arguments that torch calls, or writes into messages, are what they are in weights."""
    match name:
        case "_rebuild_from_type_v2":
            function, arguments = (given[0], given[2]) if len(given) == 4 else (PLAIN, PLAIN)
            return (
                function.name.startswith("torch._utils._rebuild_")
                and not _NEVER.fullmatch(function.name)
                and not function.name.endswith("_with_state")
                and arguments.kind is Kind.TUPLE
                and _is_ordinary_rebuilding(function.name.rpartition(".")[2], arguments.items)
                and _is_state(given[3])
            )
        case "_rebuild_parameter_with_state":
            return len(given) == 4 and _is_state(given[3])
        case "_rebuild_sparse_tensor":
            return len(given) == 2 and given[0].kind is Kind.LAYOUT
        case "_rebuild_qtensor":
            quantizer = given[4].items if len(given) > 4 else ()
            return bool(quantizer) and quantizer[0].kind is Kind.GLOBAL
        case _:
            return True


def _is_named_pair(thing: Thing) -> bool:
    return len(thing.items) == 2 and thing.items[0].kind in _SIMPLE


def _is_state(thing: Thing) -> bool:
    return thing.kind in (Kind.DICT, Kind.PLAIN) or (thing.kind is Kind.TUPLE and len(thing.items) == 2)
