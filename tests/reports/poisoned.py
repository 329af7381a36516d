"""Documents in which every text that may be anything tries to be something else."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

from pydantic import ValidationError

from reports.drawn import a_comparison, a_repair, an_erosion
from samples import a_distraction
from samples_pages import a_lingering, a_side_by_side, an_audit
from samples_verdict import HOSTILE_TEXTS, VERDICTS, a_failed_check
from tlaudit.reports import AUDIT_FORMATS, COMPARISON_FORMATS, FORMATS, VERDICT_FORMATS

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from tlaudit.records import Document
    from tlaudit.reports import Format

ATTACKS = (
    *HOSTILE_TEXTS,
    "<script>window.pwned=1</script>",
    "\"><img src=x onerror='window.pwned=1'>",
    "' onmouseover='window.pwned=1' autofocus onfocus='window.pwned=1",
    "javascript:window.pwned=1//",
    "<iframe srcdoc='<script>parent.pwned=1</script>'></iframe>",
    "</style><style>*{display:none}</style>",
    "</title></textarea></noscript><script>window.pwned=1</script>",
    "<!--<script>",
    "--!><!-- ]]>",
    "{{ 7*7 }}{% raw %}{# x #}${window.pwned=1}`",
    "\u2028\u2029\x85\x0b\x0c\x1c",
    "\u202eabc\u2066\u200f\u200e\u061c",
    "&lt;img src=x onerror=window.pwned=1&gt;&#60;script&#62;",
    "<a href='javascript:window.pwned=1'>a</a><b>b</b><br>c<sup>d</sup><span style='color:red'>e</span>",
    "$$\\href{javascript:window.pwned=1}{x}$$ $x$",
    "%{customdata[0]}%{x:$.2f}<extra></extra>",
    "x" * 255,
    "e" + "\u0301" * 50,
    "\u05d0\u05d1\u05d2 \u0627\u0644",
    "=cmd|'/c calc'!A1",
    "+1-1",
    "@SUM(1)",
    "\t=1",
    "\r\n=1\r",
    "\x00\x1b]0;title\x07\x9b31m",
    "data:text/html,<script>window.pwned=1</script>",
    "//example.org/x",
    "",
)
"""Texts that try to run, to load, to close what they stand in, to move a cursor, to be a formula or to be nothing."""

NAMES = ("constructor", "__proto__", "toString", "null", "undefined", "NaN", "true", "0", "1e5", "2020-01-01", "", " ")
"""Names that mean something to a language instead of standing for themselves."""

_PICTURE = 200
"""Longer texts of the samples are pictures."""
_MEANT = {"ranking", "candidate", "classes", "finetuned", "source", "val"}
"""Keys by which a format finds a table or a network."""


class Poisoned(NamedTuple):
    """A document, and what each of its texts was before."""

    document: Document
    before: dict[str, str]


class Kind(NamedTuple):
    """A kind of report: its formats and a sample."""

    formats: Mapping[str, Format]
    sample: Document


KINDS = {
    "lingering": Kind(FORMATS, a_lingering()),
    "distraction": Kind(FORMATS, a_distraction()),
    "erosion": Kind(FORMATS, an_erosion()),
    "repair": Kind(FORMATS, a_repair()),
    "repairs": Kind(FORMATS, a_comparison()),
    "failed check": Kind(FORMATS, a_failed_check()),
    "audit": Kind(AUDIT_FORMATS, an_audit()),
    "verdict": Kind(VERDICT_FORMATS, VERDICTS["failing"]),
    "verdict by default": Kind(VERDICT_FORMATS, VERDICTS["default policy"]),
    "comparison": Kind(COMPARISON_FORMATS, a_side_by_side()),
}
"""Every kind of page, every kind of chart among them; that of a demo is an audit."""


def poison(document: Document) -> Poisoned:
    """Put an attack in front of each text that the record takes it in, wherever the text stands, as a key too."""
    tree = document.model_dump(mode="json")
    words = [word for word in dict.fromkeys(_texts(tree)) if len(word) < _PICTURE and word not in _MEANT]
    renamed = {word: ATTACKS[number % len(ATTACKS)] + word for number, word in enumerate(words)}
    taken: dict[str, str] = {}

    def fits(some: list[str]) -> None:
        """Of what does not fit as a whole the halves are tried."""
        trial = taken | {word: renamed[word] for word in some}
        try:
            type(document).model_validate(_with(tree, trial))
        except ValidationError:
            if len(some) > 1:
                fits(some[: len(some) // 2])
                fits(some[len(some) // 2 :])
        else:
            taken.update(trial)

    fits(words)
    return Poisoned(type(document).model_validate(_with(tree, taken)), {new: old for old, new in taken.items()})


def _texts(value: Any) -> Iterator[str]:
    if isinstance(value, str):
        yield value
    elif isinstance(value, dict):
        for key, one in value.items():
            if key != "schema_version":
                yield from _texts(one)
    elif isinstance(value, list):
        for one in value:
            yield from _texts(one)


def _with(value: Any, names: dict[str, str]) -> Any:
    """The same with other texts; a key of a mapping is renamed where it is one of them."""
    if isinstance(value, str):
        return names.get(value, value)
    if isinstance(value, dict):
        return {names.get(key, key): _with(one, names) for key, one in value.items()}
    return [_with(one, names) for one in value] if isinstance(value, list) else value
