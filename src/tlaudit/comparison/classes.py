"""Which source classes linger in which candidate."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from typing import TYPE_CHECKING

from tlaudit.documents import source_classes
from tlaudit.errors import ReportError, UsageError
from tlaudit.results import Table, columns

if TYPE_CHECKING:
    from collections.abc import Sequence

    from tlaudit.comparison.candidates import Audited
    from tlaudit.documents import SourceClass
    from tlaudit.records import Cell

MOST = 40
"""So many classes are shown (our choice): more would not be told apart in a chart."""
LINGERING = "lingering"


@dataclass(frozen=True)
class ClassBoard:
    """The source classes of all candidates.

    Attributes:
        classes: By candidate, in index order.
    """

    classes: dict[str, list[SourceClass]]

    @property
    def shared(self) -> bool:
        """Whether all candidates have the same number of classes, so that an index means the same in each."""
        return len({len(own) for own in self.classes.values()}) == 1

    def lingering(self, index: int) -> int:
        """In how many candidates a class lingers."""
        return sum(own[index].status == LINGERING for own in self.classes.values())

    def spread(self, index: int) -> float:
        """Difference of the highest and the lowest hybrid probability."""
        values = self._probabilities(index)
        return max(values) - min(values) if values else 0.0

    def mean(self, index: int) -> float:
        """Hybrid probability, mean over candidates."""
        values = self._probabilities(index)
        return sum(values) / len(values) if values else 0.0

    def telling(self) -> list[int]:
        """Indices of classes that linger anywhere: those that do not everywhere first, widest spread first."""
        total = len(next(iter(self.classes.values())))
        found = [index for index in range(total) if self.lingering(index)]
        everywhere = len(self.classes)
        return sorted(
            found,
            key=lambda index: (
                self.lingering(index) == everywhere,
                -(self.spread(index) if self.lingering(index) < everywhere else self.mean(index)),
            ),
        )

    def summary(self) -> str:
        """How far the candidates agree, in a sentence."""
        if not self.shared:
            return "The source networks have other numbers of classes; which class lingers where is not shown."
        found = self.telling()
        everywhere = sum(self.lingering(index) == len(self.classes) for index in found)
        return (
            f"{len(found)} source classes linger in at least one of {len(self.classes)} candidates, {everywhere} of "
            "them in all."
        )

    def _probabilities(self, index: int) -> list[float]:
        values = [own[index].hybrid_probability for own in self.classes.values()]
        return [value for value in values if value is not None]


def class_board(audited: Sequence[Audited]) -> ClassBoard:
    """Gather what `tlaudit lingering` said of the source classes.

    Raises:
        ReportError: If the tables of a result do not hold together.
    """
    classes = {}
    for one in audited:
        try:
            classes[one.name] = source_classes(one.results[LINGERING])
        except UsageError as error:
            raise ReportError(f"{one.source.path} ({one.name}): {error}") from None
    return ClassBoard(classes)


def classes_table(board: ClassBoard, order: Sequence[str]) -> Table | None:
    """One row for each class worth a look and each candidate; None where no class lingers, or classes differ."""
    found = board.telling()[:MOST] if board.shared else []
    if not found:
        return None
    names = _labels(board, order[0])
    rows: list[dict[str, Cell]] = []
    for index in found:
        for name in order:
            one = board.classes[name][index]
            rows.append(
                {
                    "class": names[index],
                    "class_index": index,
                    "candidate": name,
                    "status": one.status,
                    "hybrid_probability": one.hybrid_probability,
                    "lingers_in": board.lingering(index),
                    "absent": None if one.hybrid_probability is not None else "no image of this class was read",
                }
            )
    return Table(
        title="What lingers where",
        columns=columns(
            ("class", "text", "Source class; with its index where several share a name."),
            ("class_index", "index", "Output of the source network, counted from 0."),
            ("candidate", "text", "Name of the candidate."),
            ("status", "text", "lingering | forgotten | untested | in target data."),
            ("hybrid_probability", "probability", "Of the class on its images, finetuned backbone + source head."),
            ("lingers_in", "candidates", "Candidates in which the class lingers."),
            ("absent", "text", "Why cells of this row are empty."),
        ),
        rows=tuple(rows),
        brief=("class", "candidate", "status", "hybrid_probability"),
    )


def _labels(board: ClassBoard, candidate: str) -> list[str]:
    names = [one.name for one in board.classes[candidate]]
    counts = Counter(names)
    return [f"{name} ({index})" if counts[name] > 1 else name for index, name in enumerate(names)]
