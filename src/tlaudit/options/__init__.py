"""What a run may be told: the options of every command, their defaults and their ranges."""

from __future__ import annotations

from tlaudit.options.audit import AuditOptions
from tlaudit.options.base import (
    DataOptions,
    ExecutionOptions,
    IntervalOptions,
    ModelOptions,
    Options,
    PreprocessOptions,
    PreprocessTable,
)
from tlaudit.options.checks import DistractionOptions, ErosionOptions, LingeringOptions, ScreenOptions, StressOptions
from tlaudit.options.policy import PolicyOptions
from tlaudit.options.repair import RepairOptions
from tlaudit.options.training import TrainingOptions

__all__ = [
    "AuditOptions",
    "DataOptions",
    "DistractionOptions",
    "ErosionOptions",
    "ExecutionOptions",
    "IntervalOptions",
    "LingeringOptions",
    "ModelOptions",
    "Options",
    "PolicyOptions",
    "PreprocessOptions",
    "PreprocessTable",
    "RepairOptions",
    "ScreenOptions",
    "Settings",
    "StressOptions",
    "TrainingOptions",
]


class Settings(Options):
    """Everything a configuration file may say."""

    models: ModelOptions = ModelOptions()
    data: DataOptions = DataOptions()
    preprocess: PreprocessTable = PreprocessTable()
    execution: ExecutionOptions = ExecutionOptions()
    lingering: LingeringOptions = LingeringOptions()
    distraction: DistractionOptions = DistractionOptions()
    screen: ScreenOptions = ScreenOptions()
    erosion: ErosionOptions = ErosionOptions()
    stress: StressOptions = StressOptions()
    audit: AuditOptions = AuditOptions()
    repair: RepairOptions = RepairOptions()
    policy: PolicyOptions | None = None
