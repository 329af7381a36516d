"""`tlaudit distraction`."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from tlaudit.cli.flags import DATA, DISTRACTION, EXECUTION, LINGERING, MODELS, PREPROCESS
from tlaudit.cli.options import Output, configured
from tlaudit.cli.output import deliver, keep_apart, plan, written
from tlaudit.cli.processes import together
from tlaudit.cli.subject import load_subject, named_files

if TYPE_CHECKING:
    from tlaudit.options import Settings


@configured(MODELS, DATA, DISTRACTION, LINGERING, PREPROCESS, EXECUTION)
def distraction(settings: Settings, output: Output) -> None:
    """Paste target images on pictures of classes that linger, and see what the network looks at.

    Needs what `tlaudit lingering` needs, and runs it first unless --lingering names its result. With --baseline the
    from-scratch network goes through the same: what distracts it too is no memory.
    """
    places = plan(output)
    from tlaudit.data.composite_files import refuse_folder
    from tlaudit.data.rows import refuse_rows

    options = settings.distraction
    if options.save_composites is not None:
        refuse_folder(options.save_composites)
    if options.save_rows is not None:
        refuse_rows(options.save_rows)
    keep_apart(
        {**written(output, places), "--save-rows": options.save_rows},
        {"--lingering": options.lingering, **named_files(settings)},
        options.save_composites,
    )
    with together(settings, output) as run:
        subject = load_subject(run, run.settings)
        from tlaudit.checks import CHECKS, prepared
        from tlaudit.checks.earlier import read_lingering
        from tlaudit.reports import as_html

        if options.lingering is not None:
            known = read_lingering(options.lingering, subject, settings.lingering)
            subject = replace(subject, earlier={"lingering": known})
        subject = prepared("distraction", subject, run.settings)
        result = CHECKS["distraction"].run(subject, options)
        if run.group.leads:
            page = as_html.page((result, *subject.earlier.values()), output.top) if output.report is not None else None
            deliver(result, output, places, page=page)
