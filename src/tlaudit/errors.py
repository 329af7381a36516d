"""The family of errors, each with what was expected, what was got and what to do.

::

    TlauditError
    ├── UsageError              wrong option, path or configuration
    │   ├── ConfigError         tlaudit.toml or [tool.tlaudit] does not hold what it should
    │   ├── ClassMatchError     folders that fit no class of the model, or more than one
    │   └── NoAveragedWeightsError  averaged weights were asked for and the checkpoint holds none
    ├── CheckpointError         a network cannot be had from what was named
    │   ├── UnsafeCheckpointError   the pickle needs code to load
    │   ├── ArchitectureError   no known architecture fits the keys and shapes, or several do
    │   └── MismatchError       two networks, or a network and its weights, do not fit together
    ├── ReportError             a report that cannot be read, or is not about what is asked
    ├── DataError               images that cannot be read, or nothing left to measure
    │   └── DivergedError       a training whose numbers are finite no more
    ├── InstallationError       torch and its companions do not work together on this machine
    └── MeasureError            a number is not defined for these inputs
        ├── ShapeError          tensors of the wrong shape
        └── DegenerateError     a ratio of zero by zero, a constant where variation is needed

Library code raises these; only ``tlaudit.cli.app`` turns them into exit codes.
"""

from __future__ import annotations

from typing import Any


class TlauditError(Exception):
    """Anything this package refuses to do, with the reason as its message."""


class UsageError(TlauditError):
    """An option, a path or a configuration value that cannot be what was meant."""


class ConfigError(UsageError):
    """A configuration file with an unknown key or a value of the wrong kind."""


class ClassMatchError(UsageError):
    """Class folders that fit none, or more than one, of the model's classes."""


class NoAveragedWeightsError(UsageError):
    """A checkpoint without the averaged (EMA) weights that were asked for."""


class CheckpointError(TlauditError):
    """A checkpoint that cannot be read, or holds no usable network."""


class UnsafeCheckpointError(CheckpointError):
    """A pickle that would have to run code to be loaded."""


class ArchitectureError(CheckpointError):
    """Keys and shapes that belong to no known architecture, or to several."""


class MismatchError(CheckpointError):
    """Networks, or weights and a network, that do not fit each other key by key."""


class DataError(TlauditError):
    """Images that cannot be read, or a set with nothing left in it."""


class DivergedError(DataError):
    """A training whose loss or weights are finite no more.

    Attributes:
        trained: What was kept of it, a `tlaudit.training.steps.Trained`; None where no epoch had been finished.
    """

    def __init__(self, message: str, trained: Any = None) -> None:
        super().__init__(message)
        self.trained = trained


class ReportError(TlauditError):
    """A report that cannot be read, or says nothing of the checkpoint or the number that is asked about."""


class InstallationError(TlauditError):
    """Installed packages that do not work together."""


class MeasureError(TlauditError):
    """A number that is not defined for the given inputs."""


class ShapeError(MeasureError):
    """A tensor whose shape is not the documented one."""


class DegenerateError(MeasureError):
    """Inputs for which the quantity is 0/0."""
