"""From settings to the subject of a check: what every command that audits a pair begins with."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from tlaudit.errors import UsageError
from tlaudit.reading import is_file

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from tlaudit.checks.base import Subject
    from tlaudit.cli.processes import Together
    from tlaudit.models.pair import Pair
    from tlaudit.options import Settings


def load_subject(
    run: Together, settings: Settings, *, needed: Sequence[str] = ("source", "target"), alike: bool = True
) -> Subject:
    """Load the networks, find the images and match them; all processes that share the command see the same.

    Args:
        run: Who shares the command.
        settings: Which networks and images.
        needed: Sets of images that the command cannot do without.
        alike: Whether the networks' backbones have to match.

    Raises:
        UsageError: If an option that is always needed is missing; all missing ones are named.
        DataError: If the processes see different networks or images.
    """
    data = settings.data
    pair = load_networks(settings, {f"--{name}-data": getattr(data, name) for name in needed}, alike=alike)
    from tlaudit.checks import assembly
    from tlaudit.checks.sameness import refuse_different

    subject = assembly.assemble(
        pair,
        data,
        preprocess=settings.preprocess,
        execution=settings.execution,
        progress=run.progress,
        needed=needed,
        group=run.group,
    )
    refuse_different(subject)
    return subject


def source_only(settings: Settings) -> Settings:
    """Leave out images of the target task, which the file may name for other commands."""
    return settings.model_copy(update={"data": settings.data.model_copy(update={"target": None, "val": None})})


def named_files(settings: Settings) -> dict[str, Path]:
    """Give the files that hold the networks, by option: nothing may be written over them."""
    models = settings.models
    named = {"--source": models.source, "--finetuned": models.finetuned, "--baseline": models.baseline}
    return {option: Path(spec) for option, spec in named.items() if spec is not None and is_file(Path(spec))}


def load_networks(settings: Settings, needed: Mapping[str, object] | None = None, *, alike: bool = True) -> Pair:
    """Load the networks, once it is clear that nothing is missing.

    Args:
        settings: Which networks.
        needed: Values of the options that the command cannot do without beside the networks, by option.
        alike: Whether the networks' backbones have to match.

    Raises:
        UsageError: If an option that is always needed is missing; all missing ones are named.
        CheckpointError: If a network cannot be loaded.
    """
    models = settings.models
    needed = {"--source": models.source, "--finetuned": models.finetuned, **(needed or {})}
    missing = [flag for flag, value in needed.items() if value is None]
    if models.source is None or models.finetuned is None or missing:
        raise UsageError(f"missing: {', '.join(missing)} (on the command line or in tlaudit.toml)")

    from tlaudit.models import pair

    return pair.load_pair(
        models.source,
        models.finetuned,
        models.baseline,
        arch=models.arch,
        source_arch=models.source_arch,
        baseline_arch=models.baseline_arch,
        head=models.head,
        use_ema=models.use_ema,
        allow_pickle=models.allow_pickle,
        alike=alike,
    )
