"""Lines of a TOML file that explains itself."""

from __future__ import annotations

import textwrap
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tlaudit.quoting import quoted, spelt

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tlaudit.options import Options

WIDTH = 100


def value(given: Any) -> str:
    """Write a string, path, number, truth value or list of them as TOML."""
    if isinstance(given, bool):
        return str(given).lower()
    if isinstance(given, str | Path):
        return quoted(str(given))
    if isinstance(given, list | tuple):
        return f"[{', '.join(value(one) for one in given)}]"
    return repr(given)


def setting(key: str, given: Any) -> str:
    """Write one key with its value."""
    return f"{key} = {value(given)}"


def remark(text: str) -> Iterator[str]:
    """Write a text as a comment, whatever it holds."""
    lines = textwrap.wrap(spelt(text), WIDTH - 2, break_long_words=False, break_on_hyphens=False)
    yield from (f"# {line}" for line in lines)


def offered(options: type[Options], *keys: str, **examples: Any) -> Iterator[str]:
    """Write settings that may be made, as comments: each with its default, or an example, and what it means.

    Args:
        options: The section they belong to.
        keys: Those whose default is shown.
        examples: Those that have none, with a value to begin with.
    """
    for key in (*keys, *examples):
        field = options.model_fields[key]
        line = f"# {setting(key, examples.get(key, field.default))}"
        yield f"{line:<32}  # {spelt(field.description)}" if field.description else line
