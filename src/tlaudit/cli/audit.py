"""`tlaudit audit`."""

from __future__ import annotations

import inspect
from typing import TYPE_CHECKING, Annotated

import typer

from tlaudit.cli.flags import AUDIT, DATA, EXECUTION, MODELS, PREPROCESS
from tlaudit.cli.options import OUTPUT_PANEL, Output, configured
from tlaudit.cli.output import deliver, keep_apart, plan
from tlaudit.cli.processes import together
from tlaudit.cli.subject import load_networks, named_files
from tlaudit.errors import ReportError

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from tlaudit.options import Settings
    from tlaudit.results import AuditReport

_OWN = (
    inspect.Parameter(
        "formats",
        inspect.Parameter.KEYWORD_ONLY,
        default=None,
        annotation=Annotated[
            list[str] | None,
            typer.Option(
                "--format",
                "-f",
                help="table, json, csv, markdown, html or model-card; may be repeated.",
                rich_help_panel=OUTPUT_PANEL,
            ),
        ],
    ),
)


@configured(MODELS, DATA, AUDIT, PREPROCESS, EXECUTION, own=_OWN)
def audit(settings: Settings, output: Output) -> None:
    """Make all checks of tlaudit.toml in one go: one report, and one verdict on each check.

    Needs --source, --finetuned, --source-data and --target-data, of the file or here; --baseline adds the controls.
    What several checks look at is read once. A check that cannot be made does not stop the others: the report says why
    it was not, and the exit code is 3.
    """
    from tlaudit.auditing.choice import refuse_missing
    from tlaudit.reports import AUDIT_FORMATS

    places = plan(output, AUDIT_FORMATS)
    _refuse_places(settings, output, places)
    refuse_missing(settings, {"--source": settings.models.source, "--finetuned": settings.models.finetuned})
    with together(settings, output) as run:
        pair = load_networks(settings, alike=False)
        from tlaudit.auditing.session import run_audit

        report = run_audit(pair, run.settings, run.progress, group=run.group)
        if run.group.leads:
            deliver(report, output, places, AUDIT_FORMATS)
        _refuse_failed(report)


def _refuse_places(settings: Settings, output: Output, places: Mapping[str, Path | None]) -> None:
    """Find out before the work that something cannot be written, or would be written over something else."""
    from tlaudit.auditing.choice import chosen
    from tlaudit.data.composite_files import refuse_folder
    from tlaudit.data.rows import refuse_rows

    written = {"--report": output.report, **{f"--output ({name})": place for name, place in places.items()}}
    read: dict[str, Path | None] = {**named_files(settings)}
    folder = None
    if "distraction" in chosen(settings):
        options = settings.distraction
        folder = options.save_composites
        if folder is not None:
            refuse_folder(folder)
        if options.save_rows is not None:
            refuse_rows(options.save_rows)
        written |= {"--save-rows": options.save_rows}
        read |= {"--lingering": options.lingering}
    keep_apart(written, read, folder)


def _refuse_failed(report: AuditReport) -> None:
    """Everything is written; what was not measured is still no answer.

    Raises:
        ReportError: If a check could not be made.
    """
    failed = [result.check for result in report.checks if result.failure is not None]
    if failed:
        share = f"{len(failed)} of {len(report.checks)} checks could not be made"
        if len(failed) == len(report.checks):
            share = "no check could be made" if len(failed) > 1 else "the check could not be made"
        raise ReportError(f"{share}: {', '.join(failed)}")
