"""Results read back from the files an earlier run wrote."""

from __future__ import annotations

import hashlib
import json
from types import MappingProxyType
from typing import TYPE_CHECKING, Literal, NamedTuple

from pydantic import ConfigDict, Field, ValidationError

from tlaudit.errors import ReportError, UsageError
from tlaudit.records import READABLE_VERSIONS, Record
from tlaudit.results import AuditReport, CheckResult
from tlaudit.verdicts import ReportSource

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path


class Report(NamedTuple):
    """A document of `tlaudit` and the file it was read from."""

    source: ReportSource
    results: tuple[CheckResult, ...]
    """Of each check in it, at least one."""
    left_out: Mapping[str, str] = MappingProxyType({})
    """Checks that an audit left out, and why."""


def read_report(path: Path) -> Report:
    """Read what `tlaudit audit`, or a single check, wrote as JSON.

    Args:
        path: The file.

    Returns:
        The records, equal to those that were written.

    Raises:
        ReportError: If the file cannot be read, is no such document, or is of another version of the schema.
    """
    try:
        content = path.read_bytes()
    except OSError as error:
        raise ReportError(f"{path}: cannot be read: {error.strerror}") from None
    return _report(str(path), content, _parse(path, content))


def report_of(document: AuditReport | CheckResult) -> Report:
    """Take a document that was never written for one that was read, with the hash its file would have."""
    return _report("(in memory)", document.to_json().encode(), document)


def _report(path: str, content: bytes, document: AuditReport | CheckResult) -> Report:
    results = document.checks if isinstance(document, AuditReport) else (document,)
    finetuned = results[0].provenance.models
    model = finetuned.get("finetuned") or next(iter(finetuned.values()), None)
    source = ReportSource(
        path=path,
        sha256=hashlib.sha256(content).hexdigest(),
        checks=tuple(result.check for result in results),
        checkpoint=model.sha256 if model else None,
        network=model.spec if model else "",
        version=results[0].provenance.versions.get("tlaudit"),
    )
    return Report(source, results, document.left_out if isinstance(document, AuditReport) else {})


def read_result(path: Path, check: str | None = None) -> CheckResult:
    """Read the JSON document of a check, or what an audit says of it.

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
        results = read_report(path).results
    except ReportError as error:
        raise UsageError(str(error)) from None
    for result in results:
        if check in {None, result.check}:
            return result
    found = " and ".join(f"tlaudit {result.check}" for result in results)
    raise UsageError(f"{path}: expected a result of tlaudit {check}, got one of {found}")


def _parse(path: Path, content: bytes) -> AuditReport | CheckResult:
    """What a file holds: the result of one check, or an audit."""
    try:
        text = content.decode("utf-8")
        kind = _kind(path, json.loads(text, parse_constant=_refuse_constant))
        if kind == "audit":
            return AuditReport.model_validate_json(text)
        return CheckResult.model_validate_json(text)
    except UnicodeDecodeError:
        reason = "it is no UTF-8 text"
    except ValidationError as error:
        reason = _first(error)
    except RecursionError:
        reason = "it is nested too deeply"
    except ValueError as error:
        reason = str(error)
    raise ReportError(f"{path}: expected a result that tlaudit wrote as JSON: {reason}") from None


def _kind(path: Path, document: object) -> object:
    """What kind of document it says it is, once its schema is one that can be read."""
    if not isinstance(document, dict) or "schema_version" not in document:
        raise ValueError("it has no schema_version")
    version, kind = str(document["schema_version"]), document.get("document")
    if version not in READABLE_VERSIONS:
        known = " or ".join(READABLE_VERSIONS)
        raise ReportError(
            f"{path}: expected a result of schema version {known}, got {version[:40]}; run the check again"
        )
    if kind in ("verdict", "comparison"):
        raise ReportError(f"{path}: expected the report of an audit or a check, got a {kind}")
    return kind


def _refuse_constant(name: str) -> None:
    raise ValueError(f"it holds {name}, which is no number")


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


def _first(error: ValidationError) -> str:
    """The first complaint, with its place, in a line."""
    detail = error.errors()[0]
    where = ".".join(str(part) for part in detail["loc"]) or "document"
    return f"{where}: {detail['msg']} ({error.error_count()} complaints)"
