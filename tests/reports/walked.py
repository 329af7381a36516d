"""A page as a strict reader finds it, and what holds for every page."""

from __future__ import annotations

import base64
import hashlib
import itertools
import re
from html.parser import HTMLParser

VOID = {"meta", "img", "input", "br", "wbr", "link"}


class Page(HTMLParser):
    """Walks a page, insists that each element is closed by its own tag, and keeps what the tests ask for."""

    def __init__(self, text: str):
        super().__init__(convert_charrefs=True)
        self.open: list[str] = []
        self.ids: list[str] = []
        self.elements: list[tuple[str, dict[str, str | None]]] = []
        self.words: list[str] = []
        self.scripts: list[tuple[dict[str, str | None], str]] = []
        self.styles: list[str] = []
        self.feed(text)
        self.close()
        assert self.open == []

    def handle_starttag(self, tag, attrs):
        named = dict(attrs)
        assert len(named) == len(attrs), f"<{tag}> has an attribute twice"
        self.elements.append((tag, named))
        if "id" in named:
            self.ids.append(named["id"])
        if tag not in VOID:
            self.open.append(tag)
        if tag == "script":
            self.scripts.append((named, ""))
        if tag == "style":
            self.styles.append("")

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        inside = self.open[-1] if self.open else ""
        if inside == "script":
            named, text = self.scripts[-1]
            self.scripts[-1] = (named, text + data)
        elif inside == "style":
            self.styles[-1] += data
        else:
            self.words.append(data)

    @property
    def text(self) -> str:
        return " ".join("".join(self.words).split())

    def all(self, tag: str) -> list[dict[str, str | None]]:
        return [named for name, named in self.elements if name == tag]


def flat(text: str) -> str:
    """Text as a page's words are compared: white space is one blank."""
    return " ".join(text.split())


def is_sound(page: Page) -> None:
    """Well formed, every reference has its target, nothing is asked for, and the policy fits what is there."""
    _is_well_formed(page)
    _refers_to_what_is_there(page)
    _asks_for_nothing_outside_itself(page)
    _allows_its_own_scripts_and_styles_and_nothing_else(page)


def _is_well_formed(page: Page) -> None:
    assert page.all("html") == [{"lang": "en"}]
    assert len(page.ids) == len(set(page.ids))
    headings = [int(tag[1]) for tag, _ in page.elements if re.fullmatch(r"h[1-6]", tag)]
    assert headings[0] == 1
    assert headings.count(1) == 1
    assert all(after <= before + 1 for before, after in itertools.pairwise(headings))


def _refers_to_what_is_there(page: Page) -> None:
    for _, named in page.elements:
        for name in ("aria-labelledby", "data-figure", "data-from"):
            if name in named:
                assert named[name] in page.ids
        if (named.get("href") or "").startswith("#"):
            assert named["href"][1:] in page.ids


def _asks_for_nothing_outside_itself(page: Page) -> None:
    for tag, named in page.elements:
        for name in ("src", "href", "srcset", "action", "poster", "data", "xlink:href"):
            value = named.get(name)
            assert value is None or value.startswith(("#", "data:image/jpeg;base64,")), f"<{tag} {name}={value!r}>"
        assert not [name for name in named if name.startswith("on") or name == "style"]
    assert not [text for text in page.styles if "url(" in text or "@import" in text]
    assert not page.all("link")


def _allows_its_own_scripts_and_styles_and_nothing_else(page: Page) -> None:
    rules = _policy(page)
    run = [text for named, text in page.scripts if named.get("type") != "application/json"]
    assert rules["script-src"] == [_digest(text) for text in run]
    drawn = {_digest(""), "'unsafe-hashes'"} if len(run) > 1 else set()
    assert set(rules["style-src"]) == {_digest(text) for text in page.styles} | drawn
    assert rules["img-src"] == ["data:"]
    for name in ("default-src", "font-src", "connect-src", "base-uri", "form-action"):
        assert rules[name] == ["'none'"]


def _policy(page: Page) -> dict[str, list[str]]:
    content = next(meta["content"] for meta in page.all("meta") if meta.get("http-equiv") == "Content-Security-Policy")
    return {words[0]: words[1:] for words in map(str.split, content.split(";"))}


def _digest(text: str) -> str:
    return f"'sha256-{base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()}'"
