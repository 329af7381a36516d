"""What a run may be told: the options of every command, their defaults and their ranges."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal, Self

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, model_validator

Interpolation = Literal["nearest", "nearest-exact", "bilinear", "bicubic", "lanczos", "box", "hamming"]
Precision = Literal["fp32", "bf16", "fp16"]
Share = Annotated[float, Field(ge=0, le=1)]
Positive = Annotated[int, Field(ge=1, strict=True)]
Count = Annotated[int, Field(ge=0, strict=True)]
Flag = Annotated[bool, Field(strict=True)]
_Resamples = Annotated[int, Field(ge=100, strict=True)]


def _listed(value: object) -> object:
    """What the command line gives in one word, separated by commas."""
    return [part.strip() for part in value.split(",") if part.strip()] if isinstance(value, str) else value


Stages = Annotated[tuple[str, ...], Field(min_length=1), BeforeValidator(_listed)]
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
    """How the work is done. Numbers depend on seed and precision; CKA also on the batch size, its minibatch."""

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


class ErosionOptions(IntervalOptions):
    """The choices `tlaudit erosion` leaves open (docs/methods.md)."""

    data: Path | None = Field(
        default=None, description="Images on which features are compared, class folders or flat; default source images."
    )
    stages: Stages | None = Field(default=None, description="Module paths; default those of the architecture's family.")
    full_matrix: Flag = Field(default=False, description="Every stage of the source with every stage of the finetuned.")
    features: Literal["pooled", "flat"] = Field(
        default="pooled", description="Features whose rank is taken: means over space, or all numbers of a stage."
    )
    probe: Flag = Field(default=False, description="Fit linear probes on the last stage's features of both networks.")


class TrainingOptions(Options):
    """How a network is trained (docs/methods.md)."""

    model_config = ConfigDict(allow_inf_nan=False)

    epochs: Positive = Field(default=3, description="Passes over the training images.")
    optimizer: Literal["adamw", "sgd"] = Field(default="adamw", description="adamw or sgd.")
    learning_rate: Annotated[float, Field(gt=0, le=10)] = Field(default=3e-4, description="Highest learning rate.")
    weight_decay: Annotated[float, Field(ge=0, le=10)] = Field(default=0.01, description="Decay of the weights.")
    momentum: Annotated[float, Field(ge=0, lt=1)] = Field(default=0.9, description="Momentum of sgd.")
    warmup: Annotated[float, Field(ge=0, lt=1)] = Field(
        default=0.1, description="Share of the steps in which the learning rate rises; then it falls as a cosine."
    )
    clip: Annotated[float, Field(ge=0)] = Field(default=1.0, description="Largest norm of the gradient; 0 for any.")
    batch_norm: Literal["train", "frozen"] = Field(
        default="train", description="Whether batch norms learn, statistics included, or stay as they are."
    )
    flip: Flag = Field(default=True, description="Mirror half of the training images, chosen anew each epoch.")
    batch_size: Positive = Field(default=32, description="Training images in a step.")

    @model_validator(mode="after")
    def _momentum_is_of_sgd(self) -> Self:
        if self.optimizer == "adamw" and "momentum" in self.model_fields_set:
            raise ValueError("momentum is of sgd, and the optimizer is adamw: leave it out or take sgd")
        return self


class StressOptions(IntervalOptions):
    """The choices `tlaudit stress` leaves open (docs/methods.md)."""

    model_config = ConfigDict(allow_inf_nan=False)

    ratios: Annotated[tuple[Share, ...], Field(min_length=1), BeforeValidator(_listed)] = Field(
        default=(0.0, 0.01, 0.05, 0.1, 0.25, 0.5, 1.0), description="Shares of the training images that get a square."
    )
    square: Annotated[float, Field(gt=0, le=1)] = Field(
        default=0.125, description="Side of the square as a share of the picture's."
    )
    bisect: Annotated[float, Field(gt=0, lt=1)] | None = Field(
        default=None, description="Find the smallest ratio at which clean accuracy falls by more than this."
    )
    plasticity: Flag = Field(default=False, description="Learn the original task again afterwards, and from scratch.")
    stages: Stages | None = Field(default=None, description="Module paths; default those of the architecture's family.")
    test: Path | None = Field(
        default=None, description="Class folders of clean test images; default a fifth of the source images, held out."
    )
    runs: Path | None = Field(default=None, description="Folder in which finished runs are kept, and found again.")
    training: TrainingOptions = TrainingOptions()


class Settings(Options):
    """Everything a configuration file may say."""

    models: ModelOptions = ModelOptions()
    data: DataOptions = DataOptions()
    preprocess: PreprocessTable = PreprocessTable()
    execution: ExecutionOptions = ExecutionOptions()
    lingering: LingeringOptions = LingeringOptions()
    distraction: DistractionOptions = DistractionOptions()
    screen: ScreenOptions = ScreenOptions()
    erosion: ErosionOptions = ErosionOptions()
    stress: StressOptions = StressOptions()
