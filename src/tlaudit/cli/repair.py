"""`tlaudit repair`."""

from __future__ import annotations

import inspect
import logging
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from tlaudit.cli.flags import (
    DATA,
    EXECUTION,
    MODELS,
    PREPROCESS,
    REPAIR,
    REPAIR_JUDGE,
    REPAIR_METHODS,
    REPAIR_TRAINING,
)
from tlaudit.cli.options import OUTPUT_PANEL, Output, configured
from tlaudit.cli.output import deliver, keep_apart, plan, written
from tlaudit.cli.processes import together
from tlaudit.cli.subject import files_of_set, named_files
from tlaudit.errors import DivergedError, UsageError

if TYPE_CHECKING:
    from collections.abc import Iterable

    from tlaudit.options import Settings

log = logging.getLogger(__name__)

_ROWS = 200
"""Of all methods together there are a hundred, and none is to be left out."""

_KEYWORD = inspect.Parameter.KEYWORD_ONLY
_OWN = (
    inspect.Parameter(
        "path",
        _KEYWORD,
        default=None,
        annotation=Annotated[
            Path | None,
            typer.Option(
                "--output",
                "-o",
                help="Checkpoint to write, .safetensors or .pth; of several methods one each: NAME.METHOD.safetensors.",
                rich_help_panel=OUTPUT_PANEL,
            ),
        ],
    ),
    inspect.Parameter(
        "result",
        _KEYWORD,
        default=None,
        annotation=Annotated[
            Path | None,
            typer.Option(
                "--result", help="File for the before/after document, .json .csv .md …", rich_help_panel=OUTPUT_PANEL
            ),
        ],
    ),
    inspect.Parameter(
        "top",
        _KEYWORD,
        default=_ROWS,
        annotation=Annotated[
            int,
            typer.Option("--top", min=0, help="Rows of a table that people read.", rich_help_panel=OUTPUT_PANEL),
        ],
    ),
    inspect.Parameter(
        "steps",
        _KEYWORD,
        default=None,
        annotation=Annotated[
            Path | None,
            typer.Option("--steps", help="CSV or JSONL file, one row a step.", rich_help_panel=OUTPUT_PANEL),
        ],
    ),
    inspect.Parameter(
        "resume",
        _KEYWORD,
        default=False,
        annotation=Annotated[
            bool, typer.Option("--resume", help="Go on where the same command was stopped; needs --output.")
        ],
    ),
    inspect.Parameter(
        "compare",
        _KEYWORD,
        default=False,
        annotation=Annotated[bool, typer.Option("--compare", help="Run every method, as --method with all names.")],
    ),
    inspect.Parameter(
        "task",
        _KEYWORD,
        default=None,
        annotation=Annotated[
            list[str] | None,
            typer.Option(
                "--task", help="NAME=DIR, again and again: tasks learnt one after another. DIR/train, DIR/val."
            ),
        ],
    ),
)


@configured(
    MODELS,
    DATA,
    REPAIR,
    REPAIR_TRAINING,
    *REPAIR_METHODS,
    REPAIR_JUDGE,
    PREPROCESS,
    EXECUTION,
    own=_OWN,
    without=("--baseline", "--baseline-arch", "--target-data"),
)
def repair(
    settings: Settings,
    output: Output,
    result: Path | None,
    steps: Path | None,
    resume: bool,
    compare: bool,
    task: list[str] | None,
) -> None:
    """Finetune again in a way that keeps, or removes, what the source network knows; show before and after.

    Needs --source and --train-data; --val-data, --source-data and --finetuned say more. A training that was stopped at
    any moment goes on with --resume. Under torchrun the work is shared among processes, with the same result.
    """
    document = replace(output, path=result)
    places = plan(document)
    if settings.models.source is None:
        raise UsageError("missing: --source (on the command line or in tlaudit.toml)")
    read = {**named_files(settings), **_files_of_tasks(task or ())}
    keep_apart({**written(document, places, "--result"), "--output": output.path, "--steps": steps}, read)
    from tlaudit.repair.continual import learn_in_turn, parse_tasks
    from tlaudit.repair.places import Places
    from tlaudit.repair.session import all_methods, chosen_methods, load, run

    if compare:
        options = settings.repair.model_copy(update={"methods": all_methods(settings, in_turn=bool(task))})
        settings = settings.model_copy(update={"repair": options})
    others = {"--report": output.report} | {f"--result ({form})": place for form, place in places.items()}
    where = Places(output.path, steps, resume=resume, others=others, read=read)
    with together(settings, output) as (settings, group, progress):
        tasks = parse_tasks(task) if task else {}
        if tasks:
            _warn_of_other_images(settings)
        methods = chosen_methods(settings.repair.methods)
        names = [f"{method}.{name}" for method in methods for name in tasks] if tasks else list(methods)
        where.refuse(names)
        source, finetuned = load(settings.models)
        if tasks:
            told = learn_in_turn(source, tasks, methods, settings, where, progress=progress, group=group)
        else:
            told = run(source, finetuned, settings, where, progress=progress, group=group)
        if group.leads:
            deliver(told, document, places)
        diverged = [finding.message for finding in told.findings if finding.code == "repair.diverged"]
        if diverged:
            raise DivergedError("; ".join(diverged))
        if group.leads:
            where.forget(names)


def _files_of_tasks(given: Iterable[str]) -> dict[str, Path]:
    """Give the files that hold the images of tasks; what is written wrong is for whoever reads it to say."""
    from tlaudit.data.kinds import set_in

    files: dict[str, Path] = {}
    for text in given:
        name, _, folder = text.partition("=")
        for part in ("train", "val"):
            files |= files_of_set(f"{part} of --task {name}", set_in(Path(folder), part))
    return files


def _warn_of_other_images(settings: Settings) -> None:
    """Say what of the options and of the file a sequence of tasks does not look at."""
    named = {
        "--train-data": settings.repair.train,
        "--val-data": settings.data.val,
        "--finetuned": settings.models.finetuned,
    }
    idle = [option for option, value in named.items() if value is not None]
    if idle:
        log.warning("--task names what is learnt and asked about, so that %s say nothing", ", ".join(idle))
