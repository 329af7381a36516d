"""How a command gets its options and hands its body the settings."""

from __future__ import annotations

import functools
import inspect
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from tlaudit.cli.flags import FLAGS

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Sequence

OUTPUT_PANEL = "Output"
ConfigOption = Annotated[
    Path | None,
    typer.Option("--config", help="Configuration file, instead of ./tlaudit.toml or ./pyproject.toml."),
]
FormatOption = Annotated[
    list[str] | None,
    typer.Option(
        "--format", "-f", help="table, json, csv, markdown or html; may be repeated.", rich_help_panel=OUTPUT_PANEL
    ),
]
OutputOption = Annotated[
    Path | None,
    typer.Option("--output", "-o", help="File to write; its suffix says the format.", rich_help_panel=OUTPUT_PANEL),
]
ReportOption = Annotated[
    Path | None,
    typer.Option("--report", help="HTML report to write: one file, opens offline.", rich_help_panel=OUTPUT_PANEL),
]
TopOption = Annotated[
    int, typer.Option("--top", min=0, help="Rows of a table that people read.", rich_help_panel=OUTPUT_PANEL)
]
QuietOption = Annotated[
    bool, typer.Option("--quiet", "-q", help="No progress and no summary.", rich_help_panel=OUTPUT_PANEL)
]
VerboseOption = Annotated[
    bool, typer.Option("--verbose", "-v", help="Say more on stderr.", rich_help_panel=OUTPUT_PANEL)
]


@dataclass(frozen=True)
class Output:
    """Where and how a result is shown."""

    formats: tuple[str, ...]
    path: Path | None
    report: Path | None
    top: int
    quiet: bool
    verbose: bool
    config: Path | None = None


_COMMON = (
    ("config", ConfigOption, None),
    ("formats", FormatOption, None),
    ("path", OutputOption, None),
    ("report", ReportOption, None),
    ("top", TopOption, 15),
    ("quiet", QuietOption, False),
    ("verbose", VerboseOption, False),
)


def configured(
    *sections: str, own: Sequence[inspect.Parameter] = (), without: Collection[str] = ()
) -> Callable[[Callable[..., None]], Callable[..., None]]:
    """Give a command the options of these sections; its body is called with the resolved settings.

    An option that several sections have fills its place in each of them.

    Args:
        sections: Keys of `FLAGS`.
        own: Parameters of this command alone. One named like an option that all commands have takes its place; the
            others are handed to the body by name.
        without: Options of the sections that mean nothing to this command, which does not have them.

    Returns:
        A decorator for a body that takes the settings, the output options and the values of its own parameters.
    """

    def decorate(body: Callable[..., None]) -> Callable[..., None]:
        @functools.wraps(body)
        def command(**values: Any) -> None:
            from tlaudit.config import load_settings

            output = Output(
                formats=tuple(values["formats"] or ()),
                path=values["path"],
                report=values["report"],
                top=values["top"],
                quiet=values["quiet"],
                verbose=values["verbose"],
                config=values["config"],
            )
            overrides = {s: {flag.key: values[flag.parameter_name] for flag in flags[s]} for s in sections}
            private = {parameter.name: values[parameter.name] for parameter in own if parameter.name not in common}
            body(load_settings(overrides, values["config"]), output, **private)

        common = {name for name, _, _ in _COMMON}
        replaced = common & {parameter.name for parameter in own}
        flags = {s: [flag for flag in FLAGS[s] if flag.names.split()[0] not in without] for s in sections}
        by_option = {flag.names: (flag, section) for section in reversed(sections) for flag in flags[section]}
        parameters = [
            flag.parameter(section)
            for section in sections
            for flag in flags[section]
            if by_option[flag.names] == (flag, section)
        ]
        parameters += [
            inspect.Parameter(name, inspect.Parameter.KEYWORD_ONLY, default=default, annotation=annotation)
            for name, annotation, default in _COMMON
            if name not in replaced
        ]
        parameters += own
        command.__signature__ = inspect.Signature(parameters)  # type: ignore[attr-defined]
        command.__annotations__ = {parameter.name: parameter.annotation for parameter in parameters}
        return command

    return decorate
