"""What a run is told: the options of every command, and where they come from.

A value on the command line wins over one in ``tlaudit.toml`` (or ``[tool.tlaudit]`` of ``pyproject.toml``), and that
one over the default. Unknown keys are errors that name the nearest known one.
"""

from __future__ import annotations

import difflib
import tomllib
from pathlib import Path
from typing import Annotated, Any, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from tlaudit.errors import ConfigError

FILE_NAME = "tlaudit.toml"

Interpolation = Literal["nearest", "nearest-exact", "bilinear", "bicubic", "lanczos", "box", "hamming"]
Precision = Literal["fp32", "bf16", "fp16"]
Share = Annotated[float, Field(ge=0, le=1)]
Positive = Annotated[int, Field(ge=1, strict=True)]
Count = Annotated[int, Field(ge=0, strict=True)]
Flag = Annotated[bool, Field(strict=True)]
_Resamples = Annotated[int, Field(ge=100, strict=True)]
_Side = Annotated[int, Field(ge=1, le=8192, strict=True)]
_Mean = Annotated[float, Field(ge=0, le=1)]
_Spread = Annotated[float, Field(gt=0, le=1)]


class Options(BaseModel):
    """Base of all options: frozen, unknown keys refused."""

    model_config = ConfigDict(frozen=True, extra="forbid")


class ModelOptions(Options):
    """Which networks are audited and how their checkpoints are read."""

    source: str | None = Field(default=None, description="File, torchvision:NAME[:WEIGHTS] or timm:NAME.")
    finetuned: str | None = None
    baseline: str | None = Field(
        default=None, description="Same architecture, trained on the target data from scratch."
    )
    arch: str | None = Field(
        None, description="Torchvision's name, timm:NAME, package.module:factory or file.py:factory."
    )
    source_arch: str | None = Field(default=None, description="Where the source differs from `arch`.")
    baseline_arch: str | None = Field(default=None, description="Where the baseline differs from `arch`.")
    head: str | None = Field(default=None, description="Module path of the classification head.")
    use_ema: Flag = Field(default=False, description="Take the averaged weights where a checkpoint holds both.")
    allow_pickle: Flag = Field(default=False, description="Run code a pickle asks for. Only for files you trust.")


class DataOptions(Options):
    """Which images are looked at."""

    source: Path | None = Field(
        default=None, description="Class folders of source images; may cover some classes only."
    )
    target: Path | None = Field(default=None, description="Images the network was finetuned on; class folders or flat.")
    val: Path | None = Field(default=None, description="Class folders of held-out target images.")
    class_map: Path | None = Field(default=None, description="JSON or CSV: source folder to class index or name.")
    strict: Flag = Field(default=False, description="An unreadable image ends the run.")
    limit: Positive | None = Field(default=None, description="At most so many images of each set, a seeded sample.")


class PreprocessOptions(Options):
    """How pictures become inputs; what is left out comes from the weights' metadata, else ImageNet's."""

    resize: _Side | None = Field(default=None, description="Short side in pixels.")
    crop: _Side | None = Field(default=None, description="Side of the centre crop in pixels.")
    interpolation: Interpolation | None = None
    mean: tuple[_Mean, _Mean, _Mean] | None = Field(default=None, description="Mean per channel, R G B, in [0, 1].")
    std: tuple[_Spread, _Spread, _Spread] | None = Field(default=None, description="Spread per channel, in (0, 1].")


class PreprocessTable(PreprocessOptions):
    """Preprocessing for all networks, and what differs for one of them."""

    source: PreprocessOptions = PreprocessOptions()
    finetuned: PreprocessOptions = PreprocessOptions()
    baseline: PreprocessOptions = PreprocessOptions()


class ExecutionOptions(Options):
    """How the work is done; apart from the seed and the precision no number depends on it."""

    device: str = Field(default="auto", description="auto, cpu, cuda, cuda:N or mps.")
    precision: Precision = "fp32"
    batch_size: Positive = 64
    workers: Count | None = Field(default=None, description="Processes that decode images.")
    seed: Annotated[int, Field(ge=0, lt=2**32, strict=True)] = 0


class IntervalOptions(Options):
    """How uncertainty is stated."""

    bootstrap: _Resamples = Field(default=2000, description="Resamples of a bootstrap interval.")
    confidence: Annotated[float, Field(gt=0, lt=1)] = Field(default=0.95, description="Coverage of the intervals.")


class LingeringOptions(IntervalOptions):
    """The choices `tlaudit lingering` leaves open (docs/methods.md)."""

    k: Positive = Field(default=5, description="An image counts for its k most probable source classes.")
    v_lo: Share | None = Field(
        default=None, description="Highest prevalence of an absent class, share of the target images."
    )
    v_lo_count: Count | None = Field(default=None, description="The same as a number of images.")
    p_lo: Share | None = Field(
        default=None, description="A class lingers above this mean probability; default 10 / classes."
    )

    @model_validator(mode="after")
    def _one_threshold(self) -> Self:
        if self.v_lo is not None and self.v_lo_count is not None:
            raise ValueError("v_lo (a share) and v_lo_count (a number of images) say the same thing: give one")
        return self


class DistractionOptions(IntervalOptions):
    """The choices `tlaudit distraction` leaves open (docs/methods.md)."""

    per_class: Positive = Field(default=100, description="Composites of each class.")
    max_classes: Positive | None = Field(default=None, description="At most so many lingering classes; default all.")
    class_choice: Literal["worst", "sample"] = Field(
        default="worst", description="Which, if not all: the best recognised ones, or a seeded sample."
    )
    common_classes: Count = Field(default=20, description="Most prevalent source classes as a control; 0 for none.")
    overlay_scale: Annotated[float, Field(gt=0, lt=1)] = Field(
        default=0.4, description="Side of the overlay as a share of the picture's."
    )
    overlays: Positive = Field(default=1000, description="At most so many target images serve as overlays.")
    margin: Annotated[float, Field(ge=0, lt=1)] = Field(
        default=0.0, description="Frame around the overlay that does not count as background, share of the side."
    )
    percentile: Annotated[float, Field(ge=0, lt=100)] = Field(
        default=80.0, description="Pixels above this percentile of the background are top pixels."
    )
    method: str = Field(default="gradcam", description="Attribution method.")
    layer: str | None = Field(default=None, description="Module path whose output is explained.")
    gallery: Annotated[int, Field(ge=0, le=60, strict=True)] = Field(
        default=12, description="Classes shown in pictures, and half as many of the control."
    )
    lingering: Path | None = Field(default=None, description="Result of tlaudit lingering, instead of running it.")
    save_composites: Path | None = Field(default=None, description="Folder for the composites and composites.csv.")
    save_rows: Path | None = Field(default=None, description="CSV or Parquet file, one row a composite.")


class ScreenOptions(IntervalOptions):
    """The choices `tlaudit screen` leaves open (docs/methods.md)."""

    lingering: Path | None = Field(default=None, description="Result of tlaudit lingering about these networks.")
    threshold: Share | None = Field(
        default=None, description="Flag images whose score is above it; default the p_lo of the lingering result."
    )
    calibrate: Path | None = Field(default=None, description="Clean target images that the threshold is set by.")
    alpha: Annotated[float, Field(gt=0, lt=1)] = Field(
        default=0.01, description="At most this share of the calibration images is flagged."
    )
    per_class: Positive = Field(default=10, description="Composites of each lingering class.")
    overlay_scale: Annotated[float, Field(gt=0, lt=1)] = Field(
        default=0.4, description="Side of the overlay as a share of the picture's."
    )
    overlays: Positive = Field(default=1000, description="At most so many target images serve as overlays.")
    summary: Path | None = Field(default=None, description="JSON file for threshold, rates and provenance.")
    fail_on_flag: Flag = Field(default=False, description="Exit code 1 when an image is flagged.")

    @model_validator(mode="after")
    def _one_threshold(self) -> Self:
        if self.threshold is not None and self.calibrate is not None:
            raise ValueError("threshold and calibrate both set the threshold: give one")
        if self.calibrate is None and "alpha" in self.model_fields_set:
            raise ValueError("alpha is the share of the images of calibrate that may be flagged: give calibrate")
        return self


class Settings(Options):
    """Everything a configuration file may say."""

    models: ModelOptions = ModelOptions()
    data: DataOptions = DataOptions()
    preprocess: PreprocessTable = PreprocessTable()
    execution: ExecutionOptions = ExecutionOptions()
    lingering: LingeringOptions = LingeringOptions()
    distraction: DistractionOptions = DistractionOptions()
    screen: ScreenOptions = ScreenOptions()


_ALTERNATIVES = {
    "lingering": ({"v_lo", "v_lo_count"},),
    "screen": ({"threshold", "calibrate"}, {"threshold", "alpha"}),
}
"""Keys of which one on the command line replaces the other in the file."""

_ROLES = {"source", "finetuned", "baseline"}
_PATHS = {
    "distraction": {"lingering", "save_composites", "save_rows"},
    "screen": {"lingering", "calibrate", "summary"},
    "data": {"source", "target", "val", "class_map"},
    "models": {"source", "finetuned", "baseline", "arch", "source_arch", "baseline_arch"},
}


def load_settings(overrides: dict[str, dict[str, Any]], path: Path | None = None) -> Settings:
    """Read the configuration file, if there is one, and lay the command line over it.

    Args:
        overrides: What the command line says, by section and key; ``None`` means "not given".
        path: The file to read. Without it ``tlaudit.toml``, else a ``pyproject.toml`` with ``[tool.tlaudit]``, of the
            current folder is read.

    Returns:
        The resolved settings. Relative paths of the file are relative to its folder.

    Raises:
        ConfigError: If the file cannot be read, is no TOML, has an unknown key (the nearest known one is named),
            or a value, from either place, is of the wrong kind or out of range.
    """
    written = _read(path)
    for section, values in overrides.items():
        given = {key: value for key, value in values.items() if value is not None}
        kept = written.setdefault(section, {})
        if not given or not isinstance(kept, dict):
            continue
        for alternatives in _ALTERNATIVES.get(section, ()):
            if alternatives & given.keys():
                kept = {key: value for key, value in kept.items() if key not in alternatives}
        if section == "preprocess":
            # What is said for all networks on the command line beats what the file says for one of them.
            for role in _ROLES & kept.keys():
                if isinstance(kept[role], dict):
                    kept[role] = {key: value for key, value in kept[role].items() if key not in given}
        written[section] = kept | given
    return settle(written)


def settle(written: dict[str, Any]) -> Settings:
    """Make settings of plain values, by section and key; what is left out gets its default.

    Raises:
        ConfigError: If a key is unknown (the nearest known one is named) or a value of the wrong kind or out of range.
    """
    try:
        return Settings.model_validate(written)
    except ValidationError as error:
        raise ConfigError("; ".join(_explain(detail) for detail in error.errors())) from None


def _read(path: Path | None) -> dict[str, Any]:
    """The sections of the configuration file, its paths made independent of the current folder."""
    if path is None:
        path = next((p for p in (Path(FILE_NAME), Path("pyproject.toml")) if p.is_file()), None)
        if path is None:
            return {}
    try:
        document = tomllib.loads(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise ConfigError(f"{path}: cannot be read as TOML: {error}") from None
    if path.name == "pyproject.toml":
        document = document.get("tool", {}).get("tlaudit", {})
    if not isinstance(document, dict):
        raise ConfigError(f"{path}: expected a table [tool.tlaudit], got {type(document).__name__}")
    return _rebase(document, path.parent)


def _rebase(document: dict[str, Any], folder: Path) -> dict[str, Any]:
    """Paths in the file are meant from where the file lies."""
    for section, keys in _PATHS.items():
        table = document.get(section)
        if not isinstance(table, dict):
            continue
        for key in keys & table.keys():
            value = table[key]
            # A model may also be a name such as torchvision:resnet18; only what is a file is a path.
            if isinstance(value, str) and (section != "models" or (folder / value.split(":")[0]).is_file()):
                table[key] = str(folder / value)
    return document


def _explain(detail: Any) -> str:
    """One sentence for one of pydantic's complaints."""
    *parents, key = detail["loc"] or ("configuration",)
    where = ".".join(str(part) for part in detail["loc"]) or "configuration"
    if detail["type"] == "extra_forbidden":
        known = sorted(_fields(parents))
        near = difflib.get_close_matches(str(key), known, n=1, cutoff=0.5)
        hint = f"did you mean '{near[0]}'?" if near else f"known are: {', '.join(known)}"
        place = f" in [{'.'.join(str(p) for p in parents)}]" if parents else ""
        return f"unknown key '{key}'{place}; {hint}"
    message = str(detail["msg"]).removeprefix("Value error, ")
    return f"{where}: {message[:1].lower()}{message[1:]} (got {detail['input']!r})"


def _fields(parents: list[Any]) -> set[str]:
    """The keys known at this place of the configuration."""
    model: type[BaseModel] = Settings
    for parent in parents:
        nested = model.model_fields[str(parent)].annotation
        if not (isinstance(nested, type) and issubclass(nested, BaseModel)):
            return set()
        model = nested
    return set(model.model_fields)
