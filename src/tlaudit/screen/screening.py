"""Screening from beginning to end: the line is drawn, images are asked about, and the flags are judged."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tlaudit.checks.base import Stopwatch
from tlaudit.progress import silent
from tlaudit.screen.asker import Asker
from tlaudit.screen.rows import Tally, rows
from tlaudit.screen.subject import screened_subject, with_names
from tlaudit.screen.summary import Sets, summarise
from tlaudit.screen.threshold import settle_threshold

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tlaudit.data.inputs import Inputs
    from tlaudit.models.pair import Pair
    from tlaudit.options import Settings
    from tlaudit.progress import Progress
    from tlaudit.results import CheckResult
    from tlaudit.screen.rows import Row


class Screening:
    """Flags images that remind a finetuned network of lingering classes, and says how far flags can be trusted."""

    def __init__(self, pair: Pair, lingering: CheckResult, settings: Settings, progress: Progress = silent) -> None:
        """Settle the threshold; calibration images are read now.

        Args:
            pair: The networks.
            lingering: What `tlaudit lingering` found about them.
            settings: How images are fed, which sets there are besides, and the options of ``[screen]``.
            progress: Shows how far a pass is.

        Raises:
            UsageError: If the result is about other checkpoints, or an option cannot be met.
            DataError: If a folder holds no image that can be read.
        """
        self._watch, self._options = Stopwatch(), settings.screen
        subject = screened_subject(
            pair,
            lingering,
            settings.data,
            preprocess=settings.preprocess,
            execution=settings.execution,
            progress=progress,
        )
        self._sets = Sets.scan(settings.data, self._options.calibrate, subject.seed)
        subject, self._names = with_names(subject, self._sets.val)
        self._asker, self._tally = Asker(subject), Tally()
        sets = self._sets
        self._threshold = settle_threshold(self._asker, self._options, sets.calibration, split=sets.split)

    def rows(self, inputs: Inputs) -> Iterator[list[Row]]:
        """Screen images; give the rows batch by batch, see `tlaudit.screen.rows.rows`."""
        return rows(self._asker, inputs, self._names, self._tally)

    def result(self) -> CheckResult:
        """Measure how often flags are wrong and right, and put this and what the rows added up to into a record.

        Raises:
            DataError: If no image of a set can be read.
        """
        return summarise(self._asker, self._options, self._threshold, self._tally, self._sets, self._watch)
