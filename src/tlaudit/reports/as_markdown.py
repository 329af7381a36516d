"""Markdown: the summary first, then the worst rows, for pull requests and notebooks."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from tlaudit.reports import wording

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from tlaudit.results import CheckResult

SUFFIX = ".md"


def render(result: CheckResult, rows: int) -> str:
    """Write summary, measurements, the worst `rows` rows of each table, findings, what is missing, and provenance."""
    parts = [f"# tlaudit {result.check}", _text(result.summary)]
    parts.append(
        _table(
            ("measurement", "value", "95 % interval".replace("95", _confidence(result)), "n", "better", "meaning"),
            (
                (
                    m.name,
                    "absent" if m.value is None else wording.number(m.value, m.unit),
                    wording.interval(m),
                    str(m.n),
                    m.better,
                    m.absent or m.meaning,
                )
                for m in result.measurements
            ),
        )
    )
    for table in result.tables.values():
        head, body, title = wording.short_view(table, rows)
        if body:
            parts += [f"## {_text(title)}", _table(head, body)]
    parts += _list("Findings", (f"**{f.severity}** {_text(f.message)}" for f in result.findings))
    parts += _list("Left out", (_text(line) for line in wording.left_out(result)))
    parts += _list("Networks", (f"**{role}** {_text(line)}" for role, line in wording.models(result)))
    return "\n\n".join(parts) + "\n"


def _confidence(result: CheckResult) -> str:
    levels = [m.interval.confidence for m in result.measurements if m.interval]
    return f"{100 * levels[0]:g}" if levels else "95"


def _text(text: str) -> str:
    """Text that stays text: names of files and classes may hold anything."""
    return re.sub(r"([\\`*_\[\]<>#|])", r"\\\1", " ".join(text.split()))


def _table(head: Sequence[str], body: Iterable[Sequence[str]]) -> str:
    lines = [head, ["---"] * len(head), *body]
    return "\n".join(f"| {' | '.join(cell if cell == '---' else _text(cell) for cell in line)} |" for line in lines)


def _list(title: str, lines: Iterable[str]) -> list[str]:
    items = [f"- {line}" for line in lines]
    return [f"## {title}", "\n".join(items)] if items else []
