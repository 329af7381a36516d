"""JSON: the whole record, floats at full precision."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from tlaudit.records import Document

SUFFIX = ".json"


def render(document: Document, rows: int) -> str:  # noqa: ARG001 - JSON leaves nothing out
    """Write the record as JSON; `rows` is not needed, all of them are written."""
    return document.to_json()
