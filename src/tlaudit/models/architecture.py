"""From a checkpoint to its architecture: as named by the user, as in the file, as the source has it, or detected."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tlaudit.errors import ArchitectureError, MismatchError, UsageError
from tlaudit.models.blueprint import Blueprint, torchvision_blueprint
from tlaudit.models.detection import detect, exact_fits
from tlaudit.models.factories import TIMM, own_blueprint, timm_blueprint
from tlaudit.models.families import architecture_names
from tlaudit.models.fitting import Fit, fit
from tlaudit.models.wording import nearest, shown

if TYPE_CHECKING:
    from torch import nn

    from tlaudit.models.checkpoint import Checkpoint
    from tlaudit.models.unwrap import Reading

_TORCHVISION = "torchvision:"


def identify(
    checkpoint: Checkpoint,
    *,
    arch: str | None = None,
    head: str | None = None,
    like: tuple[str, str, nn.Module] | None = None,
) -> tuple[Fit, tuple[str, ...]]:
    """Find the architecture of a checkpoint.

    In this order: `arch`; the architecture the file names, if it is torchvision's; that of `like` if it is not
    torchvision's (its keys may be those of one of torchvision's networks, its forward pass another one); detection;
    that of `like`.

    Args:
        checkpoint: What was read.
        arch: Named by the user: torchvision's name, ``timm:NAME``, ``package.module:factory``, ``file.py:factory``.
        head: Module path of the head of a network of the user's own.
        like: Architecture, head and network of a model that this one probably resembles.

    Returns:
        An exact fit, and notes on how it was found.

    Raises:
        UsageError: If `arch` names nothing that can be built.
        MismatchError: If the named architecture does not fit.
        ArchitectureError: If none fits, or several do.
    """
    if arch is not None:
        return _fit_named(checkpoint, arch, head, "--arch", like), ()
    named = checkpoint.architecture
    if named is None:
        return _find(checkpoint, like)
    if named in architecture_names():
        return _fit_named(checkpoint, named, head, "the file's own metadata", like), ()
    # A file may say what it likes; importing code because of it would be loading it unsafely.
    hint = f"the file says that it is {shown(named)}; give --arch if that is to be believed"
    try:
        found, notes = _find(checkpoint, like)
    except ArchitectureError as error:
        raise ArchitectureError(f"{error}; {hint}") from None
    return found, (*notes, hint)


def _find(checkpoint: Checkpoint, like: tuple[str, str, nn.Module] | None) -> tuple[Fit, tuple[str, ...]]:
    """Find the architecture where nobody says what it is."""
    if like is not None and like[0] not in architecture_names():
        found = _fit_like(checkpoint, like)
        if found is not None:
            return found
    try:
        found_by_keys = detect(checkpoint.readings, shown(checkpoint.name, None))
    except ArchitectureError:
        found = _fit_like(checkpoint, like) if like is not None else None
        if found is None:
            raise
        return found
    if like is not None and found_by_keys.blueprint.name == like[0]:
        # Once more, with what no checkpoint stores taken from the model it resembles.
        return _best(checkpoint, like[0], None, like), ()
    return found_by_keys, ()


def blueprint_of(
    arch: str, reading: Reading, head: str | None = None, like: tuple[str, str, nn.Module] | None = None
) -> Blueprint:
    """Give the blueprint that ``--arch`` names.

    Raises:
        UsageError: If there is no such architecture; the nearest names are given.
    """
    if arch.startswith(TIMM):
        return timm_blueprint(arch)
    name = arch.removeprefix(_TORCHVISION)
    if name in architecture_names():
        shapes = {key: tuple(tensor.shape) for key, tensor in reading.state.items()}
        return torchvision_blueprint(name, shapes, like=like[2] if like and like[0] == name else None)
    if ":" not in name:
        raise UsageError(
            f"--arch {shown(arch)}: torchvision has no such classifier; nearest: "
            f"{nearest(name, architecture_names())}. Your own: package.module:factory or file.py:factory; "
            "timm's: timm:NAME"
        )
    return own_blueprint(arch, head)


def _best(checkpoint: Checkpoint, arch: str, head: str | None, like: tuple[str, str, nn.Module] | None = None) -> Fit:
    """Give the fit of the reading of the keys that fits best, the first exact one if there is one."""
    blueprint = blueprint_of(arch, checkpoint.readings[0], head, like)
    fits = [fit(reading, blueprint) for reading in checkpoint.readings]
    return next((one for one in fits if one.is_exact), max(fits, key=lambda one: one.share))


def _fit_named(
    checkpoint: Checkpoint, arch: str, head: str | None, origin: str, like: tuple[str, str, nn.Module] | None
) -> Fit:
    best = _best(checkpoint, arch, head, like)
    if best.is_exact:
        return best
    others = [one.blueprint.name for one in exact_fits(checkpoint.readings)]
    hint = f". By keys and shapes it is {' or '.join(others)}" if others else ""
    raise MismatchError(
        f"{shown(checkpoint.name, None)}: is no {shown(arch)}, which {origin} says: {best.differences()}{hint}"
    )


def _fit_like(checkpoint: Checkpoint, like: tuple[str, str, nn.Module]) -> tuple[Fit, tuple[str, ...]] | None:
    arch, head, _ = like
    found = _best(checkpoint, arch, head, like)
    note = f"the architecture {shown(arch)} was taken from the source network; keys and shapes fit it"
    return (found, (note,)) if found.is_exact else None
