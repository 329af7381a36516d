"""Documents broken in every way that their schema can be, made of valid and complete ones.

Whether a change is legal is told by the published JSON Schema and by the rules between fields written down here, and
never by the code that reads it.
"""

from __future__ import annotations

import json
import re
from datetime import date
from typing import TYPE_CHECKING, Any, NamedTuple

from jsonschema import Draft202012Validator

if TYPE_CHECKING:
    from collections.abc import Iterator

HOSTILE_TEXT = "a\nb\x1b[31m\u202e<script>alert(1)</script>{{ 7*7 }}"
_RAW = "@raw:"
_TWICE = "@twice:"
_GONE = object()

VALUES: dict[str, Any] = {
    "null": None,
    "true": True,
    "text": "x",
    "empty text": "",
    "a number as text": "0.5",
    "hostile text": HOSTILE_TEXT,
    "very long text": "x" * 20_000,
    "a fraction": 0.37,
    "a whole float": 2.0,
    "minus zero": -0.0,
    "zero": 0,
    "two": 2,
    "minus one": -1,
    "more than a float can tell apart": 2**53 + 1,
    "a hundred digits": 10**100,
    "an empty list": [],
    "a list of nothing": [None],
    "a list of texts": ["x", ""],
    "a list of numbers": [0.1, 0.2, 0.3],
    "a list of lists": [[]],
    "a table": {},
    "a table of text": {"x": "y"},
    "a day": "2027-03-31",
    "a day that is none": "2026-02-30",
}
"""What is put in the place of every value."""

JSON_TEXTS = {
    "NaN": "NaN",
    "Infinity": "Infinity",
    "minus Infinity": "-Infinity",
    "1e999": "1e999",
    "minus 1e999": "-1e999",
    "a whole number of 400 digits": "9" * 400,
    "a whole number of 5000 digits": "9" * 5000,
    "half a surrogate pair": '"\\ud800"',
    "single quotes": "'x'",
    "a misspelt word": "tru",
    "nothing": "",
    "a hexadecimal number": "0x10",
    "a number with a plus": "+1",
    "an octal number": "01",
    "a control character": '"\x01"',
    "Python's None": "None",
    "a comment": "1 // one",
}
"""What JSON has not, or what is no number; legal nowhere."""

TOML_TEXTS = {
    "nan": "nan",
    "inf": "inf",
    "minus inf": "-inf",
    "1e999": "1e999",
    "a whole number of 400 digits": "9" * 400,
    "a whole number of 5000 digits": "9" * 5000,
    "a time": "12:00:00",
    "a time of a day": "2027-03-31T12:00:00Z",
    "half a surrogate pair": '"\\ud800"',
    "a misspelt word": "tru",
    "nothing": "",
    "null": "null",
}
"""What no key of a configuration may be."""


class Variant(NamedTuple):
    """A changed document.

    Attributes:
        name: Which change it is, and where.
        document: The document; texts that are no values of the format are marked.
        path: Where it was changed.
        legal: Whether its schema allows it.
    """

    name: str
    document: Any
    path: tuple[str | int, ...]
    legal: bool


class Place(NamedTuple):
    """A value in a document, and what its schema says of it."""

    path: tuple[str | int, ...]
    value: Any
    schema: dict[str, Any]
    optional: bool


class Schema:
    """A JSON Schema, walked beside a document that keeps to it."""

    def __init__(self, schema: dict[str, Any]) -> None:
        self.root = schema
        self.definitions = schema.get("$defs", {})
        self._validators: dict[int, Draft202012Validator] = {}

    def allows(self, value: Any, schema: dict[str, Any] | None = None) -> bool:
        """Whether a value may stand in a place; a whole number is none where it is written with a point."""
        node = self.root if schema is None else schema
        if id(node) not in self._validators:
            self._validators[id(node)] = Draft202012Validator({**node, "$defs": self.definitions})
        kinds = {one.get("type") for one in self.alternatives(node)}
        if isinstance(value, float) and "integer" in kinds and "number" not in kinds:
            return False
        return self._validators[id(node)].is_valid(value)

    def places(self, document: Any) -> Iterator[Place]:
        """Every value at every depth; of a list's members those of each kind once."""
        yield from self._below((), document, self.root)

    def _below(self, path: tuple[str | int, ...], value: Any, schema: dict[str, Any]) -> Iterator[Place]:
        node = self.resolved(schema, value)
        if isinstance(value, dict):
            known, others = node.get("properties", {}), node.get("additionalProperties", {})
            for key, member in value.items():
                inner = known.get(key, others)
                yield Place((*path, key), member, inner, key not in node.get("required", ()))
                yield from self._below((*path, key), member, inner)
        elif isinstance(value, list):
            items = node.get("prefixItems") or [node.get("items", {})] * len(value)
            seen = set()
            for index, (member, inner) in enumerate(zip(value, items, strict=False)):
                kind = json.dumps(self.resolved(inner, member).get("title"))
                if kind not in seen:
                    seen.add(kind)
                    yield from self._below((*path, index), member, inner)

    def alternatives(self, schema: dict[str, Any]) -> list[dict[str, Any]]:
        """What may stand there, each as its own schema."""
        if "$ref" in schema:
            return self.alternatives(self.definitions[schema["$ref"].rpartition("/")[2]])
        found = schema.get("anyOf") or schema.get("oneOf")
        return [deep for one in found for deep in self.alternatives(one)] if found else [schema]

    def resolved(self, schema: dict[str, Any], value: Any) -> dict[str, Any]:
        """The alternative that a value keeps to."""
        wanted = {dict: "object", list: "array"}.get(type(value))
        fitting = [one for one in self.alternatives(schema) if wanted is None or one.get("type") == wanted]
        kind = value.get("kind") if isinstance(value, dict) else None
        for one in fitting:
            if kind is None or one.get("properties", {}).get("kind", {}).get("const") == kind:
                return one
        return fitting[0] if fitting else {}

    def described(self) -> set[tuple[str, str]]:
        """Every field that the schema names: its table's title and its key."""
        tables = [self.root, *self.definitions.values()]
        return {(one.get("title", ""), key) for one in tables for key in one.get("properties", {})}

    def met(self, document: Any) -> set[tuple[str, str]]:
        """Those of them that a document holds."""
        return {(title, key) for title, key in self._titled(document, self.root) if (title, key) in self.described()}

    def _titled(self, value: Any, schema: dict[str, Any]) -> Iterator[tuple[str, str]]:
        node = self.resolved(schema, value)
        if isinstance(value, dict):
            for key, member in value.items():
                yield node.get("title", ""), key
                yield from self._titled(
                    member, node.get("properties", {}).get(key, node.get("additionalProperties", {}))
                )
        elif isinstance(value, list):
            items = node.get("prefixItems") or [node.get("items", {})] * len(value)
            for member, inner in zip(value, items, strict=False):
                yield from self._titled(member, inner)


def variants(schema: Schema, document: Any) -> Iterator[Variant]:
    """Every change of every field at every depth that can be told apart by the schema."""
    for place in schema.places(document):
        where = ".".join(str(part) for part in place.path)
        yield Variant(f"{where}: left out", changed(document, place.path, _GONE), place.path, place.optional)
        twice = changed(document, (*place.path[:-1], f"{_TWICE}{place.path[-1]}"), place.value)
        yield Variant(f"{where}: given twice", twice, place.path, legal=False)
        for name, value in {**VALUES, **_edges(schema, place.schema)}.items():
            legal = schema.allows(value, place.schema)
            yield Variant(f"{where}: {name}", changed(document, place.path, value), place.path, legal)
        if (
            isinstance(place.value, dict)
            and schema.resolved(place.schema, place.value).get("additionalProperties") is False
        ):
            path = (*place.path, "stranger")
            yield Variant(f"{where}: an unknown key", changed(document, path, 1), path, legal=False)


def textual(schema: Schema, document: Any, texts: dict[str, str]) -> Iterator[Variant]:
    """The same with what the format has not, in the place of every value."""
    for place in schema.places(document):
        for name in texts:
            where = ".".join(str(part) for part in place.path)
            raw = changed(document, place.path, f"{_RAW}{name}@")
            yield Variant(f"{where}: {name}", raw, place.path, legal=False)


def _edges(schema: Schema, node: dict[str, Any]) -> dict[str, Any]:
    """Values at the ends of a range, and beside them."""
    found: dict[str, Any] = {}
    for one in schema.alternatives(node):
        for key, outward in (("minimum", -1), ("exclusiveMinimum", -1), ("maximum", 1), ("exclusiveMaximum", 1)):
            if key in one:
                found |= {
                    f"the {key}": one[key],
                    f"beyond the {key}": one[key] + outward * (1 if one["type"] == "integer" else 1e-9),
                }
        for value in one.get("enum", [one["const"]] if "const" in one else []):
            found |= {
                f"{value!r}": value,
                f"{value!r} in capitals": str(value).upper(),
                f"{value!r} and a space": f"{value} ",
            }
    return found


def changed(document: Any, path: tuple[str | int, ...], value: Any) -> Any:
    """A copy of a document with one value replaced, added or taken out; what is not on the way is shared."""
    first, *rest = path
    copy = dict(document) if isinstance(document, dict) else list(document)
    if rest:
        copy[first] = changed(copy[first], tuple(rest), value)
    elif value is _GONE:
        del copy[first]
    else:
        copy[first] = value
    return copy


def json_text(document: Any) -> str:
    """The document as JSON; what is marked stands there as it is."""
    return _unmarked(json.dumps(document), JSON_TEXTS)


def toml_text(document: dict[str, Any]) -> str:
    """The document as TOML; what is null is left out, what is marked stands there as it is."""
    return _unmarked("\n".join(_toml_lines((), document)) + "\n", TOML_TEXTS)


def _toml_lines(path: tuple[str, ...], table: dict[str, Any]) -> Iterator[str]:
    def rows(value: Any) -> bool:
        return isinstance(value, list) and bool(value) and all(isinstance(one, dict) for one in value)

    for key, value in table.items():
        if value is not None and not isinstance(value, dict) and not rows(value):
            yield f"{_toml(key)} = {_toml(value)}"
    for key, value in table.items():
        name = ".".join(map(_toml, (*path, key)))
        for one in value if rows(value) else ():
            yield from (f"[[{name}]]", *_toml_lines((*path, key), one))
        if isinstance(value, dict):
            yield from (f"[{name}]", *_toml_lines((*path, key), value))


def _toml(value: Any) -> str:
    if isinstance(value, list):
        return f"[{', '.join(_toml(one) for one in value if one is not None)}]"
    if isinstance(value, dict):
        return "{" + ", ".join(f"{_toml(key)} = {_toml(one)}" for key, one in value.items()) + "}"
    return json.dumps(value).replace("\x7f", "\\u007f")


def _unmarked(text: str, texts: dict[str, str]) -> str:
    for name, raw in texts.items():
        text = text.replace(f'"{_RAW}{name}@"', raw)
    return text.replace(f'"{_TWICE}', '"')


def is_day(value: Any) -> bool:
    """Whether a text is a day of the calendar."""
    try:
        return bool(re.fullmatch(r"\d{4}-\d\d-\d\d", value)) and bool(date.fromisoformat(value))
    except ValueError:
        return False
