"""From files to a verdict, in one call."""

from __future__ import annotations

import hashlib
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

from tlaudit.documents import read_report, report_of
from tlaudit.errors import UsageError
from tlaudit.policy.evidence import gather
from tlaudit.policy.judging import Case, judge
from tlaudit.policy.rules import load
from tlaudit.results import AuditReport, CheckResult

if TYPE_CHECKING:
    from collections.abc import Sequence
    from datetime import date

    from tlaudit.documents import Report
    from tlaudit.policy.rules import Policy
    from tlaudit.verdicts import Verdict

    Given = str | Path | AuditReport | CheckResult


def gate(
    reports: Given | Sequence[Given],
    *,
    policy: str | Path | None = None,
    against: Given | None = None,
    checkpoint: str | Path | None = None,
    first_release: bool = False,
    today: date | None = None,
) -> Verdict:
    """Judge a checkpoint by the reports about it.

    Args:
        reports: JSON files of `tlaudit audit` or of single checks, or the records themselves; all about one checkpoint.
        policy: File with the rules, ``[policy]`` of a ``tlaudit.toml``; the policy that comes with tlaudit if left out.
        against: The previous release's report, for rules about changes.
        checkpoint: File that is going to be released; reports about another one are refused.
        first_release: Whether there is no previous release, so that rules about changes are not judged.
        today: Day on which waivers are looked at; today in UTC if left out.

    Returns:
        The verdict; ``verdict.outcome`` is pass, fail or no answer, ``verdict.exit_code`` 0, 1 or 3.

    Raises:
        UsageError: If an argument or the policy is wrong, or the reports are about different networks.
        ReportError: If a report cannot be read, or is about another network than the checkpoint.
    """
    given = [reports] if isinstance(reports, str | Path | AuditReport | CheckResult) else list(reports)
    rules = load(Path(policy)) if policy is not None else load(found=False)
    day = today or datetime.now(tz=UTC).date()
    previous = None if against is None else _report(against)
    file = None if checkpoint is None else Path(checkpoint)
    return decide(rules, [_report(one) for one in given], previous, file, today=day, first_release=first_release)


def decide(
    policy: Policy,
    reports: Sequence[Report],
    previous: Report | None,
    checkpoint: Path | None,
    *,
    today: date,
    first_release: bool,
) -> Verdict:
    """Judge reports that have been read; errors as of `gate`."""
    if not reports:
        raise UsageError("missing: a report to judge, the JSON file of tlaudit audit or of a check")
    if first_release and previous is not None:
        raise UsageError("--first-release says that there is no previous release, and --against names its report")
    sha256 = None if checkpoint is None else _digest(checkpoint)
    now = gather(reports, sha256, str(checkpoint))
    before = None if previous is None else gather([previous])
    return judge(policy, Case(now, before, today, first_release))


def _report(given: Given) -> Report:
    return report_of(given) if isinstance(given, AuditReport | CheckResult) else read_report(Path(given))


def _digest(checkpoint: Path) -> str:
    """SHA-256 of a file as reports record it, without loading what is in it."""
    try:
        with checkpoint.open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    except OSError as error:
        raise UsageError(f"--checkpoint {checkpoint}: cannot be read: {error.strerror}") from None
