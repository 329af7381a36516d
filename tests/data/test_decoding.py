from __future__ import annotations

import io
import random
import struct
import zlib
from typing import TYPE_CHECKING

import numpy as np
import pytest
import torch
from PIL import Image, ImageFile, ImageOps
from torchvision.transforms import CenterCrop, Compose, InterpolationMode, PILToTensor, Resize

from tlaudit.data import decoding
from tlaudit.data.decoding import Refused, decode, decode_batch

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    Draw = Callable[..., Image.Image]
    Encode = Callable[..., bytes]

GEOMETRY = (36, 32, "bilinear")


def crop(image: Image.Image, geometry: decoding.Geometry = GEOMETRY) -> torch.Tensor:
    """Our pixels, ``(3, crop, crop)``, written over something that is not black."""
    row = np.full((geometry[1], geometry[1], 3), 77, dtype=np.uint8)
    decoding.write_crop(image, geometry, row)
    return torch.from_numpy(row).permute(2, 0, 1)


def reference(image: Image.Image, geometry: decoding.Geometry = GEOMETRY) -> torch.Tensor:
    """Torchvision's pixels."""
    resize, side, interpolation = geometry
    mode = InterpolationMode(interpolation)
    return Compose([Resize(resize, mode), CenterCrop(side), PILToTensor()])(image)


def batch_of(files: list[Path]) -> tuple[decoding.DecodedBatch, np.ndarray]:
    buffer = np.zeros((len(files), 32, 32, 3), dtype=np.uint8)
    return decode_batch([str(file) for file in files], [GEOMETRY], [buffer]), buffer


def reason_for(file: Path) -> str:
    batch, _ = batch_of([file])
    assert batch.kept == []
    [(number, reason)] = batch.refused
    assert number == 0
    return reason


SIZES = [
    (50, 40),
    (40, 50),
    (36, 36),
    (37, 36),
    (36, 91),
    (101, 53),
    (20, 20),
    (1, 1),
    (1, 7),
    (9, 1),
    (33, 300),
    (31, 64),
]


@pytest.mark.parametrize("size", SIZES, ids=str)
@pytest.mark.parametrize(
    "geometry",
    [GEOMETRY, (32, 32, "bilinear"), (35, 32, "bicubic"), (20, 33, "bilinear"), (41, 18, "lanczos")],
    ids=str,
)
def test_crop_agrees_with_torchvision(noise: Draw, size: tuple[int, int], geometry: decoding.Geometry) -> None:
    image = noise(*size)
    assert torch.equal(crop(image, geometry), reference(image, geometry))


@pytest.mark.parametrize("interpolation", [mode.value for mode in InterpolationMode])
def test_every_interpolation_agrees_with_torchvision(noise: Draw, interpolation: str) -> None:
    geometry = (36, 32, interpolation)
    assert torch.equal(crop(noise(71, 90), geometry), reference(noise(71, 90), geometry))


FILES: dict[str, tuple[str, Callable[[Draw, Encode], bytes]]] = {
    "jpeg": ("JPEG", lambda noise, encode: encode(noise(), "JPEG")),
    "jpeg progressive": ("JPEG", lambda noise, encode: encode(noise(), "JPEG", progressive=True)),
    "jpeg grey": ("JPEG", lambda noise, encode: encode(noise(mode="L"), "JPEG")),
    "jpeg cmyk": ("JPEG", lambda noise, encode: encode(noise(mode="CMYK"), "JPEG")),
    "jpeg of several pictures": (
        "JPEG",
        lambda noise, encode: encode(noise(), "MPO", save_all=True, append_images=[noise(seed=1)]),
    ),
    "png": ("PNG", lambda noise, encode: encode(noise(), "PNG")),
    "png palette": ("PNG", lambda noise, encode: encode(noise(mode="P"), "PNG")),
    "png palette, one colour transparent": ("PNG", lambda n, encode: encode(n(mode="P"), "PNG", transparency=3)),
    "png alpha": ("PNG", lambda noise, encode: encode(noise(mode="RGBA"), "PNG")),
    "png grey alpha": ("PNG", lambda noise, encode: encode(noise(mode="LA"), "PNG")),
    "png one bit": ("PNG", lambda noise, encode: encode(noise(mode="1"), "PNG")),
    "png animated": ("PNG", lambda n, encode: encode(n(), "PNG", save_all=True, append_images=[n(seed=1)])),
    "webp": ("WEBP", lambda noise, encode: encode(noise(), "WEBP")),
    "webp alpha": ("WEBP", lambda noise, encode: encode(noise(mode="RGBA"), "WEBP", lossless=True)),
    "webp animated": ("WEBP", lambda n, encode: encode(n(), "WEBP", save_all=True, append_images=[n(seed=1)])),
    "bmp": ("BMP", lambda noise, encode: encode(noise(), "BMP")),
    "gif": ("GIF", lambda noise, encode: encode(noise(), "GIF")),
    "gif animated": ("GIF", lambda n, encode: encode(n(), "GIF", save_all=True, append_images=[n(seed=1)])),
    "tiff": ("TIFF", lambda noise, encode: encode(noise(), "TIFF", compression="tiff_lzw")),
    "tiff cmyk": ("TIFF", lambda noise, encode: encode(noise(mode="CMYK"), "TIFF")),
}


@pytest.mark.parametrize("kind", FILES)
def test_every_format_agrees_with_pillow(noise: Draw, encode: Encode, kind: str) -> None:
    name, make = FILES[kind]
    data = make(noise, encode)
    expected = Image.open(io.BytesIO(data)).convert("RGB")
    found = decode(data, name)
    assert found.mode == "RGB"
    assert np.array_equal(np.asarray(found), np.asarray(expected))


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP", "TIFF"])
def test_exif_orientation_is_applied(noise: Draw, encode: Encode, kind: str, orientation: int) -> None:
    exif = Image.Exif()
    exif[0x0112] = orientation
    data = encode(noise(50, 30), kind, exif=exif, **({"lossless": True} if kind == "WEBP" else {}))
    expected = ImageOps.exif_transpose(Image.open(io.BytesIO(data))).convert("RGB")
    found = decode(data, kind)
    assert found.size == ((50, 30) if orientation < 5 else (30, 50))
    assert np.array_equal(np.asarray(found), np.asarray(expected))


@pytest.mark.parametrize("kind", ["PNG", "TIFF"])
def test_16_bit_grey_is_scaled_not_clipped(encode: Encode, kind: str) -> None:
    values = np.array([[0, 255, 256, 511, 32768, 65535]], dtype=np.uint16)
    found = np.asarray(decode(encode(Image.fromarray(values), kind), kind))
    assert found[0, :, 0].tolist() == [0, 0, 1, 1, 128, 255]


def test_16_bit_grey_big_endian() -> None:
    found = np.asarray(decode(_tiff(b"MM", 16, struct.pack(">4H", 0, 256, 32768, 65535)), "TIFF"))
    assert found[0, :, 0].tolist() == [0, 1, 128, 255]


def test_12_bit_grey_fills_the_range() -> None:
    found = np.asarray(decode(_tiff(b"II", 12, bytes([0x00, 0x08, 0x00, 0xFF, 0xF0, 0x10])), "TIFF"))
    assert found[0, :, 0].tolist() == [0, 128, 255, 1]


def test_32_bit_pixels_are_refused(encode: Encode) -> None:
    for pixels in (np.zeros((4, 4), dtype=np.int32), np.zeros((4, 4), dtype=np.float32)):
        with pytest.raises(Refused, match="no fixed range"):
            decode(encode(Image.fromarray(pixels), "TIFF"), "TIFF")


def _tiff(order: bytes, bits: int, strip: bytes) -> bytes:
    """Write by hand the four grey pixels in one row that Pillow does not write."""
    end = "<" if order == b"II" else ">"
    tags = [(256, 4), (257, 1), (258, bits), (259, 1), (262, 1), (273, 8), (277, 1), (278, 1), (279, len(strip))]
    entries = b"".join(struct.pack(end + "HHIHH", tag, 3, 1, value, 0) for tag, value in tags)
    offset = 8 + len(strip) + len(strip) % 2
    header = order + struct.pack(end + "HI", 42, offset)
    return header + strip.ljust(offset - 8, b"\0") + struct.pack(end + "H", len(tags)) + entries + bytes(4)


def test_remarks_are_kept_and_are_no_reason_to_skip(tmp_path: Path, noise: Draw, encode: Encode) -> None:
    palette, exif = tmp_path / "palette.png", tmp_path / "exif.jpg"
    palette.write_bytes(encode(noise(mode="P"), "PNG", transparency=bytes(range(250))))
    exif.write_bytes(encode(noise(), "JPEG", exif=b"Exif\0\0II*\0\x08\0\0\0\xff\xff\x01"))
    batch, _ = batch_of([palette, exif])
    assert batch.kept == [0, 1]
    assert {number for number, _ in batch.remarks} == {0, 1}
    assert "Palette images with Transparency" in dict(batch.remarks)[0]


def test_good_files_close_the_gap_a_bad_one_leaves(tmp_path: Path, noise: Draw) -> None:
    files = [tmp_path / f"{number}.png" for number in range(4)]
    for number, file in enumerate(files):
        noise(seed=number).save(file)
    files[1].write_bytes(b"")
    batch, pixels = batch_of(files)
    assert batch.kept == [0, 2, 3]
    assert [number for number, _ in batch.refused] == [1]
    assert len(batch.digests) == 4
    for row, number in enumerate(batch.kept):
        assert torch.equal(torch.from_numpy(pixels[row]).permute(2, 0, 1), reference(noise(seed=number)))


def _png_header(width: int, height: int) -> bytes:
    """A PNG that announces a size and holds next to nothing."""
    chunks = [(b"IHDR", struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)), (b"IDAT", zlib.compress(bytes(99)))]
    body = b"".join(struct.pack(">I", len(d)) + t + d + struct.pack(">I", zlib.crc32(t + d)) for t, d in chunks)
    return b"\x89PNG\r\n\x1a\n" + body


@pytest.mark.parametrize("size", [(10_000, 10_000), (30_000, 30_000), (89_478_486, 1)], ids=str)
def test_bomb_is_refused_before_it_is_unpacked(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, size: tuple[int, int]
) -> None:
    monkeypatch.setattr(ImageFile.ImageFile, "load", lambda self: pytest.fail("unpacked"))
    file = tmp_path / "bomb.png"
    file.write_bytes(_png_header(*size))
    assert "decompression bomb" in reason_for(file)
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", None)
    assert "decompression bomb" in reason_for(file), "the limit is ours, whatever the process says"


def test_long_thin_picture_is_refused_before_it_is_enlarged(
    tmp_path: Path, noise: Draw, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Image.Image, "resize", lambda *_: pytest.fail("enlarged"))
    file = tmp_path / "thin.png"
    noise(30_000, 1).save(file)
    buffer = np.zeros((1, 224, 224, 3), dtype=np.uint8)
    batch = decode_batch([str(file)], [(256, 224, "bilinear")], [buffer])
    assert batch.refused == [
        (0, "30000x1 pixels, which a short side of 256 would enlarge to 7680000x256, more than the 89478485 allowed")
    ]


def test_truncated_file_is_refused_even_where_the_process_is_lenient(
    tmp_path: Path, noise: Draw, encode: Encode, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ImageFile, "LOAD_TRUNCATED_IMAGES", True)
    for name, kind in (("a.jpg", "JPEG"), ("a.png", "PNG"), ("a.gif", "GIF"), ("a.bmp", "BMP"), ("a.webp", "WEBP")):
        data = encode(noise(), kind)
        (tmp_path / name).write_bytes(data[: len(data) // 2])
        assert reason_for(tmp_path / name).startswith("broken: ")
    assert ImageFile.LOAD_TRUNCATED_IMAGES is True


@pytest.mark.parametrize(
    ("name", "content", "reason"),
    [
        ("empty.jpg", b"", "the file is empty"),
        ("text.jpg", b"<html>", "the name says JPEG, the content is no JPEG, PNG, WEBP, BMP, GIF, TIFF"),
        ("cut.png", b"\x89PNG\r\n\x1a\n", "broken: "),
        ("liar.jpg", b"\x89PNG\r\n\x1a\n", "the name says JPEG, the content is PNG"),
        ("liar.png", b"RIFF\0\0\0\0WEBPVP8 ", "the name says PNG, the content is WEBP"),
        ("header.gif", b"GIF89a", "broken: the header cannot be understood"),
    ],
)
def test_reasons(tmp_path: Path, name: str, content: bytes, reason: str) -> None:
    (tmp_path / name).write_bytes(content)
    assert reason_for(tmp_path / name).startswith(reason)


def test_file_too_large_to_read_is_digested_but_not_kept(
    tmp_path: Path, noise: Draw, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = tmp_path / "large.png"
    noise().save(file)
    small = decoding.read(str(file))[0]
    monkeypatch.setattr(decoding, "MAX_FILE_BYTES", 100)
    digest, data, reason = decoding.read(str(file))
    assert (digest, data) == (small, None)
    assert reason == f"the file has {file.stat().st_size} bytes, more than the 100 that are read"


@pytest.mark.parametrize("kind", FILES)
def test_no_damage_is_an_exception(tmp_path: Path, noise: Draw, encode: Encode, kind: str) -> None:
    """Cut, flip and drop bytes: every outcome is a picture or a reason, and the same one twice."""
    name, make = FILES[kind]
    whole = make(noise, encode)
    extension = next(end for end, format_ in decoding.EXTENSIONS.items() if format_ == name)
    choose = random.Random(kind)
    files = []
    for number in range(60):
        data = bytearray(whole)
        if number % 3 == 0:
            del data[choose.randrange(len(data)) :]
        for _ in range(choose.choice((1, 2, 8))):
            if data:
                data[choose.randrange(min(len(data), choose.choice((40, 400, len(data)))))] = choose.choice((0, 255, 7))
        files.append(tmp_path / f"{number}{extension}")
        files[-1].write_bytes(data)
    batch, _ = batch_of(files)
    assert len(batch.kept) + len(batch.refused) == len(files)
    assert batch.refused == batch_of(files)[0].refused
    assert all(reason.strip() and " at 0x" not in reason for _, reason in batch.refused)
