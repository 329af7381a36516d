"""What options are made of, and those that all commands share."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, WithJsonSchema

Interpolation = Literal["nearest", "nearest-exact", "bilinear", "bicubic", "lanczos", "box", "hamming"]
Precision = Literal["fp32", "bf16", "fp16"]
Number = Annotated[float, Field(strict=True)]
"""A number and no text, nor true or false."""
Share = Annotated[Number, Field(ge=0, le=1)]
_MOST = 10**9
"""Of anything that is counted: a number of images or classes nobody has, and still one that libraries can hold."""
Positive = Annotated[int, Field(ge=1, le=_MOST, strict=True)]
Count = Annotated[int, Field(ge=0, le=_MOST, strict=True)]
Flag = Annotated[bool, Field(strict=True)]
_Resamples = Annotated[int, Field(ge=100, le=10**6, strict=True)]
_Workers = Annotated[int, Field(ge=0, le=1024, strict=True)]


def _nameable(value: object) -> object:
    """Refuse what no file can be called: nothing, as of a variable of the shell that is not set, among it."""
    if value == "":
        raise ValueError("expected a path, got an empty text")
    if "\0" in str(value):
        raise ValueError("expected a path, got one with a NUL character")
    return value


_LONGER_THAN_NOTHING = WithJsonSchema({"type": "string", "format": "path", "minLength": 1})
Place = Annotated[Path, BeforeValidator(_nameable), _LONGER_THAN_NOTHING]
Spec = Annotated[str, BeforeValidator(_nameable), Field(min_length=1)]
"""What names a network: a file, or a name in a library."""


def listed(value: object) -> object:
    """What the command line gives in one word, separated by commas."""
    return [part.strip() for part in value.split(",") if part.strip()] if isinstance(value, str) else value


def listed_numbers(value: object) -> object:
    """The same of numbers."""
    try:
        return [float(str(part)) for part in listed(value)] if isinstance(value, str) else value  # type: ignore[attr-defined]
    except ValueError:
        raise ValueError("expected numbers, separated by commas") from None


Stages = Annotated[tuple[str, ...], Field(min_length=1), BeforeValidator(listed)]
_Side = Annotated[int, Field(ge=1, le=8192, strict=True)]
_Mean = Annotated[Number, Field(ge=0, le=1)]
_Spread = Annotated[Number, Field(gt=0, le=1)]


class Options(BaseModel):
    """Base of all options: frozen, unknown keys refused."""

    model_config = ConfigDict(frozen=True, extra="forbid")


class ModelOptions(Options):
    """Which networks are audited and how their checkpoints are read."""

    source: Spec | None = Field(default=None, description="File, torchvision:NAME[:WEIGHTS] or timm:NAME.")
    finetuned: Spec | None = None
    baseline: Spec | None = Field(
        default=None, description="Same architecture, trained on the target data from scratch."
    )
    arch: Spec | None = Field(
        None, description="Torchvision's name, timm:NAME, package.module:factory or file.py:factory."
    )
    source_arch: Spec | None = Field(default=None, description="Where the source differs from `arch`.")
    baseline_arch: Spec | None = Field(default=None, description="Where the baseline differs from `arch`.")
    head: str | None = Field(default=None, description="Module path of the classification head.")
    use_ema: Flag = Field(default=False, description="Take the averaged weights where a checkpoint holds both.")
    allow_pickle: Flag = Field(default=False, description="Run code a pickle asks for. Only for files you trust.")


class DataOptions(Options):
    """Which images are looked at: folders, tar shards, or CSV and Parquet manifests (docs/data.md)."""

    source: Place | None = Field(
        default=None, description="Class folders of source images; may cover some classes only."
    )
    target: Place | None = Field(
        default=None, description="Images the network was finetuned on; class folders or flat."
    )
    val: Place | None = Field(default=None, description="Class folders of held-out target images.")
    class_map: Place | None = Field(default=None, description="JSON or CSV: source folder to class index or name.")
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
    """How the work is done. Numbers depend on seed and precision; CKA also on the batch size, its minibatch."""

    device: str = Field(default="auto", description="auto, cpu, cuda, cuda:N or mps.")
    precision: Precision = "fp32"
    batch_size: Positive = 64
    workers: _Workers | None = Field(default=None, description="Processes that decode images.")
    seed: Annotated[int, Field(ge=0, lt=2**32, strict=True)] = 0
    cache: Flag = Field(default=True, description="Keep what networks say of images, and find it again.")
    cache_dir: Place | None = Field(default=None, description="Where; default the user's folder for such files.")
    cache_size: Annotated[Number, Field(gt=0, le=2**20)] = Field(default=5.0, description="Most GiB it may take.")
    fuse: Flag = Field(default=False, description="Fold batch norms into convolutions for predictions.")
    compile: Flag = Field(default=False, description="Compile networks with torch.compile for predictions.")


class IntervalOptions(Options):
    """How uncertainty is stated."""

    bootstrap: _Resamples = Field(default=2000, description="Resamples of a bootstrap interval.")
    confidence: Annotated[Number, Field(gt=0, lt=1)] = Field(default=0.95, description="Coverage of the intervals.")
