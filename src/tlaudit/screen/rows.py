"""One row for each image, in order, none left out."""

from __future__ import annotations

from collections import Counter, deque
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from tlaudit.errors import DataError

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from tlaudit.data.inputs import Inputs
    from tlaudit.records import Cell
    from tlaudit.results import DataRecord, SkippedImage
    from tlaudit.screen.asker import Answers, Asker
    from tlaudit.screen.subject import Names

Row = dict[str, "Cell"]

ROW_COLUMNS = (
    "image",
    "flagged",
    "score",
    "reminds_of",
    "reminds_of_index",
    "prediction",
    "prediction_index",
    "probability",
    "error",
)


@dataclass
class Tally:
    """What the rows add up to.

    Attributes:
        images: Images that were screened.
        unread: Images and folders that could not be.
        reminded: Of how many images each lingering class is the one they remind of most.
        flagged: The same of the flagged images alone.
        record: What was read; there once all rows have been given.
    """

    images: int = 0
    unread: int = 0
    reminded: Counter[int] = field(default_factory=Counter)
    flagged: Counter[int] = field(default_factory=Counter)
    record: DataRecord | None = None


def rows(asker: Asker, inputs: Inputs, names: Names, tally: Tally) -> Iterator[list[Row]]:
    """Screen images; only one batch of them is ever in memory.

    Args:
        asker: Knows the threshold.
        inputs: The images.
        names: What classes are called.
        tally: Is added to.

    Yields:
        The rows of a batch, cells by `ROW_COLUMNS`. An image that could not be read has an ``error`` and nothing else;
        where no class lingers, ``score`` and what it reminds of are absent.

    Raises:
        DataError: If no image can be read, or the network gives NaN.
    """
    images = inputs.images
    stream = asker.stream(images)
    queue = _Queue(inputs)
    try:
        for index, answers in asker.follow(stream, len(images.items), "images"):
            answered = _rows(answers, names, lingers=bool(asker.lingering))
            found = {n: {"image": images.items[n].name} | row for n, row in zip(index.tolist(), answered, strict=True)}
            _count(answers, asker, tally)
            yield list(queue.up_to(int(index[-1]), found, stream.skipped))
    except DataError:
        # Also where nothing could be read every image has its row, and only then the run ends.
        yield list(queue.up_to(len(images.items), {}, stream.skipped))
        raise
    rest = list(queue.up_to(len(images.items), {}, stream.skipped))
    if rest:
        yield rest
    tally.record = queue.complete(stream.record())
    tally.unread = len(tally.record.skipped)


class _Queue:
    """Puts what could not be read in its place between the answers."""

    def __init__(self, inputs: Inputs) -> None:
        self._refused = deque(inputs.refused)
        self._left_out = tuple(skipped for _, skipped in inputs.refused)
        self._at = self._skipped = 0

    def up_to(self, last: int, found: Mapping[int, Row], skipped: Sequence[SkippedImage]) -> Iterator[Row]:
        """Give the rows of all images up to a number, that one included.

        Args:
            last: Number of the image; that of none, one past the end, gives what is left.
            found: Rows by number. An image without one could not be read.
            skipped: All images that could not be read so far, in order.
        """
        for number in range(self._at, last + 1):
            while self._refused and self._refused[0][0] <= number:
                yield _error(self._refused.popleft()[1])
            if number in found:
                yield found[number]
            elif self._skipped < len(skipped):
                yield _error(skipped[self._skipped])
                self._skipped += 1
        self._at = last + 1

    def complete(self, record: DataRecord) -> DataRecord:
        """Add to the record what never reached the stream."""
        return record.model_copy(update={"skipped": (*record.skipped, *self._left_out)})


def _error(skipped: SkippedImage) -> Row:
    return dict.fromkeys(ROW_COLUMNS) | {"image": skipped.file, "error": skipped.reason}


def _rows(answers: Answers, names: Names, *, lingers: bool) -> Iterator[Row]:
    """The cells of each image but its name."""
    columns = (answers.flagged, answers.score, answers.source_class, answers.prediction, answers.probability)
    for flagged, score, source_class, prediction, probability in zip(*(c.tolist() for c in columns), strict=True):
        yield {
            "flagged": flagged,
            "score": score if lingers else None,
            "reminds_of": names.source[source_class] if lingers else None,
            "reminds_of_index": source_class if lingers else None,
            "prediction": names.target[prediction],
            "prediction_index": prediction,
            "probability": probability,
            "error": None,
        }


def _count(answers: Answers, asker: Asker, tally: Tally) -> None:
    tally.images += len(answers.flagged)
    if asker.lingering:
        tally.reminded.update(answers.source_class.tolist())
        tally.flagged.update(answers.source_class[answers.flagged].tolist())
