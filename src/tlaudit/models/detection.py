"""Which of torchvision's classifiers a checkpoint belongs to, by key names and shapes."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tlaudit.errors import ArchitectureError
from tlaudit.models.blueprint import torchvision_blueprint
from tlaudit.models.families import FAMILIES, architecture_names, members_of
from tlaudit.models.fitting import Fit, fit

if TYPE_CHECKING:
    from collections.abc import Sequence

    from tlaudit.models.construction import Shape
    from tlaudit.models.unwrap import Reading

_SHOWN = 3


def detect(readings: Sequence[Reading], file: str) -> Fit:
    """Find the one architecture that a checkpoint fits.

    Only families whose marker keys are all there are looked at, which takes a fraction of a second; all of
    torchvision's classifiers are compared for the error message only.

    Args:
        readings: Ways to read the keys.
        file: Name of the checkpoint, for messages.

    Returns:
        The exact fit.

    Raises:
        ArchitectureError: If none fits, with the nearest ones and what differs, or if several do.
    """
    found = exact_fits(readings)
    if len(found) == 1:
        return found[0]
    if found:
        names = ", ".join(one.blueprint.name for one in found)
        raise ArchitectureError(f"{file}: fits {names} equally well by keys and shapes; say which with --arch")
    raise ArchitectureError(_nothing_fits(readings[0], file))


def exact_fits(readings: Sequence[Reading]) -> list[Fit]:
    """Give all exact fits of the first reading that has any."""
    for reading in readings:
        shapes = _shapes(reading)
        names = [
            name
            for family in FAMILIES
            if all(marker in reading.state for marker in family.markers)
            for name in members_of(family)
        ]
        fits = [fit(reading, torchvision_blueprint(name, shapes)) for name in names]
        if exact := [one for one in fits if one.is_exact]:
            return exact
    return []


def _nothing_fits(reading: Reading, file: str) -> str:
    shapes = _shapes(reading)
    fits = [fit(reading, torchvision_blueprint(name, shapes)) for name in architecture_names()]
    # At equal shares, the one whose only trouble is the head comes first.
    fits.sort(key=lambda one: (one.share, one.head_problem is not None), reverse=True)
    near = [f"{one.blueprint.name}: {one.differences()}" for one in fits[:_SHOWN] if one.matched]
    return (
        f"{file}: none of torchvision's classifiers fits its {len(reading.state)} tensors. Nearest: "
        f"{'; '.join(near) or 'none has any of them'}. "
        "Give --arch: torchvision's name, timm:NAME, or package.module:factory or file.py:factory for your own"
    )


def _shapes(reading: Reading) -> dict[str, Shape]:
    return {key: tuple(tensor.shape) for key, tensor in reading.state.items()}
