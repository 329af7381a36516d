"""What a report shows beside numbers: charts over the tables of a result, and pictures.

A chart is a description, not a drawing: it names columns of a table, and a report format draws it. Pictures are small
and compressed, so that a result can carry them and be rendered again at any time.
"""

from __future__ import annotations

from typing import Annotated, Literal, Self

from pydantic import Field, model_validator

from tlaudit.records import Record, Sentence


class Level(Record):
    """A line across a chart, parallel to an axis: a threshold, a null, chance."""

    axis: Literal["x", "y"] = Field(description="The axis of numbers on which the value lies.")
    value: float
    label: Sentence


class Scatter(Record):
    """One dot for each row of a table that has both numbers."""

    kind: Literal["scatter"] = "scatter"
    title: Sentence
    reading: Sentence = Field(description="How to read it, in a sentence.")
    table: str = Field(description="Key of the table in the result.")
    x: str = Field(description="Column of numbers.")
    y: str
    name: str = Field(description="Column that names a dot.")
    group: str | None = Field(default=None, description="Column of text that tells kinds of dots apart.")
    shade: str | None = Field(
        default=None, description="Column of numbers shown as colour; a row without one is drawn without colour."
    )
    labelled: bool = Field(default=False, description="Whether each dot's name stands beside it.")
    least_span: float | None = Field(
        default=None, gt=0, description="What both axes show at the least, in their units; None for what the dots take."
    )
    diagonal: bool = Field(default=False, description="Whether the line y = x is drawn.")
    levels: tuple[Level, ...] = ()

    @property
    def columns(self) -> tuple[str, ...]:
        """Columns the table must have."""
        return (*self.numbers, self.name, *_given(self.group))

    @property
    def numbers(self) -> tuple[str, ...]:
        """Those of them that hold numbers and nothing else."""
        return (self.x, self.y, *_given(self.shade))


class Lines(Record):
    """Points of a table joined in its order, one line for each group; a row without a number breaks its line."""

    kind: Literal["lines"] = "lines"
    title: Sentence
    reading: Sentence = Field(description="How to read it, in a sentence.")
    table: str = Field(description="Key of the table in the result.")
    x: str = Field(description="Column of numbers, or of text: then one place for each text, in the table's order.")
    y: str = Field(description="Column of numbers.")
    group: str | None = Field(default=None, description="Column of text that tells the lines apart.")
    name: str | None = Field(default=None, description="Column that names a point besides.")
    low: str | None = Field(default=None, description="Column of lower bounds, drawn as error bars.")
    high: str | None = Field(default=None, description="Column of upper bounds.")
    log_x: bool = Field(default=False, description="Whether the axis is logarithmic, where it is one of numbers.")
    log_y: bool = False
    levels: tuple[Level, ...] = ()

    @model_validator(mode="after")
    def _bounds_come_in_pairs(self) -> Self:
        if (self.low is None) != (self.high is None):
            raise ValueError(
                f"chart {self.title!r}: expected both bounds or none, got low {self.low}, high {self.high}"
            )
        return self

    @property
    def columns(self) -> tuple[str, ...]:
        """Columns the table must have."""
        return (self.x, *self.numbers, *_given(self.group, self.name))

    @property
    def numbers(self) -> tuple[str, ...]:
        """Those of them that hold numbers and nothing else."""
        return (self.y, *_given(self.low, self.high))


class Heatmap(Record):
    """A coloured cell for each pair of texts, rows and columns in the order in which the table first names them.

    A pair without a row, or without a number in it, stays blank.
    """

    kind: Literal["heatmap"] = "heatmap"
    title: Sentence
    reading: Sentence = Field(description="How to read it, in a sentence.")
    table: str = Field(description="Key of the table in the result.")
    x: str = Field(description="Column of text, drawn from left to right.")
    y: str = Field(description="Column of text, drawn from top to bottom.")
    value: str = Field(description="Column of numbers.")
    low: float | None = Field(default=None, description="Lower end of the colours; the lowest number if not given.")
    high: float | None = Field(default=None, description="Upper end of the colours; the highest number if not given.")

    @model_validator(mode="after")
    def _colours_run_upward(self) -> Self:
        if self.low is not None and self.high is not None and self.low >= self.high:
            raise ValueError(f"chart {self.title!r}: expected colours from low to high, got {self.low} to {self.high}")
        return self

    @property
    def columns(self) -> tuple[str, ...]:
        """Columns the table must have."""
        return (self.x, self.y, self.value)

    @property
    def numbers(self) -> tuple[str, ...]:
        """Those of them that hold numbers and nothing else."""
        return (self.value,)


Chart = Annotated[Scatter | Lines | Heatmap, Field(discriminator="kind")]


class Picture(Record):
    """A small picture as it is written into a document."""

    label: Sentence = Field(description="What it shows, the same word for the same kind of picture.")
    caption: str = Field(default="", description="Predictions and scores that belong to it.")
    alt: Sentence = Field(description="The picture in words.")
    jpeg: str = Field(description="JPEG file, base64.")


class Exhibit(Record):
    """Pictures of one case, side by side."""

    group: Sentence = Field(description="Exhibits of one group stand together under it.")
    reading: str = Field(default="", description="How to read the pictures of the group; the same for all of it.")
    title: Sentence
    text: str = ""
    pictures: tuple[Picture, ...]


def _given(*names: str | None) -> tuple[str, ...]:
    return tuple(name for name in names if name is not None)
