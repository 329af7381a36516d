from __future__ import annotations

import csv
import io
import json

import pytest
from rich.console import Console

from compared import a_study, lingering, measured
from samples import HOSTILE_NAMES
from tlaudit.comparison import compare
from tlaudit.reports import COMPARISON_FORMATS, comparison_told

EXCESS = "distraction.excess_over_baseline"


@pytest.mark.parametrize("name", sorted(set(COMPARISON_FORMATS) - {"csv"}))
def test_every_format_tells_the_same(name):
    found = compare(a_study())
    text = COMPARISON_FORMATS[name].render(found, 15)
    assert text.endswith("\n")
    for word in ("large is best by", "Ranking by", "Pareto front of", "MOVER", "squeezenet1", "medium.pth"):
        assert word in text


def test_json_is_the_record():
    found = compare(a_study())
    assert json.loads(COMPARISON_FORMATS["json"].render(found, 0)) == found.model_dump(mode="json")


def test_csv_has_every_column_of_the_ranking():
    found = compare(a_study())
    text = COMPARISON_FORMATS["csv"].render(found, 0)
    read = list(csv.DictReader(io.StringIO(text)))
    assert [row["candidate"] for row in read] == ["large", "medium", "small"]
    assert list(read[0]) == [column.name for column in found.tables["ranking"].columns]
    assert float(read[2][f"{EXCESS}.low"]) == pytest.approx(0.28)
    assert read[2]["not_told_apart_from"] == ""


def test_a_number_and_its_bounds_share_a_column():
    found = compare(a_study())
    ranking = comparison_told.short_view(found.tables["ranking"], 15)
    assert "target.accuracy" in ranking.head
    assert not [name for name in ranking.head if name.endswith((".low", ".high"))]
    assert ranking.body[0][ranking.head.index("target.accuracy")] == "94.0 % (93.0 % to 95.0 %)"
    changes = comparison_told.short_view(found.tables["changes"], 15)
    row = dict(zip(changes.head, changes.body[0], strict=True))
    assert row["change"] == "-0.210 (-0.238 to -0.182)"
    assert (row["reference"], row["value"]) == ("0.300", "0.09")
    shares = next(line for line in changes.body if line[0] == "target.accuracy")
    assert "90.0 %" in shares


def test_classes_are_counted_whole():
    def of(name, count):
        result = lingering(name)
        counted = measured("lingering.count", count, 2.6, unit="classes")
        return result.model_copy(update={"measurements": (*result.measurements, counted), "headline": (counted.name,)})

    changes = comparison_told.short_view(compare({"a": of("a", 9), "b": of("b", 12)}).tables["changes"], 15)
    row = next(line for line in changes.body if line[0] == "lingering.count")
    assert row[changes.head.index("change")] == "3 (-1 to 7)"


def test_a_number_without_bounds_stands_alone():
    found = compare({"a": lingering("a", width=None), "b": lingering("b", 0.3, width=None)})
    view = comparison_told.short_view(found.tables["ranking"], 15)
    assert view.body[0][view.head.index("lingering.fraction")] == "30.0 %"


def test_short_views_show_as_many_rows_as_asked():
    found = compare(a_study())
    for name in ("table", "markdown"):
        assert "(1 of 3)" in COMPARISON_FORMATS[name].render(found, 1)
        assert "of 3)" not in COMPARISON_FORMATS[name].render(found, 3).split("Changes")[0]
        assert "On the Pareto front of" in COMPARISON_FORMATS[name].render(found, 0)
        assert "beaten by" not in COMPARISON_FORMATS[name].render(found, 0)


def test_hostile_names_stay_text():
    found = compare({name: lingering(f"n{number}") for number, name in enumerate(HOSTILE_NAMES)})
    text = COMPARISON_FORMATS["markdown"].render(found, 15)
    assert "<b>" not in text.replace(r"\<b", "")
    assert r"\<img src=x onerror=alert(1)\>" in text
    table = COMPARISON_FORMATS["table"].render(found, 15)
    assert "\u202e" not in text + table
    lines = [line for line in text.splitlines() if line.startswith("|")]
    assert len({line.replace(r"\|", "").count("|") for line in lines[:9]}) == 1


def test_a_narrow_terminal_folds():
    found = compare(a_study())
    console = Console(width=60, file=io.StringIO(), color_system=None)
    console.print(COMPARISON_FORMATS["table"].view(found, 15, 60))
    assert max(map(len, console.file.getvalue().splitlines())) <= 60
