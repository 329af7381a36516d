"""What holds for the pages of audits, verdicts and comparisons alike."""

from __future__ import annotations

import pytest

from compared import a_study
from reports.walked import Page, flat, is_sound
from samples_pages import a_side_by_side, an_audit
from samples_verdict import AUDITS, HOSTILE_TEXTS, VERDICTS
from tlaudit.comparison import compare
from tlaudit.reports import AUDIT_FORMATS, COMPARISON_FORMATS, VERDICT_FORMATS, pages

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
        assert flat(f"Message {one}") in text
        assert flat(f"Waiver {one}") in text
        assert flat(f"Finding {one}") in text


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
