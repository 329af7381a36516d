"""What a stress test learns from and what it is asked about: two sets of images of the same classes."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch

from tlaudit.checks.base import LabelledImages
from tlaudit.data.classes import match_folders
from tlaudit.data.images import ImageSet
from tlaudit.data.squares import class_colours, plant, planted_share, square_side
from tlaudit.data.training import TrainingImages
from tlaudit.errors import DataError, UsageError
from tlaudit.measure.similarity import MINIMUM_IMAGES

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from torch import Tensor

    from tlaudit.checks.base import Subject
    from tlaudit.data.training import TrainingBatch
    from tlaudit.options import StressOptions

HELD_OUT = 0.2
"""Share of each class's images held out for testing where no test images are given (ours)."""
_SHOWN = 10


@dataclass(frozen=True)
class Split:
    """Images before any is opened.

    Attributes:
        training: Learnt from.
        test: Asked about; none of them is learnt from.
        held_out: Whether the test images were taken out of the training images.
    """

    training: LabelledImages
    test: LabelledImages
    held_out: bool


def divide(subject: Subject, options: StressOptions) -> Split:
    """Settle which images are learnt from and which are asked about; none is opened.

    Raises:
        UsageError: If the training images show one class only, the test images other classes, or some images are both.
        ClassMatchError: If a folder of test images fits no class.
        DataError: If there are fewer than 4 test images.
    """
    found = _held_out(subject) if options.test is None else _given(subject, options)
    trained, tested = (_classes(data.labels) for data in (found.training, found.test))
    if len(trained) < 2:
        raise UsageError(
            f"{subject.source.images.root}: a square can give a class away only where there are several: expected "
            f"training images of at least 2 classes, got {len(trained)}"
        )
    names = [subject.classes.display(k) for k in trained if k not in tested]
    if names and not found.held_out:
        raise UsageError(f"{found.test.images.root}: no test image shows {_some(names)}, which is trained on")
    strangers = [subject.classes.display(k) for k in tested if k not in trained]
    if strangers:
        raise UsageError(f"{found.test.images.root}: shows {_some(strangers)}, of which there is no training image")
    if len(found.test.labels) < MINIMUM_IMAGES:
        raise DataError(
            f"{found.test.images.root}: expected at least {MINIMUM_IMAGES} test images, got {len(found.test.labels)}"
        )
    return found


def _classes(labels: Tensor) -> list[int]:
    """The classes that occur, rising."""
    return sorted(set(labels.tolist()))


def _some(names: list[str]) -> str:
    more = f" and {len(names) - _SHOWN} more" if len(names) > _SHOWN else ""
    return ", ".join(names[:_SHOWN]) + more


def _given(subject: Subject, options: StressOptions) -> Split:
    """The images of a folder of their own; its class folders mean what those of the training images do."""
    assert options.test is not None
    images = ImageSet.scan(options.test, labelled=True, limit=subject.limit, seed=subject.seed)
    training = subject.source
    pairs = zip(training.images.items, training.labels.tolist(), strict=True)
    known: dict[str | None, int] = {item.folder: label for item, label in pairs}
    strangers = [folder for folder in images.folders if folder not in known]
    known.update(match_folders(strangers, subject.classes).indices)
    labels = torch.tensor([known[item.folder] for item in images.items], dtype=torch.int64)
    learnt = {item.content for item in training.images.items}
    both = [item.name for item in images.items if item.content in learnt]
    if both:
        raise UsageError(
            f"{options.test}: {len(both)} test images are training images too ({_some(both)}); give others with "
            "--test-data, or leave it out and a fifth is held out"
        )
    return Split(training, LabelledImages(images, labels), held_out=False)


def _held_out(subject: Subject) -> Split:
    """Take a seeded fifth of each class out of the training images; of a class with one image nothing."""
    labels = subject.source.labels
    testing = torch.zeros(len(labels), dtype=torch.bool)
    for label in _classes(labels):
        members = (labels == label).nonzero()[:, 0]
        generator = torch.Generator().manual_seed(subject.seed)
        count = max(1, round(HELD_OUT * len(members))) if len(members) > 1 else 0
        testing[members[torch.randperm(len(members), generator=generator)[:count]]] = True
    return Split(_part(subject.source, ~testing), _part(subject.source, testing), held_out=True)


def _part(data: LabelledImages, chosen: Tensor) -> LabelledImages:
    numbers = chosen.nonzero()[:, 0].numpy()
    # What a limit left out was left out of both parts; the other part was not.
    available = len(numbers) + data.images.available - len(data.images.items)
    return LabelledImages(data.images.part(numbers, available=available), data.labels[chosen])


class StressImages:
    """The images of a stress test, read and ready to get squares.

    Attributes:
        split: What they are.
        training: Learnt from.
        test: Asked about.
        side: Of a square in pixels.
    """

    def __init__(self, split: Split, subject: Subject, options: StressOptions) -> None:
        """Read them.

        Raises:
            DataError: If no image of a set or of a class in it can be read, or fewer than 4 of the test images.
        """
        preprocessing, execution = subject.preprocessing["source"], subject.execution
        self.split, self._seed = split, subject.seed
        self.training, self.test = (
            TrainingImages(
                data.images,
                data.labels,
                preprocessing,
                workers=execution.workers,
                strict=subject.strict,
                progress=subject.progress,
                kept=subject.pixels,
            )
            for data in (split.training, split.test)
        )
        if len(self.test) < MINIMUM_IMAGES:
            root = split.test.images.root
            raise DataError(f"{root}: expected at least {MINIMUM_IMAGES} test images, {len(self.test)} can be read")
        for data, images in ((split.training, self.training), (split.test, self.test)):
            gone = sorted(set(_classes(data.labels)) - set(_classes(data.labels[images.usable])))
            if gone:
                names = _some([subject.classes.display(k) for k in gone])
                what = "training" if images is self.training else "test"
                raise DataError(f"{data.images.root}: none of the {what} images of {names} can be read")
        self.side = square_side(options.square, preprocessing.crop)
        self._colours = class_colours(subject.pair.source.num_classes)
        self._other = _other_classes(split.training.labels, subject.pair.source.num_classes)
        self._batch_size = execution.batch_size

    @property
    def chance(self) -> float:
        """Accuracy of guessing among the classes that are learnt."""
        return 1 / len(_classes(self.split.training.labels))

    def planted(self, ratio: float) -> TrainingImages:
        """Give the training images with squares on a share of them; at a higher share more get one, none fewer."""
        mask = torch.zeros(len(self.training.usable), dtype=torch.bool)
        mask[self.training.usable] = planted_share(len(self.training), ratio, self._seed)
        return self.training.changed(lambda batch: self._plant(batch, batch.labels, mask[batch.index]))

    def doses(self, ratios: Sequence[float]) -> tuple[list[float], dict[float, str]]:
        """Settle which ratios are worth a training.

        Args:
            ratios: Rising.

        Returns:
            Those that plant a number of images of their own, and why the others are left out.
        """
        kept: dict[int, float] = {}
        without: dict[float, str] = {}
        for ratio in ratios:
            count = self.count(ratio)
            if ratio and not count:
                without[ratio] = f"it plants no image among {len(self.training)}"
            elif count in kept:
                without[ratio] = f"it plants {count} of {len(self.training)} images, as {kept[count]:g} does"
            else:
                kept[count] = ratio
        return list(kept.values()), without

    def count(self, ratio: float) -> int:
        """How many training images get a square at a share."""
        return round(ratio * len(self.training))

    def tests(self, squares: str = "none") -> Iterator[TrainingBatch]:
        """Give the test images in batches.

        Args:
            squares: ``none``; ``own``, in the colour of each image's class; ``other``, in that of another class.
        """
        data = self.test
        if squares != "none":
            data = data.changed(
                lambda batch: self._plant(
                    batch,
                    batch.labels if squares == "own" else self._other[batch.labels],
                    torch.ones(len(batch.labels), dtype=torch.bool),
                )
            )
        return data.epoch(0, seed=self._seed, batch_size=self._batch_size, flip=False)

    def _plant(self, batch: TrainingBatch, shown: Tensor, mask: Tensor) -> Tensor:
        return plant(batch.pixels, shown, mask, self.side, self._colours)


def _other_classes(labels: Tensor, num_classes: int) -> Tensor:
    """For each trained class the one half the trained classes away, whose hue is far off, ``(K,)`` int64."""
    trained = torch.tensor(_classes(labels))
    others = torch.arange(num_classes)
    others[trained] = trained.roll(-(len(trained) // 2))
    return others
