"""From settings to the subject of a check: what every command that audits a pair begins with."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tlaudit.cli.output import ProgressBar
from tlaudit.errors import UsageError

if TYPE_CHECKING:
    from tlaudit.checks.base import Subject
    from tlaudit.config import Settings


def load_subject(settings: Settings, *, quiet: bool) -> Subject:
    """Load the networks, find the images and match them.

    Raises:
        UsageError: If an option that is always needed is missing; all missing ones are named.
    """
    models = settings.models
    needed = {
        "--source": models.source,
        "--finetuned": models.finetuned,
        "--source-data": settings.data.source,
        "--target-data": settings.data.target,
    }
    missing = [flag for flag, value in needed.items() if value is None]
    if models.source is None or models.finetuned is None or missing:
        raise UsageError(f"missing: {', '.join(missing)} (on the command line or in tlaudit.toml)")

    from tlaudit.checks import base
    from tlaudit.models import pair

    return base.assemble(
        pair.load_pair(
            models.source,
            models.finetuned,
            models.baseline,
            arch=models.arch,
            source_arch=models.source_arch,
            baseline_arch=models.baseline_arch,
            head=models.head,
            use_ema=models.use_ema,
            allow_pickle=models.allow_pickle,
        ),
        settings.data,
        preprocess=settings.preprocess,
        execution=settings.execution,
        progress=ProgressBar(quiet=quiet),
    )
