"""What all drawings share: texts that plotly cannot read as markup, numbers, axes, lines across, colours.

Plotly reads a little HTML in every text it draws, so names are escaped for it here. Colours of axes, lines across and
text belong to the style sheet, so that one drawing serves light, dark and paper.
"""

from __future__ import annotations

import json
import math
from html import escape
from typing import TYPE_CHECKING, Any, NamedTuple

from tlaudit.reports import wording

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from tlaudit.exhibits import Level
    from tlaudit.records import Cell
    from tlaudit.results import Table

MOST_DOTS = 5000
"""More dots than this are one blot; the rest stands in the table (our choice)."""
LONGEST_NAME = 80
"""Characters of a name that a hover text shows."""
LONGEST_PLACE, SHORTEST_PLACE = 40, 16
"""Characters of a name on an axis, where all of them stand side by side; in a narrow window."""

KINDS = (
    ("#0072B2", "circle"),
    ("#D55E00", "diamond"),
    ("#009E73", "square"),
    ("#CC79A7", "triangle-up"),
    ("#E69F00", "cross"),
    ("#56B4E9", "star"),
    ("#7F7F7F", "x"),
)
"""Colours that stay apart for colour-blind eyes (Okabe and Ito 2008), each with a mark of its own."""

COLOURS = "Viridis"
"""Colours of numbers, in even steps to the eye, in print and for colour-blind eyes too (Nuñez, Anderton and Renslow
2018)."""

MARGIN = 0.05
"""Of the range of values, what an axis shows on either side of it."""
_FEW_DECADES, _MANY_DECADES = 2, 10
"""Between them, a logarithmic axis has a number at each power of ten and nowhere else."""
_FONT = 'system-ui, -apple-system, "Segoe UI", Roboto, "Helvetica Neue", Arial, sans-serif'


class Drawing(NamedTuple):
    """A chart ready for a page.

    Attributes:
        figure: What plotly draws, as JSON that may stand inside a ``script`` element.
        shown: How many dots, points or cells it shows.
        total: How many rows or pairs have the numbers for one.
        words: The drawing for those who cannot see it.
        hint: What a pointer can do with it.
        notes: What is not drawn, sentence by sentence.
        across: Lines across it, each with whether it is solid.
    """

    figure: str
    shown: int
    total: int
    words: str
    hint: str
    notes: tuple[str, ...] = ()
    across: tuple[tuple[str, bool], ...] = ()

    @property
    def size(self) -> int:
        """Bytes that it takes on a page."""
        return len(self.figure) + sum(len(escape(text).encode()) for text in (self.words, *self.notes))


def as_script(value: object) -> str:
    """Write JSON that may stand inside a ``script`` element: pure ASCII, and nothing in it that HTML could read."""
    text = json.dumps(value, allow_nan=False, separators=(",", ":"))
    return text.replace("&", "\\u0026").replace("<", "\\u003c").replace(">", "\\u003e")


def plain(value: Cell, longest: int = LONGEST_NAME) -> str:
    """A cell as one line of text; a long one loses its end."""
    text = wording.visible(wording.number(value, "text"))
    return text if len(text) <= longest else text[: longest - 1] + "…"


def letters(text: str) -> str:
    """A text as plotly draws it letter by letter: no tag, no entity, no template, no formula of its own."""
    return escape(wording.harmless(text), quote=False).replace("%{", "%&#123;").replace("$", "&#36;")


KNOWN_TO_EVERY_OBJECT = {
    "__defineGetter__",
    "__defineSetter__",
    "__lookupGetter__",
    "__lookupSetter__",
    "__proto__",
    "constructor",
    "hasOwnProperty",
    "isPrototypeOf",
    "propertyIsEnumerable",
    "toLocaleString",
    "toString",
    "valueOf",
}
"""What every object of JavaScript has by that name: plotly, which looks names up in one, would find it there."""


class Place(NamedTuple):
    """A name on an axis as plotly draws it letter by letter: none else on the axis has it; and short, with its end."""

    name: str
    short: str


def places(values: Sequence[Cell]) -> dict[Cell, Place]:
    """Names on an axis in the order of first appearance; a long one loses its middle, as module paths differ last."""
    found: dict[Cell, Place] = {}
    taken = set()
    for value in dict.fromkeys(values):
        text = wording.visible(wording.number(value, "text"))
        if len(text) > LONGEST_PLACE:
            text = f"{text[: LONGEST_PLACE // 3]}…{text[-(LONGEST_PLACE - LONGEST_PLACE // 3 - 1) :]}"
        name, number = text, 2
        while name in taken:
            name, number = f"{text} ({number})", number + 1
        taken.add(name)
        short = name if len(name) <= SHORTEST_PLACE else f"…{name[1 - SHORTEST_PLACE :]}"
        found[value] = Place(_key(name), letters(short))
    return found


def _key(name: str) -> str:
    """A name as plotly draws it, which is none that each of its objects has from the beginning."""
    return f"&#{ord(name[0])};{name[1:]}" if name in KNOWN_TO_EVERY_OBJECT else letters(name)


def evenly(count: int, most: int) -> list[int]:
    """At most so many of the numbers from 0 to `count` - 1, at even steps, both ends among them where two fit."""
    if count <= most:
        return list(range(count))
    if most < 2:
        return list(range(most))
    return [step * (count - 1) // (most - 1) for step in range(most)]


def number(value: float) -> float:
    """A number with the six digits that a drawing can use."""
    return float(f"{value:.6g}")


def numbers(rows: Sequence[dict[str, Cell]], column: str) -> list[float]:
    """A column of rows that all have a number there."""
    return [number(float(row[column] or 0)) for row in rows]


def form(unit: str, *, log: bool = False) -> str:
    """How plotly writes a number of that unit into a hover text: shares in percent, where they are not tiny."""
    return ".1%" if unit == "share" and not log else ".4~g"


def spoken(column: str) -> str:
    """The name of a column in words."""
    return column.replace("_", " ")


def titled(column: str, unit: str) -> str:
    """The title of an axis: what it is and in which unit."""
    return spoken(column) if unit == column else f"{spoken(column)} ({unit})"


def units(table: Table) -> dict[str, str]:
    """The unit of each column."""
    return {column.name: column.unit for column in table.columns}


def span(values: Sequence[float], *, log: bool = False, least: float = 0.0, margin: float = MARGIN) -> list[float]:
    """The range of an axis that shows these values.

    Args:
        values: What it has to show.
        log: Whether it is logarithmic, so that the range is one of powers of ten.
        least: What it shows at the least, with the values in its middle.
        margin: What it shows beside them, as a share of the range.
    """
    scaled = [math.log10(value) for value in values if value > 0] if log else list(values)
    low, high = (min(scaled), max(scaled)) if scaled else (0.0, 1.0)
    if high - low < least:
        low, high = (low + high - least) / 2, (low + high + least) / 2
    pad = margin * ((high - low) or 1.0)
    return [low - pad, high + pad]


def ends(values: Sequence[float], low: float | None = None, high: float | None = None) -> tuple[float, float]:
    """The ends of colours for these values: as asked, else the lowest and the highest of them, never the same."""
    first = min(values, default=0.0) if low is None else low
    last = max(values, default=1.0) if high is None else high
    if first < last:
        return first, last
    return (first, first + 1) if high is None else (last - 1, last)


def colour_bar(column: str, unit: str) -> dict[str, Any]:
    """What colours mean, above the drawing and as wide as it."""
    return {
        "orientation": "h",
        "x": 0.5,
        "y": 1.02,
        "yanchor": "bottom",
        "len": 1,
        "thickness": 14,
        "outlinewidth": 0,
        "nticks": 6,
        "title": {"text": letters(titled(column, unit)), "side": "top"},
        "tickformat": ".1~%" if unit == "share" else "",
    }


def axis(column: str, unit: str, within: Sequence[float], *, log: bool = False) -> dict[str, Any]:
    """An axis of numbers."""
    decades = within[1] - within[0] if log else 0
    return {
        "type": "log" if log else "linear",
        **({"dtick": 1} if _FEW_DECADES < decades < _MANY_DECADES else {}),
        "exponentformat": "e",
        "title": {"text": letters(titled(column, unit)), "standoff": 12},
        "range": list(within),
        "zeroline": False,
        "automargin": True,
        "nticks": 7,
        "tickformat": ".1~%" if unit == "share" and not log else "",
    }


def axis_of_places(column: str, along: Sequence[Place]) -> dict[str, Any]:
    """An axis with a place for each name, in the order given."""
    return {
        "type": "category",
        "categoryorder": "array",
        "categoryarray": [place.name for place in along],
        "title": {"text": letters(spoken(column)), "standoff": 12},
        "range": [-0.5, max(len(along), 1) - 0.5],
        "zeroline": False,
        "automargin": True,
        "tickfont": {"size": 12},
        "autotickangles": [0, -45, -90],
    }


def shortened(*axes: Sequence[Place]) -> dict[str, str]:
    """What names become in a narrow window, where they would leave no room for the drawing."""
    return {place.name: place.short for along in axes for place in along if place.short != place.name}


def layout(**parts: Any) -> dict[str, Any]:
    """The layout of every drawing, with parts of its own."""
    return parts | {
        "font": {"family": _FONT, "size": 13},
        "paper_bgcolor": "rgba(0,0,0,0)",
        "plot_bgcolor": "rgba(0,0,0,0)",
        "margin": {"l": 60, "r": 20, "t": 20, "b": 60},
        "legend": {"orientation": "h", "x": 0, "y": 1.02, "yanchor": "bottom", "xanchor": "left"},
        "hovermode": "closest",
        "hoverlabel": {"align": "left", "font": {"family": _FONT, "size": 13}},
    }


def across(levels: Sequence[Level], logarithmic: Mapping[str, bool]) -> Iterator[tuple[dict[str, Any], dict[str, Any]]]:
    """Levels, each as a shape and as the words beside it.

    Plotly places a shape on a logarithmic axis by its value, and words by their power of ten.
    """
    for level in levels:
        line = {"width": 1.5, "dash": "dash"}
        at = math.log10(level.value) if logarithmic[level.axis] else level.value
        if level.axis == "y":
            shape = {"xref": "x domain", "x0": 0, "x1": 1, "y0": level.value, "y1": level.value, "line": line}
            note = {"xref": "x domain", "x": 1, "xanchor": "right", "y": at, "yanchor": "bottom"}
        else:
            shape = {"yref": "y domain", "y0": 0, "y1": 1, "x0": level.value, "x1": level.value, "line": line}
            note = {"yref": "y domain", "y": 0, "yanchor": "bottom", "x": at, "xanchor": "right"}
            note["textangle"] = -90
        words = {"showarrow": False, "text": letters(plain(level.label)), **note}
        yield {"type": "line", "layer": "below", **shape}, words
