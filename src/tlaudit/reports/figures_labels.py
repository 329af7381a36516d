"""Names beside the dots of a chart, each on the side where it covers least."""

from __future__ import annotations

from html import unescape
from typing import TYPE_CHECKING, Any, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

MOST = 40
"""More dots than this bear no names: they would be one blot (our choice)."""
LONGEST = 24
"""Characters of a name beside a dot; the hover text has all of it."""

_SIDES = {
    "middle right": (1, 0),
    "middle left": (-1, 0),
    "top center": (0, 1),
    "bottom center": (0, -1),
    "top right": (1, 1),
    "bottom right": (1, -1),
    "top left": (-1, 1),
    "bottom left": (-1, -1),
}
"""Where plotly can put a name, the easiest to read first: to the left, right or neither, below, above or neither."""
_SIZE = 12
_LETTER, _LINE = 6.3, 14.0
"""Pixels that a letter of that size and a line take, about."""
_WINDOWS = ((560.0, 520.0), (270.0, 250.0))
"""Width and height of the drawing itself on a wide page and on a telephone's, in pixels, about."""
_ROUNDS = 4
"""How often each name looks for its place anew, after the others have theirs."""
_OUTSIDE = 3.0
"""How much worse than over another name it is outside of the drawing."""
_LATER_SIDE = 2.0
"""Square pixels that a side may cover more than the next one in the list and still be taken."""


class _Box(NamedTuple):
    left: float
    bottom: float
    right: float
    top: float

    @property
    def area(self) -> float:
        return max(0.0, self.right - self.left) * max(0.0, self.top - self.bottom)

    def shared(self, other: _Box) -> float:
        """Square pixels that both cover."""
        return _Box(
            max(self.left, other.left),
            max(self.bottom, other.bottom),
            min(self.right, other.right),
            min(self.top, other.top),
        ).area


class _Dot(NamedTuple):
    """A dot by its place, in shares of the axes, with its radius and its name's length in pixels."""

    x: float
    y: float
    radius: float
    length: float


def label(traces: Sequence[dict[str, Any]], layout: dict[str, Any]) -> None:
    """Write the ``text`` of all dots beside them.

    Args:
        traces: Scatter traces with ``x``, ``y``, ``text`` and a size of their marks; they get mode, font and places.
        layout: Of the figure, with the ranges of its axes.
    """
    dots = list(_dots(traces, layout["xaxis"]["range"], layout["yaxis"]["range"]))
    sides = iter(_places(dots))
    for trace in traces:
        trace |= {
            "mode": "markers+text",
            "textfont": {"size": _SIZE},
            "textposition": [next(sides) for _ in trace["text"]],
            "cliponaxis": False,
        }


def _dots(traces: Sequence[dict[str, Any]], across: Sequence[float], upward: Sequence[float]) -> Iterator[_Dot]:
    for trace in traces:
        # Plotly keeps as much room between a mark and its text.
        radius = trace["marker"]["size"] / 2 / 0.8 + 1
        for x, y, text in zip(trace["x"], trace["y"], trace["text"], strict=True):
            right, up = ((at - low) / (high - low) for at, (low, high) in ((x, across), (y, upward)))
            yield _Dot(right, up, radius, _LETTER * len(unescape(text)))


def _places(dots: Sequence[_Dot]) -> list[str]:
    """A side for each dot's name, one after the other where it covers least of dots, names and the page's edge."""
    names = list(_SIDES)
    # Boxes of each window: of all dots, and of all names on all sides.
    marks = [[_mark(dot, window) for dot in dots] for window in _WINDOWS]
    texts = [[[_text(dot, side, window) for side in _SIDES.values()] for dot in dots] for window in _WINDOWS]
    chosen: list[int | None] = [None] * len(dots)
    for _ in range(_ROUNDS):
        for number in range(len(dots)):
            costs = [_LATER_SIDE * side for side in range(len(names))]
            for window, of_dots, of_names in zip(_WINDOWS, marks, texts, strict=True):
                others = [
                    of_names[other][side] for other, side in enumerate(chosen) if side is not None and other != number
                ]
                others += [box for other, box in enumerate(of_dots) if other != number]
                for side, box in enumerate(of_names[number]):
                    outside = box.area - box.shared(_Box(0, 0, *window))
                    costs[side] += sum(map(box.shared, others)) + _OUTSIDE * outside
            chosen[number] = costs.index(min(costs))
    return [names[side or 0] for side in chosen]


def _mark(dot: _Dot, window: tuple[float, float]) -> _Box:
    x, y = dot.x * window[0], dot.y * window[1]
    return _Box(x - dot.radius, y - dot.radius, x + dot.radius, y + dot.radius)


def _text(dot: _Dot, side: tuple[int, int], window: tuple[float, float]) -> _Box:
    """What a name covers: beside the dot by its radius where it is not in the middle of it."""
    left, right = _along(dot.x * window[0], side[0], dot.radius, dot.length)
    bottom, top = _along(dot.y * window[1], side[1], dot.radius, _LINE)
    return _Box(left, bottom, right, top)


def _along(at: float, side: int, radius: float, length: float) -> tuple[float, float]:
    middle = at + side * (radius + length / 2)
    return middle - length / 2, middle + length / 2
