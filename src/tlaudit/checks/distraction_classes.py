"""What distraction finds of one class, class after class, and the pictures of the worst."""

from __future__ import annotations

import itertools
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from tlaudit.checks.gallery import exhibit
from tlaudit.checks.judged import COMMON, LINGERING
from tlaudit.checks.tally import composite_rows, mean, tally
from tlaudit.data.composite_files import CompositeRow

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from tlaudit.checks.base import Subject
    from tlaudit.checks.explained import Explainer, Seen
    from tlaudit.checks.tally import Background, Tally
    from tlaudit.checks.target_task import TargetClasses
    from tlaudit.data.composites import Composite
    from tlaudit.exhibits import Exhibit
    from tlaudit.records import Cell

GROUPS = {
    LINGERING: "Classes that distract most; of each class the most telling composite",
    COMMON: "Control: classes that the target data shows",
}


class Names:
    """Words for the numbers in a composite."""

    def __init__(self, subject: Subject, targets: TargetClasses) -> None:
        self._subject, self._targets = subject, targets

    def task(self, index: int) -> str:
        """Name of a class of the target task; its index where the baseline has more of them."""
        names = self._targets.names
        return names[index] if index < len(names) else str(index)

    def background(self, composite: Composite) -> str:
        """Name of the source class."""
        return self._subject.classes.display(composite.class_index)

    def overlay(self, composite: Composite) -> str:
        """Name of the overlay's class, or of its file where the class is not known."""
        label = int(self._targets.labels[composite.target])
        return self.task(label) if label >= 0 else self._subject.target.items[composite.target].name

    def files(self, one: Seen) -> tuple[str, str]:
        """Names of source image and target image."""
        source, target = self._subject.source.images, self._subject.target
        return source.items[one.composite.source].name, target.items[one.composite.target].name

    def row(self, composite: Composite) -> CompositeRow:
        """What the manifest of saved composites says of one."""
        label = int(self._targets.labels[composite.target])
        return CompositeRow(
            class_name=self.background(composite),
            source_image=self._subject.source.images.items[composite.source].name,
            target_image=self._subject.target.items[composite.target].name,
            target_label=self.task(label) if label >= 0 else "",
        )


@dataclass(frozen=True)
class OfClass:
    """What was found of one class: `best` is its most telling composite, `rows` are those of all, if wanted."""

    tally: Tally
    best: Seen | None
    rows: list[dict[str, Cell]]


def of_classes(
    everything: Iterator[Seen],
    chosen: Sequence[Background],
    explainer: Explainer,
    names: Names,
    *,
    rows: bool,
) -> Iterator[OfClass]:
    """Add up the composites of each class."""
    backgrounds = {one.source.index: one for one in chosen}
    for index, composites in itertools.groupby(everything, key=lambda one: one.composite.class_index):
        # Only the most telling composite of a class keeps its pixels: a class may have any number of them.
        best, seen = None, []
        for one in composites:
            best = one if best is None or telling(one) > telling(best) else best
            needed = {role: one.maps[role] for role in ("source", "finetuned")}
            seen.append(replace(one, scene=None, maps=needed))
        seen.sort(key=lambda one: one.composite.number)
        nulls, background = explainer.null(seen), backgrounds[index]
        table = composite_rows(background, seen, nulls, files=names.files, name=names.task) if rows else []
        yield OfClass(tally(background, seen, nulls), best, table)


class InTurn:
    """Takes what was found class after class, some classes at a time."""

    def __init__(self, found: Iterator[OfClass]) -> None:
        self._found = found
        self._waiting: OfClass | None = None

    def next(self, wanted: Sequence[int]) -> list[OfClass]:
        """Take these classes, which come next; of one whose images cannot be read there is nothing."""
        taken: list[OfClass] = []
        while wanted and (one := self._waiting or next(self._found, None)) is not None:
            self._waiting = None
            if one.tally.background.source.index not in wanted:
                self._waiting = one
                break
            taken.append(one)
            if one.tally.background.source.index == wanted[-1]:
                break
        return taken

    def finish(self) -> None:
        """Run the pass to its end, where nothing more comes."""
        for _ in self._found:
            raise RuntimeError("composites came of classes that were not asked for")


def telling(one: Seen) -> tuple[bool, float]:
    """How well a composite shows what distraction is: flipped ones first, then by distraction beyond the baseline's."""
    answer = one.answers["finetuned"]
    ours, theirs = one.distraction["finetuned"], one.distraction.get("baseline")
    return answer.predicted != one.label == answer.on_grey, (ours or 0) - (theirs or 0)


class Gallery:
    """Keeps the most telling composites of the most distracting classes, and half as many of the control."""

    def __init__(self, size: int) -> None:
        self._sizes = {LINGERING: size, COMMON: (size + 1) // 2}
        self._kept: dict[str, list[tuple[float, Seen]]] = {LINGERING: [], COMMON: []}

    def offer(self, one: Tally, best: Seen | None) -> None:
        """Consider a class."""
        value = mean(one.distraction["finetuned"])
        if best is None or value is None:
            return
        kept = self._kept[one.background.kind]
        kept.append((value - (mean(one.distraction.get("baseline", [])) or 0), best))
        kept.sort(key=lambda pair: -pair[0])
        del kept[self._sizes[one.background.kind] :]

    def ids(self) -> set[str]:
        """Say which composites are kept."""
        return {seen.composite.id for kept in self._kept.values() for _, seen in kept}

    def exhibits(self, explainer: Explainer, names: Names) -> Iterator[Exhibit]:
        """Make the pictures, worst class first."""
        for kind, kept in self._kept.items():
            for _, seen in kept:
                yield exhibit(
                    seen,
                    explainer,
                    group=GROUPS[kind],
                    background=names.background(seen.composite),
                    overlay=names.overlay(seen.composite),
                    name=names.task,
                )


def worth_sending(found: Sequence[OfClass], size: int) -> list[OfClass]:
    """Leave out pictures that no gallery of that size will show, and maps, which are made again for it."""
    gallery = Gallery(size)
    for one in found:
        gallery.offer(one.tally, one.best)
    kept = gallery.ids()
    return [
        replace(one, best=replace(one.best, maps={}) if one.best and one.best.composite.id in kept else None)
        for one in found
    ]
