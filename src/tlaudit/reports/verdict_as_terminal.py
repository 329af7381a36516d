"""The terminal: the verdict in a word, then one line a rule, what matters first."""

from __future__ import annotations

from typing import TYPE_CHECKING

from rich.console import Group
from rich.text import Text

from tlaudit.reports import terminal, verdict_told

if TYPE_CHECKING:
    from collections.abc import Iterator

    from rich.console import RenderableType
    from rich.table import Table

    from tlaudit.verdicts import Ruling, Verdict

SUFFIX = ".txt"
_COLOUR = {"pass": "bold green", "fail": "bold red", "no answer": "bold magenta"}
_GROUP_COLOUR = {
    "Violated": "red",
    "No answer": "magenta",
    "Waived": "cyan",
    "Warnings": "yellow",
    "Skipped": "dim",
    "Passed": "green",
}
_WIDEST = {"rule": 36, "value": 28, "limit": 18, "n": 8}


def render(verdict: Verdict, rows: int) -> str:
    """Write the view as plain text, without colours, for a file or a pipe."""
    return terminal.plain(view(verdict, rows, terminal.PLAIN_WIDTH))


def view(verdict: Verdict, rows: int, width: int) -> RenderableType:
    """What a terminal shows: verdict, rulings, findings, and what was judged by what.

    Args:
        verdict: The record.
        rows: How many rules that were passed, and that were skipped, at the most; the others are all shown.
        width: Columns of the terminal; a narrow one has the numbers in the sentences only.
    """
    word = verdict_told.WORDS[verdict.outcome]
    lines = list(terminal.findings(verdict.findings))
    lines += [terminal.text(f"{role}: {line}", "dim") for role, line in verdict_told.sources(verdict)]
    return Group(
        Text.assemble((f"{word}: ", _COLOUR[verdict.outcome]), terminal.text(verdict.summary)),
        Text(),
        *_rulings(verdict, rows, wide=width >= terminal.WIDE),
        Text(),
        *lines,
    )


def _rulings(verdict: Verdict, rows: int, *, wide: bool) -> Iterator[RenderableType]:
    table = _grid(wide=wide)
    hidden = []
    for title, rulings, matters in verdict_told.groups(verdict):
        shown = rulings if matters else rulings[:rows]
        for ruling in shown:
            table.add_row(*_cells(verdict, ruling, _GROUP_COLOUR[title], wide=wide))
        if len(shown) < len(rulings):
            hidden.append(f"{len(rulings) - len(shown)} more {title.lower()}")
    if table.rows:
        yield table
    if hidden:
        yield Text(f"{', '.join(hidden)} (--top)", style="dim")


def _grid(*, wide: bool) -> Table:
    table = terminal.grid()
    table.add_column("outcome", no_wrap=True)
    table.add_column("rule", max_width=_WIDEST["rule"], overflow="fold")
    if wide:
        for name in ("value", "limit", "n"):
            table.add_column(name, justify="right", max_width=_WIDEST[name])
    table.add_column("ruling", overflow="fold")
    return table


def _cells(verdict: Verdict, ruling: Ruling, colour: str, *, wide: bool) -> list[Text]:
    place = verdict_told.where(verdict, ruling)
    sentence = terminal.text(verdict_told.sentence(ruling))
    if ruling.outcome != "passed" and place:
        sentence = Text.assemble(sentence, " ", (terminal.text(f"({place})", "dim")))
    numbers = (verdict_told.value(ruling), verdict_told.limits(ruling), "–" if ruling.n is None else str(ruling.n))
    return [
        Text(verdict_told.outcome(ruling), style=colour),
        terminal.text(verdict_told.subject(ruling)),
        *(map(terminal.text, numbers) if wide else ()),
        sentence,
    ]
