"""`tlaudit compare`."""

from __future__ import annotations

import itertools
from typing import Annotated

import typer

from tlaudit.cli.options import (
    FormatOption,
    Output,
    OutputOption,
    QuietOption,
    ReportOption,
    TopOption,
    VerboseOption,
)
from tlaudit.cli.output import deliver, keep_apart, plan, written

_PANEL = "What is compared"
_Reports = Annotated[
    list[str],
    typer.Argument(metavar="[NAME=]FILE", help="Reports that tlaudit audit, or one check, wrote as JSON."),
]
_By = Annotated[
    str | None, typer.Option("--by", metavar="METRIC", help="What the ranking goes by.", rich_help_panel=_PANEL)
]
_Axes = Annotated[
    str | None,
    typer.Option(
        "--axes",
        metavar="METRIC,METRIC",
        help="Axes of the Pareto front; default target.accuracy and that of the ranking.",
        rich_help_panel=_PANEL,
    ),
]
_Reference = Annotated[
    str | None,
    typer.Option(
        "--reference",
        metavar="NAME",
        help="Candidate that changes are relative to; default the first.",
        rich_help_panel=_PANEL,
    ),
]


def compare(
    reports: _Reports,
    by: _By = None,
    axes: _Axes = None,
    reference: _Reference = None,
    formats: FormatOption = None,
    path: OutputOption = None,
    report: ReportOption = None,
    top: TopOption = 15,
    quiet: QuietOption = False,
    verbose: VerboseOption = False,
) -> None:
    """Put many audits side by side: who is best, by how much, and who is beaten by nobody.

    Each file is one candidate, called by its name or as NAME=FILE says. Reports that were judged on other images or by
    other definitions are refused, with every reason.
    """
    from tlaudit import comparison
    from tlaudit.comparison.candidates import named_files
    from tlaudit.reports import COMPARISON_FORMATS

    output = Output(tuple(formats or ()), path, report, top, quiet, verbose)
    places = plan(output, COMPARISON_FORMATS)
    files = named_files(reports)
    read = {f"report {number}": file for number, file in zip(itertools.count(1), files.values(), strict=False)}
    keep_apart(written(output, places), read)
    chosen = None if axes is None else [name.strip() for name in axes.split(",") if name.strip()]
    found = comparison.compare(files, by=by, axes=chosen, reference=reference)
    deliver(found, output, places, COMPARISON_FORMATS)
