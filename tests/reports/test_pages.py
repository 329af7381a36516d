"""What holds for the pages of audits, verdicts and comparisons alike."""

from __future__ import annotations

import json
import re

import pytest

from compared import a_study, lingering
from reports.walked import Page, flat, is_sound
from samples import HOSTILE_NAMES, a_distraction
from samples_pages import a_side_by_side, an_audit
from samples_verdict import AUDITS, HOSTILE_TEXTS, VERDICTS
from tlaudit.comparison import compare
from tlaudit.reports import AUDIT_FORMATS, COMPARISON_FORMATS, FORMATS, VERDICT_FORMATS, pages, wording

DOCUMENTS = {
    "audit": (AUDIT_FORMATS, an_audit()),
    **{f"audit, {name}": (AUDIT_FORMATS, audit) for name, audit in AUDITS.items()},
    **{f"verdict, {name}": (VERDICT_FORMATS, verdict) for name, verdict in VERDICTS.items()},
    "comparison": (COMPARISON_FORMATS, a_side_by_side()),
    "comparison, study": (COMPARISON_FORMATS, compare(a_study())),
}


@pytest.fixture(scope="module", params=DOCUMENTS)
def written(request) -> str:
    formats, document = DOCUMENTS[request.param]
    return formats["html"].render(document, 15)


def test_are_sound_and_small(written):
    is_sound(Page(written))
    assert len(written.encode()) < pages.MOST_BYTES


@pytest.mark.parametrize("name", ["audit", "verdict, failing", "comparison"])
def test_same_record_same_page(name):
    formats, document = DOCUMENTS[name]
    assert formats["html"].render(document, 15) == formats["html"].render(type(document)(**dict(document)), 15)


@pytest.mark.parametrize("name", ["audit, hostile", "verdict, hostile", "comparison"])
def test_hostile_names_are_nowhere_markup(name):
    formats, document = DOCUMENTS[name]
    harmless, tame = DOCUMENTS[{"a": "audit", "v": "verdict, failing", "c": "comparison, study"}[name[0]]]
    text = formats["html"].render(document, 15)
    tags = {tag for tag, _ in Page(text).elements}
    known = {tag for tag, _ in Page(harmless["html"].render(tame, 15)).elements}
    assert tags - known <= {"abbr", "ol", "details", "summary", "output"}
    assert "<img src=x" not in text
    assert "</testcase>" not in text


def test_hostile_texts_are_told_as_they_are():
    text = Page(VERDICT_FORMATS["html"].render(VERDICTS["hostile"], 15)).text
    for one in HOSTILE_TEXTS:
        told = wording.harmless(one)
        assert flat(f"Message {told}") in text
        assert flat(f"Waiver {told}") in text
        assert flat(f"Finding {told}") in text


@pytest.mark.parametrize(
    ("name", "title"),
    [
        ("audit, concern", "tlaudit audit: models/cats-vs-dogs.pth"),
        ("verdict, failing", "tlaudit gate: Refused: models/cats-vs-dogs.pth"),
        ("comparison", "tlaudit compare: 4 networks"),
    ],
)
def test_title_says_what_it_is(name, title):
    formats, document = DOCUMENTS[name]
    assert f"<title>{title}</title>" in formats["html"].render(document, 15)


def test_a_page_without_a_chart_has_no_plotly():
    assert len(VERDICT_FORMATS["html"].render(VERDICTS["failing"], 15).encode()) < 100_000


@pytest.mark.parametrize("formats", [AUDIT_FORMATS, VERDICT_FORMATS, COMPARISON_FORMATS])
def test_end_in_html(formats):
    assert formats["html"].suffix == ".html"


ACTS = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069]")
"""What moves a cursor, rings a bell or turns a line around."""


def texts(value):
    """All strings in JSON."""
    if isinstance(value, str):
        yield value
    elif isinstance(value, dict | list):
        for one in [*value, *value.values()] if isinstance(value, dict) else value:
            yield from texts(one)


@pytest.mark.parametrize("kind", ["check", "audit", "verdict", "comparison"])
def test_what_acts_in_names_is_spelt_out(kind):
    odd = "gnp\x00\x1b[2J\x85\u2066.exe"
    formats, document = {
        "check": (FORMATS, a_distraction()),
        "audit": (AUDIT_FORMATS, an_audit()),
        "verdict": (VERDICT_FORMATS, VERDICTS["hostile"]),
        "comparison": (COMPARISON_FORMATS, compare({one: lingering(f"n{n}") for n, one in enumerate(HOSTILE_NAMES)})),
    }[kind]
    told = document.model_dump_json().replace("gnp.exe", json.dumps(odd)[1:-1])
    page = Page(formats["html"].render(type(document).model_validate_json(told), 15))
    figures = [json.loads(text) for named, text in page.scripts if named.get("type") == "application/json"]
    assert bool(figures) is (kind != "verdict")
    attributes = [value or "" for _, named in page.elements for value in named.values()]
    for text in (*page.words, *attributes, *(text for figure in figures for text in texts(figure))):
        assert not ACTS.search(text), text
    assert r"\u202egnp\x00\x1b[2J\x85\u2066.exe" in page.text


def test_lines_of_a_command_stay_lines():
    result = a_distraction()
    run = result.run.model_copy(update={"command": "tlaudit distraction \\\n\t--source a\x1b.pth"})
    source = FORMATS["html"].render(result.model_copy(update={"run": run}), 5)
    assert "tlaudit distraction \\\n\t--source a\\x1b.pth</code>" in source
