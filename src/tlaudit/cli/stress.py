"""`tlaudit stress`."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tlaudit.cli.flags import DATA, EXECUTION, MODELS, PREPROCESS, STRESS, STRESS_TRAINING
from tlaudit.cli.options import Output, configured
from tlaudit.cli.output import deliver, keep_apart, plan, written
from tlaudit.cli.processes import together
from tlaudit.cli.subject import load_subject, named_files, source_only
from tlaudit.errors import UsageError

if TYPE_CHECKING:
    from tlaudit.options import Settings


@configured(
    MODELS,
    DATA,
    STRESS,
    STRESS_TRAINING,
    PREPROCESS,
    EXECUTION,
    without=(
        *("--finetuned", "--baseline", "--source-arch", "--baseline-arch", "--target-data", "--val-data"),
        *("--fuse/--no-fuse", "--compile/--no-compile"),
    ),
)
def stress(settings: Settings, output: Output) -> None:
    """Train the network on with squares that give the class away, and see what it forgets.

    Needs --source, the network, and --source-data, images of the task it knows; --test-data gives the images it is
    asked about afterwards. --runs keeps finished trainings, so that the same command goes on where it was stopped.
    """
    places = plan(output)
    models = settings.models
    if models.source is None:
        raise UsageError("missing: --source (on the command line or in tlaudit.toml)")
    # One network, which stands beside itself: what is trained is a copy.
    alone = models.model_copy(
        update={"finetuned": models.source, "arch": models.source_arch or models.arch, "baseline": None}
    )
    settings = settings.model_copy(update={"models": alone})
    keep_apart(written(output, places), named_files(settings))
    with together(settings, output) as run:
        subject = load_subject(run, source_only(run.settings), needed=("source",))
        from tlaudit.checks import run_check

        result = run_check("stress", subject, run.settings)
        if run.group.leads:
            deliver(result, output, places)
