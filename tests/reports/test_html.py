from __future__ import annotations

import json
import re

import pytest

from reports.walked import Page, flat, is_sound
from samples import HOSTILE_NAMES, a_distraction, a_model, a_result, an_exhibit, distraction_table
from tlaudit.reports import FORMATS, as_html, drawing, figures, pages, sections, wording
from tlaudit.results import Finding


@pytest.fixture(scope="module")
def source() -> str:
    return as_html.render(a_distraction(), 15)


@pytest.fixture(scope="module")
def page(source) -> Page:
    return Page(source)


def many(rows: int = 0, exhibits: int = 0, name: str = "class"):
    """The sample with so many classes and cases."""
    result = a_distraction()
    tables = {"classes": distraction_table(tuple(f"{name} {n}" for n in range(rows)))} if rows else result.tables
    cases = [an_exhibit(n, f"class {n}", "control" if n % 2 else "worst") for n in range(4)]
    shown = tuple(cases[n % 4] for n in range(exhibits)) if exhibits else result.exhibits
    return result.model_copy(update={"tables": tables, "exhibits": shown})


def test_is_sound(page):
    is_sound(page)


def test_tells_everything_in_words(page):
    result = a_distraction()
    told = [result.summary, result.run.command, *(finding.message for finding in result.findings)]
    told += [text for m in result.measurements for text in (m.name, m.meaning, m.absent) if text]
    told += [*wording.absences(result), *wording.left_out(result)]
    told += [text for model in result.provenance.models.values() for text in (model.spec, model.sha256)]
    told += [data.fingerprint for data in result.provenance.data.values()]
    told += [text for case in result.exhibits for text in (case.group, case.title, case.text)]
    told += [picture.caption for case in result.exhibits for picture in case.pictures]
    told += [result.charts[0].title, result.charts[0].reading, result.charts[0].levels[0].label]
    for text in told:
        assert flat(text) in page.text
    assert [image["alt"] for image in page.all("img")] == [p.alt for case in result.exhibits for p in case.pictures]
    assert "Concern. Something to act on." in page.text
    assert "n = 40" in page.text
    assert "0.228 to 0.265 95 % interval" in page.text


@pytest.mark.parametrize(("verdict", "word"), [("clear", "Clear."), ("open", "Open.")])
def test_verdict_is_a_word(verdict, word):
    text = Page(as_html.render(a_result().model_copy(update={"verdict": verdict}), 5)).text
    assert f"{word} {wording.VERDICTS[verdict][1]}" in text


def test_findings_come_most_severe_first(source):
    assert source.index('<li class="warning">') < source.index('<li class="info">')


def test_hostile_names_are_nowhere_markup(source, page):
    for name in HOSTILE_NAMES:
        assert source.count(name) == 0 or "<" not in name
        assert flat(wording.harmless(name)) in page.text
    assert not [named for tag, named in page.elements if "onerror" in named or "onload" in named]
    assert "onerror" not in {name for _, named in page.elements for name in named}
    assert len(page.all("img")) == 30
    assert "b" not in {tag for tag, _ in page.elements}


def test_hostile_names_are_text_to_plotly(page):
    figure = next(json.loads(text) for named, text in page.scripts if named.get("type") == "application/json")
    names = [text for trace in figure["data"] for text in trace["text"]]
    assert "&lt;img src=x onerror=alert(1)&gt;" in names
    assert "%&#123;x} &amp;amp; {{ 7*7 }} &lt;br&gt;" in names
    assert not [name for name in names if "<" in name or "%{" in name]


def test_json_in_a_script_is_plain():
    value = {"a": "</script><!--&\u2028\u2029é"}
    text = drawing.as_script(value)
    assert json.loads(text) == value
    assert text.isascii()
    assert not set("<>&") & set(text)


def test_title_names_check_and_subject(source):
    assert f"<title>tlaudit distraction: models/{'&lt;b&gt;x&lt;/b&gt;'}.pth</title>" in source


def test_without_a_chart_there_is_no_plotly():
    text = as_html.render(a_result(), 5)
    assert len(text.encode()) < 100_000
    assert len([named for named, _ in Page(text).scripts if "type" not in named]) == 1


def test_same_record_same_page(source):
    assert as_html.render(a_distraction(), 15) == source


def test_rows_stand_worst_first_and_keep_full_values(source):
    result = a_distraction()
    table = result.tables["classes"]
    body = source[source.index("<tbody>") : source.index("</tbody>")]
    order = re.findall(r'<th scope="row">(class \d+)</th>', body)
    worst = [table.rows[index]["class_name"] for index in table.worst]
    assert order[:5] == [name for name in worst if name.startswith("class ")][:5]
    value = table.rows[table.worst[0]]["finetuned_distraction"]
    assert f'title="{value!r}">{value:.3f}</td>' in body
    assert body.count("<tr>") == 60
    assert 'data-visible="15"' in source


def test_bar_is_drawn_only_on_a_line_from_0_to_1():
    mean, *_, composites, absent = a_distraction().measurements
    assert figures.bar(mean) == figures.Bar(value=51.42, low=49.7, width=3.4)
    assert figures.bar(composites) is None
    assert figures.bar(absent) is None
    below = mean.model_copy(update={"interval": mean.interval.model_copy(update={"low": -0.1})})
    assert figures.bar(below) is None


def test_scatter_shows_rows_with_both_numbers():
    result = a_distraction()
    chart, table = result.charts[0], result.tables["classes"]
    drawn = figures.draw(chart, table, 1_000_000)
    figure = json.loads(drawn.figure)
    assert (drawn.shown, drawn.total) == (59, 59)
    assert [trace["name"] for trace in figure["data"]] == ["lingering", "common"]
    assert len({trace["marker"]["symbol"] for trace in figure["data"]}) == 2
    layout = figure["layout"]
    assert layout["xaxis"]["range"] == layout["yaxis"]["range"]
    assert layout["yaxis"]["scaleanchor"] == "x"
    assert [shape["y0"] for shape in layout["shapes"]] == [layout["xaxis"]["range"][0], 0.307]
    assert layout["annotations"][0]["text"] == "null 0.307"


def test_thinned_scatter_keeps_the_worst_and_fits_its_room():
    chart = a_distraction().charts[0]
    table = distraction_table(tuple(f"class {n}" for n in range(7000)))
    drawn = figures.draw(chart, table, 10_000_000)
    assert (drawn.shown, drawn.total) == (drawing.MOST_DOTS, 6999)
    names = {name for trace in json.loads(drawn.figure)["data"] for name in trace["text"]}
    assert {table.rows[index]["class_name"] for index in table.worst} <= names
    assert {trace["marker"]["size"] for trace in json.loads(drawn.figure)["data"]} == {5}
    small = figures.draw(chart, table, 50_000)
    assert 500 < small.shown < 1000
    assert len(small.figure) < 53_000
    assert figures.draw(chart, table, 0).shown == 0


def test_scatter_of_no_rows_is_empty():
    chart = a_distraction().charts[0]
    drawn = figures.draw(chart, distraction_table(("only",)), 1000)
    assert (drawn.shown, drawn.total, json.loads(drawn.figure)["data"]) == (0, 0, [])


def test_more_kinds_than_marks_share_the_last():
    result = a_distraction()
    chart = result.charts[0].model_copy(update={"group": "class_name", "diagonal": False})
    figure = json.loads(figures.draw(chart, result.tables["classes"], 1_000_000).figure)
    assert len(figure["data"]) == 7
    assert figure["data"][-1]["name"] == "of other kinds"
    assert "scaleanchor" not in figure["layout"]["yaxis"]


def test_a_chart_may_have_a_level_on_either_axis():
    result = a_distraction()
    level = result.charts[0].levels[0].model_copy(update={"axis": "x", "label": "<b>chance</b>"})
    chart = result.charts[0].model_copy(update={"levels": (level,), "group": None})
    layout = json.loads(figures.draw(chart, result.tables["classes"], 1_000_000).figure)["layout"]
    assert layout["shapes"][1]["x0"] == layout["shapes"][1]["x1"] == 0.307
    assert layout["annotations"][0]["text"] == "&lt;b&gt;chance&lt;/b&gt;"


@pytest.mark.parametrize("name", ["class", "ü" * 300, "<&>" * 60])
def test_stays_below_its_cap_whatever_comes(name):
    text = as_html.render(many(20_000, 200, name), 15)
    assert len(text.encode()) < as_html.MOST_BYTES
    words = Page(text).text
    assert re.search(r"\d+ of 20000 rows are on this page; all are in the JSON", words)
    assert re.search(r"\d+ of 200 cases are shown", words)
    assert re.search(r"\d+ of 19999 dots are drawn", words)


def test_room_is_used(source):
    text = as_html.render(many(20_000, 200), 15)
    assert len(text.encode()) > 0.8 * as_html.MOST_BYTES
    assert text.count('<th scope="row">class ') == sections.MOST_ROWS
    assert "cases are shown" not in source
    assert "are on this page" not in source


def test_a_group_of_cases_keeps_its_control():
    cases = (*(an_exhibit(1, "mug", "worst"),) * 40, *(an_exhibit(2, "cat", "control"),) * 3)
    kept = sections.fitting(cases, 8 * sections.exhibit_size(cases[0]))
    assert [case.group for case in kept].count("control") == 3
    assert [case.group for case in kept].count("worst") in {4, 5}


def test_several_results_share_a_page():
    text = as_html.page((a_distraction(), a_result()), 5)
    page = Page(text)
    assert len(page.ids) == len(set(page.ids))
    assert "tlaudit distraction, lingering:" in text
    assert "2 of 8 classes linger." in page.text
    assert "Distraction: concern" in page.text
    assert "#r1" in {link["href"] for link in page.all("a")}
    assert len([named for named, _ in page.scripts if "type" not in named]) == 2


def test_long_texts_are_cut_and_say_so():
    finding = Finding(code="long", severity="info", message="x" * 5000)
    text = as_html.render(a_result().model_copy(update={"findings": (finding,)}), 5)
    assert "… (5000 characters)" in text


def test_tells_what_is_odd_about_a_network():
    odd = a_model().model_copy(update={"non_finite": ("fc.bias",), "blocked": ("os.system",), "notes": ("A note.",)})
    result = a_result()
    provenance = result.provenance.model_copy(
        update={"models": {"source": odd}, "options": {"k": [1, 2], "p_lo": 1 / 3}}
    )
    text = Page(as_html.render(result.model_copy(update={"provenance": provenance}), 5)).text
    for word in ("fc.bias", "os.system", "A note.", "1, 2", "p_lo0.3333333333333333"):
        assert word in text


def test_what_was_all_measured_is_said_to_be():
    result = a_result()
    data = result.provenance.data["source"].model_copy(update={"skipped": (), "available": 11, "other_files": 0})
    provenance = result.provenance.model_copy(update={"data": {"source": data}})
    update = {"measurements": result.measurements[:1], "headline": ("lingering.fraction",), "provenance": provenance}
    text = Page(as_html.render(result.model_copy(update=update), 5)).text
    assert "Everything this check can measure was measured" in text


@pytest.mark.parametrize(("seconds", "words"), [(1.52, "1.5 s"), (75.0, "1 min 15 s"), (7260.0, "2 h 1 min")])
def test_durations_are_told_in_words(seconds, words):
    assert wording.duration(seconds) == words


def test_odd_dates_stay_as_they_are():
    assert pages.moment("2026-01-01T00:00:00+00:00") == "2026-01-01 00:00 UTC"
    assert pages.moment("yesterday") == "yesterday"


def test_is_a_format():
    assert FORMATS["html"].suffix == ".html"
    assert FORMATS["html"].render is as_html.render
