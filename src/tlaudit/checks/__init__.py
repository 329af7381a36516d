"""The checks: one file each, listed in `CHECKS` by the name of their subcommand."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

from tlaudit.checks.base import Check
from tlaudit.checks.distraction import DistractionCheck
from tlaudit.checks.erosion import ErosionCheck
from tlaudit.checks.lingering import LingeringCheck
from tlaudit.checks.stress import StressCheck

if TYPE_CHECKING:
    from tlaudit.checks.base import Subject
    from tlaudit.options import Settings
    from tlaudit.results import CheckResult

CHECKS: dict[str, Check[Any]] = {
    check.name: check for check in (LingeringCheck(), DistractionCheck(), ErosionCheck(), StressCheck())
}


def prepared(name: str, subject: Subject, settings: Settings) -> Subject:
    """Look whether a check's options can be met, and run those it builds on whose results are not there yet.

    Args:
        name: Key of `CHECKS`.
        subject: Networks and images; ``earlier`` holds what is known already.
        settings: Options of all checks.

    Returns:
        The subject, with those results in ``earlier``.

    Raises:
        UsageError: If an option cannot be met; no image has been read then.
    """
    CHECKS[name].refuse(subject, getattr(settings, name))
    for needed in CHECKS[name].needs:
        if needed not in subject.earlier:
            subject = replace(subject, earlier={**subject.earlier, needed: run_check(needed, subject, settings)})
    return subject


def run_check(name: str, subject: Subject, settings: Settings) -> CheckResult:
    """Run a check, and before it those it builds on; arguments as of `prepared`.

    Returns:
        The check's own result.
    """
    return CHECKS[name].run(prepared(name, subject, settings), getattr(settings, name))


__all__ = ["CHECKS", "Check", "prepared", "run_check"]
