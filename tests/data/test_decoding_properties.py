"""Whatever bytes a file holds, it is a picture or has a reason; whatever size it has, the pixels are torchvision's."""

from __future__ import annotations

import io
import os
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image
from torchvision.transforms import CenterCrop, Compose, InterpolationMode, PILToTensor, Resize

from tlaudit.data import decoding
from tlaudit.data.decoding import EXTENSIONS, PILLOW_ERRORS, Refused, decode, decode_batch, resized_size, write_crop

GEOMETRY = (12, 8, "bilinear")
SIDES = st.integers(1, 60)


def encoded(kind: str, mode: str = "RGB", **options: object) -> bytes:
    pixels = np.random.default_rng(3).integers(0, 256, (20, 24, 3), dtype=np.uint8)
    stream = io.BytesIO()
    Image.fromarray(pixels).convert(mode).save(stream, kind, **options)
    return stream.getvalue()


SOUND = [
    (".jpg", encoded("JPEG")),
    (".jpg", encoded("JPEG", "CMYK", progressive=True)),
    (".png", encoded("PNG")),
    (".png", encoded("PNG", "P", transparency=0)),
    (".png", encoded("PNG", "1")),
    (".webp", encoded("WEBP")),
    (".webp", encoded("WEBP", "RGBA", lossless=True)),
    (".bmp", encoded("BMP")),
    (".bmp", encoded("BMP", "P")),
    (".gif", encoded("GIF")),
    (".tif", encoded("TIFF")),
    (".tif", encoded("TIFF", "CMYK", compression="tiff_lzw")),
    (".tif", encoded("TIFF", "1", compression="group4")),
    (".tif", encoded("TIFF", compression="jpeg")),
    (".tif", encoded("TIFF", compression="tiff_adobe_deflate")),
]
CHANGES = st.lists(
    st.tuples(st.sampled_from(["flip", "set", "cut", "drop", "repeat"]), st.floats(0, 1), st.integers(0, 255)),
    min_size=1,
    max_size=6,
)


def damaged(data: bytes, changes: list[tuple[str, float, int]]) -> bytes:
    """Change bytes: in the header as often as anywhere behind it."""
    for kind, where, value in changes:
        at = int((where * 2) % 1 * min(len(data), 120 if where < 0.5 else len(data)))
        if kind == "flip" and at < len(data):
            data = data[:at] + bytes([data[at] ^ (1 << value % 8)]) + data[at + 1 :]
        elif kind == "set":
            data = data[:at] + bytes([value]) + data[at + 1 :]
        elif kind == "cut":
            data = data[:at]
        elif kind == "drop":
            data = data[:at] + data[at + 1 + value % 16 :]
        else:
            data = data[:at] + data[at : at + value % 40] + data[at:]
    return data


def outcome(data: bytes, ending: str) -> str:
    """What becomes of a file, through the one way in which files are read: its pixels or the reason."""
    row = np.zeros((8, 8, 3), dtype=np.uint8)
    with decoding._pinned_pillow():
        try:
            image = decode(data, EXTENSIONS[ending])
            assert image.mode == "RGB"
        except Refused as refusal:
            return str(refusal) or pytest.fail("no reason")
        except PILLOW_ERRORS:
            return "broken"
    write_crop(image, GEOMETRY, row)
    return row.tobytes().hex()


PIXELS = 2 * 8 * 8 * 3
"""Hexadecimal digits of a picture."""


def is_told(found: str) -> bool:
    """Whether it is all of a picture, or a reason in one line."""
    is_picture = len(found) == PIXELS and not set(found) - set("0123456789abcdef")
    return is_picture or (" " in found and found.isprintable()) or found == "broken"


@settings(max_examples=400)
@given(st.sampled_from(SOUND), CHANGES)
def test_damage_is_a_picture_or_a_reason(sound: tuple[str, bytes], changes: list[tuple[str, float, int]]) -> None:
    ending, data = sound
    assert is_told(outcome(damaged(data, changes), ending))


@settings(max_examples=200)
@given(st.sampled_from(sorted(EXTENSIONS)), st.sampled_from([data[:12] for _, data in SOUND] + [b""]), st.binary())
def test_bytes_at_random_are_a_picture_or_a_reason(ending: str, start: bytes, data: bytes) -> None:
    assert is_told(outcome(start + data, ending))


@given(st.sampled_from(SOUND), CHANGES)
def test_the_same_bytes_come_to_the_same(sound: tuple[str, bytes], changes: list[tuple[str, float, int]]) -> None:
    ending, data = sound
    data = damaged(data, changes)
    assert outcome(data, ending) == outcome(data, ending)


@pytest.mark.parametrize(("ending", "data"), SOUND, ids=lambda value: value if isinstance(value, str) else "")
def test_what_is_sound_is_a_picture_so_that_a_reason_means_something(ending: str, data: bytes) -> None:
    assert len(outcome(data, ending)) == PIXELS


def test_damage_says_nothing_on_stderr(tmp_path, capfd, caplog) -> None:
    """Libtiff writes there by itself, and Pillow logs: the reason is said once, by the caller."""
    names = []
    for number, (_, data) in enumerate(sound for sound in SOUND if sound[0] == ".tif"):
        for at in range(0, len(data), 41):
            names.append(str(tmp_path / f"{number}-{at}.tif"))
            Path(names[-1]).write_bytes(data[:at] + bytes([data[at] ^ 0xFF]) + data[at + 1 :])
    buffer = np.zeros((len(names), 8, 8, 3), dtype=np.uint8)
    batch = decode_batch(names, [GEOMETRY], [buffer])
    assert len(batch.refused) > 50
    assert capfd.readouterr() == ("", "")
    assert not caplog.records


def test_that_test_can_fail(tmp_path, capfd) -> None:
    """What is written to the file descriptor of stderr is seen."""
    os.write(2, b"seen")
    assert capfd.readouterr().err == "seen"


@settings(max_examples=200)
@given(SIDES, SIDES, st.integers(1, 40), st.integers(1, 40), st.sampled_from(["bilinear", "bicubic", "nearest"]))
def test_pixels_are_torchvisions(width: int, height: int, resize: int, crop: int, interpolation: str) -> None:
    values = np.random.default_rng(width * 61 + height).integers(0, 256, (height, width, 3), dtype=np.uint8)
    image = Image.fromarray(values)
    row = np.full((crop, crop, 3), 77, dtype=np.uint8)
    write_crop(image, (resize, crop, interpolation), row)
    chain = Compose([Resize(resize, InterpolationMode(interpolation)), CenterCrop(crop), PILToTensor()])
    assert torch.equal(torch.from_numpy(row).permute(2, 0, 1), chain(image))


@given(st.integers(1, 30_000), st.integers(1, 30_000), st.integers(1, 1024))
def test_sizes_keep_the_short_side_and_the_shape(width: int, height: int, resize: int) -> None:
    wide, high = resized_size((width, height), resize)
    assert min(wide, high) == resize
    assert max(wide, high) == int(resize * max(width, height) / min(width, height))
    assert resized_size((height, width), resize) == (high, wide)
