"""The formats: one file each, listed in `FORMATS` by the name `--format` takes."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from tlaudit.reports import as_csv, as_html, as_json, as_markdown, as_terminal

if TYPE_CHECKING:
    from collections.abc import Callable

    from tlaudit.results import CheckResult


class Format(NamedTuple):
    """A way to write a result: ``render(result, rows)`` gives the document, `suffix` ends its file name."""

    render: Callable[[CheckResult, int], str]
    suffix: str


FORMATS = {
    "table": Format(as_terminal.render, as_terminal.SUFFIX),
    "json": Format(as_json.render, as_json.SUFFIX),
    "csv": Format(as_csv.render, as_csv.SUFFIX),
    "markdown": Format(as_markdown.render, as_markdown.SUFFIX),
    "html": Format(as_html.render, as_html.SUFFIX),
}
