"""Checkpoints that are changed inside: pickles opcode by opcode, archives member by member with right checksums."""

from __future__ import annotations

import io
import json
import lzma
import pickletools
import struct
import zipfile
import zlib
from typing import TYPE_CHECKING, Any

from .contents import composed
from .trees import changed

if TYPE_CHECKING:
    import random
    from collections.abc import Callable, Sequence

    from .documents import Mutation

ZIP = b"PK\x03\x04"
LEGACY = b"\x80\x02\x8a\x0al\xfc\x9cF\xf9 j\xa8P\x19."
_PROGRAM = "data.pkl"
_NUMBERS = (0, 1, 2, 255, 256, 65535, 2**31 - 1)
_WORDS = (
    "state_dict",
    "model",
    "net",
    "model_ema",
    "classes",
    "class_names",
    "class_to_idx",
    "module.",
    "model.",
    "_orig_mod.",
    "n_averaged",
    "tlaudit",
    "weight",
    "0",
    "storage",
    "cpu",
    "meta",
    "cuda:0",
    "",
    "fc.weight",
    "x" * 200,
    "\x00\n",
)
_GLOBALS = (
    "collections OrderedDict",
    "collections Counter",
    "torch FloatStorage",
    "torch HalfStorage",
    "torch BoolStorage",
    "torch QInt8Storage",
    "torch ComplexFloatStorage",
    "torch float32",
    "torch int64",
    "torch complex64",
    "torch strided",
    "torch sparse_coo",
    "torch Size",
    "torch device",
    "torch per_tensor_affine",
    "torch._utils _rebuild_tensor",
    "torch._utils _rebuild_tensor_v2",
    "torch._utils _rebuild_parameter",
    "torch._utils _rebuild_meta_tensor_no_storage",
    "torch._utils _rebuild_qtensor",
    "torch._utils _rebuild_sparse_tensor",
    "torch._utils _rebuild_nested_tensor",
    "torch._utils _rebuild_wrapper_subclass",
    "torch._utils _rebuild_device_tensor_from_numpy",
    "torch._tensor _rebuild_from_type_v2",
    "torch.nn.parameter Parameter",
    "torch.storage UntypedStorage",
    "torch.serialization _get_layout",
    "_codecs encode",
    "builtins bytearray",
    "builtins set",
    "builtins complex",
    "builtins eval",
    "builtins open",
    "builtins getattr",
    "os system",
    "posix system",
    "os mkdir",
    "torch load",
    "torch.hub load",
    "tlaudit.files write_atomically",
)
_TELLING = (b"K", b"M", b"J", b"X", b"c", b"G")
_SNIPPETS = (b"}", b"]", b")", b"N", b"\x88", b"\x89", b"(", b"0", b"2", b"u", b"s", b"e", b"a", b"t", b"\x85", b"\x86")
_SNIPPETS += (b"\x87", b"R", b"b", b"\x81", b"Q", b".", b"K\x00", b"J\xff\xff\xff\xff", b"\x8a\x00", b"q\x00", b"h\x00")


def checkpoint_mutation(seeds: Sequence[bytes], by_bytes: Callable[[bytes, int], bytes]) -> Mutation:
    """Give what changes a checkpoint inside its container; one in ten as the bytes that it is."""
    donors = [program for seed in seeds if (program := _program_of(seed))]

    def mutated(data: bytes, most: int, dice: random.Random) -> bytes:
        way = dice.random()
        if way < 0.2:
            return by_bytes(data, most) if way < 0.08 else composed(dice)
        if data.startswith(ZIP):
            return _archive(data, most, dice, donors, by_bytes)
        if data.startswith(LEGACY):
            return _legacy(data, most, dice, donors, by_bytes)
        if data[8:9] == b"{":
            return _safetensors(data, most, dice, by_bytes)
        return by_bytes(data, most) if dice.random() < 0.5 else dice.choice(seeds)

    return mutated


def _program_of(seed: bytes) -> bytes:
    """The pickle in an archive; nothing for other kinds of files."""
    if not seed.startswith(ZIP):
        return b""
    return next(content for name, content in members(seed) if name.endswith(_PROGRAM))


def members(data: bytes) -> list[tuple[str, bytes]]:
    """Files of an archive, in order."""
    with zipfile.ZipFile(io.BytesIO(data)) as archive:
        return [(info.filename, archive.read(info)) for info in archive.infolist()]


def packed(files: Sequence[tuple[str, bytes]], *, deflated: bool = False) -> bytes:
    """An archive of these files, of one date and with right checksums."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED if deflated else zipfile.ZIP_STORED) as archive:
        for name, content in files:
            archive.writestr(zipfile.ZipInfo(name), content, archive.compression)
    return buffer.getvalue()


def _archive(data: bytes, most: int, dice: random.Random, donors: Sequence[bytes], by_bytes: Any) -> bytes:
    try:
        files = members(data)
    except (zipfile.BadZipFile, zlib.error, lzma.LZMAError, ValueError, RuntimeError, OSError, EOFError, KeyError):
        return by_bytes(data, most)  # type: ignore[no-any-return]
    programs = [number for number, (name, _) in enumerate(files) if name.endswith(_PROGRAM)]
    if programs and dice.random() < 0.85:
        number = dice.choice(programs)
        files[number] = (files[number][0], program(files[number][1], dice, donors, by_bytes))
    elif files:
        number = dice.randrange(len(files))
        name, content = files[number]
        what = dice.randrange(5)
        if what == 0:
            del files[number]
        elif what == 1:
            files.append(files[number] if dice.random() < 0.2 else (f"{name}x", content))
        elif what == 2:
            files[number] = (dice.choice(("archive/byteorder", "archive/version", "archive/data/0", "../x")), content)
        elif what == 3:
            files[number] = (name, content[: len(content) // 2] + b"\xff" * dice.choice((0, 1, 8)))
        else:
            files[number] = (name, by_bytes(content or b"\0", 64))
    return packed(list(dict(files).items()), deflated=dice.random() < 0.05)


def program(data: bytes, dice: random.Random, donors: Sequence[bytes], by_bytes: Any) -> bytes:
    """Change a pickle in one to four opcodes, or splice it with another one."""
    pieces = operations(data)
    if len(pieces) < 2 or dice.random() < 0.05:
        return by_bytes(data, len(data) + 64)  # type: ignore[no-any-return]
    for _ in range(dice.choice((1, 1, 1, 2, 3))):
        if len(pieces) < 2:
            break  # the others were taken out
        at, what = dice.randrange(1, len(pieces)), dice.randrange(12)
        telling = [number for number, piece in enumerate(pieces) if piece[:1] in _TELLING]
        if what < 8 and telling:
            # Another number, text or name in the same place: most of what is left can still be loaded.
            at = dice.choice(telling)
            pieces[at] = _operation(pieces[at], dice)
        elif what < 8:
            pieces[at] = _operation(pieces[at], dice)
        elif what == 8 and len(pieces) > 3:
            del pieces[at : at + dice.choice((1, 1, 2, 5, 20))]
        elif what == 9:
            pieces[at:at] = pieces[at : at + dice.choice((1, 3, 8, 30))]
        elif what == 10:
            pieces.insert(at, _inserted(dice))
        elif donors:
            other = operations(dice.choice(donors))
            begin = dice.randrange(len(other))
            pieces[at : at + dice.choice((0, 1, 10))] = other[begin : begin + dice.choice((1, 5, 25))]
    return b"".join(pieces)


def operations(data: bytes) -> list[bytes]:
    """The opcodes of a pickle with their arguments; what cannot be read is the last piece."""
    starts = []
    try:
        starts = [position for _, _, position in pickletools.genops(data) if position is not None]
    except Exception:  # noqa: BLE001 - whatever a broken pickle makes of the reader, its beginning is known
        starts = starts or [0]
    ends = [*starts[1:], len(data)]
    return [data[start:end] for start, end in zip(starts, ends, strict=True)]


def _operation(piece: bytes, dice: random.Random) -> bytes:
    """The same opcode with another argument; another opcode where it has none."""
    code = piece[:1]
    if code in b"KMJ":
        wide = {b"K": "<B", b"M": "<H", b"J": "<i"}[code]
        limit = {b"K": 255, b"M": 65535, b"J": 2**31 - 1}[code]
        if dice.random() < 0.3:
            return b"J" + struct.pack("<i", dice.choice((-1, -(2**31), *_NUMBERS)))
        if dice.random() < 0.15:
            number = dice.choice((2**31, 2**40, 2**62, 2**63, -(2**63)))
            return b"\x8a\x09" + number.to_bytes(9, "little", signed=True)
        return code + struct.pack(wide, min(dice.choice(_NUMBERS), limit))
    if code == b"X":
        text = dice.choice(_WORDS).encode()
        text = text + piece[5:] if dice.random() < 0.4 else text
        return b"X" + struct.pack("<I", len(text)) + text
    if code == b"c":
        return _global(dice)
    if code == b"G":
        return b"G" + struct.pack(">d", dice.choice((0.0, -1.0, 1e300, float("nan"), float("inf"))))
    if code in b"qh":
        return code + bytes([dice.choice((0, 1, 2, piece[-1], 200))])
    return dice.choice(_SNIPPETS)


def _global(dice: random.Random) -> bytes:
    module, name = dice.choice(_GLOBALS).split()
    return f"c{module}\n{name}\n".encode()


def _inserted(dice: random.Random) -> bytes:
    what = dice.randrange(4)
    if what == 0:
        return dice.choice(_SNIPPETS)
    if what == 1:
        return _global(dice)
    text = dice.choice(_WORDS).encode()
    spoken = b"X" + struct.pack("<I", len(text)) + text
    return spoken if what == 2 else _global(dice) + spoken + b"\x85R"


def _legacy(data: bytes, most: int, dice: random.Random, donors: Sequence[bytes], by_bytes: Any) -> bytes:
    """Magic number, version, system, content, keys of storages: five pickles, then bytes."""
    pieces, rest = [], data
    while len(pieces) < 5 and rest:
        length = sum(map(len, _first_pickle(rest)))
        if not length:
            break
        pieces.append(rest[:length])
        rest = rest[length:]
    if len(pieces) < 5 or dice.random() < 0.1:
        return by_bytes(data, most)  # type: ignore[no-any-return]
    number = dice.choice((1, 2, 3, 3, 3, 3, 4, 5))
    if number == 5:
        rest = rest[: len(rest) // 2] if dice.random() < 0.5 else by_bytes(rest or b"\0", len(rest) + 16)
    else:
        pieces[number] = program(pieces[number], dice, donors, by_bytes)
    return b"".join(pieces) + rest


def _first_pickle(data: bytes) -> list[bytes]:
    try:
        end = next(position for code, _, position in pickletools.genops(data) if code.name == "STOP")
    except Exception:  # noqa: BLE001 - as above
        return []
    return [data[: (end or 0) + 1]]


def _safetensors(data: bytes, most: int, dice: random.Random, by_bytes: Any) -> bytes:
    """A changed header before the same numbers, its length right or wrong."""
    length = int.from_bytes(data[:8], "little")
    try:
        header = json.loads(data[8 : 8 + length])
        header = changed(header, dice, ("F32", "F16", "BF16", "I64", "BOOL", "C64", "F8_E4M3", *_WORDS))
        text = json.dumps(header).encode()
    except (ValueError, RecursionError):
        return by_bytes(data, most)  # type: ignore[no-any-return]
    said = len(text) if dice.random() < 0.9 else dice.choice((0, 1, len(text) - 1, len(text) + 8, 10**8, 2**63 - 1))
    return said.to_bytes(8, "little") + text + data[8 + length :]
