"""Results read back from the files an earlier run wrote."""

from __future__ import annotations

import hashlib
import json
import math
from types import MappingProxyType
from typing import TYPE_CHECKING, Literal, NamedTuple

from pydantic import ConfigDict, Field, ValidationError

from tlaudit.errors import ReportError, UsageError
from tlaudit.metrics import CHECKS
from tlaudit.quoting import shown
from tlaudit.reading import whole
from tlaudit.records import READABLE_VERSIONS, Record, writable
from tlaudit.results import AuditReport, CheckResult
from tlaudit.verdicts import ReportSource

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

_MOST_BYTES = 256 * 2**20
"""Of a report; one with all pictures has some ten."""
_MOST_SAID = 400
"""Characters of a complaint."""
_MOST_DIGITS = 300
"""Of a whole number; the largest that a calculation can hold has 309."""


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
        ReportError: If the file cannot be read, is no such document, is of another version of the schema, or holds the
            result of a check that tlaudit does not make.
    """
    try:
        content = whole(path, _MOST_BYTES)
    except OSError as error:
        raise ReportError(f"{shown(str(path))}: cannot be read: {error.strerror}") from None
    return _report(str(path), content, _parse(path, content))


def report_of(document: AuditReport | CheckResult) -> Report:
    """Take a document that was never written for one that was read, with the hash its file would have."""
    return _report("(in memory)", document.to_json().encode(), document)


def _report(path: str, content: bytes, document: AuditReport | CheckResult) -> Report:
    results = document.checks if isinstance(document, AuditReport) else (document,)
    for result in results:
        _refuse_version(path, result.schema_version)
        if result.check not in CHECKS:
            raise ReportError(
                f"{shown(path)}: expected the result of a check, {', '.join(CHECKS)}, got one of {_few(result.check)}"
            )
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
    raise UsageError(f"{shown(str(path))}: expected a result of tlaudit {check}, got one of {found}")


def _parse(path: Path, content: bytes) -> AuditReport | CheckResult:
    """What a file holds: the result of one check, or an audit."""
    try:
        text = content.decode("utf-8")
        plain = json.loads(
            text,
            parse_constant=_refuse_constant,
            parse_int=_whole,
            parse_float=_finite,
            object_pairs_hook=_each_key_once,
        )
        # Strictly: text is no number, and neither is true or false.
        if _kind(path, plain) == "audit":
            return AuditReport.model_validate_json(text, strict=True)
        return CheckResult.model_validate_json(text, strict=True)
    except UnicodeDecodeError:
        reason = "it is no UTF-8 text"
    except ValidationError as error:
        reason = _first(error)
    except RecursionError:
        reason = "it is nested too deeply"
    except ValueError as error:
        reason = str(error)
    said = shown(reason, _MOST_SAID)
    raise ReportError(f"{shown(str(path))}: expected a result that tlaudit wrote as JSON: {said}") from None


def _kind(path: Path, document: object) -> object:
    """What kind of document it says it is, once its schema is one that can be read."""
    if not isinstance(document, dict) or "schema_version" not in document:
        raise ValueError("it has no schema_version")
    kind = document.get("document")
    _refuse_version(path, document["schema_version"])
    if kind in ("verdict", "comparison"):
        raise ReportError(f"{shown(str(path))}: expected the report of an audit or a check, got a {kind}")
    if kind != "audit" and "document" in document:
        raise ReportError(f"{shown(str(path))}: expected the report of an audit or a check, got document {_few(kind)}")
    return kind


def _refuse_version(path: object, version: object) -> None:
    if version not in READABLE_VERSIONS:
        known = " or ".join(READABLE_VERSIONS)
        got = _few(version) if isinstance(version, str) else f"{_few(version)}, which is no text"
        where = shown(str(path))
        raise ReportError(f"{where}: expected a result of schema version {known}, got {got}; run the check again")


def _refuse_constant(name: str) -> None:
    raise ValueError(f"it holds {name}, which is no number")


def _whole(digits: str) -> int:
    """A whole number that a calculation can go on with."""
    if len(digits) > _MOST_DIGITS:
        raise ValueError(f"it holds a number of {len(digits)} digits, which is too large")
    return int(digits)


def _finite(digits: str) -> float:
    """A number that is not beyond all numbers."""
    number = float(digits)
    if not math.isfinite(number):
        raise ValueError(f"it holds {_few(digits)}, which is no finite number")
    return number


def _each_key_once(pairs: list[tuple[str, object]]) -> dict[str, object]:
    """The object; of two values under one name one would be lost."""
    found = dict(pairs)
    if len(found) < len(pairs):
        names = [name for name, _ in pairs]
        raise ValueError(f"it holds {_few(next(name for name in names if names.count(name) > 1))} twice in one place")
    return found


def _few(value: object) -> str:
    """The first characters of what stands there, as it could be written in a line."""
    return writable(repr(str(value)[:40])[1:-1])


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
        told = shown(reason, _MOST_SAID)
        raise UsageError(f"the result of tlaudit lingering does not hold together: table classes: {told}") from None
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
