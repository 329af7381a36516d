"""`tlaudit demo`."""

from __future__ import annotations

import shlex
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from tlaudit.cli.flags import EXECUTION
from tlaudit.cli.options import Output, configured
from tlaudit.cli.output import ProgressBar, deliver, plan, write
from tlaudit.cli.streams import say, tell
from tlaudit.files import refuse_unwritable

if TYPE_CHECKING:
    from tlaudit.options import Settings

REPORT = Path("tlaudit-demo.html")


@configured(EXECUTION)
def demo(settings: Settings, output: Output) -> None:
    """Audit the small world that comes with tlaudit, and gate it: offline, in about a minute, with a report at the end.

    A network that knows drawn things, cats and dogs among them, was finetuned to tell cats from dogs. Does it still
    know an espresso mug when it sees one, and does a mug in the picture get between it and the dog? The report is
    written to tlaudit-demo.html unless --report names another file, and the same for programs to a .json beside it.
    """
    from tlaudit.reports import AUDIT_FORMATS, VERDICT_FORMATS

    report = output.report or REPORT
    output = replace(output, report=report)
    places = plan(output, AUDIT_FORMATS)
    document = report.with_suffix(AUDIT_FORMATS["json"].suffix)
    refuse_unwritable(document)
    from tlaudit.demo.audit import audit_world
    from tlaudit.models.runtime import keep_memory
    from tlaudit.policy import gate

    keep_memory()
    found = audit_world(settings.execution, ProgressBar(quiet=output.quiet))
    deliver(found, output, places, AUDIT_FORMATS)
    write(document, AUDIT_FORMATS["json"].render(found, output.top))
    verdict = gate(document)
    if output.quiet:
        return
    say(f"written: {document}")
    tell(f"\n{VERDICT_FORMATS['table'].render(verdict, output.top)}\n")
    say(f"This is what a pipeline sees; it would stop here with exit code {verdict.exit_code}:")
    say(f"  tlaudit gate {shlex.quote(str(document))}")
    say(f"Open the report in a browser: {report.resolve()}")
