"""Every option of the command line, declared once: which place of the configuration it fills."""

from __future__ import annotations

import functools
import inspect
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, NamedTuple

import typer

if TYPE_CHECKING:
    from collections.abc import Callable

    from tlaudit.config import Settings

MODELS, DATA, PREPROCESS, EXECUTION, LINGERING = "models", "data", "preprocess", "execution", "lingering"


class Flag(NamedTuple):
    """One option: its names on the command line, its place in the configuration, its type and its help."""

    names: str
    key: str
    kind: Any
    help: str

    def parameter(self, section: str) -> inspect.Parameter:
        """The option as a parameter of a typer command; not given is ``None``, so that the file can speak."""
        option = typer.Option(*self.names.split(), help=self.help, rich_help_panel=_PANELS[section])
        return inspect.Parameter(
            f"{section}__{self.key}",
            inspect.Parameter.KEYWORD_ONLY,
            default=None,
            annotation=Annotated[self.kind | None, option],
        )


_PANELS = {
    MODELS: "Networks",
    DATA: "Images",
    PREPROCESS: "Preprocessing (from the weights' metadata, else ImageNet's, where not given)",
    EXECUTION: "How the work is done",
    LINGERING: "Definitions (docs/methods.md)",
}

_TRIPLE = tuple[float, float, float]

FLAGS: dict[str, tuple[Flag, ...]] = {
    MODELS: (
        Flag("--source", "source", str, "Pretrained network: file, torchvision:NAME[:WEIGHTS] or timm:NAME."),
        Flag("--finetuned", "finetuned", str, "The network to be released, finetuned from the source."),
        Flag("--baseline", "baseline", str, "Control: same architecture, trained on the target data from scratch."),
        Flag("--arch", "arch", str, "torchvision name, timm:NAME, package.module:factory or file.py:factory."),
        Flag("--source-arch", "source_arch", str, "The same for the source, where it differs."),
        Flag("--baseline-arch", "baseline_arch", str, "The same for the baseline, where it differs."),
        Flag("--head", "head", str, "Module path of the classification head, e.g. classifier.6."),
        Flag("--use-ema/--no-use-ema", "use_ema", bool, "Take averaged weights where a checkpoint holds both."),
        Flag("--allow-pickle/--no-allow-pickle", "allow_pickle", bool, "Run the code a pickle asks for. Dangerous."),
    ),
    DATA: (
        Flag("--source-data", "source", Path, "Class folders of source images; some classes are enough."),
        Flag("--target-data", "target", Path, "Images the network was finetuned on, in class folders or flat."),
        Flag("--val-data", "val", Path, "Class folders of held-out target images."),
        Flag("--class-map", "class_map", Path, "JSON or CSV: source folder to class index or name."),
        Flag("--strict-data/--no-strict-data", "strict", bool, "An unreadable image ends the run with exit code 3."),
        Flag("--limit", "limit", int, "At most so many images of each set, a seeded sample."),
    ),
    PREPROCESS: (
        Flag("--resize", "resize", int, "Short side in pixels."),
        Flag("--crop", "crop", int, "Side of the centre crop in pixels."),
        Flag("--interpolation", "interpolation", str, "nearest, bilinear, bicubic, lanczos …"),
        Flag("--mean", "mean", _TRIPLE, "Mean of R, G, B, of values in [0, 1]."),
        Flag("--std", "std", _TRIPLE, "Spread of R, G, B."),
    ),
    EXECUTION: (
        Flag("--device", "device", str, "auto, cpu, cuda, cuda:N or mps."),
        Flag("--precision", "precision", str, "fp32, bf16 or fp16."),
        Flag("--batch-size -b", "batch_size", int, "Images in a forward pass."),
        Flag("--workers -j", "workers", int, "Processes that decode images."),
        Flag("--seed", "seed", int, "For every random choice."),
    ),
    LINGERING: (
        Flag("--k", "k", int, "An image counts for its k most probable source classes."),
        Flag("--v-lo", "v_lo", float, "Highest prevalence of an absent class, as a share of the target images."),
        Flag("--v-lo-count", "v_lo_count", int, "The same as a number of images."),
        Flag("--p-lo", "p_lo", float, "A class lingers above this mean probability; default 10 / classes."),
        Flag("--bootstrap", "bootstrap", int, "Resamples of a bootstrap interval."),
        Flag("--confidence", "confidence", float, "Coverage of the intervals."),
    ),
}

_OUTPUT_PANEL = "Output"
ConfigOption = Annotated[
    Path | None,
    typer.Option("--config", help="Configuration file, instead of ./tlaudit.toml or ./pyproject.toml."),
]
FormatOption = Annotated[
    list[str] | None,
    typer.Option(
        "--format", "-f", help="table, json, csv or markdown; may be repeated.", rich_help_panel=_OUTPUT_PANEL
    ),
]
OutputOption = Annotated[
    Path | None,
    typer.Option("--output", "-o", help="File to write; its suffix says the format.", rich_help_panel=_OUTPUT_PANEL),
]
TopOption = Annotated[
    int, typer.Option("--top", min=0, help="Rows of a table that people read.", rich_help_panel=_OUTPUT_PANEL)
]
QuietOption = Annotated[
    bool, typer.Option("--quiet", "-q", help="No progress and no summary.", rich_help_panel=_OUTPUT_PANEL)
]
VerboseOption = Annotated[
    bool, typer.Option("--verbose", "-v", help="Say more on stderr.", rich_help_panel=_OUTPUT_PANEL)
]


@dataclass(frozen=True)
class Output:
    """Where and how a result is shown."""

    formats: tuple[str, ...]
    path: Path | None
    top: int
    quiet: bool
    verbose: bool


_COMMON = (
    ("config", ConfigOption, None),
    ("formats", FormatOption, None),
    ("path", OutputOption, None),
    ("top", TopOption, 15),
    ("quiet", QuietOption, False),
    ("verbose", VerboseOption, False),
)


def configured(*sections: str) -> Callable[[Callable[[Settings, Output], None]], Callable[..., None]]:
    """Give a command the options of these sections; its body is called with the resolved settings.

    Args:
        sections: Keys of `FLAGS`.

    Returns:
        A decorator for a body that takes the settings and the output options.
    """

    def decorate(body: Callable[[Settings, Output], None]) -> Callable[..., None]:
        @functools.wraps(body)
        def command(**values: Any) -> None:
            from tlaudit.config import load_settings

            output = Output(
                formats=tuple(values["formats"] or ()),
                path=values["path"],
                top=values["top"],
                quiet=values["quiet"],
                verbose=values["verbose"],
            )
            overrides = {s: {flag.key: values[f"{s}__{flag.key}"] for flag in FLAGS[s]} for s in sections}
            body(load_settings(overrides, values["config"]), output)

        parameters = [flag.parameter(section) for section in sections for flag in FLAGS[section]]
        parameters += [
            inspect.Parameter(name, inspect.Parameter.KEYWORD_ONLY, default=default, annotation=annotation)
            for name, annotation, default in _COMMON
        ]
        command.__signature__ = inspect.Signature(parameters)  # type: ignore[attr-defined]
        command.__annotations__ = {parameter.name: parameter.annotation for parameter in parameters}
        return command

    return decorate
