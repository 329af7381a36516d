"""What a report shows beside numbers: charts over the tables of a result, and pictures.

A chart is a description, not a drawing: it names columns of a table, and a report format draws it. Pictures are small
and compressed, so that a result can carry them and be rendered again at any time.
"""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from tlaudit.records import Record, Sentence


class Level(Record):
    """A line across a chart, parallel to an axis: a threshold, a null, chance."""

    axis: Literal["x", "y"] = Field(description="The axis on which the value lies.")
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
    diagonal: bool = Field(default=False, description="Whether the line y = x is drawn.")
    levels: tuple[Level, ...] = ()


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
