"""Which networks a report is about, and which one all reports are about."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from tlaudit.errors import ReportError, UsageError
from tlaudit.policy.wording import listed

if TYPE_CHECKING:
    from collections.abc import Sequence

    from tlaudit.documents import Report
    from tlaudit.results import CheckResult, ModelRecord

REPAIR = "repair"
SHORT = 12
"""Digits of a hash that people compare by eye."""
_BEFORE = "before"
_LONG = 64


class Subject(NamedTuple):
    """A network that a result is about.

    Attributes:
        sha256: Of its checkpoint, or what stands for it where the report knows none.
        network: What it is called.
        role: Of a repair the method that made it, or that it was there before; else empty.
    """

    sha256: str
    network: str
    role: str = ""


def subjects(result: CheckResult) -> list[Subject]:
    """The networks a result is about: those of a repair, the finetuned one of any other check."""
    models = result.provenance.models
    model = models.get("finetuned") or models.get("source")
    if model is None:
        return []
    first = Subject(_identity(model), model.spec, _BEFORE if result.check == REPAIR else "")
    if result.check != REPAIR:
        return [first]
    table = result.tables.get("pareto")
    rows = table.rows if table is not None else ()
    made = [
        Subject(sha256, str(row.get("file") or row.get("name")), str(row.get("name")))
        for row in rows
        if isinstance(sha256 := row.get("sha256"), str)
    ]
    return [first, *made]


def _identity(model: ModelRecord) -> str:
    return model.sha256 or f"?{model.spec}"


def alone(result: CheckResult) -> bool:
    """Whether it is about one network and names no finetuned one, as a stress test does."""
    return "finetuned" not in result.provenance.models


def one_subject(
    pairs: Sequence[tuple[Report, CheckResult]], checkpoint: str | None, named: str
) -> tuple[str | None, int]:
    """The network that all results are about, None if there are several; and how many there are."""
    told = [pair for pair in pairs if not alone(pair[1])] or list(pairs)
    common = set.intersection(*({one.sha256 for one in subjects(result)} for _, result in told))
    sources = {_identity(model) for _, result in told if (model := result.provenance.models.get("source")) is not None}
    beside = [pair for pair in pairs if pair not in told]
    strangers = [pair for pair in beside if not {one.sha256 for one in subjects(pair[1])} & (common | sources)]
    if not common or strangers:
        names = [f"{report.source.path} ({_told(result)})" for report, result in pairs]
        raise UsageError(f"the reports are about different networks: {listed(names)}; give those of one")
    if checkpoint is None:
        return (next(iter(common)) if len(common) == 1 else None), len(common)
    if checkpoint not in common:
        theirs = listed(_told(result, _LONG) for _, result in told)
        files = listed(report.source.path for report, _ in told)
        raise ReportError(f"{files}: of another checkpoint than {named} (sha256 {checkpoint}): of {theirs}")
    return checkpoint, 1


def _told(result: CheckResult, length: int = SHORT) -> str:
    return listed(
        f"{one.network}, no hash" if one.sha256.startswith("?") else f"{one.network}, sha256 {one.sha256[:length]}"
        for one in subjects(result)
    )


def naming(report: Report, subject: str | None) -> dict[str, str]:
    """How a report names the network that is judged; as it was where it is about the source network alone."""
    found = (one for result in report.results for one in subjects(result) if one.sha256 == subject)
    one = next(found, None)
    return {"checkpoint": one.sha256, "network": one.network} if one is not None else {}
