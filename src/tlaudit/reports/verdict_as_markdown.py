"""Markdown: the verdict, then the rules that matter, for pull requests and the summaries of pipelines."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tlaudit.reports import markdown, verdict_told

if TYPE_CHECKING:
    from collections.abc import Iterable

    from tlaudit.verdicts import Ruling, Verdict

SUFFIX = ".md"
_HEAD = ("outcome", "rule", "value", "limit", "n", "ruling")


def render(verdict: Verdict, rows: int) -> str:
    """Write verdict, tables of rulings, findings and sources; of passed and of skipped rules `rows` at the most."""
    groups = verdict_told.groups(verdict)
    parts = [
        markdown.heading(f"tlaudit gate: {verdict_told.WORDS[verdict.outcome]}", 1),
        markdown.text(verdict.summary),
    ]
    urgent = [ruling for group in groups if group.matters for ruling in group.rulings]
    if urgent:
        parts.append(_table(verdict, urgent))
    for title, rulings, matters in groups:
        if not matters:
            shown = rulings[:rows]
            counted = f"{title} ({len(rulings)})" if len(shown) == len(rulings) else _part(title, shown, rulings)
            parts.append(markdown.heading(counted, 2))
            if shown:
                parts.append(_table(verdict, shown))
    parts += markdown.bullets("Findings", ((f.severity, f.message) for f in verdict.findings))
    parts += markdown.bullets("Judged", verdict_told.sources(verdict))
    return "\n\n".join(parts) + "\n"


def _part(title: str, shown: tuple[Ruling, ...], rulings: tuple[Ruling, ...]) -> str:
    return f"{title} ({len(shown)} of {len(rulings)})"


def _table(verdict: Verdict, rulings: Iterable[Ruling]) -> str:
    return markdown.table(_HEAD, (_cells(verdict, ruling) for ruling in rulings))


def _cells(verdict: Verdict, ruling: Ruling) -> tuple[str, ...]:
    place = verdict_told.where(verdict, ruling)
    sentence = verdict_told.sentence(ruling)
    return (
        verdict_told.outcome(ruling),
        verdict_told.subject(ruling),
        verdict_told.value(ruling),
        verdict_told.limits(ruling),
        "–" if ruling.n is None else str(ruling.n),
        f"{sentence} ({place})" if ruling.outcome != "passed" and place else sentence,
    )
