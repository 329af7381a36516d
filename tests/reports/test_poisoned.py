"""Every format of every document, all of whose texts try to be something else."""

from __future__ import annotations

import csv
import io
import json
import re
from xml.etree import ElementTree as ET

import pytest
from markdown_it import MarkdownIt

from reports.poisoned import ATTACKS, KINDS, poison
from reports.walked import Page, flat, is_sound
from samples import a_distraction
from tlaudit.cli import step_summary
from tlaudit.reports import AUDIT_FORMATS, FORMATS, VERDICT_FORMATS, markdown, pages, separated, wording
from tlaudit.results import Column, Table

POISONED = {name: poison(kind.sample) for name, kind in KINDS.items()}

ACTS = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\u061c\u200e\u200f\u202a-\u202e\u2066-\u2069]")
"""What moves a cursor, rings a bell or turns a line around."""

POLICY = {
    "default-src": ["'none'"],
    "script-src": [],
    "style-src": [],
    "img-src": ["data:"],
    "font-src": ["'none'"],
    "connect-src": ["'none'"],
    "base-uri": ["'none'"],
    "form-action": ["'none'"],
    "require-trusted-types-for": ["'script'"],
    "trusted-types": ["'none'"],
}
"""What a page allows, besides the hashes of its own scripts and styles."""


def told(name: str, format_: str) -> str:
    return KINDS[name].formats[format_].render(POISONED[name].document, 15)


def having(format_: str) -> list[str]:
    return [name for name, kind in KINDS.items() if format_ in kind.formats]


@pytest.fixture(scope="module", params=KINDS)
def name(request) -> str:
    return request.param


@pytest.fixture(scope="module")
def page(name) -> Page:
    return Page(told(name, "html"))


@pytest.fixture(scope="module")
def tame(name) -> Page:
    return Page(KINDS[name].formats["html"].render(KINDS[name].sample, 15))


def test_most_texts_are_poisoned(name):
    assert len(POISONED[name].before) >= 20


def test_policy_allows_nothing_but_hashes_of_the_page_itself(page):
    (content,) = [one["content"] for one in page.all("meta") if one.get("http-equiv")]
    rules = [rule.split() for rule in content.split(";")]
    assert len(rules) == len({rule[0] for rule in rules}), "a directive given twice counts once"
    hashes = {
        first: [word for word in rest if re.fullmatch(r"'sha256-[A-Za-z0-9+/]{43}='", word)] for first, *rest in rules
    }
    left = {first: [word for word in rest if word not in hashes[first]] for first, *rest in rules}
    charts = any(named.get("type") == "application/json" for named, _ in page.scripts)
    assert left == POLICY | ({"style-src": ["'unsafe-hashes'"]} if charts else {})
    assert len(hashes["script-src"]) == 1 + charts
    assert len(hashes["style-src"]) == 1 + charts
    assert [first for first in hashes if hashes[first]] == ["script-src", "style-src"]


def test_policy_comes_before_all_it_has_to_govern(page):
    kinds = [(tag, sorted(named)) for tag, named in page.elements[:4]]
    assert kinds == [("html", ["lang"]), ("head", []), ("meta", ["charset"]), ("meta", ["content", "http-equiv"])]


def test_page_is_sound_and_has_only_the_elements_of_a_tame_one(page, tame):
    is_sound(page)
    assert {tag for tag, _ in page.elements} <= {tag for tag, _ in tame.elements} | {"details", "summary", "wbr"}
    assert {key for _, named in page.elements for key in named} <= {key for _, named in tame.elements for key in named}


def test_links_lead_into_the_page_and_pictures_are_in_it(page):
    assert {link["href"][0] for link in page.all("a")} == {"#"}
    assert {image["src"].partition(",")[0] for image in page.all("img")} <= {"data:image/jpeg;base64"}
    assert not {tag for tag, _ in page.elements} & {"base", "embed", "form", "frame", "iframe", "link", "object"}
    assert [one["http-equiv"] for one in page.all("meta") if "http-equiv" in one] == ["Content-Security-Policy"]


def test_page_tells_each_text_as_it_is(name, page, tame):
    shown = {flat(words) for words in tame.words}
    found = {flat(words) for words in page.words}
    texts = {flat(wording.harmless(new)): old for new, old in POISONED[name].before.items() if flat(old) in shown}
    assert len(texts) >= 8
    # What still stands there as it was is the page's own word.
    assert [old for text, old in texts.items() if not {pages.clipped(text), flat(old)} & found] == []


def test_nothing_that_acts_is_in_any_text_for_people(name, page):
    attributes = [value or "" for _, named in page.elements for value in named.values()]
    figures = [text for named, text in page.scripts if named.get("type") == "application/json"]
    assert all(text.isascii() and not set("<>&") & set(text) for text in figures)
    inside = [one for text in figures for one in _strings(json.loads(text))]
    for text in (*page.words, *attributes, *inside):
        assert not ACTS.search(text), text
    for format_ in {"table", "markdown", "junit", "model-card"} & set(KINDS[name].formats):
        text = told(name, format_)
        assert not re.search("[\u2028\u2029]", text)
        assert not ACTS.search(text.replace("\t", "\x00")), format_


def _strings(value):
    if isinstance(value, str):
        yield value
    elif isinstance(value, dict | list):
        for one in [*value, *value.values()] if isinstance(value, dict) else value:
            yield from _strings(one)


def test_markdown_holds_text_and_its_own_marks(name):
    for format_ in {"markdown", "model-card"} & set(KINDS[name].formats):
        text = told(name, format_)
        # The metadata of a card are YAML.
        body = text.partition("\n---\n")[2] if format_ == "model-card" else text
        tokens = MarkdownIt("commonmark").enable(["table", "strikethrough"]).parse(body)
        inline = {child.type for token in tokens for child in token.children or ()}
        assert inline <= {"text", "text_special", "strong_open", "strong_close"}
        assert not {token.type for token in tokens} & {"html_block", "fence", "code_block", "blockquote_open", "hr"}


def test_step_summary_is_that_markdown(tmp_path, monkeypatch):
    place = tmp_path / "summary.md"
    monkeypatch.setenv(step_summary.VARIABLE, str(place))
    step_summary.append(told("verdict", "markdown"))
    assert place.read_text(encoding="utf-8") == told("verdict", "markdown")


@pytest.mark.parametrize("verdict", having("junit"))
def test_junit_is_xml_and_has_a_case_a_ruling(verdict):
    root = ET.fromstring(told(verdict, "junit").encode())
    document = POISONED[verdict].document
    assert [case.get("name") for case in root.iter("testcase")] == [
        wording.visible(
            f"{one.rule} ({one.metric})" if one.metric != one.pattern or one.pattern not in one.rule else one.rule
        )
        for one in document.rulings
    ]


@pytest.mark.parametrize("attack", ATTACKS)
def test_junit_names_properties_without_characters_that_xml_forbids(attack):
    verdict = KINDS["verdict"].sample
    (finding,) = verdict.findings
    odd = verdict.model_copy(update={"findings": (finding.model_copy(update={"code": f"{attack}x"}),)})
    root = ET.fromstring(VERDICT_FORMATS["junit"].render(odd, 15).encode())
    assert f"finding {wording.visible(attack + 'x')}" in [one.get("name") for one in root.iter("property")]


@pytest.mark.parametrize("verdict", having("sarif"))
def test_sarif_reads_back_and_holds_every_rule(verdict):
    (run,) = json.loads(told(verdict, "sarif").encode("utf-8", "backslashreplace"))["runs"]
    rulings = POISONED[verdict].document.rulings
    assert [rule["id"] for rule in run["tool"]["driver"]["rules"]] == list(dict.fromkeys(one.rule for one in rulings))
    for one in run["results"]:
        assert not ACTS.search(one["message"]["text"])
        assert re.fullmatch(
            r"[\w.~/:%-]*", one["locations"][0]["physicalLocation"]["artifactLocation"]["uri"], re.ASCII
        )


def test_csv_reads_back_exactly():
    names = tuple(f"{attack}{number}" for number, attack in enumerate(ATTACKS))
    rows = tuple({"name": name, "value": -0.1 - number} for number, name in enumerate(names))
    columns = (Column(name="name", unit="text", meaning="M."), Column(name="value", unit="share", meaning="M."))
    table = Table(title="T", columns=columns, rows=rows, brief=("name",))
    result = a_distraction().model_copy(update={"tables": {"classes": table}, "charts": ()})
    found = list(csv.reader(io.StringIO(FORMATS["csv"].render(result, 0), newline="")))
    assert found == [["name", "value"], *([row["name"], repr(row["value"])] for row in rows)]


@pytest.mark.parametrize("format_", [FORMATS, AUDIT_FORMATS])
def test_csv_of_what_could_not_be_made_says_why(format_):
    failed = KINDS["failed check"].sample
    document = failed if format_ is FORMATS else KINDS["audit"].sample.model_copy(update={"checks": (failed,)})
    rows = list(csv.DictReader(io.StringIO(format_["csv"].render(document, 0))))
    assert [row["absent"] for row in rows] == [failed.failure]


@pytest.mark.parametrize(
    "cells", [["a\rb"], ["a\nb"], [""], [None], ["\x00"], ['"'], ["\r"], ["=1", "-1", "@x"], [" a "]]
)
def test_a_row_is_one_row(cells):
    (row,) = csv.reader(io.StringIO(separated.line(cells), newline=""))
    assert row == [cell or "" for cell in cells]


@pytest.mark.parametrize("attack", ATTACKS)
def test_an_attack_in_markdown_reads_back_as_the_text(attack):
    tokens = MarkdownIt("commonmark").enable(["table", "strikethrough"]).parse(f"x {markdown.text(attack)}")
    assert (
        "".join(child.content for token in tokens for child in token.children or ())
        == f"x {wording.visible(attack)}".strip()
    )
