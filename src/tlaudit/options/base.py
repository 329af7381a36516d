"""What options are made of, and those that all commands share."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field

Interpolation = Literal["nearest", "nearest-exact", "bilinear", "bicubic", "lanczos", "box", "hamming"]
Precision = Literal["fp32", "bf16", "fp16"]
Share = Annotated[float, Field(ge=0, le=1)]
Positive = Annotated[int, Field(ge=1, strict=True)]
Count = Annotated[int, Field(ge=0, strict=True)]
Flag = Annotated[bool, Field(strict=True)]
_Resamples = Annotated[int, Field(ge=100, strict=True)]


def listed(value: object) -> object:
    """What the command line gives in one word, separated by commas."""
    return [part.strip() for part in value.split(",") if part.strip()] if isinstance(value, str) else value


Stages = Annotated[tuple[str, ...], Field(min_length=1), BeforeValidator(listed)]
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
    """Which images are looked at: folders, tar shards, or CSV and Parquet manifests (docs/data.md)."""

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
    """How the work is done. Numbers depend on seed and precision; CKA also on the batch size, its minibatch."""

    device: str = Field(default="auto", description="auto, cpu, cuda, cuda:N or mps.")
    precision: Precision = "fp32"
    batch_size: Positive = 64
    workers: Count | None = Field(default=None, description="Processes that decode images.")
    seed: Annotated[int, Field(ge=0, lt=2**32, strict=True)] = 0
    cache: Flag = Field(default=True, description="Keep what networks say of images, and find it again.")
    cache_dir: Path | None = Field(default=None, description="Where; default the user's folder for such files.")
    cache_size: Annotated[float, Field(gt=0, le=2**20)] = Field(default=5.0, description="Most GiB it may take.")
    fuse: Flag = Field(default=False, description="Fold batch norms into convolutions for predictions.")
    compile: Flag = Field(default=False, description="Compile networks with torch.compile for predictions.")


class IntervalOptions(Options):
    """How uncertainty is stated."""

    bootstrap: _Resamples = Field(default=2000, description="Resamples of a bootstrap interval.")
    confidence: Annotated[float, Field(gt=0, lt=1)] = Field(default=0.95, description="Coverage of the intervals.")
