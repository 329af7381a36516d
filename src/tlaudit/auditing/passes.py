"""The passes over images that an audit makes, in their order: by them it is known which pixels will be wanted again."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from tlaudit.checks.erosion import compared_images
from tlaudit.checks.stress_data import divide
from tlaudit.checks.target_task import other_task
from tlaudit.data.composites import overlay_preprocessing, sampled
from tlaudit.data.manifests import MANIFESTS

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping
    from pathlib import Path

    from tlaudit.checks.base import Subject
    from tlaudit.data.decoding import Geometry
    from tlaudit.data.images import ImageSet
    from tlaudit.data.items import ImageItem
    from tlaudit.options import Settings


class Pass(NamedTuple):
    """One pass: below which folder lies what it reads, which files, and in which geometries."""

    root: Path
    files: Iterator[str]
    geometries: set[Geometry]


def shared_passes(subjects: Mapping[str, Subject], settings: Settings) -> list[tuple[Iterator[str], set[Geometry]]]:
    """Say which files are read in which geometries, pass after pass; without passes over what no other one reads.

    Args:
        subjects: Of the checks that will be made, by check.
        settings: Their options.
    """
    every = list(_passes(subjects, settings))
    return [(one.files, one.geometries) for one in every if sum(_meet(one.root, other.root) for other in every) > 1]


def _meet(one: Path, other: Path) -> bool:
    """Whether two sets can hold the same files; those that a manifest names may lie anywhere."""
    if {one.suffix.lower(), other.suffix.lower()} & {*MANIFESTS}:
        return True
    return one.is_relative_to(other) or other.is_relative_to(one)


def _passes(subjects: Mapping[str, Subject], settings: Settings) -> Iterator[Pass]:
    if "lingering" in subjects:
        # `erosion` shares this pass where there is one of both.
        yield _source(subjects["lingering"])
        yield from _lingering(subjects["lingering"])
    if "erosion" in subjects:
        yield from _erosion(subjects["erosion"], settings, recognised="lingering" in subjects)
    if "distraction" in subjects:
        yield from _distraction(subjects["distraction"], settings)
    if "stress" in subjects:
        subject = subjects["stress"]
        split = divide(subject, settings.stress)
        for part in (split.training, split.test):
            yield _pass(part.images, _geometries(subject, "source"))


def _lingering(subject: Subject) -> Iterator[Pass]:
    yield _pass(subject.target, _geometries(subject, "source"))
    if subject.val is not None:
        roles = ("finetuned",) if other_task(subject.pair) else ("finetuned", "baseline")
        yield _pass(subject.val.images, _geometries(subject, *roles))


def _distraction(subject: Subject, settings: Settings) -> Iterator[Pass]:
    options, seen = settings.distraction, subject.preprocessing["finetuned"]
    pasted = sampled(len(subject.target.items), options.overlays, subject.seed)
    small = overlay_preprocessing(seen, options.overlay_scale)
    overlays = tuple(subject.target.items[number] for number in pasted.tolist())
    yield Pass(subject.target.root, _files(overlays), {small.geometry})
    # Which classes linger is not known yet: any of them may be a background.
    yield _pass(subject.source.images, {seen.geometry})


def _erosion(subject: Subject, settings: Settings, *, recognised: bool) -> Iterator[Pass]:
    images = compared_images(subject, settings.erosion)
    if images != subject.source.images or not recognised:
        yield _pass(images, _geometries(subject))
    if images != subject.source.images and not recognised and subject.pair.alike:
        yield _pass(subject.source.images, _geometries(subject, "source", "finetuned"))


def _source(subject: Subject) -> Pass:
    return _pass(subject.source.images, _geometries(subject))


def _pass(images: ImageSet, geometries: set[Geometry]) -> Pass:
    return Pass(images.root, _files(images.items), geometries)


def _geometries(subject: Subject, *roles: str) -> set[Geometry]:
    return {subject.preprocessing[role].geometry for role in roles or subject.preprocessing}


def _files(items: Iterable[ImageItem]) -> Iterator[str]:
    return (item.location for item in items)
