"""The result of a check that could not be made: every measurement of it, absent with the reason."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

from tlaudit.auditing.attempts import Failure, attempt
from tlaudit.checks import CHECKS
from tlaudit.checks.base import provenance
from tlaudit.results import CheckResult, Column, Measurement, Table

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from typing import Any

    from tlaudit.checks.base import Stopwatch, Subject
    from tlaudit.options import Options
    from tlaudit.records import Cell
    from tlaudit.results import Provenance

NOTHING = Table(
    title="Nothing was measured",
    columns=(Column(name="measurement", unit="text", meaning="Name of a measurement."),),
    rows=(),
    brief=("measurement",),
)
"""Formats that write a table have one to write."""


def failed_result(name: str, subject: Subject, options: Options, reason: str, watch: Stopwatch) -> CheckResult:
    """Say of a check that it could not be made.

    Args:
        name: Key of `CHECKS`.
        subject: What it was to be about.
        options: The check's.
        reason: Why it could not be made.
        watch: Began when it was tried.

    Returns:
        A result whose measurements are those the check would have made, in its order, all absent for that reason; none
        where they cannot be named.
    """
    check = CHECKS[name]
    absent = f"the check could not be made: {reason}"
    # What made the check fail may make it impossible to say what it would have measured.
    found = attempt(partial(check.quantities, subject, options), subject.group)
    named = {} if isinstance(found, Failure) else found
    return CheckResult(
        check=name,
        verdict="open",
        summary=f"The check could not be made: {reason}",
        failure=reason,
        headline=tuple(one for one in check.headline if one in named),
        measurements=tuple(
            Measurement(name=one, **quantity._asdict(), absent=absent, n=0) for one, quantity in named.items()
        ),
        tables={"nothing": NOTHING},
        findings=subject.findings,
        provenance=_provenance(subject, options),
        run=watch.stop(subject.execution),
    )


def _provenance(subject: Subject, options: Options) -> Provenance:
    found = provenance(subject, {}, {})
    # A network that stands beside itself is named once, as in the check's own result.
    models = {"source": found.models["source"]} if subject.pair.finetuned is subject.pair.source else found.models
    given = dict(_cells(options.model_dump(mode="json")))
    return found.model_copy(update={"models": models, "options": {**given, **found.options}})


def _cells(options: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, Cell | list[Cell]]]:
    for key, value in options.items():
        if isinstance(value, dict):
            yield from _cells(value, f"{prefix}{key}.")
        else:
            yield f"{prefix}{key}", value
