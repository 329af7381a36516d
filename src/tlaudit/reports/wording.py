"""How numbers are put into words, the same in every format made for people."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tlaudit.records import Cell, Direction
    from tlaudit.results import CheckResult, KeyMatch, Measurement, Table

_PERCENT = {"share"}
_BY_ROW = {"by row"}
"""Numbers whose unit stands in a cell of their row; they are written alike, whatever it is."""

VERDICTS = {
    "concern": ("Concern", "Something to act on."),
    "clear": ("Clear", "Nothing to act on was found."),
    "open": ("Open", "It cannot be said from what was measured."),
}
"""The verdicts in a word and in a sentence."""

_DIRECTIONS = {"lower": "lower is better", "higher": "higher is better", "neither": "neither high nor low is better"}


_UNSEEN = re.compile("[\x00-\x1f\x7f-\x9f\u061c\u200e\u200f\u202a-\u202e\u2066-\u2069\ud800-\udfff\ufeff\ufffe\uffff]")
"""Control characters, marks that turn the direction of writing, and what no XML can hold."""


def visible(text: str) -> str:
    """Text in one line in which nothing acts: names of files and classes may hold what moves a terminal's cursor."""
    return harmless(" ".join(text.split()))


def harmless(text: str) -> str:
    """Text in which nothing acts; lines and tabs stay, for what is shown as it was written."""
    return _UNSEEN.sub(lambda found: found[0] if found[0] in "\n\t" else _spelt(found[0]), text)


def _spelt(character: str) -> str:
    return character.encode("unicode_escape").decode()


def number(value: Cell, unit: str) -> str:
    """A value as people read it: shares in percent, counts whole, everything else with four digits."""
    if value is None:
        return "–"
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, str):
        return value
    if unit in _PERCENT:
        return f"{100 * value:.1f} %"
    if isinstance(value, int):
        return str(value)
    if unit in _BY_ROW:
        return f"{value:.3f}"
    return f"{value:.3f}" if abs(value) >= 0.1 else f"{value:.2g}"


def interval(measurement: Measurement) -> str:
    """The interval, or a dash; why there is none stands in the record."""
    found = measurement.interval
    return "–" if found is None else bounds(found.low, found.high, measurement.unit)


def bounds(low: float, high: float, unit: str) -> str:
    """Two ends of an interval."""
    if unit == "classes":
        return f"{low:.0f} to {high:.0f}"
    return f"{number(low, unit)} to {number(high, unit)}"


def direction(better: Direction) -> str:
    """Which way a measurement is good."""
    return _DIRECTIONS[better]


def duration(seconds: float) -> str:
    """A time span as people say it."""
    if seconds < 60:
        return f"{seconds:.1f} s"
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours} h {minutes} min" if hours else f"{minutes} min {rest} s"


def has_no_worst(table: Table) -> bool:
    """Whether all rows are worth a look, in the order they stand in."""
    return len(table.rows) > 1 and table.worst == tuple(range(len(table.rows)))


def short_view(table: Table, rows: int) -> tuple[list[str], list[list[str]], str]:
    """The worst rows of a table.

    Args:
        table: The table.
        rows: How many rows at the most.

    Returns:
        Column names, rows of words, and a title that says how many rows there are.
    """
    columns = [column for column in table.columns if column.name in table.brief]
    chosen = table.worst[:rows]
    order = "" if has_no_worst(table) else ", worst first"
    title = f"{table.title} ({len(chosen)} of {len(table.worst)}{order})"
    body = [[number(table.rows[index][column.name], column.unit) for column in columns] for index in chosen]
    return [column.name.replace("_", " ") for column in columns], body, title


def absences(result: CheckResult) -> Iterator[str]:
    """What was not measured, and why; measurements that share a reason share a line."""
    by_reason: dict[str, list[str]] = {}
    for measurement in result.measurements:
        if measurement.absent is not None:
            by_reason.setdefault(measurement.absent, []).append(measurement.name)
    for reason, names in by_reason.items():
        yield f"not measured: {', '.join(names)}: {reason}"


def left_out(result: CheckResult, names: int = 5) -> Iterator[str]:
    """What was not looked at: unreadable images and other files, set by set."""
    for role, data in result.provenance.data.items():
        if data.skipped:
            examples = "; ".join(f"{skipped.file} ({skipped.reason})" for skipped in data.skipped[:names])
            more = "; …" if len(data.skipped) > names else ""
            yield f"{role} images: {len(data.skipped)} of {data.images + len(data.skipped)} left out: {examples}{more}"
        if data.images + len(data.skipped) < data.available:
            yield f"{role} images: a sample of {data.images + len(data.skipped)} of {data.available} (--limit)"
        if data.other_files:
            yield f"{role} images: {data.other_files} files beside them are no images and were not opened"


def models(result: CheckResult) -> Iterator[tuple[str, str]]:
    """One line for each network: what it is, how its tensors fitted, which file."""
    if "finetuned" in result.provenance.models:
        yield "backbone", f"finetuned and source: {fit(result.provenance.backbone)}"
    for role, model in result.provenance.models.items():
        digest = f", sha256 {model.sha256[:12]}…" if model.sha256 else ""
        what = f"{model.architecture}, {model.num_classes} classes, head {model.head}"
        yield role, f"{what}; {fit(model.keys)}; {model.spec}{digest}"
        for note in model.notes:
            yield role, note


def fit(keys: KeyMatch) -> str:
    """How tensors fitted, in counts."""
    text = f"{keys.matched} tensors matched, {len(keys.missing)} missing, {len(keys.unexpected)} unexpected"
    return f"{text}, {len(keys.ignored)} not the classifier's" if keys.ignored else text
