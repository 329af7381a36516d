"""What all records have in common: frozen, no unknown field, no NaN; a document begins with its schema's version."""

from __future__ import annotations

import json
from typing import Annotated, Literal

from pydantic import AfterValidator, BaseModel, ConfigDict, StringConstraints

SCHEMA_VERSION = "1.4"
READABLE_VERSIONS = ("1.1", "1.2", "1.3", SCHEMA_VERSION)
"""1.2 added kinds of charts, 1.3 dots coloured by a number, 1.4 audits, verdicts and comparisons; what was written
before is read as it is."""

Direction = Literal["lower", "higher", "neither"]
Severity = Literal["info", "warning", "error"]


def writable(text: str) -> str:
    """Escape what no file can hold as UTF-8: bytes of a path that are no text reach Python as lone surrogates."""
    return text.encode("utf-8", "backslashreplace").decode("utf-8")


Text = Annotated[str, AfterValidator(writable)]
Judgement = Literal["concern", "clear", "open"]
"""Something to act on, nothing of the kind, or it cannot be said."""

Cell = bool | int | float | Text | None
Sentence = Annotated[str, StringConstraints(min_length=1), AfterValidator(writable)]


class Record(BaseModel):
    """Base of all records: frozen, no unknown fields, no NaN or infinity."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)


class Document(Record):
    """A record that is written as a whole; it begins with the version of its schema."""

    schema_version: str = SCHEMA_VERSION

    def to_json(self) -> str:
        """Write the record as JSON, floats at full precision, never NaN."""
        return json.dumps(self.model_dump(mode="json"), allow_nan=False, indent=2, ensure_ascii=False) + "\n"
