"""`tlaudit inspect`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from tlaudit.cli.output import keep_apart, write
from tlaudit.cli.streams import hand_over, show
from tlaudit.cli.subject import code_of
from tlaudit.errors import UsageError
from tlaudit.files import refuse_unwritable

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tlaudit.results import Inspection


def inspect(
    checkpoint: Annotated[str, typer.Argument(help="File, torchvision:NAME[:WEIGHTS] or timm:NAME.")],
    arch: Annotated[
        str | None, typer.Option(help="torchvision name, timm:NAME, package.module:factory or file.py:factory.")
    ] = None,
    head: Annotated[str | None, typer.Option(help="Module path of the classification head.")] = None,
    use_ema: Annotated[bool, typer.Option(help="Take averaged weights where the file holds both.")] = False,
    allow_pickle: Annotated[bool, typer.Option(help="Run the code a pickle asks for. Dangerous.")] = False,
    form: Annotated[str, typer.Option("--format", "-f", help="table or json.")] = "table",
    path: Annotated[Path | None, typer.Option("--output", "-o", help="File to write, instead of stdout.")] = None,
    verbose: Annotated[bool, typer.Option("--verbose", "-v", help="Say more on stderr.")] = False,  # noqa: ARG001 - read in app
) -> None:
    """Say what a checkpoint is: architecture, head, classes, what matched, hash, whether it is safe to load."""
    if form not in {"table", "json"}:
        raise UsageError(f"unknown format {form!r}; known are table, json")
    if path is not None:
        refuse_unwritable(path)
        keep_apart({"--output": path}, {"the checkpoint": Path(checkpoint), **code_of("--arch", arch)})
    from tlaudit.models.sources import load_model
    from tlaudit.results import Inspection

    model = load_model(checkpoint, arch=arch, head=head, use_ema=use_ema, allow_pickle=allow_pickle)
    inspection = Inspection(model=model.record, stages=model.stages)
    text = inspection.to_json() if form == "json" else _table(inspection)
    if path is not None:
        write(path, text)
    elif form == "json":
        hand_over(text)
    else:
        show(text)


def _table(inspection: Inspection) -> str:
    from tlaudit.reports.as_terminal import facts

    return facts(_facts(inspection))


def _facts(inspection: Inspection) -> Iterator[tuple[str, str]]:
    """What there is to say, a name and a value a line."""
    model = inspection.model
    yield "checkpoint", model.spec
    yield "format", model.format
    yield "sha256", model.sha256 or "–"
    yield "architecture", model.architecture + (f" (family {model.family})" if model.family else "")
    yield "head", model.head
    yield "classes", f"{model.num_classes}" + (" (named)" if model.classes_known else " (no names in the file)")
    yield "parameters", f"{model.parameters:,}, {model.dtype}"
    yield "matched", f"{model.keys.matched} tensors"
    for name in ("missing", "unexpected", "ignored"):
        keys = getattr(model.keys, name)
        yield name, f"{len(keys)}" + (f": {', '.join(keys[:5])}{' …' if len(keys) > 5 else ''}" if keys else "")
    yield "safe to load", _safety(inspection)
    yield "finite", "yes" if not model.non_finite else f"no, NaN or infinity in: {', '.join(model.non_finite)}"
    yield "preprocessing", _preprocessing(inspection)
    yield "stages", ", ".join(inspection.stages)
    for note in model.notes:
        yield "note", note


def _safety(inspection: Inspection) -> str:
    blocked = inspection.model.blocked
    if not blocked:
        return "yes, no code had to be run"
    return f"no, it ran code on your word (--allow-pickle): {', '.join(blocked)}"


def _preprocessing(inspection: Inspection) -> str:
    p = inspection.model.preprocessing
    if p is None:
        return "not in the file: ImageNet's unless you say otherwise"
    return f"resize {p.resize}, crop {p.crop}, {p.interpolation}, mean {p.mean}, std {p.std} ({p.origin})"
