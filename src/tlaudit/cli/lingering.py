"""`tlaudit lingering`."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tlaudit.cli.flags import DATA, EXECUTION, LINGERING, MODELS, PREPROCESS
from tlaudit.cli.options import Output, configured
from tlaudit.cli.output import deliver, keep_apart, plan, written
from tlaudit.cli.processes import together
from tlaudit.cli.subject import load_subject, named_files

if TYPE_CHECKING:
    from tlaudit.options import Settings


@configured(MODELS, DATA, LINGERING, PREPROCESS, EXECUTION)
def lingering(settings: Settings, output: Output) -> None:
    """Find source classes the finetuned network still recognises although its data never shows them.

    Needs --source, --finetuned, --source-data and --target-data; --baseline adds the control that shows the numbers
    mean what they say, --val-data the accuracy on the target task.
    """
    places = plan(output)
    keep_apart(written(output, places), named_files(settings))
    with together(settings, output) as run:
        subject = load_subject(run, run.settings)
        from tlaudit.checks import run_check

        result = run_check("lingering", subject, run.settings)
        if run.group.leads:
            deliver(result, output, places)
