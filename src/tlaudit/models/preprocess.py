"""One transform for each model: which one, and the half of it that runs on the device.

Decoding, resizing and cropping happen once for all models that share a geometry (``tlaudit.data``); what differs from
model to model beyond that is the normalisation here.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol

import torch
from pydantic import ValidationError

from tlaudit.errors import ShapeError, UsageError
from tlaudit.results import Preprocessing

if TYPE_CHECKING:
    from torch import Tensor

IMAGENET = Preprocessing(
    resize=256,
    crop=224,
    interpolation="bilinear",
    mean=(0.485, 0.456, 0.406),
    std=(0.229, 0.224, 0.225),
    origin="ImageNet's default",
)
"""What is assumed of a model about which nothing is known: the transform most ImageNet networks are evaluated with."""

_FIELDS = ("resize", "crop", "interpolation", "mean", "std")


class Overrides(Protocol):
    """Anything that may say, or leave open with None, each number of a preprocessing."""

    @property
    def resize(self) -> int | None:
        """Short side in pixels."""

    @property
    def crop(self) -> int | None:
        """Side of the centre crop in pixels."""

    @property
    def interpolation(self) -> str | None:
        """Name of the filter."""

    @property
    def mean(self) -> tuple[float, float, float] | None:
        """Mean of each channel, R G B, of values in [0, 1]."""

    @property
    def std(self) -> tuple[float, float, float] | None:
        """Spread of each channel, above 0."""


@dataclass(frozen=True)
class PreprocessOverrides:
    """Numbers given for a preprocessing, and by whom; None leaves a number as it is."""

    resize: int | None = None
    crop: int | None = None
    interpolation: str | None = None
    mean: tuple[float, float, float] | None = None
    std: tuple[float, float, float] | None = None
    origin: str = "options"


def resolve_preprocessing(known: Preprocessing | None, *overrides: Overrides) -> Preprocessing:
    """Settle how pictures become a network's input.

    Args:
        known: What the weights' or checkpoint's metadata say, if anything; else ImageNet's transform is assumed.
        overrides: What the user says, the first that gives a number wins. One with an ``origin`` is quoted by it.

    Returns:
        The preprocessing; its ``origin`` says which numbers came from where, such as
        ``"resize, crop: options; interpolation, mean, std: ImageNet's default"``.

    Raises:
        UsageError: If a number is out of range, or the user asks for a crop larger than the resized picture, whose
            border would be black. Weights may ask for it: they were trained that way.
    """
    base = known or IMAGENET
    values: dict[str, Any] = {}
    origins: dict[str, str] = {}
    for field in _FIELDS:
        giver = next((given for given in overrides if getattr(given, field) is not None), None)
        values[field] = getattr(base if giver is None else giver, field)
        origins[field] = base.origin if giver is None else str(getattr(giver, "origin", "options"))
    try:
        resolved = Preprocessing(**values, origin=_quote(origins))
    except ValidationError as error:
        detail = error.errors()[0]
        field = str(detail["loc"][0])
        raise UsageError(f"preprocessing, {field} ({origins[field]}): {detail['msg']}, got {values[field]}") from None
    if min(resolved.std) <= 0:
        raise UsageError(f"preprocessing, std ({origins['std']}): expected three numbers above 0, got {resolved.std}")
    if resolved.crop > resolved.resize and not origins["crop"] == origins["resize"] == base.origin:
        raise UsageError(
            f"preprocessing: a crop of {resolved.crop} ({origins['crop']}) does not fit into a short side of "
            f"{resolved.resize} ({origins['resize']}): give both resize and crop"
        )
    return resolved


def _quote(origins: dict[str, str]) -> str:
    """Say once for each origin which numbers it gave; nothing but the origin where it gave all."""
    by_origin: dict[str, list[str]] = {}
    for field, origin in origins.items():
        by_origin.setdefault(origin, []).append(field)
    if len(by_origin) == 1:
        return next(iter(by_origin))
    return "; ".join(f"{', '.join(fields)}: {origin}" for origin, fields in by_origin.items())


class Normalizer:
    """Turns eight-bit pixels into a network's input on a device: ``(x / 255 - mean) / std``.

    The steps are those of torchvision's ``ToTensor`` and ``Normalize`` in float32, in their order, so that on the CPU
    the result is the same bit for bit.

    Example:
        >>> normalize = Normalizer(IMAGENET, torch.device("cpu"))
        >>> normalize(torch.zeros(1, 3, 224, 224, dtype=torch.uint8))[0, :, 0, 0]
        tensor([-2.1179, -2.0357, -1.8044])
    """

    def __init__(self, preprocessing: Preprocessing, device: torch.device) -> None:
        """Put the constants on the device.

        Args:
            preprocessing: Whose mean and std are used; pictures must be crops of its size.
            device: Where the network is.
        """
        self._device = device
        self._side = preprocessing.crop
        self._mean = self._plane(preprocessing.mean)
        self._std = self._plane(preprocessing.std)

    def _plane(self, channels: tuple[float, float, float]) -> Tensor:
        """Repeat one number a channel over a whole picture.

        In channels-last memory a vector of three would be repeated in steps of three numbers, which costs more than the
        arithmetic; a whole picture is as long as what it is combined with.
        """
        values = torch.tensor(channels, dtype=torch.float32, device=self._device)
        picture = values.view(1, 3, 1, 1).expand(1, 3, self._side, self._side)
        return picture.contiguous(memory_format=torch.channels_last)

    def __call__(self, pixels: Tensor) -> Tensor:
        """Normalise a batch.

        Args:
            pixels: ``(N, 3, crop, crop)`` uint8 in [0, 255], on any device; left as they are.

        Returns:
            ``(N, 3, crop, crop)`` float32 on the device, in channels-last memory.

        Raises:
            ShapeError: If the pixels are not of that shape and type.
        """
        expected = (3, self._side, self._side)
        if pixels.dtype != torch.uint8 or tuple(pixels.shape[1:]) != expected or pixels.dim() != 4:
            raise ShapeError(f"expected pixels (N, {', '.join(map(str, expected))}) uint8, got {_describe(pixels)}")
        # Bytes go over to the device, a quarter of what floats would be.
        values = pixels.to(self._device).to(torch.float32, memory_format=torch.channels_last)
        return values.div_(255).sub_(self._mean).div_(self._std)


def _describe(pixels: Tensor) -> str:
    return f"{tuple(pixels.shape)} {str(pixels.dtype).removeprefix('torch.')}"
