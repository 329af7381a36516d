from __future__ import annotations

import pytest

from reports.walked import Page, flat
from samples_verdict import VERDICTS, a_ruling, a_verdict, of_pattern, unanswered, violated, waived, warned
from tlaudit.reports import pages, plain_words, verdict_as_html, verdict_told


def page_of(name: str) -> Page:
    return Page(verdict_as_html.render(VERDICTS[name], 15))


@pytest.mark.parametrize(
    ("name", "outcome", "state"),
    [("passing", "pass", "clear"), ("failing", "fail", "concern"), ("no answer", "no answer", "open")],
)
def test_banner_says_the_verdict(name, outcome, state):
    page = page_of(name)
    word, sentence = plain_words.VERDICTS[outcome]
    assert f"{word} {sentence} {flat(VERDICTS[name].summary)}" in page.text
    banner = next(named for tag, named in page.elements if tag == "section" and "banner" in named["class"])
    assert banner["class"] == f"verdict banner {state}"
    assert f"Exit code {VERDICTS[name].exit_code}." in page.text


def test_groups_stand_in_order_and_are_counted():
    page = page_of("failing")
    titles = [group.title for group in verdict_told.groups(VERDICTS["failing"])]
    assert titles == ["Violated", "No answer", "Waived", "Warnings", "Skipped", "Passed"]
    places = [
        page.text.index(f"{title} {count} ", 400) for title, count in zip(titles, (1, 1, 1, 1, 1, 2), strict=True)
    ]
    assert places == sorted(places)


def test_each_ruling_is_told_in_full():
    verdict = VERDICTS["failing"]
    page = page_of("failing")
    for ruling in verdict.rulings:
        assert flat(verdict_told.sentence(ruling)) in page.text
        assert flat(ruling.meaning or "") in page.text
        assert flat(verdict_told.value(ruling)) in page.text
        assert flat(verdict_told.limits(ruling)) in page.text
        assert f"ci/tlaudit.toml:{ruling.line}" in page.text
    assert "13.4 % (11.2 % to 15.8 %), before 10.0 %" in page.text
    assert "n = 900 · lower is better" in page.text
    assert "rule lingering.fraction:warn" in page.text


def test_drawings_have_their_words():
    page = page_of("failing")
    drawn = [named["aria-label"] for named in page.all("svg") if named.get("role") == "img"]
    assert "13.4 %; interval 11.2 % to 15.8 %; at most 5.0 %" in drawn
    assert "rise 3.4 points; at most 1.0 points" in drawn
    # The rule that is violated and the one that warns have two lines each, the three others with a number one.
    assert len(drawn) == 7


def test_says_what_was_judged_by_what():
    text = page_of("failing").text
    for word in ("a" * 64, "b" * 64, "c" * 64, "reports/audit.json", "previous.json", "models/cats-vs-dogs.pth"):
        assert word in text
    assert "judged on 2026-11-21" in text
    assert "Compared with" in text
    assert "without a hash" in text
    assert "Written by tlaudit 0.1.0." in text
    standard = page_of("default policy").text
    assert "policy that comes with tlaudit" in standard
    assert "Compared with" not in standard


def test_findings_are_told():
    assert "The reports are of different versions." in page_of("failing").text
    assert "What to know" not in page_of("passing").text


def test_many_rules_that_passed_are_folded_and_no_other():
    verdict = a_verdict(*of_pattern("a", "b", "c"), *(waived(metric=f"erosion.cka.{n}") for n in range(3)))
    assert Page(verdict_as_html.render(verdict, 3)).all("details") == []
    folded = Page(verdict_as_html.render(verdict, 2))
    assert len(folded.all("details")) == 1
    assert folded.text.index("Show them") > folded.text.index("Passed 3")


def test_stays_below_its_cap_and_says_what_it_leaves_out():
    many = [violated(metric=f"erosion.cka.{n}", message="<" * 900) for n in range(300)]
    text = verdict_as_html.render(a_verdict(*many, *of_pattern(*map(str, range(3000)))), 15)
    assert len(text.encode()) < pages.MOST_BYTES
    page = Page(text)
    assert "of 3000 are on this page; all are in the JSON." in page.text
    assert "of 300 are on this page" not in page.text


def test_a_policy_about_nothing_says_so():
    assert "The policy has no rule about these reports." in Page(verdict_as_html.render(a_verdict(), 5)).text


def test_a_table_stays_one_where_it_is_drawn_otherwise():
    """In a narrow window rows are blocks, which takes a table's role from it unless it is given one."""
    page = Page(verdict_as_html.render(a_verdict(a_ruling(), unanswered(), warned()), 5))
    for tag, role in (("table", "table"), ("tr", "row"), ("td", "cell")):
        assert {named.get("role") for named in page.all(tag)} == {role}
