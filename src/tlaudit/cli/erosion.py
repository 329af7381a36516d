"""`tlaudit erosion`."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tlaudit.cli.flags import DATA, EROSION, EXECUTION, MODELS, PREPROCESS
from tlaudit.cli.options import Output, configured
from tlaudit.cli.output import deliver, keep_apart, plan, written
from tlaudit.cli.processes import together
from tlaudit.cli.subject import load_subject, named_files, source_only
from tlaudit.errors import UsageError

if TYPE_CHECKING:
    from tlaudit.options import Settings


@configured(MODELS, DATA, EROSION, PREPROCESS, EXECUTION, without=("--target-data", "--val-data"))
def erosion(settings: Settings, output: Output) -> None:
    """Measure how far finetuning moved the features, stage by stage, and what was lost with them.

    Needs --source, --finetuned and --data: images of the original task, or any. In folders of the source network's
    classes they also show what it still knows; --source-data gives others for that. With --baseline the from-scratch
    network stands beside the finetuned one.
    """
    places = plan(output)
    keep_apart(written(output, places), named_files(settings))
    if settings.erosion.data is None and settings.data.source is None:
        raise UsageError("missing: --data (on the command line or in tlaudit.toml)")
    with together(settings, output) as run:
        subject = load_subject(run, source_only(run.settings), needed=(), alike=False)
        from tlaudit.checks import run_check

        result = run_check("erosion", subject, run.settings)
        if run.group.leads:
            deliver(result, output, places)
