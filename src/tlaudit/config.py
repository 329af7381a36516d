"""Where options come from: the command line wins over the configuration file, and that over the default.

The file is ``tlaudit.toml`` or ``[tool.tlaudit]`` of ``pyproject.toml``. Unknown keys are errors that name the nearest
known one.
"""

from __future__ import annotations

import difflib
import hashlib
import tomllib
from operator import eq
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple, get_args

from pydantic import BaseModel, ValidationError

from tlaudit.errors import ConfigError
from tlaudit.options import PolicyOptions, Settings
from tlaudit.options.training import OPTIMIZER_SETTINGS
from tlaudit.quoting import briefly, shown
from tlaudit.reading import is_file, whole
from tlaudit.toml_lines import MOST_PARTS, has_bomb, lines_of

if TYPE_CHECKING:
    from collections.abc import Collection

FILE_NAME = "tlaudit.toml"
_RULES = ("policy", "rules")

_ALTERNATIVES = {
    "lingering": ({"v_lo", "v_lo_count"},),
    "screen": ({"threshold", "calibrate"}, {"threshold", "alpha"}),
}
"""Keys of which one on the command line replaces the other in the file."""

_CHOICES = {"optimizer": OPTIMIZER_SETTINGS}
"""Keys that choose, with what each choice alone has: one on the command line drops what the others have in the file."""

_EXPECTED = {
    "tuple_type": "expected a list",
    "list_type": "expected a list",
    "model_type": "expected a table",
    "dict_type": "expected a table",
    "path_type": "expected a path",
}
"""Kinds of values as TOML calls them, by what pydantic calls a complaint."""
_MOST_SHOWN = 60
"""Characters of a value in a message."""
_MOST_SAID = 400
"""Characters of a complaint."""
_MOST_COMPLAINTS = 10
_MOST_BYTES = 2**20
"""Of a configuration file; ten thousand rules have less."""

_ROLES = {"source", "finetuned", "baseline"}
_PATHS = {
    "distraction": {"lingering", "save_composites", "save_rows"},
    "screen": {"lingering", "calibrate", "summary"},
    "erosion": {"data"},
    "stress": {"test", "runs"},
    "repair": {"train"},
    "repair.judge": {"probe"},
    "data": {"source", "target", "val", "class_map"},
    "execution": {"cache_dir"},
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
    file = _read(path)
    written = file.sections if file is not None else {}
    said = set()
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
        said |= {(*parents, name, key) for key in given}
    return settle(written, file, said)


class ConfigFile(NamedTuple):
    """A configuration file as it was read.

    Attributes:
        path: The file.
        sha256: Of its bytes.
        text: What stands in it.
        prefix: Keys that lead to its sections.
        sections: Its sections, paths made independent of the current folder.
    """

    path: Path
    sha256: str
    text: str
    prefix: tuple[str, ...]
    sections: dict[str, Any]

    def lines(self) -> list[int]:
        """Lines at which the rules of its policy begin."""
        return lines_of(self.text, (*self.prefix, *_RULES))


class WrittenPolicy(NamedTuple):
    """The policy of a configuration file.

    Attributes:
        options: Its rules.
        lines: Where each begins, counted from 1.
        path: The file.
        sha256: Of its bytes.
    """

    options: PolicyOptions
    lines: list[int]
    path: Path
    sha256: str


def load_policy(path: Path | None = None) -> WrittenPolicy | None:
    """Read the policy of a configuration file, whose other sections have to be right as well.

    Args:
        path: The file; without it the one that `load_settings` finds.

    Returns:
        The policy; None if there is no file, or no section ``[policy]`` in it.

    Raises:
        ConfigError: As of `load_settings`.
    """
    file = _read(path)
    if file is None:
        return None
    settings = settle(file.sections, file)
    if settings.policy is None:
        return None
    return WrittenPolicy(settings.policy, file.lines(), file.path, file.sha256)


def settle(written: dict[str, Any], file: ConfigFile | None = None, said: Collection[tuple[str, ...]] = ()) -> Settings:
    """Make settings of plain values, by section and key; what is left out gets its default.

    Args:
        written: The values.
        file: Where they come from; complaints name it.
        said: Places of those that come from elsewhere, the command line.

    Raises:
        ConfigError: If a key is unknown (the nearest known one is named) or a value of the wrong kind or out of range.
    """
    try:
        return Settings.model_validate(written)
    except ValidationError as error:
        details = error.errors()
        lines = file.lines() if file is not None else []
        told = [
            _place(detail, file, lines, said) + shown(_explain(detail), _MOST_SAID)
            for detail in details[:_MOST_COMPLAINTS]
        ]
        more = [f"and {len(details) - len(told)} more"] if len(details) > len(told) else []
        raise ConfigError("; ".join([*told, *more])) from None


def found() -> Path | None:
    """The configuration file that is read where none is named: of the current folder, if there is one."""
    return next((path for path in (Path(FILE_NAME), Path("pyproject.toml")) if path.is_file()), None)


def _read(path: Path | None) -> ConfigFile | None:
    """The configuration file, or None if none was named and there is none."""
    path = path or found()
    if path is None:
        return None
    where = shown(str(path))
    try:
        content = whole(path, _MOST_BYTES)
        # Editors of some systems begin a file with a mark that it is UTF-8.
        text = content.decode("utf-8-sig").replace("\r\n", "\n")
        if has_bomb(text):
            raise ConfigError(f"{where}: expected TOML to read, got a key of more than {MOST_PARTS} parts")
        document = tomllib.loads(text)
    except FileNotFoundError:
        raise ConfigError(f"{where}: does not exist") from None
    except OSError as error:
        raise ConfigError(f"{where}: cannot be read: {error.strerror}") from None
    except (ValueError, RecursionError) as error:
        raise ConfigError(f"{where}: cannot be read as TOML: {_reason(error)}") from None
    prefix: tuple[str, ...] = ()
    if path.name == "pyproject.toml":
        prefix = ("tool", "tlaudit")
        tools = document.get("tool", {})
        document = tools.get("tlaudit", {}) if isinstance(tools, dict) else {}
    if not isinstance(document, dict):
        raise ConfigError(f"{where}: expected a table [tool.tlaudit], got {type(document).__name__}")
    return ConfigFile(path, hashlib.sha256(content).hexdigest(), text, prefix, _rebase(document, path.parent))


def _reason(error: ValueError | RecursionError) -> str:
    """Why a text is no TOML, in words of files."""
    if isinstance(error, UnicodeDecodeError):
        return f"it is no UTF-8 text (byte {error.start})"
    if isinstance(error, RecursionError):
        return "it is nested too deeply"
    # The reader calls its own limit of digits by the name of a function of Python.
    return (
        "a number of very many digits" if "integer string conversion" in str(error) else shown(str(error), _MOST_SAID)
    )


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
            if isinstance(value, str) and value and (section != "models" or is_file(folder / value.split(":")[0])):
                table[key] = str(folder / value)
    return document


def _place(detail: Any, file: ConfigFile | None, lines: list[int], said: Collection[tuple[str, ...]]) -> str:
    """File of a complaint, and its line if it is about the policy; nothing if the command line may be meant."""
    place = detail["loc"]
    if file is None or any(all(map(eq, one, place)) for one in said):
        return ""
    where = shown(str(file.path))
    if place[:1] != _RULES[:1]:
        return f"{where}: "
    numbers = detail.get("ctx", {}).get("numbers", ())
    index = place[2] if place[:2] == _RULES and len(place) > 2 else max(numbers, default=0) - 1
    return f"{where}:{lines[index]}: " if 0 <= index < len(lines) else f"{where}: "


def _explain(detail: Any) -> str:
    """One sentence for one of pydantic's complaints."""
    *parents, key = detail["loc"] or ("configuration",)
    table, own = _table(parents)
    if detail["type"] == "extra_forbidden":
        known = sorted(_fields(parents))
        near = difflib.get_close_matches(str(key)[:_MOST_SHOWN], known, n=1, cutoff=0.5)
        hint = f"did you mean '{near[0]}'?" if near else f"known are: {', '.join(known)}"
        place = table + (f", {own}" if table and own else f"[{own}]" if own else "")
        return f"unknown key '{shown(str(key), _MOST_SHOWN)}'{f' in {place}' if place else ''}; {hint}"
    message = _EXPECTED.get(detail["type"]) or str(detail["msg"]).removeprefix("Value error, ")
    message = f"{message[:1].lower()}{message[1:]}"
    whole, _ = _table([*parents, key])
    if whole and not table:
        # About a table of a list as a whole, which would be long to repeat.
        return f"{whole}: {message}"
    where = ".".join(part for part in (own, str(key)) if part)
    if isinstance(detail["input"], dict):
        return f"{table}: {where}: {message}" if table else f"{where}: {message}"
    return f"{f'{table}: ' if table else ''}{where}: {message} (got {briefly(detail['input'], _MOST_SHOWN)})"


def _table(parents: list[Any]) -> tuple[str, str]:
    """The table of a list that this place is in, in words, and the rest of the way; no words if it is in none."""
    for depth, part in enumerate(parents):
        if isinstance(part, int) and _model(parents[: depth + 1]) is not None:
            words = f"[[{'.'.join(str(above) for above in parents[:depth])}]] number {part + 1}"
            return words, ".".join(str(below) for below in parents[depth + 1 :])
    return "", ".".join(str(part) for part in parents)


def _fields(parents: list[Any]) -> set[str]:
    """The keys known at this place of the configuration."""
    model = _model(parents)
    return set(model.model_fields) if model is not None else set()


def _model(parents: list[Any]) -> type[BaseModel] | None:
    """The options at this place, be they a table, one that may be left out, or one of a list of tables."""
    place: Any = Settings
    for parent in parents:
        if isinstance(parent, int):
            place = next((one for one in get_args(place) if one is not Ellipsis), None)
        else:
            if not (isinstance(place, type) and issubclass(place, BaseModel)) or parent not in place.model_fields:
                return None
            place = place.model_fields[parent].annotation
            place = (
                next((one for one in get_args(place) if one is not type(None)), place) if _optional(place) else place
            )
    return place if isinstance(place, type) and issubclass(place, BaseModel) else None


def _optional(annotation: Any) -> bool:
    return type(None) in get_args(annotation)
