"""The main job on the embedded world, and how what was found compares with what is planted."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tlaudit.auditing.session import run_audit
from tlaudit.demo.world import ABSENT, PRESENT, world_files
from tlaudit.models.pair import load_pair
from tlaudit.options import DataOptions, DistractionOptions, LingeringOptions, Settings
from tlaudit.progress import Progress, silent
from tlaudit.results import Finding

if TYPE_CHECKING:
    from tlaudit.options import ExecutionOptions
    from tlaudit.results import AuditReport, CheckResult

OPTIONS = LingeringOptions(k=1, v_lo_count=1)
"""With 26 classes, five for each image would make nearly every class occur. One picture may be mistaken for a class
that is not there."""


COMPOSITES = DistractionOptions(per_class=20, common_classes=len(PRESENT))
"""Enough for an interval, few enough for a minute on two cores."""


def audit_world(execution: ExecutionOptions, progress: Progress = silent) -> AuditReport:
    """Audit the networks of the embedded world.

    Args:
        execution: How the work is done.
        progress: Shows how far a pass is.

    Returns:
        The report; the first finding of its `lingering` compares the source-only classes with the planted ones.

    Raises:
        InstallationError: If the embedded world is not where the package was installed.
    """
    files = world_files()
    settings = Settings(
        data=DataOptions(source=files.source_data, target=files.target_data, val=files.val_data),
        lingering=OPTIONS,
        distraction=COMPOSITES,
        execution=execution,
    )
    report = run_audit(load_pair(files.source, files.finetuned, files.baseline), settings, progress)
    found = report["lingering"]
    if found.failure is not None:
        return report
    told = found.model_copy(update={"findings": (_compare(found), *found.findings)})
    checks = tuple(told if result is found else result for result in report.checks)
    return report.model_copy(update={"checks": checks})


def _compare(result: CheckResult) -> Finding:
    """Planted truth against what was found."""
    rows = result.tables["classes"].rows
    found = {str(row["class_name"]) for row in rows if row["source_only"]}
    missed, wrong = sorted(set(ABSENT) - found), sorted(set(PRESENT) & found)
    verdict = f"all {len(ABSENT)} were found and no other"
    if missed or wrong:
        verdict = f"missed: {', '.join(missed) or 'none'}; wrongly found: {', '.join(wrong) or 'none'}"
    message = (
        f"Planted: the target images show {', '.join(PRESENT)} and none of the other {len(ABSENT)} source classes. "
        f"Of those source-only classes {verdict}."
    )
    return Finding(code="demo.planted", severity="warning" if missed or wrong else "info", message=message)
