"""JSON and TOML that are changed as documents: parsed, changed, written again in one of many ways."""

from __future__ import annotations

import datetime as dt
import json
import math
import re
import tomllib
from typing import TYPE_CHECKING, Any

from .trees import changed

if TYPE_CHECKING:
    import random
    from collections.abc import Callable, Sequence

    Mutation = Callable[[bytes, int, random.Random], bytes]

_KEY = re.compile(r'"[^"\\]*":')
_PLAIN_KEY = re.compile(r"[A-Za-z0-9_-]+")


def texts_of(trees: Sequence[Any]) -> set[str]:
    """Keys and short texts of valid documents, which mean something in others."""
    found: set[str] = set()
    waiting = list(trees)
    while waiting:
        node = waiting.pop()
        if isinstance(node, dict):
            found.update(node)
            waiting += node.values()
        elif isinstance(node, list):
            waiting += node
        elif isinstance(node, str) and len(node) < 60:
            found.add(node)
    return found


def json_mutation(seeds: Sequence[bytes], words: Sequence[str], by_bytes: Callable[[bytes, int], bytes]) -> Mutation:
    """Give what changes a JSON document; one in eight as the bytes that it is."""
    donors = [json.loads(seed) for seed in seeds]

    def mutated(data: bytes, most: int, dice: random.Random) -> bytes:
        try:
            tree = json.loads(data)
        except (ValueError, RecursionError):
            return by_bytes(data, most) if dice.random() < 0.7 else dice.choice(seeds)
        if dice.random() < 0.125:
            return by_bytes(data, most)
        try:
            text = _json(changed(tree, dice, words, donors), dice)
        except RecursionError:
            return dice.choice(seeds)
        return text.encode("utf-8", "surrogatepass") if dice.random() < 0.5 else text.encode("utf-8", "replace")

    return mutated


def _json(tree: Any, dice: random.Random) -> str:
    text = json.dumps(tree, ensure_ascii=dice.random() < 0.3, indent=dice.choice((None, None, 1)))
    if dice.random() < 0.05 and (keys := list(_KEY.finditer(text))):
        # The same key twice, which no tree can hold.
        key = dice.choice(keys)
        text = f"{text[: key.start()]}{key.group()} {dice.choice(('0', 'null', '1e999'))}, {text[key.start() :]}"
    return text


def toml_mutation(seeds: Sequence[bytes], words: Sequence[str], by_bytes: Callable[[bytes, int], bytes]) -> Mutation:
    """Give what changes a TOML document: its tree, its lines, or its bytes."""
    donors = [tomllib.loads(seed.decode()) for seed in seeds]

    def mutated(data: bytes, most: int, dice: random.Random) -> bytes:
        try:
            text = data.decode()
            tree = tomllib.loads(text)
        except (ValueError, RecursionError):
            return by_bytes(data, most) if dice.random() < 0.7 else dice.choice(seeds)
        way = dice.random()
        if way < 0.1:
            return by_bytes(data, most)
        if way < 0.3:
            return _lines(text, dice).encode("utf-8", "replace")
        try:
            return written(changed(tree, dice, words, donors), dice).encode("utf-8", "replace")
        except RecursionError:
            return dice.choice(seeds)

    return mutated


def _lines(text: str, dice: random.Random) -> str:
    """Lines taken out, given twice, or put elsewhere."""
    lines = text.split("\n")
    for _ in range(dice.choice((1, 1, 2))):
        here, there = dice.randrange(len(lines)), dice.randrange(len(lines))
        what = dice.randrange(4)
        if what == 0 and len(lines) > 1:
            del lines[here]
        elif what == 1:
            lines.insert(there, lines[here])
        elif what == 2:
            lines[here], lines[there] = lines[there], lines[here]
        else:
            lines[here] = dice.choice(("", "#", "[[policy.rules]]", "[policy]", "[tool.tlaudit]", f"  {lines[here]}\r"))
    return "\n".join(lines)


def written(tree: Any, dice: random.Random) -> str:
    """A tree as TOML; tables in line or under a heading, as the dice have it."""
    if not isinstance(tree, dict):
        tree = {"x": tree}
    return "\n".join(_table(tree, (), dice)) + "\n"


def _table(table: dict[str, Any], path: tuple[str, ...], dice: random.Random) -> list[str]:
    lines, below = [], []
    for key, value in table.items():
        place = (*path, str(key))
        if isinstance(value, dict) and dice.random() < 0.85:
            below += [f"[{'.'.join(map(_key, place))}]", *_table(value, place, dice)]
        elif isinstance(value, list) and value and all(isinstance(one, dict) for one in value) and dice.random() < 0.9:
            for one in value:
                below += [f"[[{'.'.join(map(_key, place))}]]", *_table(one, place, dice)]
        else:
            lines.append(f"{_key(str(key))} = {_value(value, dice)}")
    return [*lines, *below]


def _key(key: str) -> str:
    return key if _PLAIN_KEY.fullmatch(key) else json.dumps(key, ensure_ascii=False).replace("\x7f", "\\u007f")


def _value(value: Any, dice: random.Random) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, float):
        return repr(value) if math.isfinite(value) else dice.choice(("inf", "-inf", "nan"))
    if isinstance(value, int | dt.date | dt.time):
        return str(value)
    if isinstance(value, str):
        if dice.random() < 0.1 and value.isprintable() and "'" not in value:
            return f"'{value}'"
        return json.dumps(value, ensure_ascii=dice.random() < 0.2).replace("\x7f", "\\u007f")
    if isinstance(value, dict):
        return "{" + ", ".join(f"{_key(str(key))} = {_value(one, dice)}" for key, one in value.items()) + "}"
    if isinstance(value, list):
        return "[" + ", ".join(_value(one, dice) for one in value) + "]"
    return '""'
