"""The terminal: the front of an audit; all measurements and tables are in its other formats."""

from __future__ import annotations

from typing import TYPE_CHECKING

from rich.console import Group
from rich.text import Text

from tlaudit.reports import audit_told, terminal, wording

if TYPE_CHECKING:
    from collections.abc import Iterator

    from rich.console import RenderableType

    from tlaudit.results import AuditReport

SUFFIX = ".txt"
_COLOUR = {"Concern": "bold red", "Clear": "bold green", "Open": "bold yellow", "Failed": "bold magenta"}


def render(report: AuditReport, rows: int) -> str:
    """Write the view as plain text, without colours, for a file or a pipe."""
    return terminal.plain(view(report, rows, terminal.PLAIN_WIDTH))


def view(report: AuditReport, rows: int, width: int) -> RenderableType:
    """What a terminal shows: verdict, a row a check, the numbers in front, failures, findings, networks.

    Args:
        report: The record.
        rows: How many findings at the most.
        width: Columns of the terminal; a wide one also shows what each measurement means.
    """
    word = wording.VERDICTS[report.verdict][0]
    return Group(
        Text.assemble((f"{word}: ", _COLOUR[word]), terminal.text(report.summary)),
        terminal.text(f"audited: {report.subject}"),
        Text(),
        _checks(report),
        *_headline(report, meanings=width >= terminal.WIDE),
        *_notes(report, rows),
        Text("\nAll measurements: --format json or csv. Tables, charts and pictures: --report FILE.html.", style="dim"),
    )


def _checks(report: AuditReport) -> RenderableType:
    table = terminal.grid()
    for name in ("check", "verdict"):
        table.add_column(name, no_wrap=True)
    table.add_column("what was found", overflow="fold")
    for check, word, found in audit_told.checks(report):
        table.add_row(terminal.text(check), Text(word, style=_COLOUR[word]), terminal.text(found))
    return table


def _headline(report: AuditReport, *, meanings: bool) -> Iterator[RenderableType]:
    shown = audit_told.headline(report)
    if shown:
        yield Text()
        yield terminal.measurements(shown, meanings=meanings)


def _notes(report: AuditReport, rows: int) -> Iterator[RenderableType]:
    yield Text()
    for measurement in audit_told.headline(report):
        if measurement.absent is not None:
            yield terminal.text(f"not measured: {measurement.name}: {measurement.absent}")
    for check, reason in audit_told.failures(report):
        yield Text.assemble(("failed: ", _COLOUR["Failed"]), terminal.text(f"{check}: {reason}"))
    for check, reason in report.left_out.items():
        yield terminal.text(f"left out: {check}: {reason}")
    found = audit_told.findings(report)
    for finding, made_by in found[:rows]:
        yield from terminal.findings([finding.model_copy(update={"message": f"{finding.message} ({made_by})"})])
    if len(found) > rows:
        yield Text(f"{len(found) - rows} more findings (--top)", style="dim")
    for role, line in audit_told.networks(report):
        yield terminal.text(f"{role}: {line}", "dim")
