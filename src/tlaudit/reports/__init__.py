"""The formats: one file each, listed by the name `--format` takes; a table for each kind of document."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

from tlaudit.reports import (
    as_csv,
    as_html,
    as_json,
    as_markdown,
    as_terminal,
    audit_as_csv,
    audit_as_html,
    audit_as_markdown,
    audit_as_model_card,
    audit_as_terminal,
    comparison_as_csv,
    comparison_as_html,
    comparison_as_markdown,
    comparison_as_terminal,
    verdict_as_html,
    verdict_as_junit,
    verdict_as_markdown,
    verdict_as_sarif,
    verdict_as_terminal,
)

if TYPE_CHECKING:
    from collections.abc import Callable

    from rich.console import RenderableType


class Format(NamedTuple):
    """A way to write a document.

    Attributes:
        render: Gives the text for a document and a number of rows.
        suffix: Ends its file name.
        view: What a terminal shows, for a document, a number of rows and a width; None where it shows the text.
    """

    render: Callable[[Any, int], str]
    suffix: str
    view: Callable[[Any, int, int], RenderableType] | None = None


FORMATS = {
    "table": Format(as_terminal.render, as_terminal.SUFFIX, as_terminal.view),
    "json": Format(as_json.render, as_json.SUFFIX),
    "csv": Format(as_csv.render, as_csv.SUFFIX),
    "markdown": Format(as_markdown.render, as_markdown.SUFFIX),
    "html": Format(as_html.render, as_html.SUFFIX),
}
"""Of the result of a check."""

AUDIT_FORMATS = {
    "table": Format(audit_as_terminal.render, audit_as_terminal.SUFFIX, audit_as_terminal.view),
    "json": Format(as_json.render, as_json.SUFFIX),
    "csv": Format(audit_as_csv.render, audit_as_csv.SUFFIX),
    "markdown": Format(audit_as_markdown.render, audit_as_markdown.SUFFIX),
    "html": Format(audit_as_html.render, audit_as_html.SUFFIX),
    "model-card": Format(audit_as_model_card.render, audit_as_model_card.SUFFIX),
}
"""Of an audit."""

VERDICT_FORMATS = {
    "table": Format(verdict_as_terminal.render, verdict_as_terminal.SUFFIX, verdict_as_terminal.view),
    "json": Format(as_json.render, as_json.SUFFIX),
    "markdown": Format(verdict_as_markdown.render, verdict_as_markdown.SUFFIX),
    "junit": Format(verdict_as_junit.render, verdict_as_junit.SUFFIX),
    "sarif": Format(verdict_as_sarif.render, verdict_as_sarif.SUFFIX),
    "html": Format(verdict_as_html.render, verdict_as_html.SUFFIX),
}
"""Of what a policy makes of reports."""

COMPARISON_FORMATS = {
    "table": Format(comparison_as_terminal.render, comparison_as_terminal.SUFFIX, comparison_as_terminal.view),
    "json": Format(as_json.render, as_json.SUFFIX),
    "csv": Format(comparison_as_csv.render, comparison_as_csv.SUFFIX),
    "markdown": Format(comparison_as_markdown.render, comparison_as_markdown.SUFFIX),
    "html": Format(comparison_as_html.render, comparison_as_html.SUFFIX),
}
"""Of audits side by side."""
