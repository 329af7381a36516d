"""Results read back from the files an earlier run wrote."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import TYPE_CHECKING

from pydantic import ValidationError

from tlaudit.errors import UsageError
from tlaudit.records import SCHEMA_VERSION
from tlaudit.results import CheckResult

if TYPE_CHECKING:
    from pathlib import Path


def read_result(path: Path, check: str | None = None) -> CheckResult:
    """Read the JSON document of a check.

    Args:
        path: The file.
        check: Name of the check whose result is expected; None for any.

    Returns:
        The record, equal to the one that was written.

    Raises:
        UsageError: If the file cannot be read, is no such document, was written under another version of the schema, or
            by another check.
    """
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "it is no UTF-8 text"
        raise UsageError(f"{path}: cannot be read: {reason}") from None
    try:
        version = _version(text)
        if version != SCHEMA_VERSION:
            raise UsageError(
                f"{path}: expected a result of schema version {SCHEMA_VERSION}, got {version}; run the check again"
            )
        result = CheckResult.model_validate_json(text)
    except (ValidationError, ValueError, RecursionError) as error:
        reason = _first(error) if isinstance(error, ValidationError) else str(error)
        raise UsageError(f"{path}: expected a result that tlaudit wrote as JSON: {reason}") from None
    if check is not None and result.check != check:
        raise UsageError(f"{path}: expected a result of tlaudit {check}, got one of tlaudit {result.check}")
    return result


@dataclass(frozen=True)
class SourceClass:
    """What `tlaudit lingering` found about a source class.

    Attributes:
        index: Output of the source network.
        name: Of the class.
        status: ``lingering``, ``forgotten``, ``untested`` or ``in target data``.
        images: Source images of it.
        prevalence: Target images that show it.
        hybrid_probability: Mean probability through finetuned backbone and source head; None without images.
    """

    index: int
    name: str
    status: str
    images: int
    prevalence: int
    hybrid_probability: float | None


def source_classes(lingering: CheckResult) -> list[SourceClass]:
    """List the source classes of a result of `tlaudit lingering`, in index order.

    Raises:
        UsageError: If the result lacks what it should hold.
    """
    columns = ("class_index", "class_name", "status", "n", "prevalence", "hybrid_probability")
    table = lingering.tables.get("classes")
    if table is None or not set(columns) <= {column.name for column in table.columns}:
        raise UsageError(f"a result of tlaudit lingering has a table 'classes' with {', '.join(columns)}; this has not")
    return [SourceClass(*(row[name] for name in columns)) for row in table.rows]  # type: ignore[arg-type]


def _version(text: str) -> str:
    document = json.loads(text)
    if not isinstance(document, dict) or "schema_version" not in document:
        raise ValueError("it has no schema_version")
    return str(document["schema_version"])


def _first(error: ValidationError) -> str:
    """The first complaint, with its place, in a line."""
    detail = error.errors()[0]
    where = ".".join(str(part) for part in detail["loc"]) or "document"
    return f"{where}: {detail['msg']} ({error.error_count()} complaints)"
