"""HTML of a verdict: the answer, then the rules, those that stand against the network first."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from tlaudit.reports import plain_words, verdict_told
from tlaudit.reports.marks import marks
from tlaudit.reports.pages import MARGIN, MOST_BYTES, SUFFIX, basename, clipped, size, write

if TYPE_CHECKING:
    from tlaudit.reports.marks import Mark
    from tlaudit.verdicts import Ruling, Verdict

__all__ = ["SUFFIX", "render"]

STATES = {"pass": "clear", "fail": "concern", "no answer": "open"}
"""How a verdict looks: as that of a check which says the like."""

_GROUPS = {
    "Violated": "These rules stand against the network.",
    "No answer": "They could not be judged, and that is no pass.",
    "Waived": "Violated, and excused until the day that is given.",
    "Warnings": "Something to look at; it stops nothing.",
    "Skipped": "They could not be judged, and the policy allows that.",
    "Passed": "",
}
_ROW_BYTES = 4000
"""Markup of a ruling, counted generously."""


class Row(NamedTuple):
    """A ruling as the page shows it."""

    of: Ruling
    marks: list[Mark]
    value: str
    limits: str
    message: str
    where: str | None


class Group(NamedTuple):
    """Rulings that came out alike: those that fit, of so many, folded or not."""

    title: str
    says: str
    rows: list[Row]
    total: int
    folded: bool


def render(verdict: Verdict, rows: int) -> str:
    """Write the page of a verdict, below `pages.MOST_BYTES`.

    Args:
        verdict: What the gate said.
        rows: More rules than these that passed, or were skipped, are folded at first.

    Returns:
        The document, the same for the same record.
    """
    network = verdict.reports[0].network
    groups = _groups(verdict, rows)
    return write(
        "verdict.html",
        charts=False,
        title=f"tlaudit gate: {verdict_told.WORDS[verdict.outcome]}: {network}",
        verdict=verdict,
        name=basename(network),
        state=STATES[verdict.outcome],
        word=verdict_told.WORDS[verdict.outcome],
        sentence=plain_words.VERDICTS[verdict.outcome][1],
        checkpoints=verdict_told.checkpoints(verdict),
        groups=groups,
        version=next((report.version for report in verdict.reports if report.version), ""),
    )


def _groups(verdict: Verdict, rows: int) -> list[Group]:
    room = MOST_BYTES // 2 - MARGIN
    found = []
    for title, rulings, matters in verdict_told.groups(verdict):
        kept = []
        for ruling in rulings:
            row = _row(verdict, ruling)
            room -= _size(row)
            if room < 0:
                break
            kept.append(row)
        found.append(Group(title, _GROUPS[title], kept, len(rulings), folded=not matters and len(rulings) > rows))
    return found


def _row(verdict: Verdict, ruling: Ruling) -> Row:
    return Row(
        of=ruling,
        marks=marks(ruling),
        value=verdict_told.value(ruling),
        limits=verdict_told.limits(ruling),
        message=verdict_told.sentence(ruling),
        where=verdict_told.where(verdict, ruling),
    )


def _size(row: Row) -> int:
    """Bytes that a row takes."""
    texts = (row.of.rule, row.of.metric, row.of.meaning or "", row.message, row.where or "", row.limits)
    words = sum(2 * size(mark.words) for mark in row.marks)
    return _ROW_BYTES + words + sum(size(clipped(text)) for text in texts)
