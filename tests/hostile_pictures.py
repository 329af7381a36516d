"""Pictures that somebody who means ill would send, or a bad disk; each with what has to become of it."""

from __future__ import annotations

import functools
import io
import json
import struct
import zlib
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
from PIL import Image

import planted

if TYPE_CHECKING:
    from collections.abc import Callable

KEPT = ""
"""What is expected of a file that can be used."""

BOMB = r"decompression bomb: "
BROKEN = r"broken: "
TOO_LARGE = rf"{BOMB}Image size \(\d+ pixels\), more than the 89478485 allowed$"
NO_HEADER = r"broken: the header cannot be understood$"


class Picture(NamedTuple):
    """A file: its name, how its bytes are made, and the reason (a pattern) why it is left out, `KEPT` if it is not."""

    name: str
    make: Callable[[], bytes]
    reason: str


def noise(width: int = 50, height: int = 40, mode: str = "RGB", seed: int = 0) -> Image.Image:
    values = np.random.default_rng(seed).integers(0, 256, (height, width, 4), dtype=np.uint8)
    return Image.fromarray(values) if mode == "RGBA" else Image.fromarray(values[..., :3]).convert(mode)


def encoded(image: Image.Image, kind: str, **options: object) -> bytes:
    stream = io.BytesIO()
    image.save(stream, kind, **options)
    return stream.getvalue()


@functools.cache
def plain(kind: str, mode: str = "RGB") -> bytes:
    return encoded(noise(mode=mode), kind)


def chunk(kind: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


def png(width: int, height: int, pixels: bytes) -> bytes:
    header = chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0))
    return b"\x89PNG\r\n\x1a\n" + header + chunk(b"IDAT", zlib.compress(pixels)) + chunk(b"IEND", b"")


def with_chunks(*chunks: bytes) -> bytes:
    """A sound PNG with more chunks behind its header."""
    data = plain("PNG")
    return data[:33] + b"".join(chunks) + data[33:]


def swollen() -> bytes:
    """20 MB of nothing in 20 kB."""
    return zlib.compress(bytes(20_000_000), 9)


def tiff(
    width: int = 4, height: int = 4, *, following: int = 0, more: tuple[tuple[int, int, int, int], ...] = ()
) -> bytes:
    """A grey TIFF by hand: entries are tag, type, count, value; those of the same tag replace the usual ones."""
    usual = {256: (4, 1, width), 257: (4, 1, height), 258: (3, 1, 8), 259: (3, 1, 1), 262: (3, 1, 1)}
    usual |= {273: (4, 1, 0), 277: (3, 1, 1), 278: (4, 1, height), 279: (4, 1, 16)}
    entries = usual | {tag: (kind, count, value) for tag, kind, count, value in more}
    behind = 8 + 2 + 12 * len(entries) + 4
    if entries[273] == (4, 1, 0):
        entries[273] = (4, 1, behind)
    rows = b"".join(struct.pack("<HHII", tag, *entries[tag]) for tag in sorted(entries))
    return b"II*\0" + struct.pack("<IH", 8, len(entries)) + rows + struct.pack("<I", following) + bytes(range(64))


def bmp(width: int, height: int) -> bytes:
    return (
        b"BM"
        + struct.pack("<IHHI", 0, 0, 0, 54)
        + struct.pack("<IiiHHIIIIII", 40, width, height, 1, 24, *[0] * 6)
        + bytes(64)
    )


def gif(width: int, height: int) -> bytes:
    image = b"," + struct.pack("<HHHH", 0, 0, width, height) + b"\0\x08\x01\0\0;"
    return b"GIF89a" + struct.pack("<HH", 4, 4) + b"\0\0\0" + image


def webp(side: int) -> bytes:
    header = b"\x2f" + struct.pack("<I", (side - 1) | ((side - 1) << 14)) + bytes(20)
    return b"RIFF" + struct.pack("<I", len(header) + 12) + b"WEBPVP8L" + struct.pack("<I", len(header)) + header


def jpeg_of_size(width: int, height: int) -> bytes:
    data = plain("JPEG")
    at = data.index(b"\xff\xc0") + 5
    return data[:at] + struct.pack(">HH", height, width) + data[at + 4 :]


def segment(marker: int, data: bytes) -> bytes:
    return b"\xff" + bytes([marker]) + struct.pack(">H", len(data) + 2) + data


def jpeg_of_scans(scans: int, side: int = 64) -> bytes:
    """A progressive JPEG that is gone over again and again, by a few bytes each time."""
    blocks = (side // 8) ** 2

    def scan(first: int, last: int, bits: str) -> bytes:
        count = -(-len(bits) // 8)
        coded = int(bits.ljust(8 * count, "1"), 2).to_bytes(count).replace(b"\xff", b"\xff\0")
        return segment(0xDA, b"\x01\x01\x00" + bytes([first, last, 0])) + coded

    tables = segment(0xDB, b"\0" + bytes([1] * 64))
    tables += segment(0xC2, struct.pack(">BHHB", 8, side, side, 1) + b"\x01\x11\0")
    tables += segment(0xC4, b"\0" + bytes([1] + [0] * 15) + b"\0") + segment(
        0xC4, b"\x10" + bytes([1] + [0] * 15) + b"\xe0"
    )
    runs = ("0" + "1" * 14) * -(-blocks // 32767)
    return b"\xff\xd8" + tables + scan(0, 0, "0" * blocks) + scan(1, 63, runs) * (scans - 1) + b"\xff\xd9"


def ycck() -> bytes:
    data = plain("JPEG", "CMYK")
    at = data.index(b"Adobe") + 11
    return data[:at] + b"\x02" + data[at + 1 :]


def turned(orientation: int) -> bytes:
    exif = Image.Exif()
    exif[0x0112] = orientation
    return encoded(noise(), "JPEG", exif=exif)


def several(kind: str, mode: str = "RGB") -> bytes:
    return encoded(noise(mode=mode), kind, save_all=True, append_images=[noise(mode=mode, seed=n) for n in (1, 2)])


CUT = [
    Picture(
        f"cut at {share} %.{ending}",
        functools.partial(lambda k, s: plain(k)[: len(plain(k)) * s // 100], kind, share),
        reason,
    )
    for kind, ending in (
        ("JPEG", "jpg"),
        ("PNG", "png"),
        ("WEBP", "webp"),
        ("BMP", "bmp"),
        ("GIF", "gif"),
        ("TIFF", "tif"),
    )
    for share, reason in (
        (0, "the file is empty$"),
        (3, rf"{BROKEN}|the name says \w+, the content is no "),
        (50, BROKEN),
        (95, BROKEN),
    )
]
"""Files of each format that end too early."""

BOMBS = [
    Picture("announced.png", lambda: png(30_000, 30_000, bytes(99)), TOO_LARGE),
    Picture("largest there is.png", lambda: png(2**31 - 1, 2**31 - 1, bytes(99)), TOO_LARGE),
    Picture("negative.png", lambda: png(2**32 - 1, 1, bytes(99)), TOO_LARGE),
    Picture("one pixel too many.png", lambda: png(89_478_486, 1, bytes(99)), TOO_LARGE),
    Picture(
        "text.png", lambda: with_chunks(chunk(b"zTXt", b"k\0\0" + swollen())), rf"{BROKEN}Decompressed data too large"
    ),
    Picture(
        "international text.png",
        lambda: with_chunks(chunk(b"iTXt", b"k\0\1\0\0\0" + swollen())),
        f"{BROKEN}Decompressed",
    ),
    Picture(
        "profile.png",
        lambda: with_chunks(chunk(b"iCCP", b"k\0\0" + swollen())),
        rf"{BROKEN}Decompressed data too large",
    ),
    Picture(
        "many texts.png",
        lambda: with_chunks(chunk(b"zTXt", b"k\0\0" + zlib.compress(bytes(10**6), 9)) * 70),
        rf"{BROKEN}Too much memory used in text chunks",
    ),
    Picture("announced.gif", lambda: gif(65_535, 65_535), TOO_LARGE),
    Picture("announced.webp", lambda: webp(16_384), TOO_LARGE),
    Picture("announced.tif", lambda: tiff(60_000, 60_000), TOO_LARGE),
    Picture("largest there is.tif", lambda: tiff(2**31, 2**31), TOO_LARGE),
    Picture("strips without end.tif", lambda: tiff(more=((273, 4, 2**30, 8), (279, 4, 2**30, 8))), NO_HEADER),
    Picture("colours without end.tif", lambda: tiff(more=((258, 3, 65_535, 8), (277, 3, 1, 65_535))), NO_HEADER),
    Picture(
        "tile.tif",
        lambda: tiff(more=((259, 3, 1, 8), (322, 4, 1, 2**20), (323, 4, 1, 2**20), (324, 4, 1, 8), (325, 4, 1, 16))),
        BROKEN,
    ),
    Picture("announced.jpg", lambda: jpeg_of_size(65_535, 65_535), TOO_LARGE),
    Picture("scans.jpg", lambda: jpeg_of_scans(501), f"{BOMB}a JPEG of 501 scans, more than the 500 allowed$"),
    Picture("announced.bmp", lambda: bmp(60_000, 60_000), TOO_LARGE),
    Picture("upside down.bmp", lambda: bmp(4, -(2**31)), TOO_LARGE),
    Picture(
        "long.png",
        lambda: encoded(noise(30_000, 1), "PNG"),
        r"30000x1 pixels, which a short side of 256 would enlarge to 7680000x256",
    ),
    Picture(
        "high.png",
        lambda: encoded(noise(1, 30_000), "PNG"),
        r"1x30000 pixels, which a short side of 256 would enlarge to 256x7680000",
    ),
]
"""Small files that ask for much memory or time."""

ODD = [
    Picture("no pixels.png", lambda: png(0, 0, b""), NO_HEADER),
    Picture("more pixels than announced.png", lambda: png(4, 4, bytes(20_000_000)), KEPT),
    Picture("chunks of nothing.png", lambda: with_chunks(chunk(b"zzZz", b"") * 2000), KEPT),
    Picture("directories in a circle.tif", lambda: tiff(following=8), KEPT),
    Picture("exif in a circle.tif", lambda: tiff(more=((34665, 4, 1, 8),)), KEPT),
    Picture("subdirectory in a circle.tif", lambda: tiff(more=((330, 4, 1, 8),)), KEPT),
    Picture("several pages.tif", lambda: several("TIFF"), KEPT),
    Picture("lab.tif", lambda: plain("TIFF", "LAB"), KEPT),
    Picture("ycbcr.tif", lambda: plain("TIFF", "YCbCr"), KEPT),
    Picture("cmyk.tif", lambda: plain("TIFF", "CMYK"), KEPT),
    Picture(
        "16 bit.tif", lambda: encoded(Image.fromarray(np.arange(1600, dtype=np.uint16).reshape(40, 40)), "TIFF"), KEPT
    ),
    Picture(
        "32 bit.tif",
        lambda: encoded(Image.fromarray(np.zeros((4, 4), np.int32)), "TIFF"),
        "its 32-bit pixels have no fixed range",
    ),
    Picture(
        "numbers with a point.tif",
        lambda: encoded(Image.fromarray(np.zeros((4, 4), np.float32)), "TIFF"),
        "its 32-bit pixels",
    ),
    Picture(
        "16 bit.png", lambda: encoded(Image.fromarray(np.arange(1600, dtype=np.uint16).reshape(40, 40)), "PNG"), KEPT
    ),
    Picture("one bit.png", lambda: plain("PNG", "1"), KEPT),
    Picture("palette.png", lambda: encoded(noise(mode="P"), "PNG", transparency=bytes(range(250))), KEPT),
    Picture("transparent.png", lambda: plain("PNG", "RGBA"), KEPT),
    Picture("animated.png", lambda: several("PNG"), KEPT),
    Picture("animated.gif", lambda: several("GIF", "P"), KEPT),
    Picture("animated.webp", lambda: several("WEBP"), KEPT),
    Picture("several.jpg", lambda: several("MPO"), KEPT),
    Picture("cmyk.jpg", lambda: plain("JPEG", "CMYK"), KEPT),
    Picture("ycck.jpg", ycck, KEPT),
    Picture("as many scans as allowed.jpg", lambda: jpeg_of_scans(500), KEPT),
    Picture("scans in a film behind it.jpg", lambda: plain("JPEG") + b"\xff\xda" * 5000, KEPT),
    Picture(
        "scans in a thumbnail.jpg",
        lambda: plain("JPEG")[:2] + segment(0xE5, b"\xff\xda" * 5000) + plain("JPEG")[2:],
        KEPT,
    ),
    Picture("one pixel.png", lambda: encoded(noise(1, 1), "PNG"), KEPT),
    Picture("one pixel.gif", lambda: encoded(noise(1, 1, "P"), "GIF"), KEPT),
    *(Picture(f"turned {n}.jpg", functools.partial(turned, n), KEPT) for n in (0, 9, 255, 65_535)),
    Picture(
        "exif broken.jpg",
        lambda: encoded(noise(), "JPEG", exif=b"Exif\0\0II*\0\x08\0\0\0\xff\xff" + bytes(60_000)),
        KEPT,
    ),
    Picture("exif broken.png", lambda: with_chunks(chunk(b"eXIf", b"II*\0\xff\xff\xff\xff")), KEPT),
    Picture(
        "xmp huge.png",
        lambda: with_chunks(
            chunk(b"iTXt", b"XML:com.adobe.xmp\0\0\0\0\0" + b'tiff:Orientation="' + b"9" * 5000 + b'"')
        ),
        KEPT,
    ),
    Picture("profile broken.jpg", lambda: encoded(noise(), "JPEG", icc_profile=b"broken" * 20_000), KEPT),
    Picture("png.jpg", lambda: plain("PNG"), "the name says JPEG, the content is PNG$"),
    Picture("gif.webp", lambda: plain("GIF"), "the name says WEBP, the content is GIF$"),
    Picture(
        "page.jpg",
        lambda: b"<html><script>alert(1)</script></html>",
        "the name says JPEG, the content is no JPEG, PNG, WEBP",
    ),
    Picture(
        "drawing.png", lambda: b"<svg xmlns='http://www.w3.org/2000/svg'/>", "the name says PNG, the content is no JPEG"
    ),
    Picture("text.gif", lambda: b"GIF89", "the name says GIF, the content is no JPEG"),
    Picture("zeros.jpg", lambda: bytes(1000), "the name says JPEG, the content is no JPEG"),
    Picture(
        "all flipped.png",
        lambda: bytes(255 - byte for byte in plain("PNG")),
        "the name says PNG, the content is no JPEG",
    ),
    Picture(
        "all flipped.jpg",
        lambda: bytes(255 - byte for byte in plain("JPEG")),
        "the name says JPEG, the content is no JPEG",
    ),
    Picture(
        "all flipped but the beginning.png",
        lambda: plain("PNG")[:8] + bytes(255 - b for b in plain("PNG")[8:]),
        NO_HEADER,
    ),
]
"""Files that are unusual, not what their name says, or damaged."""

PICTURES = CUT + BOMBS + ODD


def lingering(world: dict[str, object], target: object, *more: object, source: object = None) -> list[str]:
    """The words of the cheapest command that looks at images: those of `planted.build`, or others in their place.

    Pictures are enlarged to the usual size, on which it depends how long and thin they may be.
    """
    places = {name: world[name] for name in ("source", "finetuned")}
    places |= {"source-data": source or world["source_data"], "target-data": target}
    given = [str(word) for name, place in places.items() for word in (f"--{name}", place)]
    net = ["--arch", planted.ARCH, "--resize", "256", "--crop", "16", "--mean", "0", "0", "0", "--std", "1", "1", "1"]
    work = ["--k", "1", "--device", "cpu", "-j", "0", "-q", "-f", "json"]
    return ["lingering", *given, *net, *work, *map(str, more)]


def skipped(out: str, role: str = "target") -> dict[str, str]:
    """What a result says of the files that were left out: reasons by name."""
    return {entry["file"]: entry["reason"] for entry in json.loads(out)["provenance"]["data"][role]["skipped"]}
