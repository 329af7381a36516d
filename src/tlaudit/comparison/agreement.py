"""What all candidates can be compared by: the checks that all have, if they are about the same thing in each."""

from __future__ import annotations

import itertools
from typing import TYPE_CHECKING

from tlaudit.comparable import incomparable, remarks
from tlaudit.errors import ReportError, UsageError
from tlaudit.results import Finding

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from tlaudit.comparison.candidates import Audited


def shared_checks(audited: Sequence[Audited]) -> tuple[str, ...]:
    """Name the checks that were made of all candidates.

    Raises:
        ReportError: If there is none.
    """
    names = dict.fromkeys(check for one in audited for check in one.results)
    found = tuple(check for check in names if not _lacking(audited, check))
    if not found:
        told = "; ".join(f"{one.name} has {' and '.join(_made(one)) or 'none that could be made'}" for one in audited)
        raise ReportError(f"no check was made of all candidates: {told}. Audit them by the same checks")
    return found


def left_out(audited: Sequence[Audited]) -> Iterator[Finding]:
    """Tell which checks are not compared, and who lacks them."""
    for check in dict.fromkeys(check for one in audited for check in one.results):
        lacking = _lacking(audited, check)
        if lacking:
            told = "; ".join(f"{name}: {reason}" for name, reason in lacking.items())
            yield Finding(
                code="comparison.left_out",
                severity="warning",
                message=f"tlaudit {check} is not compared, for not all candidates have it ({told}).",
            )


def refuse_incomparable(audited: Sequence[Audited], checks: Sequence[str]) -> None:
    """Stop where numbers of two candidates are not of the same thing.

    Raises:
        UsageError: With every pair that cannot be compared, and all reasons.
    """
    first, *others = audited
    refused = [line for other in others for line in _reasons(first, other, checks)]
    if not refused:
        # What is like the first is mostly like each other, but for counts that are rounded.
        pairs = itertools.combinations(others, 2)
        refused = [line for one, other in pairs for line in _reasons(one, other, checks)]
    if refused:
        told = "".join(f"\n  {line}" for line in refused)
        raise UsageError(
            f"these reports cannot be compared:{told}\nTake those that were judged on the same images by the same "
            "definitions, or audit again where they differ."
        )


def remarked(audited: Sequence[Audited], checks: Sequence[str], reference: str) -> Iterator[Finding]:
    """Tell what may explain a difference beside the networks, each candidate beside the reference."""
    base = next(one for one in audited if one.name == reference)
    found: dict[str, dict[str, list[str]]] = {}
    for one in audited:
        if one is base:
            continue
        for check in checks:
            for remark in remarks(base.results[check], one.results[check]):
                what, _, values = remark.partition(": ")
                found.setdefault(what, {}).setdefault(f"{one.name} ({values})", []).append(check)
    for what, where in found.items():
        of_checks = dict.fromkeys(check for named in where.values() for check in named)
        message = (
            f"{what[:1].upper()}{what[1:]}, of {base.name} and of {', '.join(where)} in {' and '.join(of_checks)}."
        )
        yield Finding(code="comparison.remark", severity="info", message=message)
    yield from _same_checkpoints(audited)


def _reasons(one: Audited, other: Audited, checks: Sequence[str]) -> list[str]:
    told = [
        f"{check}: {'; '.join(reasons)}"
        for check in checks
        if (reasons := incomparable(one.results[check], other.results[check]))
    ]
    return [f"{one.source.path} ({one.name}) and {other.source.path} ({other.name}): {'. '.join(told)}"] if told else []


def _lacking(audited: Sequence[Audited], check: str) -> dict[str, str]:
    """Why a check is not there, by the names of those that lack it."""
    found = {}
    for one in audited:
        result = one.results.get(check)
        if result is None:
            found[one.name] = "no result of it"
        elif result.failure is not None:
            found[one.name] = f"it could not be made: {result.failure}"
    return found


def _made(one: Audited) -> list[str]:
    return [f"tlaudit {check}" for check, result in one.results.items() if result.failure is None]


def _same_checkpoints(audited: Sequence[Audited]) -> Iterator[Finding]:
    by_checkpoint: dict[str, list[str]] = {}
    for one in audited:
        if one.source.checkpoint is not None:
            by_checkpoint.setdefault(one.source.checkpoint, []).append(one.name)
    for names in by_checkpoint.values():
        if len(names) > 1:
            yield Finding(
                code="comparison.same_checkpoint",
                severity="warning",
                message=f"{' and '.join(names)} are audits of the same checkpoint, each a candidate of its own.",
            )
