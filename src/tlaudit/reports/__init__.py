"""The formats: one file each, listed by the name `--format` takes; a table for each kind of document."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

from tlaudit.reports import as_csv, as_html, as_json, as_markdown, as_terminal

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
    "json": Format(as_json.render, as_json.SUFFIX),
}
"""Of an audit."""

VERDICT_FORMATS = {
    "json": Format(as_json.render, as_json.SUFFIX),
}
"""Of what a policy makes of reports."""

COMPARISON_FORMATS = {
    "json": Format(as_json.render, as_json.SUFFIX),
}
"""Of audits side by side."""
