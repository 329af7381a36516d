"""HTML: one file that opens anywhere, asks no network for anything and runs no script but its own.

The page is the verdict and its numbers, then charts, pictures and tables, then what was not measured and what all of it
depends on. It stays below `MOST_BYTES` whatever the record holds: what is written in words goes in first, and dots,
pictures and rows share what is left; the page says how many of them it shows.
"""

from __future__ import annotations

import base64
import hashlib
import itertools
import re
from datetime import datetime
from html import escape
from pathlib import PurePath
from typing import TYPE_CHECKING, NamedTuple

from tlaudit.reports import figures, wording

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from jinja2 import Environment

    from tlaudit.exhibits import Chart, Exhibit
    from tlaudit.records import Cell
    from tlaudit.reports.drawing import Drawing
    from tlaudit.results import CheckResult, Table

SUFFIX = ".html"

MOST_BYTES = 8_000_000
"""A page is smaller than this; plotly's script alone takes five of the eight."""
MOST_ROWS = 2000
"""Rows of a table on a page; more of them make a browser slow (our choice)."""

_MARGIN = 20_000
_DOTS, _PICTURES = 0.2, 0.5
"""Shares of the room for dots, and of what they leave for pictures; tables take the rest."""
_PICTURE_BYTES = 400
_LONGEST_TEXT = 1000


class Plot(NamedTuple):
    """A chart of the page and its drawing."""

    about: Chart
    drawing: Drawing


class Gallery(NamedTuple):
    """Exhibits that stand together."""

    title: str
    exhibits: list[Exhibit]


class Grid(NamedTuple):
    """A table of the page: its rows as markup, those worth a look first, and how many of them are visible at first."""

    about: Table
    numeric: frozenset[str]
    rows: list[str]
    visible: int


class Section(NamedTuple):
    """What the page shows of one result."""

    result: CheckResult
    charts: list[Plot]
    galleries: list[Gallery]
    exhibits: int
    grids: dict[str, Grid]


def render(result: CheckResult, rows: int) -> str:
    """Write a page about one result; `rows` of each table are visible at first, the others can be shown."""
    return page((result,), rows)


def page(results: Sequence[CheckResult], rows: int) -> str:
    """Write one page about several results, below `MOST_BYTES`.

    Args:
        results: At least one; the first names the page.
        rows: How many rows of a table are visible at first.

    Returns:
        The document, the same for the same records.
    """
    environment = _environment()
    bare = _write(environment, [_section(result, 0, 0) for result in results])
    room = (MOST_BYTES - _MARGIN - len(bare.encode())) // len(results)
    return _write(environment, [_section(result, rows, room) for result in results])


def _section(result: CheckResult, rows: int, room: int) -> Section:
    """Share the room: dots, then pictures, then rows; what one of them leaves is for the next."""
    charts = []
    for chart in result.charts:
        drawing = figures.draw(chart, result.tables[chart.table], int(_DOTS * room) // len(result.charts))
        charts.append(Plot(chart, drawing))
    room -= sum(chart.drawing.size for chart in charts)
    exhibits = _fitting(result.exhibits, int(_PICTURES * room))
    room -= sum(map(_size, exhibits))
    grids = {}
    for left, (key, table) in zip(range(len(result.tables), 0, -1), result.tables.items(), strict=True):
        grids[key] = _grid(table, rows, room // left)
        room -= sum(len(row.encode()) for row in grids[key].rows)
    groups = dict.fromkeys(exhibit.group for exhibit in exhibits)
    galleries = [Gallery(title, [e for e in exhibits if e.group == title]) for title in groups]
    return Section(result, charts, galleries, len(exhibits), grids)


def _fitting(exhibits: Sequence[Exhibit], room: int) -> list[Exhibit]:
    """The exhibits that fit; groups lose their last ones first, so that a control keeps its place."""
    turns = sorted(
        (turn, index)
        for group in dict.fromkeys(exhibit.group for exhibit in exhibits)
        for turn, index in enumerate(index for index, exhibit in enumerate(exhibits) if exhibit.group == group)
    )
    sizes = itertools.accumulate(_size(exhibits[index]) for _, index in turns)
    kept = [index for (_, index), size in zip(turns, sizes, strict=True) if size <= room]
    return [exhibits[index] for index in sorted(kept)]


def _size(exhibit: Exhibit) -> int:
    """Bytes that an exhibit takes, markup counted generously; its group's title may be its own."""
    texts = [exhibit.group, exhibit.reading, exhibit.title, exhibit.text]
    texts += [text for picture in exhibit.pictures for text in (picture.label, picture.caption, picture.alt)]
    pictures = sum(_PICTURE_BYTES + len(escape(picture.jpeg)) for picture in exhibit.pictures)
    return 2 * _PICTURE_BYTES + pictures + sum(len(escape(text).encode()) for text in texts)


def _grid(table: Table, rows: int, room: int) -> Grid:
    """The rows that fit, those worth a look first, then the others as they come."""
    worst = set(table.worst)
    order = itertools.chain(table.worst, (index for index in range(len(table.rows)) if index not in worst))
    header = next((column.name for column in table.columns if column.name in table.brief), None)
    kept = []
    for index in itertools.islice(order, MOST_ROWS):
        row = f"<tr>{''.join(_cells(table, table.rows[index], header))}</tr>"
        room -= len(row.encode()) + 1
        if room < 0:
            break
        kept.append(row)
    numeric = frozenset(
        column.name for column in table.columns if any(_is_number(row[column.name]) for row in table.rows)
    )
    return Grid(table, numeric, kept, rows)


def _cells(table: Table, row: dict[str, Cell], header: str | None) -> Iterator[str]:
    """A cell as people read it; the full value of a number is its title, by which it is sorted as well."""
    for column in table.columns:
        value = row[column.name]
        shown = wording.number(value, column.unit)
        title = f' title="{value!r}"' if _is_number(value) and repr(value) != shown else ""
        kinds = ["n"] if _is_number(value) else []
        kinds += [] if column.name in table.brief else ["x"]
        marks = f' class="{" ".join(kinds)}"' if kinds else ""
        if value is None:
            yield f"<td{marks}></td>"
        elif column.name == header:
            yield f'<th scope="row"{marks}{title}>{escape(shown)}</th>'
        else:
            yield f"<td{marks}{title}>{escape(shown)}</td>"


def _is_number(value: Cell) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _environment() -> Environment:
    from jinja2 import Environment, PackageLoader, StrictUndefined

    environment = Environment(
        loader=PackageLoader("tlaudit.reports"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters |= {
        "number": wording.number,
        "interval": wording.interval,
        "direction": wording.direction,
        "duration": wording.duration,
        "moment": _moment,
        "bar": figures.bar,
        "basename": lambda spec: PurePath(spec).name or spec,
        "clipped": _clipped,
        "exactly": lambda value: repr(value) if isinstance(value, float) else wording.number(value, "text"),
        "words": lambda name: name.replace("_", " "),
    }
    environment.globals |= {
        "absences": wording.absences,
        "left_out": wording.left_out,
        "has_no_worst": wording.has_no_worst,
        "fit": wording.fit,
        "verdicts": wording.VERDICTS,
    }
    return environment


def _write(environment: Environment, sections: Sequence[Section]) -> str:
    from importlib.resources import files

    folder = files("tlaudit.reports") / "templates"
    style, own = (folder.joinpath(name).read_text(encoding="utf-8") for name in ("report.css", "report.js"))
    scripts = [own]
    if any(section.charts for section in sections):
        from plotly.offline import get_plotlyjs

        scripts.insert(0, get_plotlyjs())
    checks = ", ".join(section.result.check for section in sections)
    subject = _subject(sections[0].result)
    text = environment.get_template("page.html").render(
        title=f"tlaudit {checks}: {subject}",
        subject=subject,
        sections=sections,
        policy=_policy(scripts, style),
        style=style,
        claimed=_claimed_styles(scripts),
        scripts=scripts,
    )
    return text + "\n"


def _subject(result: CheckResult) -> str:
    """What the finetuned network is called, or the first network if none is."""
    models = result.provenance.models
    return models["finetuned"].spec if "finetuned" in models else next(model.spec for model in models.values())


def _policy(scripts: Sequence[str], style: str) -> str:
    """A Content-Security-Policy under which nothing is loaded and only these scripts and styles run.

    The hash of the empty text lets plotly make an empty style element, which it fills rule by rule; with
    ``unsafe-hashes`` it lets it empty the style attribute of an element too, and set none to anything else.
    """
    styles = " ".join(("'unsafe-hashes'", *map(_digest, (style, ""))))
    return (
        f"default-src 'none'; script-src {' '.join(map(_digest, scripts))}; style-src {styles}; img-src data:; "
        "font-src 'none'; connect-src 'none'; base-uri 'none'; form-action 'none'"
    )


def _digest(text: str) -> str:
    return f"'sha256-{base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()}'"


def _claimed_styles(scripts: Sequence[str]) -> list[str]:
    """Ids of style elements that plotly's map library would add on loading if the page did not have them.

    The policy would refuse them with an error in the console, and no chart of a report needs them.
    """
    return [name for script in scripts for name in re.findall(r'getElementById\("([0-9a-f]{64})"\)', script)]


def _moment(text: str) -> str:
    """A date and time as people read it; as it is where it is none."""
    try:
        return f"{datetime.fromisoformat(text):%Y-%m-%d %H:%M %Z}".strip()
    except ValueError:
        return text


def _clipped(value: object) -> str:
    """A text of some length; what is longer stands in the JSON."""
    text = str(value)
    return text if len(text) <= _LONGEST_TEXT else f"{text[:_LONGEST_TEXT]}… ({len(text)} characters)"
