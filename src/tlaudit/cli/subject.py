"""From settings to the subject of a check: what every command that audits a pair begins with."""

from __future__ import annotations

import functools
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

SETS = (
    ("--source-data", "data", "source"),
    ("--target-data", "data", "target"),
    ("--val-data", "data", "val"),
    ("--data", "erosion", "data"),
    ("--test-data", "stress", "test"),
    ("--calibrate", "screen", "calibrate"),
    ("--train-data", "repair", "train"),
    ("--probe-data", "repair.judge", "probe"),
)
"""Options that name images, each with its section and key."""


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
    """Give the files that hold networks, their code, images and classes, by option: nothing may be written over them.

    Images are those of all commands: what one command writes over is lost to the next. Earlier results are not among
    them, which one command writes for another one.
    """
    models = settings.models
    named = {"--source": models.source, "--finetuned": models.finetuned, "--baseline": models.baseline}
    files = {option: Path(spec) for option, spec in named.items() if spec is not None and is_file(Path(spec))}
    factories = {"--arch": models.arch, "--source-arch": models.source_arch, "--baseline-arch": models.baseline_arch}
    for option, arch in factories.items():
        files |= code_of(option, arch)
    for option, section, key in SETS:
        place = getattr(functools.reduce(getattr, section.split("."), settings), key)
        called = option if section == "data" else f"{option} ({key} of [{section}])"
        files |= files_of_set(called, place)
    class_map = settings.data.class_map
    return files if class_map is None else {**files, "--class-map": class_map}


def code_of(option: str, arch: str | None) -> dict[str, Path]:
    """Give the file that ``file.py:factory`` names, by option; nothing where it is none."""
    place = Path((arch or "").rpartition(":")[0])
    return {option: place} if is_file(place) else {}


def files_of_set(option: str, place: Path | None) -> dict[str, Path]:
    """Give the files that a set of images names: a manifest, a shard, all shards of a pattern; nothing of a folder."""
    from tlaudit.data.kinds import expanded, is_pattern

    if place is None or not is_pattern(place):
        return {option: place} if place is not None and is_file(place) else {}
    try:
        shards = expanded(str(place))
    except UsageError:
        return {}  # for whoever reads it to say
    return {f"shard {number} of {option}": Path(shard) for number, shard in enumerate(shards, 1)}


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
