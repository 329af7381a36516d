"""One audit from beginning to end."""

from __future__ import annotations

import logging
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING

from tlaudit.auditing.attempts import Failure, attempt
from tlaudit.auditing.choice import chosen, left_out, refuse_missing
from tlaudit.auditing.failed import failed_result
from tlaudit.auditing.passes import shared_passes
from tlaudit.auditing.subjects import subjects
from tlaudit.auditing.wording import summary, verdict
from tlaudit.checks import CHECKS
from tlaudit.checks.base import Stopwatch, settled
from tlaudit.checks.earlier import read_lingering
from tlaudit.checks.erosion import compared_images, followed_stages
from tlaudit.checks.survey import Survey, recognise_source, survey
from tlaudit.data.kept_pixels import KeptPixels
from tlaudit.data.said_once import said_once
from tlaudit.distributed import ALONE
from tlaudit.errors import MismatchError, ReportError
from tlaudit.progress import silent
from tlaudit.results import AuditReport

if TYPE_CHECKING:
    from collections.abc import Callable, Collection

    from tlaudit.checks.base import Subject
    from tlaudit.distributed import Group
    from tlaudit.models.pair import Pair
    from tlaudit.options import Settings
    from tlaudit.progress import Progress
    from tlaudit.results import CheckResult

log = logging.getLogger(__name__)

IN_ORDER = ("lingering", "erosion", "distraction", "stress")
"""In which the checks are made: features that a shared pass keeps for `erosion` are not carried along for longer."""


def run_audit(
    pair: Pair, settings: Settings, progress: Progress = silent, *, share: bool = True, group: Group = ALONE
) -> AuditReport:
    """Make all checks that were asked for, and say in one report what they found.

    What is written wrongly is refused before any work: a folder or file that is not there, folders that fit no class.
    What images and networks do not give, such as a folder without an image or a layer that is not there, fails the
    checks that need it and no other: their results say why, and their measurements are absent. Every number is, to the
    last bit, that of the check's own command.

    Args:
        pair: The networks; of two with different backbones, `lingering` and `distraction` cannot be made.
        settings: Which checks, images and options.
        progress: Shows how far a pass is.
        share: Whether what several checks look at is looked at once. Without it each works for itself, which takes
            longer and less memory.
        group: Processes that share the work.

    Returns:
        The report.

    Raises:
        UsageError: If images are missing that a check needs, or a folder or file is not there.
        ClassMatchError: If a folder fits no class of its model, or several.
        MismatchError: If there are checks that compare with the baseline, and it is no relative of the others.
        EndedError: If the processes cannot go on together.
    """
    refuse_missing(settings)
    watch = Stopwatch()
    names = chosen(settings)
    _refuse_baseline(pair, names)
    with said_once():
        audit = _Audit(pair, settings, names, progress, pixels=KeptPixels() if share else None, group=group)
        for name in sorted(names, key=IN_ORDER.index):
            audit.result(name)
    results = tuple(audit.result(name) for name in names)
    return AuditReport(
        subject=pair.finetuned.record.spec,
        verdict=verdict(results),
        summary=summary(results),
        checks=results,
        left_out=left_out(settings),
        run=watch.stop(settled(settings.execution, group)),
    )


def _refuse_baseline(pair: Pair, names: Collection[str]) -> None:
    """Stop before the work where the baseline does not fit networks that do fit each other.

    Raises:
        MismatchError: As `tlaudit lingering` does; `tlaudit erosion`, and an audit of it alone, leaves it out instead.
    """
    if pair.baseline_left_out is not None and {"lingering", "distraction"} & set(names):
        raise MismatchError(pair.baseline_left_out)


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
        group: Group,
    ) -> None:
        """Look which checks can be made, before any image is read, and make the pass that several share.

        Args:
            pair: The networks.
            settings: Images and options.
            names: Checks that are asked for.
            progress: Shows how far a pass is.
            pixels: What the passes share; None where each works for itself.
            group: Processes that share the work.
        """
        self._settings, self._group = settings, group
        self._made: dict[str, CheckResult] = {}
        self._crashed: set[str] = set()
        self._given: dict[str, Callable[[Subject], CheckResult]] = {}
        earlier = settings.distraction.lingering
        if earlier is not None:
            self._given["lingering"] = partial(read_lingering, earlier, options=settings.lingering)
        needed = {*names, *(other for name in names for other in CHECKS[name].needs if other not in self._given)}
        self._subjects, unusable = subjects(pair, settings, needed, pixels, progress, group)
        watch = Stopwatch()
        # All of them before anything is said of one: folders that fit no class end the audit.
        refused = {
            name: unusable.get(name)
            or attempt(partial(CHECKS[name].refuse, self._subjects[name], getattr(settings, name)), group)
            for name in sorted(needed, key=IN_ORDER.index)
        }
        for name, failure in refused.items():
            if failure is not None:
                self._made[name] = self._failed(name, failure, watch)
        if pixels is not None:
            self._share(pixels)

    def _share(self, pixels: KeptPixels) -> None:
        """Say which pixels will be wanted again, and look at the source images once for all."""
        ready = {
            name: subject
            for name, subject in self._subjects.items()
            if name not in self._made and not self._made.keys() & set(CHECKS[name].needs) - self._given.keys()
        }
        pixels.plan(shared_passes(ready, self._settings))
        if not {"lingering", "erosion"} <= ready.keys():
            return
        found = attempt(partial(_surveyed, ready["erosion"], self._settings), self._group)
        if isinstance(found, Failure):
            log.info("the pass that checks share could not be made, each makes its own: %s", found.reason)
            return
        self._subjects = {name: replace(one, survey=found) for name, one in self._subjects.items()}

    def result(self, name: str) -> CheckResult:
        """Make a check, unless it has been made."""
        if name not in self._made:
            watch = Stopwatch()
            found = attempt(partial(self._run, name), self._group)
            self._made[name] = self._failed(name, found, watch) if isinstance(found, Failure) else found
            if name == "erosion":
                self._release()
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
        if name in self._given:
            return self._given[name](subject)
        own = self.result(name)
        if own.failure is None or self._settings.data.val is None or name in self._crashed:
            return own
        # What is wrong may be the validation images, which the other check does not look at.
        again = attempt(partial(self._without_validation, name, subject), self._group)
        return own if isinstance(again, Failure) else again

    def _without_validation(self, name: str, subject: Subject) -> CheckResult:
        options = getattr(self._settings, name)
        CHECKS[name].refuse(subject, options)
        return CHECKS[name].run(replace(subject, val=None), options)

    def _release(self) -> None:
        """Let go of features that were kept for `erosion`; what was recognised is small."""
        for name, subject in self._subjects.items():
            if subject.survey is not None:
                self._subjects[name] = replace(subject, survey=replace(subject.survey, compared=None))

    def _failed(self, name: str, failure: Failure, watch: Stopwatch) -> CheckResult:
        failure.report(name)
        if failure.crash is not None:
            self._crashed.add(name)
        return failed_result(name, self._subjects[name], getattr(self._settings, name), failure.reason, watch)


def _surveyed(subject: Subject, settings: Settings) -> Survey:
    """What `lingering` and `erosion` both ask of the source images, in one pass."""
    options = settings.erosion
    if compared_images(subject, options) != subject.source.images:
        return Survey(recognise_source(subject))
    stages = followed_stages(subject.pair, options)
    return survey(subject, stages, features=options.features, keep=options.probe)
