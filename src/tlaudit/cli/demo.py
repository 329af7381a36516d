"""`tlaudit demo`."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tlaudit.cli.options import EXECUTION, Output, configured
from tlaudit.cli.output import ProgressBar, deliver, plan

if TYPE_CHECKING:
    from tlaudit.config import Settings


@configured(EXECUTION)
def demo(settings: Settings, output: Output) -> None:
    """Audit the small world that comes with tlaudit: offline, in under a minute.

    A network that knows drawn things, cats and dogs among them, was finetuned to tell cats from dogs. Does it still
    know an espresso mug when it sees one?
    """
    places = plan(output)
    from tlaudit.demo.audit import audit_world

    deliver(audit_world(settings.execution, ProgressBar(quiet=output.quiet)), output, places)
