"""Changes to a document as the tree that it is, so that what is changed stays a document."""

from __future__ import annotations

import copy
import datetime as dt
import math
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import random
    from collections.abc import Callable, Sequence

WHOLE = (0, 1, -1, 2, 5, 255, 2**31 - 1, 2**31, 2**32, 2**53 + 1, 2**63 - 1, 2**63, -(2**63), 10**30, 10**309, 10**5000)
BROKEN = (0.0, -0.0, 0.5, 1.0, 1.0000001, -0.5, 1e-320, 1e300, -1e300, math.inf, -math.inf, math.nan)
TEXTS = (
    "",
    " ",
    "*",
    "**",
    "a" * 300,
    "\x00",
    "\x1b[2J",
    "\n",
    "\u202egnp",
    "\ud800",
    "\ufffe",
    "<script>",
    "../..",
    "/dev/zero",
    "-1",
    "1e400",
    "NaN",
    "null",
    "2027-03-31",
    "%s{0}",
    "𝔘𝔫𝔦",
)
OTHERS: tuple[Any, ...] = (None, True, False, [], {}, [[]], [None], {"": None}, [[[[[[]]]]]])
_MOST = 4000
"""Nodes of a tree that is changed; a larger one is left for changes of its bytes."""

Place = tuple[Any, Any]
"""A container and the key, or number, of one of its values."""


def places(tree: Any) -> list[Place]:
    """Where values stand in a tree, outermost first."""
    found: list[Place] = []
    waiting = [tree]
    while waiting and len(found) < _MOST:
        node = waiting.pop(0)
        inside = node.items() if isinstance(node, dict) else enumerate(node) if isinstance(node, list) else ()
        for key, value in inside:
            found.append((node, key))
            if isinstance(value, dict | list):
                waiting.append(value)
    return found


def changed(tree: Any, dice: random.Random, words: Sequence[str], donors: Sequence[Any] = ()) -> Any:
    """Change a copy of a tree in one to four places.

    Args:
        tree: Dicts, lists and plain values.
        dice: Every choice is its.
        words: Texts that mean something in such documents.
        donors: Other documents, from which parts are taken.

    Returns:
        Another tree.
    """
    tree = copy.deepcopy(tree)
    for _ in range(dice.choice((1, 1, 1, 1, 2, 3))):
        found = places(tree)
        if not found:
            return _plain(dice, words)
        container, key = dice.choice(found)
        _CHANGES[dice.choice(_DEALT)](container, key, dice, words, found, donors)
    return tree


def _plain(dice: random.Random, words: Sequence[str]) -> Any:
    """A value out of thin air."""
    kinds: list[Callable[[], Any]] = [
        lambda: dice.choice(WHOLE),
        lambda: dice.choice(BROKEN),
        lambda: dice.choice(TEXTS),
        lambda: dice.choice(words) if words else "",
        lambda: copy.deepcopy(dice.choice(OTHERS)),
        lambda: dice.uniform(-2, 2),
        lambda: dice.randrange(-3, 12),
    ]
    return dice.choice(kinds)()


def _another(container: Any, key: Any, dice: random.Random, words: Any, *_: Any) -> None:
    container[key] = _plain(dice, words)


def _of_its_kind(container: Any, key: Any, dice: random.Random, words: Any, *_: Any) -> None:
    """A value of the kind that is expected there, which gets further than any other."""
    value = container[key]
    if isinstance(value, bool):
        container[key] = not value
    elif isinstance(value, int):
        container[key] = dice.choice((value + 1, value + 1, value * 2, abs(value - 1), -value, dice.choice(WHOLE)))
    elif isinstance(value, float):
        whole = float(f"{value:.0f}")  # of what is infinite too
        container[key] = dice.choice((value / 2, value * 2, -value, dice.random(), dice.choice(BROKEN), whole))
    elif isinstance(value, str):
        container[key] = dice.choice((value + dice.choice(TEXTS), value[: len(value) // 2], *dice.sample(words, 2)))
    elif isinstance(value, dt.date):
        container[key] = dice.choice((dt.date(1, 1, 1), dt.date(9999, 12, 31), dt.date(2026, 6, 1)))
    else:
        container[key] = _plain(dice, words)


def _without(container: Any, key: Any, *_: Any) -> None:
    del container[key]


def _renamed(container: Any, key: Any, dice: random.Random, words: Any, *_: Any) -> None:
    if isinstance(container, dict):
        container[dice.choice((dice.choice(words), dice.choice(TEXTS), key + "s"))] = container.pop(key)
    else:
        container.reverse()


def _from_elsewhere(container: Any, key: Any, dice: random.Random, _words: Any, found: Any, _donors: Any) -> None:
    other, place = dice.choice(found)
    container[key] = copy.deepcopy(other[place])


def _from_another(container: Any, key: Any, dice: random.Random, words: Any, _found: Any, donors: Any) -> None:
    """What stands under the same key in another document, or anywhere in it."""
    if not donors:
        container[key] = _plain(dice, words)
        return
    inside = places(dice.choice(donors))
    alike = [place for place in inside if place[1] == key]
    if inside:
        other, place = dice.choice(alike or inside)
        container[key] = copy.deepcopy(other[place])


def _twice(container: Any, key: Any, dice: random.Random, words: Any, *_: Any) -> None:
    value = copy.deepcopy(container[key])
    if isinstance(container, list):
        container.insert(dice.randrange(len(container) + 1), value)
    else:
        container[f"{key}{dice.choice(('', '2', ' ', '.x'))}" if dice.random() < 0.5 else dice.choice(words)] = value


def _deeper(container: Any, key: Any, dice: random.Random, *_: Any) -> None:
    value = container[key]
    for _ in range(dice.choice((1, 1, 2, 90))):
        value = [value] if dice.random() < 0.5 else {"x": value}
    container[key] = value


_CHANGES = {
    "another": _another,
    "kind": _of_its_kind,
    "without": _without,
    "renamed": _renamed,
    "elsewhere": _from_elsewhere,
    "donor": _from_another,
    "twice": _twice,
    "deeper": _deeper,
}
_DEALT = ("another", *["kind"] * 6, "without", "renamed", "elsewhere", *["donor"] * 5, "twice", "deeper")
"""A value of the kind that is expected gets further than any other, so that there are more of those."""
