"""What there is to audit: networks, images, and which checks can be made of them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from tlaudit.checks.assembly import assemble
from tlaudit.data.folders import printable
from tlaudit.data.locations import piece_of
from tlaudit.options import ExecutionOptions, PreprocessTable

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from tlaudit.checks.base import LabelledImages, Subject
    from tlaudit.data.images import ImageSet
    from tlaudit.models.pair import Pair
    from tlaudit.options import DataOptions
    from tlaudit.results import ModelRecord

SHOWN = 10
"""So many classes of the target task are named."""


@dataclass(frozen=True)
class Surroundings:
    """What was found of the networks and images that a configuration file is about.

    Attributes:
        networks: Of source, finetuned and baseline, what is known, its preprocessing settled.
        images: Sentences about each set that was given: source, target, val.
        source_classes: Source classes that have images.
        alike: Whether the backbones match, so that all checks can be made.
        warnings: What a reader has to know before believing numbers about these networks.
    """

    networks: Mapping[str, ModelRecord]
    images: Mapping[str, tuple[str, ...]]
    source_classes: int
    alike: bool
    warnings: tuple[str, ...]

    @property
    def checks(self) -> tuple[str, ...]:
        """Checks for which everything is there."""
        source, both = "source" in self.images, {"source", "target"} <= self.images.keys()
        return (*(("lingering", "distraction") if both and self.alike else ()), *(("erosion",) if source else ()))


def look_around(pair: Pair, data: DataOptions) -> Surroundings:
    """Find out what a configuration file can say about these networks and images. No image is opened.

    Args:
        pair: The networks, alike or not.
        data: Sets of images; those not given are left out.

    Returns:
        What was found.

    Raises:
        UsageError: If a folder is missing, or its folders fit no class of the network.
        DataError: If a folder holds no image.
    """
    subject = assemble(pair, data, preprocess=PreprocessTable(), execution=ExecutionOptions(device="cpu"), needed=())
    models = {"source": pair.source, "finetuned": pair.finetuned, "baseline": pair.baseline}
    return Surroundings(
        networks={
            role: model.record.model_copy(update={"preprocessing": subject.preprocessing[role]})
            for role, model in models.items()
            if model is not None
        },
        images=dict(_images(subject, data)),
        source_classes=_classes(subject.source),
        alike=pair.alike,
        warnings=tuple(finding.message for finding in subject.findings if finding.severity != "info"),
    )


def _images(subject: Subject, data: DataOptions) -> Iterator[tuple[str, tuple[str, ...]]]:
    """What lies in each folder that was given."""
    if data.source is not None:
        known, total = _classes(subject.source), subject.pair.source.num_classes
        guess = ("Its file names no classes; they are taken to be ImageNet's.",) if subject.classes.assumed else ()
        yield "source", (_counted(subject.source.images), f"{known} of {total} source classes have images.", *guess)
    if data.target is not None:
        yield "target", (_counted(subject.target),)
    if subject.val is not None:
        yield "val", (_counted(subject.val.images), _outputs(subject.val))


def _classes(images: LabelledImages) -> int:
    return len(set(images.labels.tolist()))


def _counted(images: ImageSet) -> str:
    what = "class folders" if images.root.is_dir() and piece_of(images.items[0].location) is None else "classes"
    folders = f" in {len(images.folders)} {what}" if images.folders else f", in no {what}"
    others = f"; {images.other_files} other files are passed over" if images.other_files else ""
    return f"{images.available} images{folders}{others}."


def _outputs(images: LabelledImages) -> str:
    """Which folder is which output of the finetuned network."""
    pairs = {item.folder: int(label) for item, label in zip(images.images.items, images.labels, strict=True)}
    shown = ", ".join(f"{index} {printable(str(folder))}" for folder, index in list(pairs.items())[:SHOWN])
    more = f" and {len(pairs) - SHOWN} more" if len(pairs) > SHOWN else ""
    return f"Folders are the finetuned network's outputs: {shown}{more}."
