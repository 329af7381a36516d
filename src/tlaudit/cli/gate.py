"""`tlaudit gate`."""

from __future__ import annotations

import os
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from tlaudit.cli.options import (
    OUTPUT_PANEL,
    ConfigOption,
    Output,
    OutputOption,
    QuietOption,
    ReportOption,
    TopOption,
    VerboseOption,
)
from tlaudit.cli.output import deliver, keep_apart, plan, written
from tlaudit.cli.streams import show
from tlaudit.errors import UsageError

if TYPE_CHECKING:
    from tlaudit.policy import Policy
    from tlaudit.verdicts import Verdict


def gate(
    reports: Annotated[
        list[Path] | None, typer.Argument(help="JSON files of tlaudit audit, or of checks, about one checkpoint.")
    ] = None,
    policy: Annotated[
        Path | None, typer.Option(help="File with the rules: the section policy of a tlaudit.toml or pyproject.toml.")
    ] = None,
    against: Annotated[
        Path | None, typer.Option(help="The previous release's report, for rules about changes.")
    ] = None,
    first_release: Annotated[
        bool, typer.Option("--first-release", help="There is no previous release: rules about changes are not judged.")
    ] = False,
    checkpoint: Annotated[
        Path | None, typer.Option(help="File to be released; reports about another one are refused.")
    ] = None,
    explain: Annotated[
        str | None, typer.Option(metavar="RULE", help="Say what a rule demands, by its id or metric, and exit.")
    ] = None,
    config: ConfigOption = None,
    formats: Annotated[
        list[str] | None,
        typer.Option(
            "--format",
            "-f",
            help="table, json, markdown, junit, sarif or html; may be repeated.",
            rich_help_panel=OUTPUT_PANEL,
        ),
    ] = None,
    path: OutputOption = None,
    report: ReportOption = None,
    top: TopOption = 15,
    quiet: QuietOption = False,
    verbose: VerboseOption = False,
) -> None:
    """Judge a checkpoint by the reports about it: exit code 0 to release it, 1 to refuse it, 3 for no answer.

    The rules are those of --policy, else of the configuration file, else the ones that come with tlaudit. What a rule
    asks for and no report holds is no answer, never a pass. In a GitHub job the verdict is added to its summary.
    """
    from tlaudit.cli import step_summary
    from tlaudit.policy import load
    from tlaudit.reports import VERDICT_FORMATS

    named = (reports or [], against, checkpoint)
    output = Output(tuple(formats or ()), path, report, top, quiet, verbose, config)
    if explain is not None:
        if output.formats or path is not None or report is not None:
            raise UsageError("--explain writes plain text to stdout; leave out --format, --output and --report")
        _explain(load(policy, config), explain, named, first_release=first_release)
        return
    places = plan(output, VERDICT_FORMATS)
    read: dict[str, Path | None] = {f"the report {file}": file for file in named[0]}
    read |= {"--policy": policy, "--config": config, "--against": against, "--checkpoint": checkpoint}
    keep_apart(written(output, places), read)
    verdict = _decide(load(policy, config), named, first_release=first_release)
    step_summary.append(VERDICT_FORMATS["markdown"].render(verdict, top))
    deliver(verdict, output, places, VERDICT_FORMATS)
    if verdict.exit_code:
        raise typer.Exit(verdict.exit_code)


def _decide(policy: Policy, named: tuple[list[Path], Path | None, Path | None], *, first_release: bool) -> Verdict:
    """Read the reports and judge them, today."""
    from tlaudit.documents import read_report
    from tlaudit.policy import decide

    reports, against, checkpoint = named
    for file in reports:
        # Links may lead in a circle, which is for whoever reads the file to say.
        if against is not None and os.path.realpath(file) == os.path.realpath(against):
            raise UsageError(f"{file}: both judged and named by --against; a report does not change against itself")
    return decide(
        policy,
        [read_report(file) for file in reports],
        read_report(against) if against is not None else None,
        checkpoint,
        today=datetime.now(tz=UTC).date(),
        first_release=first_release,
    )


def _explain(
    policy: Policy, asked: str, named: tuple[list[Path], Path | None, Path | None], *, first_release: bool
) -> None:
    from tlaudit.policy import explain

    verdict = _decide(policy, named, first_release=first_release) if named[0] else None
    show(explain(policy, asked, verdict))
