"""Sentences without the paths in them, for what is published: of each path its last part is left."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from tlaudit.results import AuditReport

_PART = r"""(?:[^\s/\\'"`:;<>|]|\ (?![/\\\s]))+"""
"""Of a path that goes on after it: it may hold spaces, which two paths beside each other must not be joined by."""
_LAST = r"""[^\s/\\'"`,:;()\[\]<>|]+"""
_PATH = re.compile(
    rf"""(?<![\w/\\.])
    (?: (?:file:// | ~[\w.-]* | \.{{1,2}})? / (?![\s/]) (?:{_PART}/)* | (?:[A-Za-z]:[/\\] | \\\\) (?:{_PART}[/\\])* )
    ({_LAST})""",
    re.VERBOSE,
)
"""What begins at a root, at a home or at the folder above: POSIX, Windows, and shares of a network."""
_QUOTED = re.compile(r"""(?<!\w)(['"`])((?:file://|~[\w.-]*|\.{1,2})?/[^'"`]+|(?:[A-Za-z]:|\\)[/\\][^'"`]+)\1""")
_SEPARATOR = re.compile(r"[/\\]")


def of(report: AuditReport) -> Callable[[str], str]:
    """Give what takes the paths out of the report's sentences.

    Paths that the report names are known as they are, relative ones and such with spaces too. Any other is found by its
    looks, if it is absolute or begins with a step up.

    Args:
        report: The audit.

    Returns:
        A function of a sentence.
    """
    known = sorted({path for path in _named(report) if _SEPARATOR.search(path.rstrip("/\\"))}, key=len, reverse=True)
    exact = re.compile("|".join(rf"(?<![\w/\\.~-]){re.escape(path)}(?![\w-])" for path in known)) if known else None

    def bare(sentence: str) -> str:
        text = exact.sub(lambda found: _last(found[0]), sentence) if exact else sentence
        text = _QUOTED.sub(lambda found: f"{found[1]}{_last(found[2])}{found[1]}", text)
        return _PATH.sub(lambda found: found[1], text)

    return bare


def _named(report: AuditReport) -> Iterator[str]:
    """Every path that the report names: of networks, of images, of options."""
    yield report.subject
    for result in report.checks:
        provenance = result.provenance
        yield from (model.spec for model in provenance.models.values())
        yield from (data.path for data in provenance.data.values())
        yield from (value for value in provenance.options.values() if isinstance(value, str) and ", " not in value)


def _last(path: str) -> str:
    return _SEPARATOR.split(path.rstrip("/\\"))[-1]
