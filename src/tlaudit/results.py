"""The record at the centre: what was measured, on what, and what was not.

Frozen, versioned and free of torch. A quantity that could not be measured is *absent with a reason*;
it is never 0 and never NaN. Every document begins with ``schema_version``; wall-clock facts sit in
``run``, so that everything else is identical for the same command, seed and machine.
"""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Literal, Self

from pydantic import Field, model_validator

from tlaudit.exhibits import Chart, Exhibit
from tlaudit.records import Cell, Direction, Document, Judgement, Record, Sentence, Severity, Text

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    import pandas as pd


class Interval(Record):
    """An uncertainty interval around a measured value, in the value's own unit."""

    low: float
    high: float
    confidence: float = Field(default=0.95, gt=0, lt=1)
    method: str

    @model_validator(mode="after")
    def _ordered(self) -> Self:
        if self.low > self.high:
            raise ValueError(f"interval runs backwards: low {self.low} > high {self.high}")
        return self


class Measurement(Record):
    """One number with its name, unit, direction, sample size and uncertainty, or the reason why there is none.

    ``name`` is the stable key that policies use, for example ``lingering.fraction``. Exactly one of ``value`` and
    ``absent`` is given, and where there is a value, exactly one of ``interval`` and ``interval_absent``.
    """

    name: str
    meaning: Sentence
    unit: str
    better: Direction
    value: int | float | None = None
    absent: Sentence | None = None
    n: int = Field(ge=0, description="How many images or classes the value rests on.")
    interval: Interval | None = None
    interval_absent: Sentence | None = None

    @model_validator(mode="after")
    def _exactly_one(self) -> Self:
        if isinstance(self.value, int) and self.value.bit_length() >= sys.float_info.max_exp:
            raise ValueError(f"{self.name}: a number of {self.value.bit_length()} bits is too large")
        if (self.value is None) == (self.absent is None):
            raise ValueError(f"{self.name}: exactly one of value and absent must be given")
        if self.value is None and self.interval is not None:
            raise ValueError(f"{self.name}: an interval without a value")
        if self.value is not None and (self.interval is None) == (self.interval_absent is None):
            raise ValueError(f"{self.name}: exactly one of interval and interval_absent must be given")
        return self


class Column(Record):
    """What a column of a table holds."""

    name: str
    unit: str
    meaning: Sentence


def columns(*described: tuple[str, str, str]) -> tuple[Column, ...]:
    """Make columns of a table, each of its name, its unit and what it holds."""
    return tuple(Column(name=name, unit=unit, meaning=meaning) for name, unit, meaning in described)


class Table(Record):
    """Rows of named cells; an absent cell is ``None`` and another column of its row says why.

    A short view shows the columns `brief` of the rows `worst`, under the title; both are part of the record so that
    every format shows the same.
    """

    title: str
    columns: tuple[Column, ...]
    rows: tuple[dict[str, Cell], ...]
    worst: tuple[int, ...] = Field(default=(), description="Numbers of the rows worth a look, worst first.")
    brief: tuple[str, ...] = Field(description="Columns of a short view.")

    @model_validator(mode="after")
    def _rows_fit_columns(self) -> Self:
        names = [column.name for column in self.columns]
        for number, row in enumerate(self.rows):
            if list(row) != names:
                raise ValueError(f"row {number} has the cells {list(row)}, the table has the columns {names}")
        if not set(self.brief) <= set(names):
            raise ValueError(f"the short view has columns that are not there: {sorted(set(self.brief) - set(names))}")
        if any(not 0 <= number < len(self.rows) for number in self.worst):
            raise ValueError(f"the short view has rows that are not there; the table has {len(self.rows)}")
        return self

    def to_pandas(self) -> pd.DataFrame:
        """Give the table as a data frame, one row a row, columns in order."""
        import pandas as pd

        return pd.DataFrame(list(self.rows), columns=[column.name for column in self.columns])


def refuse_misfits(charts: Iterable[Chart], tables: Mapping[str, Table]) -> None:
    """Raise ValueError where a chart names a table or column that is not there, or that holds more than numbers."""
    for chart in charts:
        table = tables.get(chart.table)
        columns = {column.name for column in table.columns} if table else set()
        missing = sorted(set(chart.columns) - columns)
        if table is None or missing:
            raise ValueError(f"chart {chart.title!r}: table {chart.table!r} lacks {missing}")
        for name in chart.numbers:
            if any(isinstance(row[name], str | bool) for row in table.rows):
                raise ValueError(f"chart {chart.title!r}: column {name!r} holds more than numbers")


class Finding(Record):
    """Something the reader has to know that is not a number: a lineage that does not hold, a guess that was made."""

    code: str
    severity: Severity
    message: Sentence


class Preprocessing(Record):
    """How a picture becomes a network's input.

    Short side to ``resize`` pixels (antialiased), centre crop of ``crop`` pixels, values divided by 255, then
    ``(x - mean) / std`` per channel in RGB order. ``origin`` says where the numbers come from.
    """

    resize: int = Field(ge=1)
    crop: int = Field(ge=1)
    interpolation: Literal["nearest", "nearest-exact", "bilinear", "bicubic", "lanczos", "box", "hamming"]
    mean: tuple[float, float, float]
    std: tuple[float, float, float]
    origin: str

    @property
    def geometry(self) -> tuple[int, int, str]:
        """Resize, crop and interpolation: models that share it can share decoded pixels."""
        return (self.resize, self.crop, self.interpolation)


class KeyMatch(Record):
    """How the tensors of a checkpoint fit its architecture, by counts and by names where they did not."""

    matched: int = Field(ge=0)
    missing: tuple[str, ...] = ()
    unexpected: tuple[str, ...] = ()
    ignored: tuple[str, ...] = Field(
        default=(), description="Known not to belong to the classifier, e.g. auxiliary heads."
    )


class ModelRecord(Record):
    """What a network is and where it came from."""

    spec: Text
    format: str
    sha256: str | None = Field(description="Of the file; of the weights where a library loaded them.")
    architecture: str
    family: str | None
    head: str
    num_classes: int = Field(ge=1)
    parameters: int = Field(ge=0)
    dtype: str
    keys: KeyMatch
    non_finite: tuple[str, ...] = Field(default=(), description="Tensors that hold NaN or infinity.")
    classes_known: bool
    preprocessing: Preprocessing | None = None
    blocked: tuple[str, ...] = Field(default=(), description="Code the file asked to run; empty where it loads safely.")
    notes: tuple[str, ...] = ()


class SkippedImage(Record):
    """A file that was left out, and why."""

    file: str
    reason: Sentence


class DataRecord(Record):
    """Which images were used, and which were not."""

    path: str
    fingerprint: str
    images: int = Field(ge=0)
    folders: int = Field(ge=0)
    available: int = Field(ge=0, description="Image files found before any limit.")
    other_files: int = Field(ge=0, description="Files that no image extension names.")
    labels: str | None = Field(default=None, description="SHA-256 over each image's name and class, where it has one.")
    skipped: tuple[SkippedImage, ...] = ()


class Provenance(Record):
    """Everything the numbers depend on."""

    models: dict[str, ModelRecord]
    backbone: KeyMatch = Field(description="How the finetuned backbone fits the source's.")
    data: dict[str, DataRecord]
    options: dict[str, Cell | list[Cell]]
    seed: int
    precision: str
    device: str
    versions: dict[str, str]


class Run(Record):
    """Facts of the clock and of the machine that change from run to run and on which no number depends."""

    started_at: str
    seconds: float
    command: Text
    batch_size: int
    workers: int


class Inspection(Document):
    """What `tlaudit inspect` says of a checkpoint."""

    model: ModelRecord
    stages: tuple[str, ...] = Field(description="Module paths, in order of depth, at which features can be taken.")


class CheckResult(Document):
    """The outcome of one check."""

    check: str
    verdict: Judgement = Field(description="Something to act on, nothing of the kind, or it cannot be said.")
    summary: Sentence
    failure: Sentence | None = Field(
        default=None, description="Why the check could not be made, as part of an audit; nothing was measured then."
    )
    headline: tuple[str, ...] = Field(description="Names of the measurements that are shown first.")
    measurements: tuple[Measurement, ...]
    tables: dict[str, Table]
    charts: tuple[Chart, ...] = ()
    exhibits: tuple[Exhibit, ...] = ()
    findings: tuple[Finding, ...] = ()
    provenance: Provenance
    run: Run

    @model_validator(mode="after")
    def _names_fit(self) -> Self:
        names = [measurement.name for measurement in self.measurements]
        if len(names) != len(set(names)):
            raise ValueError(f"measurement named twice: {sorted({n for n in names if names.count(n) > 1})}")
        if not set(self.headline) <= set(names):
            raise ValueError(f"no such measurement to show first: {sorted(set(self.headline) - set(names))}")
        return self

    @model_validator(mode="after")
    def _failed_means_nothing_measured(self) -> Self:
        if self.failure is not None and any(measurement.value is not None for measurement in self.measurements):
            raise ValueError(f"{self.check}: a check that could not be made has measured something")
        return self

    @model_validator(mode="after")
    def _charts_fit(self) -> Self:
        refuse_misfits(self.charts, self.tables)
        return self

    def __getitem__(self, name: str) -> Measurement:
        """Give the measurement of that name.

        Raises:
            KeyError: If the check makes no such measurement.
        """
        for measurement in self.measurements:
            if measurement.name == name:
                return measurement
        raise KeyError(f"no measurement {name!r}; there are {', '.join(m.name for m in self.measurements)}")

    def table(self, name: str) -> pd.DataFrame:
        """Give one of the tables as a pandas data frame."""
        return self.tables[name].to_pandas()

    def summary_table(self) -> pd.DataFrame:
        """Give all measurements as a pandas data frame, one row each, indexed by name."""
        import pandas as pd

        rows = [
            {
                "name": m.name,
                "value": m.value,
                "low": m.interval.low if m.interval else None,
                "high": m.interval.high if m.interval else None,
                "n": m.n,
                "unit": m.unit,
                "better": m.better,
                "absent": m.absent,
            }
            for m in self.measurements
        ]
        return pd.DataFrame(rows).set_index("name")


class AuditReport(Document):
    """What `tlaudit audit` found: the results of all its checks about the same networks.

    Every check that was asked for is there. One that failed says so in `failure`, and its measurements are absent.
    """

    document: Literal["audit"] = "audit"
    subject: Text = Field(description="The finetuned network, as it was named.")
    verdict: Judgement = Field(
        description="A concern if any check has one; else open if any is, or failed; else clear. The verdict of "
        "stress, which is about the source network, decides only where there is no other check."
    )
    summary: Sentence
    checks: tuple[CheckResult, ...] = Field(min_length=1)
    left_out: dict[str, Sentence] = Field(default={}, description="Checks that were not asked for, and why.")
    run: Run

    @model_validator(mode="after")
    def _each_once(self) -> Self:
        names = [result.check for result in self.checks]
        if len(names) != len(set(names)):
            raise ValueError(f"check given twice: {sorted({name for name in names if names.count(name) > 1})}")
        if both := sorted(set(names) & set(self.left_out)):
            raise ValueError(f"check both made and left out: {both}")
        return self

    def __getitem__(self, check: str) -> CheckResult:
        """Give the result of a check.

        Raises:
            KeyError: If the audit has none of that name.
        """
        for result in self.checks:
            if result.check == check:
                return result
        raise KeyError(f"no check {check!r}; there are {', '.join(result.check for result in self.checks)}")
