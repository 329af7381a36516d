"""Which checks an audit is made of, and what they cannot do without. Imports no torch."""

from __future__ import annotations

from typing import TYPE_CHECKING, get_args

from tlaudit.errors import UsageError
from tlaudit.options.audit import CheckName

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from pathlib import Path

    from tlaudit.options import Settings

ALL: tuple[str, ...] = get_args(CheckName)
"""In the order in which they are made."""
STRESS = "stress"
"""The only check that trains a network, and so the only one that has to be asked for."""


LOOKS_AT = {
    "lingering": ("source", "target", "val"),
    "distraction": ("source", "target"),
    "erosion": ("source",),
    "stress": ("source",),
}
"""Sets of images of [data] that a check looks at, where they are given."""


def chosen(settings: Settings) -> tuple[str, ...]:
    """Give the checks that are made, in their order: those of ``[audit] checks``, else all that were asked for."""
    named = settings.audit.checks
    if named is None:
        return tuple(name for name in ALL if name != STRESS or STRESS in settings.model_fields_set)
    return tuple(name for name in ALL if name in named)


def left_out(settings: Settings) -> dict[str, str]:
    """Say why the other checks are not made, by name."""
    why = "checks of [audit] does not name it"
    if settings.audit.checks is None:
        why = "it trains the network again and again, so that it has to be asked for: there is no section [stress]"
    return {name: why for name in ALL if name not in chosen(settings)}


def refuse_missing(settings: Settings, networks: Mapping[str, object] | None = None) -> None:
    """Find out before the work that a network or images are missing, or not where they are said to be.

    Args:
        settings: Which checks, and which images.
        networks: What is named of each network that is needed, by option; none where they are loaded already.

    Raises:
        UsageError: With all that is missing, and which checks need it; or with folders and files that are not there.
    """
    names, data = chosen(settings), settings.data
    missing = [option for option, value in (networks or {}).items() if value is None]
    needs = {
        "--source-data": [
            n for n in names if data.source is None and (n != "erosion" or settings.erosion.data is None)
        ],
        "--target-data": [n for n in names if data.target is None and "target" in LOOKS_AT[n]],
    }
    wanted = {option: by for option, by in needs.items() if by}
    if not missing and not wanted:
        refuse_absent(settings)
        return
    text = f"missing: {', '.join([*missing, *wanted])} (on the command line or in tlaudit.toml)"
    if wanted:
        by = "; ".join(f"{option} for {', '.join(checks)}" for option, checks in wanted.items())
        text += f". Images are needed: {by}; checks of [audit] in tlaudit.toml, or --checks, can leave these out"
    if "erosion" in needs["--source-data"]:
        text += "; erosion can have images of its own, data of [erosion]"
    raise UsageError(text)


def refuse_absent(settings: Settings) -> None:
    """Find out before the work that something is not there which a check looks at; what is in it is seen later.

    Raises:
        UsageError: With all folders and files that do not exist.
    """
    from tlaudit.data.kinds import KINDS, is_set, what_is

    absent = [
        f"{what}: {path}: expected {'a file' if kind == 'file' else KINDS}, got {what_is(path)}"
        for what, kind, path in _places(settings)
        if path is not None and not (path.is_file() if kind == "file" else is_set(path))
    ]
    if absent:
        raise UsageError("; ".join(absent))


def _places(settings: Settings) -> Iterator[tuple[str, str, Path | None]]:
    """Where the checks look, and those that they build on: what it is called, a folder or a file, and its path."""
    names, data = set(chosen(settings)), settings.data
    if "distraction" in names:
        yield "lingering of [distraction]", "file", settings.distraction.lingering
        if settings.distraction.lingering is None:
            names.add("lingering")
    for role in ("source", "target", "val"):
        if any(role in LOOKS_AT[name] for name in names):
            yield f"{role} of [data] (--{role}-data)", "folder", getattr(data, role)
    yield "class_map of [data] (--class-map)", "file", data.class_map
    if "erosion" in names:
        yield "data of [erosion]", "folder", settings.erosion.data
    if "stress" in names:
        yield "test of [stress]", "folder", settings.stress.test
