"""The passes over images that an audit makes, in their order: by them it is known which pixels will be wanted again."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from tlaudit.checks.erosion import compared_images
from tlaudit.checks.stress_data import divide
from tlaudit.checks.target_task import other_task
from tlaudit.data.composites import overlay_preprocessing, sampled

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

    from tlaudit.checks.base import Subject
    from tlaudit.data.decoding import Geometry
    from tlaudit.data.images import ImageItem
    from tlaudit.options import Settings

    Pass = tuple[Iterator[str], set[Geometry]]


def passes(subjects: Mapping[str, Subject], settings: Settings) -> Iterator[Pass]:
    """Say which files are read in which geometries, pass after pass.

    Args:
        subjects: Of the checks that will be made, by check.
        settings: Their options.
    """
    if "lingering" in subjects:
        # `erosion` shares this pass where there is one of both.
        yield _source(subjects["lingering"])
        yield from _lingering(subjects["lingering"])
    if "distraction" in subjects:
        yield from _distraction(subjects["distraction"], settings)
    if "erosion" in subjects:
        yield from _erosion(subjects["erosion"], settings, recognised="lingering" in subjects)
    if "stress" in subjects:
        subject = subjects["stress"]
        split = divide(subject, settings.stress)
        for part in (split.training, split.test):
            yield _files(part.images.items), _geometries(subject, "source")


def _lingering(subject: Subject) -> Iterator[Pass]:
    yield _files(subject.target.items), _geometries(subject, "source")
    if subject.val is not None:
        roles = ("finetuned",) if other_task(subject.pair) else ("finetuned", "baseline")
        yield _files(subject.val.images.items), _geometries(subject, *roles)


def _distraction(subject: Subject, settings: Settings) -> Iterator[Pass]:
    options, seen = settings.distraction, subject.preprocessing["finetuned"]
    pasted = sampled(len(subject.target.items), options.overlays, subject.seed)
    small = overlay_preprocessing(seen, options.overlay_scale)
    yield _files(subject.target.items[number] for number in pasted.tolist()), {small.geometry}
    # Which classes linger is not known yet: any of them may be a background.
    yield _files(subject.source.images.items), {seen.geometry}


def _erosion(subject: Subject, settings: Settings, *, recognised: bool) -> Iterator[Pass]:
    images = compared_images(subject, settings.erosion)
    if images != subject.source.images or not recognised:
        yield _files(images.items), _geometries(subject)
    if images != subject.source.images and not recognised and subject.pair.alike:
        yield _files(subject.source.images.items), _geometries(subject, "source", "finetuned")


def _source(subject: Subject) -> Pass:
    return _files(subject.source.images.items), _geometries(subject)


def _geometries(subject: Subject, *roles: str) -> set[Geometry]:
    return {subject.preprocessing[role].geometry for role in roles or subject.preprocessing}


def _files(items: Iterable[ImageItem]) -> Iterator[str]:
    return (os.fspath(item.path) for item in items)
