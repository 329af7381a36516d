"""Results read back from the files an earlier run wrote."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Literal

from pydantic import ConfigDict, Field, ValidationError

from tlaudit.errors import UsageError
from tlaudit.records import READABLE_VERSIONS, Record
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
        if version not in READABLE_VERSIONS:
            known = " or ".join(READABLE_VERSIONS)
            raise UsageError(f"{path}: expected a result of schema version {known}, got {version}; run the check again")
        result = CheckResult.model_validate_json(text)
    except (ValidationError, ValueError, RecursionError) as error:
        reason = _first(error) if isinstance(error, ValidationError) else str(error)
        raise UsageError(f"{path}: expected a result that tlaudit wrote as JSON: {reason}") from None
    if check is not None and result.check != check:
        raise UsageError(f"{path}: expected a result of tlaudit {check}, got one of tlaudit {result.check}")
    return result


class SourceClass(Record):
    """What `tlaudit lingering` found about a source class.

    Attributes:
        index: Output of the source network.
        name: Of the class.
        status: Whether it lingers, and why not if it does not.
        images: Source images of it.
        prevalence: Target images that show it.
        hybrid_probability: Mean probability through finetuned backbone and source head; None without images.
    """

    model_config = ConfigDict(strict=True)

    index: int = Field(ge=0, alias="class_index")
    name: str = Field(alias="class_name")
    status: Literal["lingering", "forgotten", "untested", "in target data"]
    images: int = Field(ge=0, alias="n")
    prevalence: int = Field(ge=0)
    hybrid_probability: float | None = Field(ge=0, le=1)


def source_classes(lingering: CheckResult) -> list[SourceClass]:
    """List the source classes of a result of `tlaudit lingering`, in index order.

    Raises:
        UsageError: If the result lacks what it should hold, or holds what cannot be: it was changed, or damaged.
    """
    names = [field.alias or name for name, field in SourceClass.model_fields.items()]
    rows = lingering.tables["classes"].rows if "classes" in lingering.tables else ()
    try:
        classes = [SourceClass.model_validate({name: row[name] for name in names}) for row in rows]
    except (KeyError, ValidationError) as error:
        reason = _first(error) if isinstance(error, ValidationError) else f"there is no column {error}"
        raise UsageError(f"the result of tlaudit lingering does not hold together: table classes: {reason}") from None
    total = lingering.provenance.models["source"].num_classes if "source" in lingering.provenance.models else 0
    if [one.index for one in classes] != list(range(total)) or not classes:
        raise UsageError(
            f"the result of tlaudit lingering does not hold together: expected a row for each of {total} source "
            f"classes in index order, got {len(classes)}"
        )
    return classes


def lingering_classes(lingering: CheckResult) -> list[SourceClass]:
    """List those that linger, in index order; errors as of `source_classes`."""
    return [one for one in source_classes(lingering) if one.status == "lingering"]


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
