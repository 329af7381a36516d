from __future__ import annotations

import json
import re

import pytest

from compared import a_study
from reports.walked import Page, flat
from samples import HOSTILE_NAMES
from samples_pages import a_side_by_side
from tlaudit.comparison import compare
from tlaudit.reports import comparison_as_html, comparison_told, pages


@pytest.fixture(scope="module")
def source() -> str:
    return comparison_as_html.render(a_side_by_side(), 15)


@pytest.fixture(scope="module")
def page(source) -> Page:
    return Page(source)


def test_says_the_result_first(page):
    assert "Comparison of 4 networks ranked by distraction.flip_rate · changes against resnet18 on 500" in page.text
    assert f"In short {a_side_by_side().summary}" in page.text


def test_ranking_stands_in_front_with_every_candidate():
    comparison = compare(a_study())
    page = Page(comparison_as_html.render(comparison, 1))
    view = comparison_told.short_view(comparison.tables["ranking"], 100)
    rows = [flat(" ".join(row)) for row in (view.head, *view.body)]
    places = [page.text.find(row) for row in rows]
    assert -1 not in places
    assert places == sorted(places)


def test_candidates_are_told_with_their_hashes(page):
    for one in a_side_by_side().candidates:
        assert flat(one.name) in page.text
        assert one.source.path in page.text
    assert "c" * 64 in page.text
    assert "finetuned on500 images" in page.text
    assert "images that the audit did not see" in page.text


def test_charts_are_drawn_and_lead_to_their_table(page):
    figures = [json.loads(text) for named, text in page.scripts if named.get("type") == "application/json"]
    assert len(figures) == 2
    names = [text for trace in figures[0]["data"] for text in trace["text"]]
    assert names == ["resnet18 on 500", "resnet18 on 2000", "vgg11 on 2000"]
    assert "#t0" in {link["href"] for link in page.all("a")}


def test_findings_and_all_tables_are_there(page):
    assert "One was run in bf16." in page.text
    assert "Changes" in page.text
    assert len([named for named in page.all("section") if "grid" in named.get("class", "").split()]) == 2


def test_better_and_worse_are_words_and_colours():
    source = comparison_as_html.render(compare(a_study()), 100)
    assert re.search(r'<td class="(better|worse)">(better|worse)</td>', source)


def test_hostile_names_are_text(source, page):
    assert flat(HOSTILE_NAMES[0]) in page.text
    assert HOSTILE_NAMES[0] not in source
    assert page.all("img") == []


def test_without_charts_there_is_no_plotly():
    bare = a_side_by_side().model_copy(update={"charts": (), "findings": ()})
    text = comparison_as_html.render(bare, 5)
    assert len(text.encode()) < 100_000
    assert "Charts" not in Page(text).text
    empty = bare.model_copy(update={"tables": {}})
    assert "All tables" not in Page(comparison_as_html.render(empty, 5)).text


def test_stays_below_its_cap_whatever_comes():
    comparison = a_side_by_side()
    table = comparison.tables["changes"]
    rows = tuple({"candidate": f"{'<&>' * 200} {n}", "architecture": "x" * 900} for n in range(3000))
    large = table.model_copy(update={"rows": rows, "worst": tuple(range(3000))})
    text = comparison_as_html.render(comparison.model_copy(update={"tables": {**comparison.tables, "more": large}}), 15)
    assert len(text.encode()) < pages.MOST_BYTES
    assert "of 3000 rows are on this page; all are in the JSON" in Page(text).text


def test_rows_are_those_of_the_other_short_views_and_visible_in_tables():
    comparison = compare(a_study())
    many = len(comparison.tables["changes"].worst)
    source = comparison_as_html.render(comparison, 2)
    assert f"(2 of {many})" in source
    assert f"of {many})" not in comparison_as_html.render(comparison, many)
    assert 'data-visible="2"' in source
