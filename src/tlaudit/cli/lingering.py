"""`tlaudit lingering`."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tlaudit.cli.options import DATA, EXECUTION, LINGERING, MODELS, PREPROCESS, Output, configured
from tlaudit.cli.output import ProgressBar, deliver, plan

if TYPE_CHECKING:
    from tlaudit.config import Settings


@configured(MODELS, DATA, LINGERING, PREPROCESS, EXECUTION)
def lingering(settings: Settings, output: Output) -> None:
    """Find source classes the finetuned network still recognises although its data never shows them.

    Needs --source, --finetuned, --source-data and --target-data; --baseline adds the control that shows the numbers
    mean what they say, --val-data the accuracy on the target task.
    """
    places = plan(output)
    from tlaudit.checks import CHECKS
    from tlaudit.checks.base import assemble
    from tlaudit.models.pair import load_configured

    subject = assemble(
        load_configured(settings.models),
        settings.data,
        preprocess=settings.preprocess,
        execution=settings.execution,
        progress=ProgressBar(quiet=output.quiet),
    )
    deliver(CHECKS["lingering"]().run(subject, settings.lingering), output, places)
