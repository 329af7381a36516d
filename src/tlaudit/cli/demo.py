"""`tlaudit demo`."""

from __future__ import annotations

import sys
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from tlaudit.cli.flags import EXECUTION
from tlaudit.cli.options import Output, configured
from tlaudit.cli.output import ProgressBar, deliver, plan

if TYPE_CHECKING:
    from tlaudit.options import Settings

REPORT = Path("tlaudit-demo.html")


@configured(EXECUTION)
def demo(settings: Settings, output: Output) -> None:
    """Audit the small world that comes with tlaudit: offline, in about a minute, with a report at the end.

    A network that knows drawn things, cats and dogs among them, was finetuned to tell cats from dogs. Does it still
    know an espresso mug when it sees one, and does a mug in the picture get between it and the dog? The report is
    written to tlaudit-demo.html unless --report names another file; the document of -o is that of the first check.
    """
    output = replace(output, report=output.report or REPORT)
    places = plan(output)
    from tlaudit.demo.audit import audit_world

    first, *others = audit_world(settings.execution, ProgressBar(quiet=output.quiet))
    from tlaudit.reports import as_html

    deliver(first, output, places, page=as_html.page((first, *others), output.top))
    if not output.quiet and output.report is not None:
        for result in others:
            sys.stderr.write(f"tlaudit {result.check}: {result.summary}\n")
        sys.stderr.write(f"open the report in a browser: {output.report.resolve()}\n")
