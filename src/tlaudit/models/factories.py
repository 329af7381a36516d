"""Architectures that are not torchvision's: the user's own factories, and timm's."""

from __future__ import annotations

import contextlib
import hashlib
import importlib
import importlib.util
import inspect
import logging
import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING, cast

from torch import nn

from tlaudit.errors import UsageError
from tlaudit.models.blueprint import TEMPLATE_CLASSES, Blueprint
from tlaudit.models.construction import outline, shapes_of, undisturbed
from tlaudit.models.heads import refuse_wrong_head
from tlaudit.models.wording import listed, nearest, shown

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping
    from types import ModuleType

    from tlaudit.models.construction import Shape

log = logging.getLogger(__name__)

TIMM = "timm:"
_OTHER_CLASSES = 991


def own_blueprint(arch: str, head: str | None = None) -> Blueprint:
    """Give the blueprint of a network of the user's own.

    The head is the one module whose parameters change shape with ``num_classes``.

    Args:
        arch: ``package.module:factory`` or ``file.py:factory``; the factory is called with ``num_classes=``.
        head: Module path of the head where that is not to be found out.

    Raises:
        UsageError: If the factory is not there, does not take ``num_classes``, fails, gives no `nn.Module`, or if no
            single module follows the number of classes and `head` does not name one that contains them all.
    """
    place, _, attribute = arch.rpartition(":")
    factory = _factory(arch, place, attribute)

    def build(num_classes: int) -> nn.Module:
        with undisturbed(), _importable(place):
            return _call(factory, arch, num_classes)

    module, other = _template(build, TEMPLATE_CLASSES), _template(build, _OTHER_CLASSES)
    following = _modules_that_follow(shapes_of(module), shapes_of(other))
    return Blueprint(arch, (_single_head(arch, module, following, head),), shapes_of(module), build)


def timm_blueprint(arch: str) -> Blueprint:
    """Give the blueprint of one of timm's networks.

    Args:
        arch: ``timm:NAME``.

    Raises:
        UsageError: If timm is not installed, has no such network, or that network has no single head.
    """
    timm, name = import_timm(), arch.removeprefix(TIMM)
    refuse_unknown_timm(name)

    def build(num_classes: int) -> nn.Module:
        with undisturbed():
            return timm.create_model(name, pretrained=False, num_classes=num_classes)  # type: ignore[no-any-return]

    module = _template(build, TEMPLATE_CLASSES)
    return Blueprint(arch, (timm_head(module, arch),), shapes_of(module), build)


def import_timm() -> ModuleType:
    """Give the timm package.

    Raises:
        UsageError: If it is not installed.
    """
    try:
        return importlib.import_module("timm")
    except ImportError:
        raise UsageError("timm is not installed, and timm:NAME needs it: pip install 'tlaudit[timm]'") from None


def refuse_unknown_timm(name: str) -> None:
    """Make sure that timm knows a network.

    Raises:
        UsageError: If it does not; the nearest names are given.
    """
    timm = import_timm()
    base, _, tag = name.partition(".")
    if ":" in name:
        return  # a repository of the hub, which timm looks up itself
    if not timm.is_model(base):
        raise UsageError(f"timm has no network {shown(name)!r}; nearest: {nearest(base, timm.list_models())}")
    tagged = timm.list_pretrained(f"{base}.*")
    if tag and name not in tagged:
        raise UsageError(f"timm has no weights {shown(tag)!r} for {shown(base)!r}; there are {listed(tagged, 8)}")


def timm_head(module: nn.Module, arch: str) -> str:
    """Give the module path of the head of one of timm's networks.

    Raises:
        UsageError: If it has none, or more than one.
    """
    classifier = module.get_classifier()  # type: ignore[operator]
    paths = [path for path, child in module.named_modules() if child is classifier]
    if len(paths) != 1 or not any(True for _ in module.get_submodule(paths[0]).parameters()):
        raise UsageError(
            f"{arch} has no single classification head ({type(classifier).__name__}); "
            "give a factory of your own with --arch file.py:factory and --head"
        )
    return str(paths[0])


def _template(build: Callable[[int], nn.Module], num_classes: int) -> nn.Module:
    """Build without memory where the network allows it, else in earnest."""
    try:
        return outline(lambda: build(num_classes))
    except UsageError as error:
        # Anything may stand in a factory, also what needs values where an outline has none.
        log.debug("no outline (%s), building in memory", error)
    return build(num_classes)


def _factory(arch: str, place: str, attribute: str) -> Callable[..., object]:
    """Import what holds the factory, and give the factory."""
    if not place or not attribute or "\0" in place:
        raise UsageError(f"--arch {shown(arch)}: expected package.module:factory or file.py:factory")
    with undisturbed(), _importable(place):
        module = _import_file(arch, Path(place)) if place.endswith(".py") else _import_module(arch, place)
    factory = getattr(module, attribute, None)
    if factory is None:
        known = [name for name, value in vars(module).items() if callable(value) and not name.startswith("_")]
        raise UsageError(
            f"--arch {shown(arch)}: {shown(place)} has no {shown(attribute)!r}; it has {nearest(attribute, known)}"
        )
    if not callable(factory):
        raise UsageError(
            f"--arch {shown(arch)}: {shown(attribute)} is {type(factory).__name__}, expected a function or class"
        )
    try:
        inspect.signature(factory).bind(num_classes=2)
    except TypeError as error:
        raise UsageError(
            f"--arch {shown(arch)}: cannot be called as {shown(attribute)}(num_classes=...): {shown(str(error))}; "
            "write a factory that can"
        ) from None
    except ValueError:
        log.debug("%s has no signature to look at", arch)
    return cast("Callable[..., object]", factory)


@contextlib.contextmanager
def _importable(place: str) -> Iterator[None]:
    """Let the factory's file import its neighbours, or its package be found in the working directory.

    What the user's code prints goes to stderr, because stdout carries results.
    """
    folder = str(Path(place).resolve().parent if place.endswith(".py") else Path.cwd())
    sys.path.insert(0, folder)
    try:
        with contextlib.redirect_stdout(sys.stderr):
            yield
    finally:
        with contextlib.suppress(ValueError):
            sys.path.remove(folder)


def _import_module(arch: str, name: str) -> ModuleType:
    try:
        return importlib.import_module(name)
    except ModuleNotFoundError as error:
        raise UsageError(f"--arch {shown(arch)}: there is no module {shown(error.name or '')!r} to import") from None
    except Exception as error:  # importing runs the user's code, which may raise anything
        raise _failed(f"--arch {shown(arch)}: importing {shown(name)} failed", error) from error


def _import_file(arch: str, path: Path) -> ModuleType:
    if not os.path.isfile(path):  # noqa: PTH113 - pathlib's raises for a name that is too long
        raise UsageError(f"--arch {shown(arch)}: there is no file {shown(str(path), None)}")
    path = path.resolve()
    # Named after the place it lies at, so that two files of the same name do not replace each other.
    name = f"tlaudit_own_{path.stem}_{hashlib.sha256(str(path).encode()).hexdigest()[:8]}"
    if name in sys.modules:
        return sys.modules[name]
    spec = importlib.util.spec_from_file_location(name, path)
    if spec is None or spec.loader is None:
        raise UsageError(f"--arch {shown(arch)}: {shown(str(path), None)} cannot be imported")
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    try:
        spec.loader.exec_module(module)
    except Exception as error:  # importing runs the user's code, which may raise anything
        del sys.modules[name]
        raise _failed(f"--arch {shown(arch)}: importing {shown(path.name)} failed", error) from error
    return module


def _call(factory: Callable[..., object], arch: str, num_classes: int) -> nn.Module:
    try:
        module = factory(num_classes=num_classes)
    except Exception as error:  # the user's code may raise anything
        raise _failed(f"--arch {shown(arch)}: the factory failed", error) from error
    if not isinstance(module, nn.Module):
        raise UsageError(f"--arch {shown(arch)}: the factory gave {type(module).__name__}, expected a torch.nn.Module")
    return module


def _failed(what: str, error: Exception) -> UsageError:
    return UsageError(f"{what}: {type(error).__name__}: {shown(str(error))}")


def _modules_that_follow(first: Mapping[str, Shape], second: Mapping[str, Shape]) -> tuple[str, ...]:
    """Name the modules with parameters whose shapes differ between two numbers of classes."""
    changed = [key for key in {**first, **second} if first.get(key) != second.get(key)]
    return tuple(dict.fromkeys(key.rpartition(".")[0] for key in changed))


def _single_head(arch: str, module: nn.Module, following: tuple[str, ...], head: str | None) -> str:
    """Decide which module is the head."""
    if head is None:
        if len(following) == 1 and following[0]:
            return following[0]
        what = f"{len(following)} modules follow num_classes ({listed(following)})" if following else ""
        raise UsageError(f"--arch {shown(arch)}: {what or 'no module follows num_classes'}; name the head with --head")
    refuse_wrong_head(module, head, following, arch)
    return head
