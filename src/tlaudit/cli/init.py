"""`tlaudit init`."""

from __future__ import annotations

import functools
import inspect
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from tlaudit.cli.flags import DATA, FLAGS, MODELS
from tlaudit.cli.output import keep_apart, write
from tlaudit.cli.streams import say
from tlaudit.cli.subject import load_networks, named_files
from tlaudit.errors import UsageError
from tlaudit.files import refuse_unwritable

if TYPE_CHECKING:
    from collections.abc import Callable

    from tlaudit.cli.flags import Flag
    from tlaudit.options import Settings

_OUTPUT = Annotated[Path, typer.Option("--output", "-o", help="File to write.")]
_FORCE = Annotated[bool, typer.Option("--force", help="Replace the file if it is there.")]
_VERBOSE = Annotated[bool, typer.Option("--verbose", "-v", help="Say more on stderr.")]
_NOT_WRITTEN = {"strict", "limit"}
"""Keys of [data] that are for single runs."""


def _flags() -> dict[str, list[Flag]]:
    return {
        MODELS: list(FLAGS[MODELS]),
        DATA: [flag for flag in FLAGS[DATA] if flag.key not in _NOT_WRITTEN],
    }


def _naming(body: Callable[[Settings, Path, bool], None]) -> Callable[..., None]:
    """Give the command the options that name networks and images; no file answers for them yet."""

    @functools.wraps(body)
    def command(**values: Any) -> None:
        from tlaudit.config import settle

        written = {
            section: {flag.key: given for flag in flags if (given := values[flag.parameter_name]) is not None}
            for section, flags in _flags().items()
        }
        body(settle(written), values["output"], values["force"])

    own = (("output", _OUTPUT, Path("tlaudit.toml")), ("force", _FORCE, False), ("verbose", _VERBOSE, False))
    parameters = [flag.parameter(section) for section, flags in _flags().items() for flag in flags]
    parameters += [
        inspect.Parameter(name, inspect.Parameter.KEYWORD_ONLY, default=default, annotation=kind)
        for name, kind, default in own
    ]
    command.__signature__ = inspect.Signature(parameters)  # type: ignore[attr-defined]
    command.__annotations__ = {parameter.name: parameter.annotation for parameter in parameters}
    return command


@_naming
def init(settings: Settings, output: Path, force: bool) -> None:
    """Write a first tlaudit.toml for your checkpoints, explained line by line.

    The networks are looked at and the folders matched to their classes, so that what is wrong with them is said now.
    Whatever is not given is left in the file as a line to fill in.
    """
    models = settings.models
    needed = {"--source": models.source, "--finetuned": models.finetuned}
    if missing := [option for option, spec in needed.items() if spec is None]:
        raise UsageError(f"missing: {' and '.join(missing)}: name the networks that the file is about")
    _refuse_place(output, force=force)
    keep_apart({"--output": output}, named_files(settings))
    from tlaudit.scaffold import compose, look_around, next_steps

    found = look_around(load_networks(settings, {}, alike=False), settings.data)
    write(output, compose(settings, found, output))
    audit, gate = next_steps(str(output))
    first = "" if found.checks else f"name images in [data] of {output}, then "
    for line in (f"written: {output}", f"next: {first}{audit}", f"then: {gate}"):
        say(line)


def _refuse_place(path: Path, *, force: bool) -> None:
    """Refuse to replace a file unasked, before the networks are loaded."""
    if path.name == "pyproject.toml":
        raise UsageError(f"{path}: expected a file of its own, such as tlaudit.toml; this one belongs to the project")
    refuse_unwritable(path)
    if path.exists() and not force:
        raise UsageError(f"{path}: there is a file of that name; --force replaces it, --output names another one")
