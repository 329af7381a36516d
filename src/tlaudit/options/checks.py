"""Options of the checks and of `tlaudit screen`."""

from __future__ import annotations

from typing import Annotated, Literal, Self

from pydantic import BeforeValidator, ConfigDict, Field, model_validator

from tlaudit.options.base import (
    Count,
    Flag,
    IntervalOptions,
    Number,
    Place,
    Positive,
    Share,
    Stages,
    listed_numbers,
)
from tlaudit.options.training import TrainingOptions


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
    overlay_scale: Annotated[Number, Field(gt=0, lt=1)] = Field(
        default=0.4, description="Side of the overlay as a share of the picture's."
    )
    overlays: Positive = Field(default=1000, description="At most so many target images serve as overlays.")
    margin: Annotated[Number, Field(ge=0, lt=1)] = Field(
        default=0.0, description="Frame around the overlay that does not count as background, share of the side."
    )
    percentile: Annotated[Number, Field(ge=0, lt=100)] = Field(
        default=80.0, description="Pixels above this percentile of the background are top pixels."
    )
    method: str = Field(default="gradcam", description="Attribution method.")
    layer: str | None = Field(default=None, description="Module path whose output is explained.")
    gallery: Annotated[int, Field(ge=0, le=60, strict=True)] = Field(
        default=12, description="Classes shown in pictures, and half as many of the control."
    )
    lingering: Place | None = Field(default=None, description="Result of tlaudit lingering, instead of running it.")
    save_composites: Place | None = Field(default=None, description="Folder for the composites and composites.csv.")
    save_rows: Place | None = Field(default=None, description="CSV or Parquet file, one row a composite.")


class ScreenOptions(IntervalOptions):
    """The choices `tlaudit screen` leaves open (docs/methods.md)."""

    lingering: Place | None = Field(default=None, description="Result of tlaudit lingering about these networks.")
    threshold: Share | None = Field(
        default=None, description="Flag images whose score is above it; default the p_lo of the lingering result."
    )
    calibrate: Place | None = Field(default=None, description="Clean target images that the threshold is set by.")
    alpha: Annotated[Number, Field(gt=0, lt=1)] = Field(
        default=0.01, description="At most this share of the calibration images is flagged."
    )
    per_class: Positive = Field(default=10, description="Composites of each lingering class.")
    overlay_scale: Annotated[Number, Field(gt=0, lt=1)] = Field(
        default=0.4, description="Side of the overlay as a share of the picture's."
    )
    overlays: Positive = Field(default=1000, description="At most so many target images serve as overlays.")
    summary: Place | None = Field(default=None, description="JSON file for threshold, rates and provenance.")
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

    data: Place | None = Field(
        default=None, description="Images on which features are compared, class folders or flat; default source images."
    )
    stages: Stages | None = Field(default=None, description="Module paths; default those of the architecture's family.")
    full_matrix: Flag = Field(default=False, description="Every stage of the source with every stage of the finetuned.")
    features: Literal["pooled", "flat"] = Field(
        default="pooled", description="Features whose rank is taken: means over space, or all numbers of a stage."
    )
    probe: Flag = Field(default=False, description="Fit linear probes on the last stage's features of both networks.")


class StressOptions(IntervalOptions):
    """The choices `tlaudit stress` leaves open (docs/methods.md)."""

    model_config = ConfigDict(allow_inf_nan=False)

    ratios: Annotated[tuple[Share, ...], Field(min_length=1), BeforeValidator(listed_numbers)] = Field(
        default=(0.0, 0.01, 0.05, 0.1, 0.25, 0.5, 1.0), description="Shares of the training images that get a square."
    )
    square: Annotated[Number, Field(gt=0, le=1)] = Field(
        default=0.125, description="Side of the square as a share of the picture's."
    )
    bisect: Annotated[Number, Field(gt=0, lt=1)] | None = Field(
        default=None, description="Find the smallest ratio at which clean accuracy falls by more than this."
    )
    plasticity: Flag = Field(default=False, description="Learn the original task again afterwards, and from scratch.")
    stages: Stages | None = Field(default=None, description="Module paths; default those of the architecture's family.")
    test: Place | None = Field(
        default=None, description="Class folders of clean test images; default a fifth of the source images, held out."
    )
    runs: Place | None = Field(default=None, description="Folder in which finished runs are kept, and found again.")
    training: TrainingOptions = TrainingOptions()
