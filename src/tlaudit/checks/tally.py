"""What the composites of one class add up to."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from tlaudit.checks.explained import Answer, Null, Seen
    from tlaudit.documents import SourceClass
    from tlaudit.records import Cell


@dataclass(frozen=True)
class Background:
    """A source class that composites are made of.

    Attributes:
        source: The class.
        kind: ``lingering``, or ``common`` for the control.
    """

    source: SourceClass
    kind: str


@dataclass(frozen=True)
class Behaved:
    """How often one network was right, in composites whose label is known.

    Attributes:
        known: Composites with a known label.
        right: Right on the composite.
        on_grey: Right with mid-grey for the background.
        flipped: Right on grey and wrong on the composite.
        occludable: Wrong composites in which the source's map has pixels that could be filled.
        recovered: Of those, right once they are filled.
        at_random: Of those, right once as many pixels are filled at random.
    """

    known: int
    right: int
    on_grey: int
    flipped: int
    occludable: int
    recovered: int
    at_random: int


@dataclass(frozen=True)
class Tally:
    """One class.

    Attributes:
        background: The class.
        composites: How many there are.
        same_picture: Composites whose null compares them with one of the same source image.
        distraction: Values of the composites where neither map is dead, by role.
        null: Values of the null where it is defined.
        dead: Composites whose map is dead, by role.
        behaved: Predictions, by role.
    """

    background: Background
    composites: int
    same_picture: int
    distraction: dict[str, list[float]]
    null: list[float]
    dead: dict[str, int]
    behaved: dict[str, Behaved]


def tally(background: Background, seen: Sequence[Seen], nulls: Sequence[Null]) -> Tally:
    """Add up the composites of a class.

    Args:
        background: The class.
        seen: All its composites, at least one.
        nulls: The null of each; none where there is but one composite.
    """
    pairs = [(seen[number].composite, seen[null.partner].composite) for number, null in enumerate(nulls)]
    roles = list(seen[0].answers)
    values = {role: [one.distraction[role] for one in seen] for role in roles}
    return Tally(
        background=background,
        composites=len(seen),
        same_picture=sum(own.source == other.source for own, other in pairs),
        distraction={role: [value for value in of_role if value is not None] for role, of_role in values.items()},
        null=[null.value for null in nulls if null.value is not None],
        dead={role: sum(one.dead[role] for one in seen) for role in seen[0].dead},
        behaved={role: _behaved([(one.label, one.answers[role]) for one in seen if one.label >= 0]) for role in roles},
    )


def _behaved(answers: Sequence[tuple[int, Answer]]) -> Behaved:
    wrong = [(label, answer) for label, answer in answers if answer.occluded is not None]
    return Behaved(
        known=len(answers),
        right=sum(answer.predicted == label for label, answer in answers),
        on_grey=sum(answer.on_grey == label for label, answer in answers),
        flipped=sum(answer.predicted != label == answer.on_grey for label, answer in answers),
        occludable=len(wrong),
        recovered=sum(answer.occluded == label for label, answer in wrong),
        at_random=sum(answer.random == label for label, answer in wrong),
    )


def mean(values: Sequence[float]) -> float | None:
    """The mean, or None of nothing."""
    return sum(values) / len(values) if values else None


def composite_rows(
    background: Background,
    seen: Sequence[Seen],
    nulls: Sequence[Null],
    *,
    files: Callable[[Seen], tuple[str, str]],
    name: Callable[[int], str],
) -> list[dict[str, Cell]]:
    """One row for each composite of a class, as `vocabulary_distraction.ROW_COLUMNS` names the cells.

    Args:
        background: The class.
        seen: Its composites.
        nulls: The null of each; none where there is but one composite.
        files: Names of source image and target image.
        name: Name of a class of the target task.
    """
    rows: list[dict[str, Cell]] = []
    for number, one in enumerate(seen):
        composite, null = one.composite, nulls[number] if nulls else None
        source_image, target_image = files(one)
        row: dict[str, Cell] = {
            "id": composite.id,
            "kind": background.kind,
            "class_index": background.source.index,
            "class_name": background.source.name,
            "source_image": source_image,
            "target_image": target_image,
            "target_label": name(one.label) if one.label >= 0 else None,
            "x": composite.x,
            "y": composite.y,
            "width": composite.width,
            "height": composite.height,
            "source_dead": one.dead["source"],
            "null": null.value if null else None,
            "null_partner": seen[null.partner].composite.id if null else None,
        }
        for role in ("finetuned", "baseline"):
            row |= _answer_cells(role, one, name)
        rows.append(row)
    return rows


def _answer_cells(role: str, one: Seen, name: Callable[[int], str]) -> dict[str, Cell]:
    answer = one.answers.get(role)
    if answer is None:
        cells = ("dead", "class", "probability", "distraction", "right", "right_on_grey", "right_occluded")
        return {f"{role}_{cell}": None for cell in (*cells, "right_random")}

    def right(predicted: int | None) -> bool | None:
        return predicted == one.label if predicted is not None and one.label >= 0 else None

    return {
        f"{role}_dead": one.dead[role],
        f"{role}_class": name(answer.predicted),
        f"{role}_probability": answer.probability,
        f"{role}_distraction": one.distraction[role],
        f"{role}_right": right(answer.predicted),
        f"{role}_right_on_grey": right(answer.on_grey),
        f"{role}_right_occluded": right(answer.occluded),
        f"{role}_right_random": right(answer.random),
    }
