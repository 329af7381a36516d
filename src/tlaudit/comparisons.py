"""Many audits side by side: the record of `tlaudit compare`."""

from __future__ import annotations

from typing import Literal, Self

from pydantic import Field, model_validator

from tlaudit.exhibits import Chart
from tlaudit.records import Document, Record, Sentence, Text
from tlaudit.results import Finding, Table, refuse_misfits
from tlaudit.verdicts import ReportSource


class Candidate(Record):
    """One of the audits that are compared."""

    name: Text = Field(description="What it is called in tables and charts.")
    source: ReportSource
    architecture: Text
    target_images: int | None = Field(description="Images it was finetuned on, as many as the audit found.")


class Comparison(Document):
    """What `tlaudit compare` says: who is best, by how much, and who is beaten on no axis."""

    document: Literal["comparison"] = "comparison"
    summary: Sentence
    candidates: tuple[Candidate, ...] = Field(min_length=1)
    reference: Text = Field(description="Name of the candidate that the changes are relative to.")
    ranked_by: Text = Field(description="Name of the measurement that the ranking goes by.")
    axes: tuple[Text, Text] = Field(description="Names of the measurements of the Pareto front.")
    tables: dict[str, Table]
    charts: tuple[Chart, ...] = ()
    findings: tuple[Finding, ...] = ()

    @model_validator(mode="after")
    def _named_once(self) -> Self:
        names = [one.name for one in self.candidates]
        if len(names) != len(set(names)):
            raise ValueError(f"candidate named twice: {sorted({name for name in names if names.count(name) > 1})}")
        if self.reference not in names:
            raise ValueError(f"no candidate {self.reference!r} to compare with")
        refuse_misfits(self.charts, self.tables)
        return self
