"""What all Markdown is made of: text that stays text, tables, lists, and the section of a check."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from tlaudit.reports import wording

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from tlaudit.results import CheckResult, Measurement

_ACTS_ANYWHERE = re.compile(r"[\\`*_\[\]<>#|~&$@]|(?<=www)\.|:(?=//)")
_ACTS_IN_FRONT = re.compile(r"^(\d*)([.)](?=\s|$)|[-+](?=[-\s]|$)|=(?==*$))")
"""What begins an item of a list, plain or numbered, or a line under a heading."""


def text(words: str) -> str:
    """Words in one line that stay words: names of files and classes may hold markup, links and HTML."""
    return _ACTS_IN_FRONT.sub(r"\1\\\2", _ACTS_ANYWHERE.sub(r"\\\g<0>", wording.visible(words)))


def heading(words: str, level: int) -> str:
    """A heading; below the sixth there is none."""
    return f"{'#' * min(level, 6)} {text(words)}"


def table(head: Sequence[str], body: Iterable[Sequence[str]]) -> str:
    """A table of words."""
    lines = [f"| {' | '.join(map(text, line))} |" for line in (head, *body)]
    return "\n".join([lines[0], f"| {' | '.join(['---'] * len(head))} |", *lines[1:]])


def bullets(title: str, items: Iterable[tuple[str, str]], level: int = 2) -> list[str]:
    """A heading and a list under it, each item with a word in bold first where it has one."""
    lines = [f"- **{text(first)}** {text(rest)}" if first else f"- {text(rest)}" for first, rest in items]
    return [heading(title, level), "\n".join(lines)] if lines else []


def measurements(shown: Iterable[Measurement], interval: str = "interval") -> str:
    """A table of measurements; an absent one says why.

    Args:
        shown: The measurements.
        interval: What the column of intervals is called.
    """
    return table(
        ("measurement", "value", interval, "n", "better", "meaning"),
        (
            (
                m.name,
                "absent" if m.value is None else wording.number(m.value, m.unit),
                wording.interval(m),
                str(m.n),
                m.better,
                m.absent or m.meaning,
            )
            for m in shown
        ),
    )


def section(result: CheckResult, rows: int, title: str, level: int) -> list[str]:
    """Paragraphs about a check: summary, measurements, worst rows, findings, what is missing, networks.

    Args:
        result: The record.
        rows: How many rows of each table at the most.
        title: The heading.
        level: Of the heading; those within are one lower.
    """
    parts = [heading(title, level), text(result.summary)]
    if result.failure:
        parts.append(f"**Could not be made:** {text(result.failure)}")
    if result.measurements:
        parts.append(measurements(result.measurements, f"{_confidence(result)} % interval"))
    for source in result.tables.values():
        head, body, name = wording.short_view(source, rows)
        if body:
            parts += [heading(name, level + 1), table(head, body)]
    parts += bullets("Findings", ((f.severity, f.message) for f in result.findings), level + 1)
    parts += bullets("Left out", (("", line) for line in wording.left_out(result)), level + 1)
    parts += bullets("Networks", wording.models(result), level + 1)
    return parts


def _confidence(result: CheckResult) -> str:
    levels = [m.interval.confidence for m in result.measurements if m.interval]
    return f"{100 * levels[0]:g}" if levels else "95"
