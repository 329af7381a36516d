"""Where options come from: the command line wins over the configuration file, and that over the default.

The file is ``tlaudit.toml`` or ``[tool.tlaudit]`` of ``pyproject.toml``. Unknown keys are errors that name the nearest
known one.
"""

from __future__ import annotations

import difflib
import tomllib
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ValidationError

from tlaudit.errors import ConfigError
from tlaudit.options import Settings
from tlaudit.options.training import OPTIMIZER_SETTINGS

FILE_NAME = "tlaudit.toml"

_ALTERNATIVES = {
    "lingering": ({"v_lo", "v_lo_count"},),
    "screen": ({"threshold", "calibrate"}, {"threshold", "alpha"}),
}
"""Keys of which one on the command line replaces the other in the file."""

_CHOICES = {"optimizer": OPTIMIZER_SETTINGS}
"""Keys that choose, with what each choice alone has: one on the command line drops what the others have in the file."""

_ROLES = {"source", "finetuned", "baseline"}
_PATHS = {
    "distraction": {"lingering", "save_composites", "save_rows"},
    "screen": {"lingering", "calibrate", "summary"},
    "erosion": {"data"},
    "stress": {"test", "runs"},
    "repair": {"train"},
    "repair.judge": {"probe"},
    "data": {"source", "target", "val", "class_map"},
    "models": {"source", "finetuned", "baseline", "arch", "source_arch", "baseline_arch"},
}


def load_settings(overrides: dict[str, dict[str, Any]], path: Path | None = None) -> Settings:
    """Read the configuration file, if there is one, and lay the command line over it.

    Args:
        overrides: What the command line says, by section (``stress.training`` is a table in a table) and
            key; ``None`` means "not given".
        path: The file to read. Without it ``tlaudit.toml``, else a ``pyproject.toml`` with ``[tool.tlaudit]``, of the
            current folder is read.

    Returns:
        The resolved settings. Relative paths of the file are relative to its folder.

    Raises:
        ConfigError: If the file cannot be read, is no TOML, has an unknown key (the nearest known one is named),
            or a value, from either place, is of the wrong kind or out of range.
    """
    written = _read(path)
    for section, values in overrides.items():
        given = {key: value for key, value in values.items() if value is not None}
        *parents, name = section.split(".")
        table: Any = written
        for parent in parents:
            table = table.setdefault(parent, {}) if isinstance(table, dict) else None
        kept = table.setdefault(name, {}) if isinstance(table, dict) else None
        if not given or not isinstance(kept, dict):
            continue
        for alternatives in _ALTERNATIVES.get(section, ()):
            if alternatives & given.keys():
                kept = {key: value for key, value in kept.items() if key not in alternatives}
        for chosen, settings in ((given[key], _CHOICES[key]) for key in _CHOICES.keys() & given.keys()):
            others = frozenset().union(*(keys for choice, keys in settings.items() if choice != chosen))
            kept = {key: value for key, value in kept.items() if key not in others}
        if section == "preprocess":
            # What is said for all networks on the command line beats what the file says for one of them.
            for role in _ROLES & kept.keys():
                if isinstance(kept[role], dict):
                    kept[role] = {key: value for key, value in kept[role].items() if key not in given}
        table[name] = kept | given
    return settle(written)


def settle(written: dict[str, Any]) -> Settings:
    """Make settings of plain values, by section and key; what is left out gets its default.

    Raises:
        ConfigError: If a key is unknown (the nearest known one is named) or a value of the wrong kind or out of range.
    """
    try:
        return Settings.model_validate(written)
    except ValidationError as error:
        raise ConfigError("; ".join(_explain(detail) for detail in error.errors())) from None


def _read(path: Path | None) -> dict[str, Any]:
    """The sections of the configuration file, its paths made independent of the current folder."""
    if path is None:
        path = next((p for p in (Path(FILE_NAME), Path("pyproject.toml")) if p.is_file()), None)
        if path is None:
            return {}
    try:
        document = tomllib.loads(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise ConfigError(f"{path}: cannot be read as TOML: {error}") from None
    if path.name == "pyproject.toml":
        document = document.get("tool", {}).get("tlaudit", {})
    if not isinstance(document, dict):
        raise ConfigError(f"{path}: expected a table [tool.tlaudit], got {type(document).__name__}")
    return _rebase(document, path.parent)


def _rebase(document: dict[str, Any], folder: Path) -> dict[str, Any]:
    """Paths in the file are meant from where the file lies."""
    for section, keys in _PATHS.items():
        table: Any = document
        for part in section.split("."):
            table = table.get(part) if isinstance(table, dict) else None
        if not isinstance(table, dict):
            continue
        for key in keys & table.keys():
            value = table[key]
            # A model may also be a name such as torchvision:resnet18; only what is a file is a path.
            if isinstance(value, str) and (section != "models" or (folder / value.split(":")[0]).is_file()):
                table[key] = str(folder / value)
    return document


def _explain(detail: Any) -> str:
    """One sentence for one of pydantic's complaints."""
    *parents, key = detail["loc"] or ("configuration",)
    where = ".".join(str(part) for part in detail["loc"]) or "configuration"
    if detail["type"] == "extra_forbidden":
        known = sorted(_fields(parents))
        near = difflib.get_close_matches(str(key), known, n=1, cutoff=0.5)
        hint = f"did you mean '{near[0]}'?" if near else f"known are: {', '.join(known)}"
        place = f" in [{'.'.join(str(p) for p in parents)}]" if parents else ""
        return f"unknown key '{key}'{place}; {hint}"
    message = str(detail["msg"]).removeprefix("Value error, ")
    return f"{where}: {message[:1].lower()}{message[1:]} (got {detail['input']!r})"


def _fields(parents: list[Any]) -> set[str]:
    """The keys known at this place of the configuration."""
    model: type[BaseModel] = Settings
    for parent in parents:
        nested = model.model_fields[str(parent)].annotation
        if not (isinstance(nested, type) and issubclass(nested, BaseModel)):
            return set()
        model = nested
    return set(model.model_fields)
