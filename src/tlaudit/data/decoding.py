"""From the bytes of one file to the pixels a network sees; everything a worker process runs.

Pixels are those of the field's usual chain: Pillow opens the file, the EXIF orientation is applied, ``convert("RGB")``,
then torchvision's ``Resize`` (short side, antialiased) and ``CenterCrop``, all in eight bits, bit for bit. The JPEG
decoder's draft mode would be faster and is not used, because it changes pixels. Where Pillow leaves a choice:

- alpha, also of palettes, is dropped and the colour below it kept, as ``convert("RGB")`` does;
- 16-bit greyscale loses its low byte, as 16-bit colour does in Pillow; ``convert("RGB")`` alone would clip at 255;
- 32-bit integers and floats (TIFF) have no fixed range and are refused;
- of an animation or a stack of pages, the first is taken.

A file that cannot be used is never an exception here but a reason. Nothing in this module imports torch, so that a
worker process started afresh is ready in a fraction of a second.
"""

from __future__ import annotations

import ctypes
import functools
import hashlib
import io
import logging
import os
import re
import stat
import struct
import warnings
import zlib
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageFile, UnidentifiedImageError, _imaging
from PIL.Image import Resampling, Transpose

from tlaudit.data.locations import piece_of

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

Geometry = tuple[int, int, str]
Pixels = NDArray[np.uint8]

MAX_PIXELS = 89_478_485
"""Most pixels of a picture, as announced and as enlarged: Pillow's default, fixed here to be the same everywhere."""

MAX_FILE_BYTES = 1 << 30
"""Largest file read into memory: an uncompressed 16-bit RGBA picture of `MAX_PIXELS` is smaller."""

MOST_SCANS = 500
"""Scans of a JPEG that are decoded; each goes over all the picture, and a hundred bytes are enough for one."""

_READ_AT_ONCE = 1 << 20

EXTENSIONS = {
    ".jpg": "JPEG",
    ".jpeg": "JPEG",
    ".jpe": "JPEG",
    ".jfif": "JPEG",
    ".png": "PNG",
    ".webp": "WEBP",
    ".bmp": "BMP",
    ".gif": "GIF",
    ".tif": "TIFF",
    ".tiff": "TIFF",
}
"""Lower-case file extension -> the format it promises, by Pillow's name."""

_SIGNATURES = (
    (b"\xff\xd8\xff", "JPEG"),
    (b"\x89PNG\r\n\x1a\n", "PNG"),
    (b"GIF87a", "GIF"),
    (b"GIF89a", "GIF"),
    (b"BM", "BMP"),
    (b"II*\0", "TIFF"),
    (b"MM\0*", "TIFF"),
    (b"II+\0", "TIFF"),
    (b"MM\0+", "TIFF"),
)

_SCAN, _END_OF_IMAGE = b"\xff\xda", 0xD9
# What begins a segment, or ends the picture: no zero stuffed into coded pixels, and no marker that stands alone.
_MARKER = re.compile(rb"\xff+[^\xff\x00\x01\xd0-\xd8]")

_RESAMPLING = {
    "nearest": Resampling.NEAREST,
    # Pillow's nearest neighbour is the exact one; torchvision maps both names to it.
    "nearest-exact": Resampling.NEAREST,
    "bilinear": Resampling.BILINEAR,
    "bicubic": Resampling.BICUBIC,
    "lanczos": Resampling.LANCZOS,
    "box": Resampling.BOX,
    "hamming": Resampling.HAMMING,
}

_ORIENTATION_TAG = 0x0112
_UPRIGHT = {
    2: Transpose.FLIP_LEFT_RIGHT,
    3: Transpose.ROTATE_180,
    4: Transpose.FLIP_TOP_BOTTOM,
    5: Transpose.TRANSPOSE,
    6: Transpose.ROTATE_270,
    7: Transpose.TRANSVERSE,
    8: Transpose.ROTATE_90,
}
_BITS_PER_SAMPLE_TAG = 258

# What Pillow's parsers let out of a malformed file of the formats above; found by flipping and cutting bytes of each.
PILLOW_ERRORS = (
    OSError,
    SyntaxError,
    ValueError,
    TypeError,
    LookupError,
    AttributeError,
    ArithmeticError,
    EOFError,
    MemoryError,
    struct.error,
    zlib.error,
    Image.DecompressionBombError,
    Image.DecompressionBombWarning,
)


class Refused(Exception):  # noqa: N818 - a verdict on a file that never leaves this module as an error
    """A file that is left out; its text is the reason."""


class FileDigest(NamedTuple):
    """Size in bytes and SHA-256 of a file's content; both empty-handed where it could not be read."""

    size: int | None
    sha256: str


UNREADABLE = FileDigest(None, "unreadable")


class DecodedBatch(NamedTuple):
    """What became of a list of files: row r of the pixel buffers belongs to the file number ``kept[r]``."""

    kept: list[int]
    digests: list[FileDigest]
    refused: list[tuple[int, str]]
    remarks: list[tuple[int, str]]


def decode_batch(files: Iterable[str], geometries: Sequence[Geometry], buffers: Sequence[Pixels]) -> DecodedBatch:
    """Read each file once and write its pixels into the next free row of every buffer.

    Args:
        files: Locations (`tlaudit.data.locations`), at most as many as the buffers have rows.
        geometries: Resize, crop and interpolation, one for each buffer.
        buffers: ``(N, crop, crop, 3)`` uint8, one for each geometry, written in place. Rows past the last good file
            keep whatever they held.

    Returns:
        Numbers of the files that were decoded, the digest of every file, and by file number the reasons of those left
        out and Pillow's remarks on those kept.
    """
    result = DecodedBatch([], [], [], [])
    with _pinned_pillow() as caught:
        for number, file in enumerate(files):
            digest, data, reason = read(file)
            result.digests.append(digest)
            if data is not None:
                reason = _decode_into(data, file, geometries, [buffer[len(result.kept)] for buffer in buffers])
            if reason is None:
                result.kept.append(number)
                result.remarks.extend((number, str(warning.message)) for warning in caught)
            else:
                result.refused.append((number, reason))
            caught.clear()
    return result


def read(location: str) -> tuple[FileDigest, bytes | None, str | None]:
    """Read all of a file, or of a piece of a shard, and digest it.

    Returns:
        The digest and the content; or, where there is nothing to decode, no content and the reason. Content over
        `MAX_FILE_BYTES` is digested but not kept.
    """
    piece = piece_of(location)
    file = location if piece is None else piece.file
    try:
        status = os.stat(file)  # noqa: PTH116 - here and below, making a Path costs as much as hashing the file
        if not stat.S_ISREG(status.st_mode):
            # Opening a named pipe would wait for a writer for ever, and a device never ends.
            return UNREADABLE, None, "not a regular file"
        with open(file, "rb", buffering=0) as stream:  # noqa: PTH123
            size = status.st_size if piece is None else piece.size
            if piece is not None:
                stream.seek(piece.at)
            if size > MAX_FILE_BYTES:
                reason = f"the file has {size} bytes, more than the {MAX_FILE_BYTES} that are read"
                return FileDigest(size, _sha256(stream, size)), None, reason
            data = stream.readall() if piece is None else stream.read(size)
    except OSError as error:
        return UNREADABLE, None, f"cannot be read: {error.strerror or type(error).__name__}"
    if piece is not None and len(data) < size:
        return UNREADABLE, None, "cannot be read: the shard has become shorter since it was listed"
    digest = FileDigest(len(data), hashlib.sha256(data).hexdigest())
    return (digest, data, None) if data else (digest, None, "the file is empty")


def _sha256(stream: io.RawIOBase, size: int) -> str:
    """Digest so many bytes without holding them."""
    digest = hashlib.sha256()
    while size > 0 and (data := stream.read(min(size, _READ_AT_ONCE))):
        digest.update(data)
        size -= len(data)
    return digest.hexdigest()


@contextmanager
def _pinned_pillow() -> Iterator[list[warnings.WarningMessage]]:
    """Make Pillow behave alike in every process: remarks are collected, a bomb is an error, a truncated file too.

    What is wrong with a file is said once, as the reason to leave it out, and not beside it on stderr.
    """
    lenient, most, logger = ImageFile.LOAD_TRUNCATED_IMAGES, Image.MAX_IMAGE_PIXELS, logging.getLogger("PIL")
    level = logger.level
    _silence_libtiff()
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        warnings.simplefilter("error", Image.DecompressionBombWarning)
        ImageFile.LOAD_TRUNCATED_IMAGES, Image.MAX_IMAGE_PIXELS = False, MAX_PIXELS
        logger.setLevel(logging.CRITICAL + 1)
        try:
            yield caught
        finally:
            ImageFile.LOAD_TRUNCATED_IMAGES, Image.MAX_IMAGE_PIXELS = lenient, most
            logger.setLevel(level)


@functools.cache
def _silence_libtiff() -> None:
    """Keep libtiff, which writes to stderr whatever it finds odd in a file, from doing so in this process."""
    with suppress(OSError, AttributeError):  # where Pillow's library cannot be reached, it goes on
        library = ctypes.CDLL(_imaging.__file__)
        for silence in (library.TIFFSetErrorHandler, library.TIFFSetWarningHandler):
            silence.argtypes, silence.restype = [ctypes.c_void_p], ctypes.c_void_p
            silence(None)


def _decode_into(data: bytes, file: str, geometries: Sequence[Geometry], rows: Sequence[Pixels]) -> str | None:
    """Decode one file into one row of each buffer, or say why it cannot be done."""
    try:
        image = decode(data, EXTENSIONS[extension(file)])
        for geometry in geometries:
            _require_room(image.size, geometry)
        for geometry, row in zip(geometries, rows, strict=True):
            write_crop(image, geometry, row)
    except Refused as refusal:
        return str(refusal)
    except (Image.DecompressionBombError, Image.DecompressionBombWarning) as error:
        # Of Pillow's message the size; its limit is twice the one that holds here.
        return f"decompression bomb: {str(error).partition(' exceeds')[0]}, more than the {MAX_PIXELS} allowed"
    except MemoryError:
        return "decoding it needs more memory than there is"
    except UnidentifiedImageError:
        # Pillow's own message holds the address of a buffer, which would differ from run to run.
        return "broken: the header cannot be understood"
    except PILLOW_ERRORS as error:
        return f"broken: {str(error).strip() or type(error).__name__}"
    return None


def extension(file: str) -> str:
    """Give the part of a name from its last dot on, in lower case; the key into `EXTENSIONS`, if it is an image's."""
    return file[file.rfind(".") :].lower()


def content_format(data: bytes) -> str | None:
    """Tell the format from the first bytes, by Pillow's name; ``None`` if it is none of those in `EXTENSIONS`."""
    if data[:4] == b"RIFF" and data[8:12] == b"WEBP":
        return "WEBP"
    return next((name for signature, name in _SIGNATURES if data.startswith(signature)), None)


def decode(data: bytes, promised: str) -> Image.Image:
    """Decode a picture to upright RGB.

    Args:
        data: The whole file.
        promised: The format its name promises. Only that decoder is tried, so that no file picks its own.

    Returns:
        An image of mode ``RGB``, EXIF orientation applied, at its own size.

    Raises:
        Refused: If the content has another format, no pixels, too many pixels, or pixels without a fixed range.
        *PILLOW_ERRORS: If the content is broken.
    """
    found = content_format(data)
    if found != promised:
        named = found or f"no {', '.join(dict.fromkeys(EXTENSIONS.values()))}"
        raise Refused(f"the name says {promised}, the content is {named}")
    if promised == "JPEG" and data.count(_SCAN) > MOST_SCANS and (scans := _scans(data)) > MOST_SCANS:
        raise Refused(f"decompression bomb: a JPEG of {scans} scans, more than the {MOST_SCANS} allowed")
    with Image.open(io.BytesIO(data), formats=(promised,)) as image:
        width, height = image.size
        if width < 1 or height < 1:
            raise Refused(f"has no pixels ({width}x{height})")
        if width * height > MAX_PIXELS:
            raise Refused(f"decompression bomb: {width}x{height} pixels, more than the {MAX_PIXELS} allowed")
        image.load()
        rgb = _to_rgb(image)
        turn = _UPRIGHT.get(_orientation(image))
        return rgb if turn is None else rgb.transpose(turn)


def _scans(data: bytes) -> int:
    """Count the scans of a JPEG up to the end of its first picture; thumbnails and what follows it may hold more."""
    at, scans = 2, 0
    while marker := _MARKER.search(data, at):
        if data[marker.end() - 1] == _END_OF_IMAGE:
            break
        scans += marker[0][-1:] == _SCAN[1:]
        at = marker.end() + int.from_bytes(data[marker.end() : marker.end() + 2])
    return scans


def _to_rgb(image: Image.Image) -> Image.Image:
    """Convert loaded pixels to eight-bit RGB; see the top of the module for the choices made."""
    if image.mode == "RGB":
        return image
    if image.mode.startswith("I;16") or (image.mode == "I" and image.format == "PNG"):
        # Older Pillow opens a 16-bit PNG as mode "I". A 12-bit TIFF arrives in 16 bits, its values below 4096.
        tags: Any = getattr(image, "tag_v2", {})
        surplus = 4 if tags.get(_BITS_PER_SAMPLE_TAG) == (12,) else 8
        return Image.fromarray((np.asarray(image) >> surplus).astype(np.uint8)).convert("RGB")
    if image.mode in {"I", "F"}:
        raise Refused("its 32-bit pixels have no fixed range that could be scaled to 8 bits")
    return image.convert("RGB")


def _orientation(image: Image.Image) -> Any:
    """Read the EXIF orientation; an EXIF block that cannot be parsed leaves the picture as it lies."""
    try:
        return image.getexif().get(_ORIENTATION_TAG)
    except PILLOW_ERRORS as error:
        warnings.warn(f"EXIF data cannot be parsed, orientation ignored: {error}", UserWarning, stacklevel=2)
        return None


def resized_size(size: tuple[int, int], resize: int) -> tuple[int, int]:
    """Give width and height once the short side has ``resize`` pixels, rounded as torchvision rounds."""
    width, height = size
    if width <= height:
        return resize, int(resize * height / width)
    return int(resize * width / height), resize


def _require_room(size: tuple[int, int], geometry: Geometry) -> None:
    """Refuse a picture so long and thin that its enlargement would fill the memory."""
    width, height = resized_size(size, geometry[0])
    if width * height > MAX_PIXELS:
        raise Refused(
            f"{size[0]}x{size[1]} pixels, which a short side of {geometry[0]} would enlarge to {width}x{height}, "
            f"more than the {MAX_PIXELS} allowed"
        )


def write_crop(image: Image.Image, geometry: Geometry, row: Pixels) -> None:
    """Resize the short side and cut out the centre, bit for bit as torchvision's ``Resize`` and ``CenterCrop``.

    Args:
        image: Mode ``RGB``, any size.
        geometry: Resize, crop and interpolation.
        row: ``(crop, crop, 3)`` uint8, written in place; black where the resized picture is smaller than the crop.
    """
    resize, crop, interpolation = geometry
    target = resized_size(image.size, resize)
    if image.size != target:
        image = image.resize(target, _RESAMPLING[interpolation])
    left, column, wide = _window(target[0], crop)
    top, line, high = _window(target[1], crop)
    if wide < crop or high < crop:
        row[:] = 0
    centre = image.crop((left, top, left + wide, top + high))
    row[line : line + high, column : column + wide] = np.asarray(centre)


def _window(size: int, crop: int) -> tuple[int, int, int]:
    """Place a centred window on one axis: where it starts in the picture, where in the crop, and its length."""
    if size < crop:
        return 0, (crop - size) // 2, size
    # Python's rounding of halves to even is torchvision's.
    return round((size - crop) / 2.0), 0, crop
