"""Pictures of single composites: what the networks look at, and what changes when it is hidden."""

from __future__ import annotations

import base64
import io
from typing import TYPE_CHECKING

import numpy as np
import torch
from PIL import Image, ImageDraw, ImageOps

from tlaudit.exhibits import Exhibit, Picture
from tlaudit.models.attribution import upsampled

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from torch import Tensor

    from tlaudit.checks.explained import Explainer, Scene, Seen
    from tlaudit.data.composites import Composite

LONGEST_SIDE = 192
"""Pixels of a picture in a report."""
QUALITY = 80
READING = (
    "Maps are bright where a network looks; the white frame is the overlay. Occluded: the pixels outside it that "
    "the source network looks at most are filled with one colour. The random mask fills as many others."
)
_COLD, _WARM, _HOT = "#00204c", "#d95f0e", "#fff35b"
_STRENGTH = 0.6
_ROLES = {"source": "source map", "finetuned": "finetuned map", "baseline": "baseline map"}


def exhibit(
    seen: Seen, explainer: Explainer, *, group: str, background: str, overlay: str, name: Callable[[int], str]
) -> Exhibit:
    """Show one composite: itself, where each network looks, and itself with the source's top pixels filled.

    Args:
        seen: The composite and what was found about it.
        explainer: Which made it; asked about the filled pictures.
        group: Title of the exhibits it stands among.
        background: Name of the source class.
        overlay: Name of the overlay's class.
        name: Gives the name of a class of the target task.
    """
    if seen.scene is None:
        raise ValueError(f"composite {seen.composite.id} has no pixels left to show")
    told = {role: _told(seen.distraction[role]) for role in seen.answers}
    return Exhibit(
        group=group,
        reading=READING,
        title=f"{background}, with {overlay} on it",
        text=f"Distraction of the finetuned network {told['finetuned']}"
        + (f", of the baseline {told['baseline']}." if "baseline" in told else "."),
        pictures=tuple(_pictures(seen, seen.scene, explainer, background, overlay, name)),
    )


def _pictures(
    seen: Seen, scene: Scene, explainer: Explainer, background: str, overlay: str, name: Callable[[int], str]
) -> Iterator[Picture]:
    yield Picture(
        label="composite",
        caption=f"{background} + {overlay}",
        alt=f"A picture of {background} with a smaller one of {overlay} pasted on it.",
        jpeg=_jpeg(_image(scene.pixels)),
    )
    for role, heat in explainer.maps(seen.composite, scene.pixels).items():
        if role == "source":
            caption, what = f"explains {background}", background
        else:
            answer = seen.answers[role]
            caption = f"{name(answer.predicted)} {answer.probability:.2f}{_mark(answer.predicted, seen.label)}"
            what = name(answer.predicted)
        if seen.dead[role]:
            caption += ", dead map"
        yield Picture(
            label=_ROLES[role],
            caption=caption,
            alt=f"Where the {role} network looks for {what}, bright on the composite.",
            jpeg=_jpeg(_heated(seen.composite, scene.pixels, heat)),
        )
    masks = {"occluded": scene.top, "random mask": explainer.random_mask(seen.composite, scene.top)}
    for label, mask in masks.items():
        pixels = explainer.filled(scene.pixels[None], mask[None])
        predicted, probability = (answer.item() for answer in explainer.predict("finetuned", pixels))
        what = "the source network's top pixels" if label == "occluded" else "as many pixels at random"
        yield Picture(
            label=label,
            caption=f"{name(int(predicted))} {probability:.2f}{_mark(int(predicted), seen.label)}",
            alt=f"The composite with {what} filled with one colour; the finetuned network's answer below it.",
            jpeg=_jpeg(_image(pixels[0])),
        )


def _told(value: float | None) -> str:
    return "absent (dead map)" if value is None else f"{value:.2f}"


def _mark(predicted: int, label: int) -> str:
    if label < 0:
        return ""
    return ", right" if predicted == label else ", wrong"


def _image(pixels: Tensor) -> Image.Image:
    return Image.fromarray(np.ascontiguousarray(pixels.permute(1, 2, 0).numpy()))


def _heated(composite: Composite, pixels: Tensor, heat: Tensor) -> Image.Image:
    """The composite under its map: dark where nothing is seen, bright where most is; the overlay framed."""
    picture = _image(pixels)
    full = upsampled(heat[None], (picture.height, picture.width))[0]
    peak = float(full.max())
    share = full / peak if peak > 0 else torch.zeros_like(full)
    layer = ImageOps.colorize(
        Image.fromarray((share * 255).round().to(torch.uint8).numpy()), black=_COLD, mid=_WARM, white=_HOT
    )
    blended = Image.blend(ImageOps.grayscale(picture).convert("RGB"), layer, _STRENGTH)
    right, lower = composite.x + composite.width - 1, composite.y + composite.height - 1
    ImageDraw.Draw(blended).rectangle((composite.x, composite.y, right, lower), outline="white")
    return blended


def _jpeg(image: Image.Image) -> str:
    small = image.copy()
    small.thumbnail((LONGEST_SIDE, LONGEST_SIDE))
    buffer = io.BytesIO()
    small.save(buffer, "JPEG", quality=QUALITY, optimize=True)
    return base64.b64encode(buffer.getvalue()).decode()
