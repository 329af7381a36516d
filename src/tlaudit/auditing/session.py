"""One audit from beginning to end."""

from __future__ import annotations

import logging
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING

from tlaudit.auditing.attempts import Failure, attempt
from tlaudit.auditing.choice import chosen, left_out, refuse_missing
from tlaudit.auditing.failed import failed_result
from tlaudit.auditing.passes import passes
from tlaudit.auditing.subjects import subjects
from tlaudit.auditing.wording import summary, verdict
from tlaudit.checks import CHECKS
from tlaudit.checks.base import Stopwatch, settled
from tlaudit.checks.earlier import read_lingering
from tlaudit.checks.erosion import compared_images, followed_stages
from tlaudit.checks.survey import Survey, recognise_source, survey
from tlaudit.data.kept_pixels import KeptPixels
from tlaudit.errors import ReportError
from tlaudit.progress import silent
from tlaudit.results import AuditReport

if TYPE_CHECKING:
    from collections.abc import Collection

    from tlaudit.checks.base import Subject
    from tlaudit.models.pair import Pair
    from tlaudit.options import Settings
    from tlaudit.progress import Progress
    from tlaudit.results import CheckResult

log = logging.getLogger(__name__)


def run_audit(pair: Pair, settings: Settings, progress: Progress = silent, *, share: bool = True) -> AuditReport:
    """Make all checks that were asked for, and say in one report what they found.

    A check that cannot be made does not stop the others: its result says why, and its measurements are absent. Every
    number is, to the last bit, that of the check's own command.

    Args:
        pair: The networks; of two with different backbones, `lingering` and `distraction` cannot be made.
        settings: Which checks, images and options.
        progress: Shows how far a pass is.
        share: Whether what several checks look at is looked at once. Without it each works for itself, which takes
            longer and less memory.

    Returns:
        The report.

    Raises:
        UsageError: If images are missing that a check needs, a folder is missing or an option cannot be met.
        ClassMatchError: If a folder fits no class of its model, or several.
        DataError: If a folder holds no image.
    """
    refuse_missing(settings)
    watch = Stopwatch()
    names = chosen(settings)
    audit = _Audit(pair, settings, names, progress, pixels=KeptPixels() if share else None)
    results = tuple(audit.result(name) for name in names)
    return AuditReport(
        subject=pair.finetuned.record.spec,
        verdict=verdict(results),
        summary=summary(results),
        checks=results,
        left_out=left_out(settings),
        run=watch.stop(settled(settings.execution)),
    )


class _Audit:
    """The checks of an audit, each made at most once."""

    def __init__(
        self,
        pair: Pair,
        settings: Settings,
        names: Collection[str],
        progress: Progress,
        *,
        pixels: KeptPixels | None,
    ) -> None:
        """Look which checks can be made, before any image is read, and make the pass that several share.

        Args:
            pair: The networks.
            settings: Images and options.
            names: Checks that are asked for.
            progress: Shows how far a pass is.
            pixels: What the passes share; None where each works for itself.
        """
        self._settings = settings
        self._made: dict[str, CheckResult] = {}
        given = {"lingering"} if settings.distraction.lingering is not None else set()
        needed = {*names, *(other for name in names for other in CHECKS[name].needs if other not in given)}
        self._subjects = subjects(pair, settings, needed, pixels, progress)
        for name in sorted(needed, key=list(CHECKS).index):
            watch = Stopwatch()
            refused = attempt(partial(CHECKS[name].refuse, self._subjects[name], getattr(settings, name)))
            if refused is not None:
                self._made[name] = self._failed(name, refused, watch)
        if pixels is not None:
            self._share(pixels, given)

    def _share(self, pixels: KeptPixels, given: Collection[str]) -> None:
        """Say which pixels will be wanted again, and look at the source images once for all."""
        ready = {
            name: subject
            for name, subject in self._subjects.items()
            if name not in self._made and not self._made.keys() & set(CHECKS[name].needs) - set(given)
        }
        pixels.plan(passes(ready, self._settings))
        if not {"lingering", "erosion"} <= ready.keys():
            return
        found = attempt(partial(_surveyed, ready["erosion"], self._settings))
        if isinstance(found, Failure):
            log.info("the pass that checks share could not be made, each makes its own: %s", found.reason)
            return
        self._subjects = {name: replace(one, survey=found) for name, one in self._subjects.items()}

    def result(self, name: str) -> CheckResult:
        """Make a check, unless it has been made."""
        if name not in self._made:
            watch = Stopwatch()
            found = attempt(partial(self._run, name))
            self._made[name] = self._failed(name, found, watch) if isinstance(found, Failure) else found
        return self._made[name]

    def _run(self, name: str) -> CheckResult:
        """Make a check out of those it builds on.

        Raises:
            ReportError: If one of those could not be made.
        """
        subject, options = self._subjects[name], getattr(self._settings, name)
        for other in CHECKS[name].needs:
            known = self._known(other, subject)
            if known.failure is not None:
                raise ReportError(f"needs the result of {other}, which failed: {known.failure}")
            subject = replace(subject, earlier={**subject.earlier, other: known})
        return CHECKS[name].run(subject, options)

    def _known(self, name: str, subject: Subject) -> CheckResult:
        """The result that another check builds on: that of an earlier run where one is named, else this audit's own."""
        path = self._settings.distraction.lingering
        return self.result(name) if path is None else read_lingering(path, subject, self._settings.lingering)

    def _failed(self, name: str, failure: Failure, watch: Stopwatch) -> CheckResult:
        failure.report(name)
        return failed_result(name, self._subjects[name], getattr(self._settings, name), failure.reason, watch)


def _surveyed(subject: Subject, settings: Settings) -> Survey:
    """What `lingering` and `erosion` both ask of the source images, in one pass."""
    options = settings.erosion
    if compared_images(subject, options) != subject.source.images:
        return Survey(recognise_source(subject))
    stages = followed_stages(subject.pair, options)
    return survey(subject, stages, features=options.features, keep=options.probe)
