"""The shell of every HTML page.

A page is one file that opens anywhere, asks no network for anything and runs no script but its own.

Templates escape what they are given and spell out control characters; what stands in a page unescaped is the package's
own text or plotly's.
"""

from __future__ import annotations

import base64
import hashlib
import re
from datetime import datetime
from functools import cache
from html import escape
from pathlib import PurePath
from typing import TYPE_CHECKING, Any, NamedTuple, Self

from tlaudit.reports import figures, plain_words, wording

if TYPE_CHECKING:
    from collections.abc import Sequence

    from jinja2 import Environment

SUFFIX = ".html"

MOST_BYTES = 8_000_000
"""A page is smaller than this; plotly's script alone takes five of the eight."""
MARGIN = 20_000
"""Bytes of it that stay free: sizes are counted a little too low here and there."""

_LONGEST_TEXT = 1000
_STYLE, _FRONT_STYLE = "report.css", "front.css"


def write(template: str, *, charts: bool, front_page: bool = True, **context: Any) -> str:
    """Fill a template and close the page around it.

    Args:
        template: File among the templates that extends the shell.
        charts: Whether plotly's script belongs on the page.
        front_page: Whether the styles of front pages do.
        context: What the template shows.

    Returns:
        The document, the same for the same arguments.
    """
    from importlib.resources import files

    folder = files("tlaudit.reports") / "templates"
    names = (_STYLE, _FRONT_STYLE) if front_page else (_STYLE,)
    style = "".join(folder.joinpath(name).read_text(encoding="utf-8") for name in names)
    scripts = [*([_plotly()] if charts else []), _Script.of(folder.joinpath("report.js").read_text(encoding="utf-8"))]
    text = (
        environment()
        .get_template(template)
        .render(
            **context,
            policy=_policy(scripts, style),
            style=style,
            claimed=[name for script in scripts for name in script.claimed],
            scripts=[script.text for script in scripts],
        )
    )
    return text + "\n"


def environment() -> Environment:
    """Give templates that escape everything, refuse what is not defined, and put numbers into words."""
    from jinja2 import Environment, PackageLoader, StrictUndefined

    environment = Environment(
        loader=PackageLoader("tlaudit.reports"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        finalize=_finalize,
    )
    environment.filters |= {
        "number": wording.number,
        "interval": wording.interval,
        "direction": wording.direction,
        "duration": wording.duration,
        "moment": moment,
        "bar": figures.bar,
        "basename": basename,
        "clipped": clipped,
        "exactly": lambda value: repr(value) if isinstance(value, float) else wording.number(value, "text"),
        "is_command": lambda text: text.split(" ", 1)[0] == "tlaudit",
        "words": lambda name: name.replace("_", " "),
    }
    environment.globals |= {
        "absences": wording.absences,
        "left_out": wording.left_out,
        "has_no_worst": wording.has_no_worst,
        "fit": wording.fit,
        "verdicts": wording.VERDICTS,
        "failed": plain_words.FAILED,
    }
    return environment


def _finalize(value: object) -> object:
    """What an expression of a template gives, before it is escaped: names may hold what acts on a reader's screen."""
    return wording.harmless(value) if isinstance(value, str) and not hasattr(value, "__html__") else value


def basename(spec: str) -> str:
    """The last part of a path, or all of what is none."""
    return PurePath(spec).name or spec


def moment(text: str) -> str:
    """A date and time as people read it; as it is where it is none."""
    try:
        return f"{datetime.fromisoformat(text):%Y-%m-%d %H:%M %Z}".strip()
    except ValueError:
        return text


def clipped(value: object) -> str:
    """A text of some length; what is longer stands in the JSON."""
    text = str(value)
    return text if len(text) <= _LONGEST_TEXT else f"{text[:_LONGEST_TEXT]}… ({len(text)} characters)"


def size(text: str) -> int:
    """Bytes that a text takes on a page, escaped."""
    return len(escape(wording.harmless(text)).encode())


class _Script(NamedTuple):
    """A script of a page.

    Attributes:
        text: The script.
        digest: As a policy names it.
        claimed: Ids of style elements that plotly's map library would add on loading if the page did not have them.
            The policy would refuse them with an error in the console, and no chart of a report needs them.
    """

    text: str
    digest: str
    claimed: list[str]

    @classmethod
    def of(cls, text: str) -> Self:
        return cls(text, _digest(text), re.findall(r'getElementById\("([0-9a-f]{64})"\)', text))


@cache
def _plotly() -> _Script:
    """Five megabytes, read and hashed once a process: a page is written twice to fit its room."""
    from plotly.offline import get_plotlyjs

    return _Script.of(get_plotlyjs())


def _policy(scripts: Sequence[_Script], style: str) -> str:
    """A Content-Security-Policy under which nothing is loaded and only these scripts and styles run.

    The scripts may not turn text into elements or code either: there is no trusted type. Where plotly is on the page,
    the hash of the empty text lets it make an empty style element, which it fills rule by rule; with ``unsafe-hashes``
    it lets it empty the style attribute of an element too, and set none to anything else.

    A policy in a page cannot forbid that the page is shown in a frame of another: whoever serves it has to, by
    ``frame-ancestors`` in the header of the answer.
    """
    run = " ".join(script.digest for script in scripts)
    drawn = ("'unsafe-hashes'", _digest("")) if any(script.claimed for script in scripts) else ()
    styles = " ".join((*drawn, _digest(style)))
    return (
        f"default-src 'none'; script-src {run}; style-src {styles}; img-src data:; "
        "font-src 'none'; connect-src 'none'; base-uri 'none'; form-action 'none'; "
        "require-trusted-types-for 'script'; trusted-types 'none'"
    )


def _digest(text: str) -> str:
    return f"'sha256-{base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()}'"
