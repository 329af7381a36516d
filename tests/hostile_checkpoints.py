"""Checkpoints of somebody who wants to break the tool, each with the exit code and the words it has to end with."""

from __future__ import annotations

import _codecs
import argparse
import builtins
import collections
import io
import json
import os
import pickle
import struct
import subprocess
import warnings
import zipfile
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import safetensors.torch
import torch
from torch import nn
from torch._utils import _rebuild_device_tensor_from_cpu_tensor, _rebuild_meta_tensor_no_storage

import several
import tiny

if TYPE_CHECKING:
    from collections.abc import Callable

CLASSES = 2
WRONG, NO_ANSWER, DONE = 2, 3, 0


class Case(NamedTuple):
    """A checkpoint and how `tlaudit inspect` of it ends.

    Attributes:
        name: Of the case.
        make: Makes it in a folder and gives its path.
        code: Exit code.
        patterns: What the line says, or the table where it is loaded.
    """

    name: str
    make: Callable[[Path], Path | str]
    code: int
    patterns: tuple[str, ...]


def state(seed: int = 2) -> dict[str, torch.Tensor]:
    """Weights of a network that fits `several.ARCH`."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return dict(tiny.stirred(several.Net(CLASSES)).state_dict())


def packed(content: object, *, legacy: bool = False, protocol: int = 2) -> bytes:
    """What torch saves."""
    file = io.BytesIO()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        torch.save(content, file, _use_new_zipfile_serialization=not legacy, pickle_protocol=protocol)
    return file.getvalue()


def rezipped(content: bytes, *, method: int = zipfile.ZIP_STORED, **entries: bytes | None) -> bytes:
    """The same archive with other entries, None for one that is left out."""
    result = io.BytesIO()
    with zipfile.ZipFile(io.BytesIO(content)) as old, zipfile.ZipFile(result, "w", method) as new:
        for name in old.namelist():
            changed = entries.get(name.partition("/")[2].replace(".", "_").replace("/", "_"), old.read(name))
            if changed is not None:
                new.writestr(name, changed)
    return result.getvalue()


# Pickles that run code. Each writes the file `ran` beside the checkpoint.


class Calls:
    """Calls a function when it is unpickled."""

    def __init__(self, function, *arguments):
        self.called = function, arguments

    def __reduce__(self):
        return self.called


class Sets:
    """Runs code when its state is set."""

    def __init__(self, mark):
        self.mark = str(mark)

    def __setstate__(self, state):
        Path(state["mark"]).touch()


class Layer(nn.Linear):
    """A layer whose class has to be imported, as that of any module that was saved as a whole."""

    def __init__(self, mark):
        super().__init__(6, CLASSES)
        self.mark = str(mark)

    def __setstate__(self, state):
        super().__setstate__(state)
        Path(state["mark"]).touch()


def by_system(mark):
    return Calls(os.system, f"touch '{mark}'")


def by_eval(mark):
    return Calls(builtins.eval, f"__import__('pathlib').Path({str(mark)!r}).touch()")


def by_exec(mark):
    return Calls(builtins.exec, f"open({str(mark)!r}, 'w').close()")


def by_open(mark):
    return Calls(open, str(mark), "w")


def by_process(mark):
    return Calls(subprocess.check_call, ["touch", str(mark)])


def by_getattr(mark):
    return Calls(getattr, Calls(open, str(mark), "w"), "name")


def by_load(mark):
    return Calls(pickle.loads, pickle.dumps(by_open(mark)))


ROADS = {
    "os.system": by_system,
    "eval": by_eval,
    "exec": by_exec,
    "open": by_open,
    "subprocess": by_process,
    "getattr": by_getattr,
    "pickle.loads": by_load,
    "setstate": Sets,
}
"""Objects that run code when they are unpickled, given the file that proves it."""

PLACES = {
    "at the top": lambda bomb: bomb,
    "beside good weights": lambda bomb: {"state_dict": state(), "trap": bomb},
    "as a weight": lambda bomb: {**state(), "fc.weight": bomb},
    "in a wrapper": lambda bomb: {"model": {"net": {"state_dict": {**state(), "more": [(bomb,)]}}}},
    "in the optimizer": lambda bomb: {"state_dict": state(), "optimizer": {"state": {0: {"exp_avg": bomb}}}},
    "in the arguments": lambda bomb: {"state_dict": state(), "args": argparse.Namespace(lr=bomb)},
    "as a key": lambda bomb: {"state_dict": state(), ("lr", _Key(bomb)): 1},
    "among the classes": lambda bomb: {"state_dict": state(), "classes": ["a", bomb]},
}
"""Where in a checkpoint an object may lie."""


class _Key:
    def __init__(self, bomb):
        self.bomb = bomb

    def __reduce__(self):
        return (_Key, (self.bomb,))


KEPT = {"zip": {}, "legacy": {"legacy": True}, "zip, protocol 4": {"protocol": 4}}
"""Ways to keep a pickle."""


def trap(folder: Path, road: str, place: str, kept: str) -> tuple[Path, Path]:
    """Write a pickle that runs code, and give it and the file that will be there if it ran."""
    mark, path = folder / "ran", folder / "trap.pth"
    path.write_bytes(packed(PLACES[place](ROADS[road](mark)), **KEPT[kept]))
    return path, mark


class _PersistentPickler(pickle.Pickler):
    def persistent_id(self, obj):
        return obj.called if isinstance(obj, Calls) else None


def by_persistent_id(folder: Path) -> tuple[Path, Path]:
    """A pickle that hides its call in a persistent id, which torch's reader takes for a storage."""
    mark, path, file = folder / "ran", folder / "trap.pth", io.BytesIO()
    _PersistentPickler(file, 2).dump({"state_dict": by_open(mark)})
    path.write_bytes(rezipped(packed(state()), data_pkl=file.getvalue()))
    return path, mark


# Files that are damaged.


def damaged(whole: bytes, number: int) -> list[bytes]:
    """Cut at so many places, and flip as many bits, in places drawn from a fixed seed."""
    generator = torch.Generator().manual_seed(0)
    cuts = torch.randint(len(whole), (number,), generator=generator).tolist()
    places = torch.randint(len(whole) * 8, (number,), generator=generator).tolist()
    flipped = []
    for place in places:
        content = bytearray(whole)
        content[place // 8] ^= 1 << place % 8
        flipped.append(bytes(content))
    return [whole[:cut] for cut in cuts] + flipped


# Safetensors with headers that lie.

ONE = {"dtype": "F32", "shape": [2], "data_offsets": [0, 8]}


def tensors(header: object, data: bytes = bytes(8), length: int | None = None) -> bytes:
    """A safetensors file with any header, and any length before it."""
    text = header if isinstance(header, bytes) else json.dumps(header).encode()
    return struct.pack("<Q", len(text) if length is None else length) + text + data


def _entry(**changed: object) -> bytes:
    return tensors({"a": {**ONE, **changed}})


_TEXT = json.dumps(ONE).encode()
HEADERS: dict[str, tuple[bytes, str]] = {
    "length 0": (tensors({"a": ONE}, length=0), "damaged or cut off"),
    "length beyond the file": (tensors({"a": ONE}, length=10_000), "damaged or cut off"),
    "length within the header": (tensors({"a": ONE}, length=20), "damaged or cut off"),
    "length of the largest header": (tensors({"a": ONE}, length=100_000_000), "damaged or cut off"),
    "length 2**31": (tensors({"a": ONE}, length=2**31), "header has 2147483648 bytes"),
    "length 2**63": (tensors({"a": ONE}, length=2**63), "header has 9223372036854775808 bytes"),
    "length 2**64 - 1": (tensors({"a": ONE}, length=2**64 - 1), "header has 18446744073709551615 bytes"),
    "offsets overlap": (tensors({"a": ONE, "b": ONE}), "invalid offset"),
    "offsets out of order": (_entry(data_offsets=[8, 0]), "invalid offset"),
    "offsets beyond the file": (_entry(shape=[4], data_offsets=[0, 16]), "not fully covered"),
    "offsets beyond any file": (_entry(data_offsets=[0, 2**63]), "damaged or cut off"),
    "offsets negative": (_entry(data_offsets=[-8, 0]), "invalid value"),
    "offsets leave a hole": (_entry(shape=[1], data_offsets=[4, 8]), "invalid offset"),
    "data too long": (tensors({"a": ONE}, bytes(9)), "not fully covered"),
    "data too short": (tensors({"a": ONE}, bytes(7)), "not fully covered"),
    "dtype unknown": (_entry(dtype="F128"), "unknown variant"),
    "dtype no text": (_entry(dtype=7), "damaged or cut off"),
    "shape is not the bytes": (_entry(shape=[3]), "damaged or cut off"),
    "shape negative": (_entry(shape=[-2]), "invalid value"),
    "shape no integer": (_entry(shape=[2.5]), "damaged or cut off"),
    "shape overflows": (_entry(shape=[2**62, 2**62]), "overflow"),
    "shape of nothing overflows": (
        tensors({"a": {"dtype": "F32", "shape": [0, 2**63], "data_offsets": [0, 0]}}, b""),
        "damaged or cut off",
    ),
    "shape missing": (tensors({"a": {"dtype": "F32", "data_offsets": [0, 8]}}), "missing field"),
    "nothing but a list": (tensors(b"[1, 2]"), "not a checkpoint"),
    "not JSON": (tensors(b"{a: 1}"), "damaged or cut off"),
    "not UTF-8": (tensors(b'{"\xff\xfe": ' + _TEXT + b"}"), "UTF-8"),
    "half a surrogate": (tensors(b'{"\\ud800": ' + _TEXT + b"}"), "damaged or cut off"),
    "nested too deeply": (tensors(b'{"a": ' + b"[" * 100_000), "recursion limit"),
    "metadata of numbers": (tensors({"__metadata__": {"a": 1}, "a": ONE}), "expected a string"),
    "metadata a list": (tensors({"__metadata__": [], "a": ONE}), "expected a map"),
    "metadata without an end": (
        tensors({"__metadata__": {"tlaudit.classes": "[" * 100_000}, "a": ONE}),
        "tlaudit.classes holds lists in lists without end",
    ),
    "no tensors": (tensors({}, b""), "no weights in it"),
    "numbers torch cannot read": (
        tensors({"a": {"dtype": "F4", "shape": [16], "data_offsets": [0, 8]}}),
        "a is of float4",
    ),
    "complex numbers": (_entry(dtype="C64", shape=[1]), "a is complex"),
}
"""Headers by what is wrong with them: the file and what is said of it."""


def _headers() -> list[Case]:
    def maker(content: bytes) -> Callable[[Path], Path]:
        return lambda folder: written(folder / "net.safetensors", content)

    return [Case(f"safetensors: {name}", maker(file), NO_ANSWER, (said,)) for name, (file, said) in HEADERS.items()]


def written(path: Path, content: bytes) -> Path:
    path.write_bytes(content)
    return path


# Archives that unpack to more than they are.


def compressed(folder: Path) -> Path:
    """A storage of zeros that unpacks to a thousand times its size."""
    return written(folder / "net.pth", rezipped(packed({"w": torch.zeros(1 << 20)}), method=zipfile.ZIP_DEFLATED))


def damaged_within(content: bytes) -> bytes:
    """Other bytes where the first entry begins."""
    place = content.index(b"data.pkl") + len("data.pkl") + 4
    return content[:place] + b"\xff" * 12 + content[place + 12 :]


def compressed_pickle(folder: Path, size: int = 1 << 24) -> Path:
    """A pickle of one long text."""
    bomb = pickle.dumps({"a": "a" * size}, 2)
    return written(folder / "net.pth", rezipped(packed(state()), method=zipfile.ZIP_DEFLATED, data_pkl=bomb))


def overlapping(folder: Path) -> Path:
    """A thousand entries, all of the same bytes."""
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w") as archive:
        archive.writestr("archive/data.pkl", pickle.dumps({"a": b"a" * 10_000}, 2))
        first = archive.infolist()[0]
        for number in range(1000):
            twin = zipfile.ZipInfo(f"archive/data/{number}")
            for attribute in ("header_offset", "file_size", "compress_size", "CRC", "compress_type"):
                setattr(twin, attribute, getattr(first, attribute))
            archive.filelist.append(twin)
            archive.NameToInfo[twin.filename] = twin
        archive._didModify = True
    return written(folder / "net.pth", file.getvalue())


def crowded(folder: Path, names: str = "archive/more/{}", number: int = 3000) -> Path:
    """An archive of more entries than any pickle asks for."""
    file = io.BytesIO(packed(state()))
    with zipfile.ZipFile(file, "a") as archive:
        for one in range(number):
            archive.writestr(names.format(one), b"x")
    return written(folder / "net.pth", file.getvalue())


def claims(folder: Path, size: int) -> Path:
    """A pickle of a few bytes that asks for a bytearray of any size."""
    return saved(folder, {**state(), "x": Calls(bytearray, size)})


# State dicts that are none.


def saved(folder: Path, content: object, name: str = "net.pth", **kept: object) -> Path:
    return written(folder / name, packed(content, **kept))


class _Ordered:
    """An ordered dict as a pickle may make one: its own methods hidden by what was set on it."""

    def __reduce__(self):
        hidden = dict.fromkeys(("items", "get", "keys", "values", "__iter__", "_metadata"), 5)
        return (collections.OrderedDict, (), hidden, None, iter(state().items()))


def _marked(tensor: torch.Tensor) -> torch.Tensor:
    for name in ("detach", "float", "clone", "resolve_neg"):
        setattr(tensor, name, 5)
    return tensor


def holding_itself() -> dict[str, object]:
    content: dict[str, object] = {}
    content["state_dict"] = content["model"] = content["net"] = content
    return content


def holding_itself_and_weights() -> dict[str, object]:
    content: dict[str, object] = dict(state())
    content["state_dict"] = content
    return content


def nested(depth: int) -> object:
    content: object = state()
    for _ in range(depth):
        content = {"model": content}
    return content


def laughing(depth: int = 40) -> list[object]:
    """Lists of the same list: as many entries as two to the power of the depth."""
    content: list[object] = ["ha"]
    for _ in range(depth):
        content = [content, content]
    return content


def laughing_containers(depth: int = 40) -> dict[str, object]:
    content: dict[str, object] = {}
    for _ in range(depth):
        content = dict.fromkeys(("state_dict", "model", "model_state_dict", "net", "ema"), content)
    return content


def _self_list() -> list[object]:
    content: list[object] = []
    content.append(content)
    return content


def _quantized() -> torch.Tensor:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return torch.quantize_per_tensor(torch.ones(2, 6), 0.1, 0, torch.qint8)


def _with(**changed: object) -> dict[str, object]:
    return {**state(), **{key.replace("__", "."): value for key, value in changed.items()}}


_ODD: dict[str, tuple[Callable[[], object], int, tuple[str, ...]]] = {
    "integers": (lambda: _with(fc__weight=torch.ones(2, 6, dtype=torch.int64)), 3, (r"fc\.weight holds torch\.int64",)),
    "booleans": (lambda: _with(fc__weight=torch.ones(2, 6) > 0), 3, (r"fc\.weight holds torch\.bool",)),
    "uint16": (lambda: _with(fc__weight=torch.ones(2, 6, dtype=torch.uint16)), 3, ("holds torch.uint16",)),
    "a float counter": (lambda: _with(features__1__num_batches_tracked=torch.tensor(7.0)), 3, ("holds torch.float32",)),
    "complex": (lambda: _with(fc__weight=torch.ones(2, 6) * 1j), 3, (r"fc\.weight is complex",)),
    "quantized": (lambda: _with(fc__weight=_quantized()), 3, (r"fc\.weight is quantized",)),
    "sparse": (lambda: _with(fc__weight=torch.ones(2, 6).to_sparse()), 3, (r"fc\.weight is sparse",)),
    "meta": (lambda: _with(fc__weight=torch.ones(2, 6, device="meta")), 3, (r"fc\.weight is without data",)),
    "meta of any size": (
        lambda: _with(
            fc__weight=Calls(
                _rebuild_meta_tensor_no_storage, torch.float32, torch.Size([2**40, 2**20]), (2**20, 1), False
            )
        ),
        3,
        (r"fc\.weight is without data",),
    ),
    "float8": (lambda: _with(fc__weight=torch.ones(2, 6).to(torch.float8_e4m3fn)), 0, ("float32, float8_e4m3fn",)),
    "float4": (
        lambda: _with(fc__weight=torch.ones(2, 6, dtype=torch.uint8).view(torch.float4_e2m1fn_x2)),
        3,
        (r"fc\.weight is of float4_e2m1fn_x2",),
    ),
    "half": (
        lambda: {key: one.half() if one.is_floating_point() else one for key, one in state().items()},
        0,
        ("float16",),
    ),
    "double beyond float": (
        lambda: _with(fc__bias=torch.full((2,), 1e300, dtype=torch.float64)),
        0,
        (r"infinity in: fc\.bias",),
    ),
    "NaN": (lambda: _with(fc__bias=torch.full((2,), torch.nan)), 0, (r"NaN or infinity in: fc\.bias",)),
    "infinity": (lambda: _with(fc__weight=torch.full((2, 6), torch.inf)), 0, (r"NaN or infinity in: fc\.weight",)),
    "negative by a mark": (lambda: _with(fc__bias=torch.ones(2)._neg_view()), 0, ("matched +14 tensors",)),
    "methods hidden": (lambda: _with(fc__bias=_marked(torch.ones(2))), 0, ("matched +14 tensors",)),
    "methods of the dict hidden": (_Ordered, 0, ("matched +14 tensors",)),
    "no classes": (lambda: _with(fc__weight=torch.ones(0, 6), fc__bias=torch.ones(0)), 3, ("head fc has no classes",)),
    "a width of nothing": (lambda: _with(fc__weight=torch.ones(2, 0)), 3, ("the head does not fit",)),
    "a dimension too many": (lambda: _with(fc__weight=torch.ones(2, 6, 1, 1, 1)), 3, ("the head does not fit",)),
    "a thousand dimensions": (lambda: _with(features__0__weight=torch.ones([1] * 60)), 3, ("1 of another shape",)),
    "one number for a billion": (
        lambda: _with(fc__weight=torch.ones(1).expand(10**12, 6), fc__bias=torch.ones(1).expand(10**12)),
        3,
        (r"fc\.weight claims 24000000000000 bytes of numbers",),
    ),
    "more than there is": (
        lambda: _with(fc__bias=torch.zeros(1).expand(10**12)),
        3,
        (r"fc\.bias claims 4000000000000",),
    ),
    "a tensor too few": (
        lambda: {key: one for key, one in state().items() if key != "features.0.weight"},
        3,
        (r"1 missing \(features\.0\.weight\)",),
    ),
    "a tensor too many": (lambda: _with(more=torch.ones(2)), 3, (r"1 unexpected \(more\)",)),
    "a key twice": (lambda: _with(_orig_mod__fc__bias=torch.ones(2)), 3, (r"two tensors claim the key fc\.bias",)),
    "a key twice, of two kinds": (
        lambda: {**state(), "model.fc.bias": torch.ones(2, dtype=torch.int64)},
        3,
        (r"model\.fc\.bias and fc\.bias differ",),
    ),
    "an empty name": (lambda: {**state(), "": torch.ones(2)}, 3, ("1 unexpected",)),
    "a name of two lines": (lambda: {**state(), "a\ntlaudit: all is well": torch.ones(2)}, 3, (r"\(a tlaudit: all",)),
    "a name that moves the cursor": (lambda: {**state(), "a\x1b[2Jb\rc": torch.ones(2)}, 3, (r"a\\u001b\[2Jb c",)),
    "a name that turns around": (lambda: {**state(), "a\u202eb": torch.ones(2)}, 3, (r"a\\u202eb",)),
    "a name of half a character": (lambda: {**state(), "a\ud800": torch.ones(2)}, 3, (r"a\\ud800",)),
    "a name of markup": (lambda: {**state(), "[red]<b>": torch.ones(2)}, 3, (r"\[red\]<b>",)),
    "a name of 10 000 characters": (lambda: {**state(), "a" * 10_000: torch.ones(2)}, 3, ("a{200}…",)),
    "a name of prefixes": (lambda: {"model." * 2000 + key: one for key, one in state().items()}, 3, ("is no",)),
    "names of bytes": (lambda: {key.encode("utf-16"): one for key, one in state().items()}, 3, ("no weights in it",)),
    "names of numbers": (lambda: dict(enumerate(state().values())), 3, ("no weights in it",)),
    "a name that is no text": (lambda: {**state(), ("a", 10**500): 1, None: 2, 1.5: 3}, 0, ("ignored +3: tuple of 2",)),
    "names of other entries": (lambda: {**state(), "a\n\x1b[31m\ud800": 3}, 0, (r"ignored +1: a \\u001b\[31m\\ud800",)),
    "objects for tensors": (lambda: dict.fromkeys(state(), "weights"), 3, ("no weights in it",)),
    "an object for a tensor": (lambda: _with(fc__weight=[1.0, 2.0]), 3, ("there is nothing|does not fit",)),
    "a tensor for the dict": (lambda: torch.ones(3), 3, ("expected a state_dict.* got Tensor",)),
    "a tensor in a container": (lambda: {"state_dict": torch.ones(3), "model": torch.ones(2)}, 3, ("no .*fits|is no",)),
    "a list": (lambda: list(state().values()), 3, ("got list of 14",)),
    "a number": (lambda: 10**500, 3, ("got int",)),
    "a text": (lambda: "\x1b[31mred", 3, (r"got '\\u001b\[31mred'",)),
    "nothing": (lambda: None, 3, ("got None",)),
    "an empty dict": (dict, 3, ("no weights in it.* there is none",)),
    "a list that holds itself": (_self_list, 3, ("got list of 1",)),
    "a dict that holds itself": (holding_itself, 3, ("no weights in it",)),
    "a dict that holds itself and weights": (holding_itself_and_weights, 3, ("one that holds itself",)),
    "containers in containers": (lambda: nested(300), 3, ("more than 16 containers",)),
    "lists of lists of lists": (lambda: {"state_dict": state(), "more": laughing()}, 0, ("matched +14 tensors",)),
    "containers of the same containers": (laughing_containers, 3, ("no weights in it",)),
    "classes of lists of lists": (lambda: {"state_dict": state(), "classes": laughing()}, 3, ("got list of 2",)),
    "classes too few": (lambda: {"state_dict": state(), "classes": ["a"]}, 3, ("names 1 classes.*fc has 2",)),
    "classes too many": (lambda: {"state_dict": state(), "classes": ["a"] * 10**5}, 3, ("names 100000 classes",)),
    "classes of numbers": (lambda: {"state_dict": state(), "classes": [1, 2]}, 3, ("classes must be a list.*got 1",)),
    "classes none": (lambda: {"state_dict": state(), "classes": []}, 3, ("classes must be a list.*got list of 0",)),
    "classes of one name": (lambda: {"state_dict": state(), "classes": ["a", "a"]}, 0, ("2 .named",)),
    "classes of anything": (lambda: {"state_dict": state(), "classes": ["\n\x1b[31m", "\ud800" * 9]}, 0, ("2 .named",)),
    "an index of lists": (
        lambda: {"state_dict": state(), "class_to_idx": {"a": laughing(), "b": 1}},
        3,
        ("must number",),
    ),
    "an index of nested names": (
        lambda: {"state_dict": state(), "class_to_idx": {("a",): 0, "b": 1}},
        3,
        ("must number",),
    ),
    "an index of infinity": (
        lambda: {"state_dict": state(), "class_to_idx": {"a": float("inf"), "b": 1}},
        3,
        ("must number",),
    ),
    "an index of halves": (lambda: {"state_dict": state(), "class_to_idx": {"a": 0, "b": 1.5}}, 3, ("must number",)),
    "an index of huge numbers": (
        lambda: {"state_dict": state(), "class_to_idx": {"a": 10**500, "b": 1}},
        3,
        ("must number",),
    ),
    "an index of huge names": (
        lambda: {"state_dict": state(), "class_to_idx": {10**500: 0, "b": 1}},
        0,
        ("2 .named",),
    ),
    "two names for one class": (lambda: {"state_dict": state(), "class_to_idx": {"a": 0, "b": 0}}, 3, ("must number",)),
    "an index that is a tensor": (lambda: {"state_dict": state(), "class_to_idx": torch.ones(3)}, 0, ("no names",)),
    "memory for nothing": (lambda: {**state(), "x": Calls(bytearray, 10**11)}, 3, (r"it calls builtins\.bytearray",)),
    "text that grows": (
        lambda: {**state(), "x": Calls(_codecs.encode, "a", "punycode")},
        3,
        (r"calls _codecs\.encode",),
    ),
    "text that grows by growing": (
        lambda: {**state(), "x": Calls(_codecs.encode, Calls(_codecs.encode, "a", "latin1"), "latin1")},
        3,
        (r"it calls _codecs\.encode",),
    ),
    "a call handed on": (lambda: {**state(), "x": [bytearray]}, 3, (r"builtins\.bytearray is handed on",)),
    "a set of a billion": (
        lambda: {**state(), "x": Calls(set, torch.ones(1).expand(10**9))},
        3,
        (r"it calls builtins\.set as no weights",),
    ),
    "one number for a billion, as another type": (
        lambda: {
            **state(),
            "x": Calls(
                _rebuild_device_tensor_from_cpu_tensor,
                torch.ones(1).expand(8 * 10**8),
                torch.float64,
                "cpu",
                False,
            ),
        },
        3,
        (r"it calls torch\._utils\._rebuild_device_tensor_from_cpu_tensor",),
    ),
    "bytes": (lambda: {"state_dict": state(), "commit": b"deadbeef"}, 0, ("matched +14 tensors",)),
    "bytes that change": (lambda: {"state_dict": state(), "more": bytearray(b"abc")}, 0, ("matched +14 tensors",)),
    "a text of a call": (
        lambda: {"state_dict": state(), "note": "cbuiltins\nbytearray\n"},
        0,
        ("matched +14 tensors",),
    ),
    "the same entries for every name": (
        lambda: dict.fromkeys(map(str, range(1000)), dict.fromkeys(range(100_000))),
        3,
        ("no weights in it.* there is 0, 1, 2",),
    ),
}
"""State dicts by what is odd about them: made how, exit code, what is said."""


def _odd() -> list[Case]:
    def maker(make: Callable[[], object]) -> Callable[[Path], Path]:
        return lambda folder: saved(folder, make())

    return [Case(f"state: {name}", maker(make), code, said) for name, (make, code, said) in _ODD.items()]


# What a header of our own says.

_PREPARED = {"resize": 16, "crop": 16, "interpolation": "bicubic", "mean": [0.5] * 3, "std": [0.5] * 3}
_TOLD: dict[str, tuple[dict[str, str], int, tuple[str, ...]]] = {
    "classes too few": ({"tlaudit.classes": '["a"]'}, 3, ("names 1 classes",)),
    "classes no list": ({"tlaudit.classes": '{"a": 0}'}, 3, (r"tlaudit\.classes must be a list.*dict of 1",)),
    "classes of a long number": ({"tlaudit.classes": f"[{'1' * 9000}]"}, 3, (r"tlaudit\.classes is not JSON",)),
    "classes no JSON": ({"tlaudit.classes": "cat, dog"}, 3, (r"tlaudit\.classes is not JSON",)),
    "pictures of any size": (
        {"tlaudit.preprocessing": json.dumps({**_PREPARED, "resize": 10**9})},
        3,
        (r"tlaudit\.preprocessing is malformed: resize",),
    ),
    "divided by nothing": (
        {"tlaudit.preprocessing": json.dumps({**_PREPARED, "std": [0, 1, 1]})},
        3,
        (r"tlaudit\.preprocessing is malformed: std",),
    ),
    "a mean of NaN": (
        {"tlaudit.preprocessing": json.dumps({**_PREPARED, "mean": [float("nan"), 1, 1]})},
        3,
        (r"tlaudit\.preprocessing is malformed: mean",),
    ),
    "an unknown key of two lines": (
        {"tlaudit.preprocessing": json.dumps({**_PREPARED, "a\nb\x1b": 1})},
        3,
        (r"malformed: a b\\u001b",),
    ),
    "a recipe of lists": ({"tlaudit.recipe": '{"a": [1]}'}, 3, (r"tlaudit\.recipe must be a flat JSON object",)),
    "a recipe of anything": (
        {"tlaudit.recipe": json.dumps({"a\n\x1b[31m": "\u202e", "b": "c" * 10**5})},
        0,
        (r"made: a \\u001b\[31m \\u202e, b c+ c+…",),
    ),
    "parents of numbers": ({"tlaudit.parents": "[1]"}, 3, (r"tlaudit\.parents must be a flat JSON object",)),
}


def _told() -> list[Case]:
    def maker(header: dict[str, str]) -> Callable[[Path], Path]:
        return lambda folder: written(folder / "net.safetensors", safetensors.torch.save(state(), metadata=header))

    return [Case(f"header: {name}", maker(header), code, said) for name, (header, code, said) in _TOLD.items()]


# Places that hold no file, and names that hold anything.


def _made(change: Callable[[Path], object], name: str = "net.pth") -> Callable[[Path], Path]:
    def make(folder: Path) -> Path:
        change(folder / name)
        return folder / name

    return make


def _loop(path: Path) -> None:
    path.symlink_to(path.with_name("other.pth"))
    path.with_name("other.pth").symlink_to(path)


def _named(name: str | bytes) -> Callable[[Path], Path]:
    return lambda folder: written(folder / os.fsdecode(name), packed(state()))


_PLACES = [
    Case("place: a folder", _made(Path.mkdir), WRONG, ("this is a folder",)),
    Case("place: a pipe", _made(os.mkfifo), WRONG, ("device or a pipe",)),
    Case("place: a pipe named safetensors", _made(os.mkfifo, "a.safetensors"), WRONG, ("device or a pipe",)),
    Case("place: a device", _made(lambda path: path.symlink_to("/dev/zero")), WRONG, ("device or a pipe",)),
    Case("place: links in a loop", _made(_loop), WRONG, ("can be no file .Too many levels of symbolic links",)),
    Case(
        "place: a link to nothing", _made(lambda path: path.symlink_to("gone")), WRONG, ("a link to gone, where there",)
    ),
    Case("place: nothing", lambda folder: folder / "net.pth", WRONG, ("no such file",)),
    Case("place: under a file", lambda folder: written(folder / "a", b"") / "b.pth", WRONG, ("no such file",)),
    Case(
        "place: zeros without end",
        _made(lambda path: (path.touch(), os.truncate(path, 1 << 40))),
        NO_ANSWER,
        ("not a checkpoint",),
    ),
    Case("name: of a zero", lambda folder: f"{folder}/a\0b.pth", WRONG, (r"a\\u0000b\.pth: can be no file",)),
    Case(
        "name: too long", lambda folder: folder / ("a" * 300 + ".pth"), WRONG, ("can be no file .File name too long",)
    ),
    Case("name: longer than any path", lambda folder: folder / ("a/" * 5000 + "b.pth"), WRONG, ("can be no file",)),
    Case(
        "name: of another kind",
        lambda folder: saved(folder, state(), "net.p\nth"),
        WRONG,
        ("unknown extension '.p th'",),
    ),
    Case("name: longest", _named("a" * 251 + ".pth"), DONE, ("matched +14 tensors",)),
    Case("name: of two lines", _named("a\ntlaudit: b.pth"), DONE, ("matched +14 tensors",)),
    Case("name: that moves the cursor", _named("a\x1b[2J\r.pth"), DONE, ("matched +14 tensors",)),
    Case("name: that turns around", _named("a\u202eb.pth"), DONE, ("matched +14 tensors",)),
    Case("name: of markup", _named("[red]<b>&.pth"), DONE, (r"\[red\]<b>&\.pth",)),
    Case("name: of no text", _named(b"caf\xe9.pth"), DONE, ("matched +14 tensors",)),
    Case("name: with quotes", _named("a'\"`$(b).pth"), DONE, ("matched +14 tensors",)),
    Case("name: leading dash", _named("--help.pth"), DONE, ("matched +14 tensors",)),
    Case(
        "name: of two lines, damaged",
        lambda folder: written(folder / "a\n\x1bb.pth", b"PK\3\4"),
        NO_ANSWER,
        (r"a \\u001bb\.pth: begins",),
    ),
    Case(
        "name: of no text, damaged",
        lambda folder: written(folder / "caf\udce9.pth", b""),
        NO_ANSWER,
        (r"caf\\udce9\.pth: the file is empty",),
    ),
]

_ARCHIVES = [
    Case("archive: compressed zeros", compressed, NO_ANSWER, ("compressed by another program.* unpack it and save",)),
    Case("archive: compressed pickle", compressed_pickle, NO_ANSWER, ("compressed by another program",)),
    Case(
        "archive: compressed, damaged",
        lambda f: written(f / "net.pth", damaged_within(rezipped(packed(state()), method=zipfile.ZIP_LZMA))),
        NO_ANSWER,
        ("compressed by another program",),
    ),
    Case("archive: overlapping entries", overlapping, NO_ANSWER, ("bytes that unpack to",)),
    Case("archive: thousands of entries", crowded, DONE, ("matched +14 tensors",)),
    Case(
        "archive: entries outside of it",
        lambda folder: crowded(folder, "../../../outside/{}", 3),
        NO_ANSWER,
        ("damaged or cut off",),
    ),
    Case(
        "archive: no pickle",
        lambda f: written(f / "net.pth", rezipped(packed(state()), data_pkl=None)),
        NO_ANSWER,
        ("torch did not write",),
    ),
    Case(
        "archive: no storage",
        lambda f: written(f / "net.pth", rezipped(packed(state()), data_0=None)),
        NO_ANSWER,
        ("damaged or cut off",),
    ),
    Case(
        "archive: short storage",
        lambda f: written(f / "net.pth", rezipped(packed(state()), data_0=b"x")),
        NO_ANSWER,
        ("damaged or cut off",),
    ),
    Case(
        "archive: another byte order",
        lambda f: written(f / "net.pth", rezipped(packed(state()), byteorder=b"middle")),
        NO_ANSWER,
        ("damaged or cut off",),
    ),
    Case(
        "archive: an empty pickle",
        lambda f: written(f / "net.pth", rezipped(packed(state()), data_pkl=b"")),
        NO_ANSWER,
        ("damaged",),
    ),
    Case(
        "legacy: a list that holds itself", lambda f: saved(f, _self_list(), legacy=True), NO_ANSWER, ("got list of 1",)
    ),
    Case(
        "legacy: memory for nothing",
        lambda f: saved(f, [Calls(bytearray, 10**11)], legacy=True),
        NO_ANSWER,
        (r"it calls builtins\.bytearray",),
    ),
    Case(
        "legacy: bytes",
        lambda f: saved(f, {"state_dict": state(), "commit": b"deadbeef"}, legacy=True),
        DONE,
        ("matched +14 tensors",),
    ),
]


# Pickles written by hand, which no pickler would write.

_TWICE = b")" + b"".join(b"q" + bytes([one]) + b"h" + bytes([one]) + b"\x86" for one in range(60))
"""A tuple of a tuple twice, sixty times: as many entries as two to the power of sixty."""
_BY_HAND: dict[str, tuple[bytes, str]] = {
    "tuples in tuples as a key": (b"}" + b")" + b"\x85" * 10**6 + b"K\x01s.", "tuples in more than 100 tuples"),
    "twice itself as a key": (b"}" + _TWICE + b"K\x01s.", "copies the same entries again"),
    "twice itself called": (_TWICE + b")R.", "copies the same entries again"),
    "twice itself as a class": (_TWICE + b")\x81.", "copies the same entries again"),
    "twice itself in a set": (b"c__builtin__\nset\n](" + _TWICE + b"e\x85R.", "copies the same entries again"),
    "a long list in a thousand sets": (
        b"](" + b"K\1" * 10_000 + b"eq\1(" + b"c__builtin__\nset\nh\1\x85R" * 1000 + b"l.",
        "copies the same entries again",
    ),
    "a number called": (b"K\1)R.", "it calls what is no function"),
    "a list as a class": (b"])\x81.", "it calls what is no function"),
    "called by another": (
        b"ctorch._tensor\n_rebuild_from_type_v2\n(c__builtin__\nbytearray\nctorch\nTensor\nJ\xff\xff\xff\x7f\x85}tR.",
        "builtins.bytearray is handed on",
    ),
    "memory of a tensor": (b"ctorch\nFloatTensor\nJ\xff\xff\xff\x7f\x85R.", "it calls torch.FloatTensor"),
    "memory of a storage": (b"ctorch.storage\nUntypedStorage\nK\1\x85R.", "it calls torch.storage.UntypedStorage"),
    "a group of processes": (
        b"ctorch.distributed.device_mesh\nDeviceMesh\nX\3\0\0\0cpu]K\0a\x86R.",
        "holds sharded tensors .torch.distributed.device_mesh.DeviceMesh.; save the gathered state dict",
    ),
    "a sharded tensor": (
        b"}X\x09\0\0\0fc.weightctorch.distributed.tensor\nDTensor\n)\x81s.",
        "holds sharded tensors .torch.distributed.tensor.DTensor.",
    ),
}
"""What stands in the place of the pickle, after its first two bytes, and what is said of it."""


def _by_hand() -> list[Case]:
    def maker(content: bytes) -> Callable[[Path], Path]:
        return lambda folder: written(folder / "net.pth", rezipped(packed(state()), data_pkl=b"\x80\2" + content))

    return [Case(f"pickle: {name}", maker(content), NO_ANSWER, (said,)) for name, (content, said) in _BY_HAND.items()]


CASES = [*_PLACES, *_ARCHIVES, *_headers(), *_odd(), *_told(), *_by_hand()]
