from __future__ import annotations

import csv
import io
import json

import pytest

from samples import HOSTILE, a_result
from tlaudit.reports import FORMATS, as_terminal


@pytest.mark.parametrize("name", sorted(FORMATS))
def test_every_format_tells_the_same(name):
    text = FORMATS[name].render(a_result(), 10)
    assert text.endswith("\n")
    assert "espresso" in text
    if name != "csv":
        assert "lingering.fraction" in text
        assert "no validation images" in text
        assert "Not a child of this source." in text
        assert "truncated" in text


@pytest.mark.parametrize("name", ["table", "markdown"])
def test_short_views_show_as_many_rows_as_asked(name):
    text = FORMATS[name].render(a_result(), 1)
    assert "1 of 2, worst first" in text
    assert "mug" in text
    assert "espresso" not in text
    assert "Lingering classes" not in FORMATS[name].render(no_rows(), 5)


def no_rows():
    result = a_result()
    table = result.tables["classes"].model_copy(update={"worst": ()})
    return result.model_copy(update={"tables": {"classes": table}})


def test_json_keeps_full_precision():
    document = json.loads(FORMATS["json"].render(a_result(), 0))
    assert document["tables"]["classes"]["rows"][0]["hybrid_probability"] == 0.123456789012345
    assert document["measurements"][1]["value"] is None


def test_csv_has_every_column_and_row():
    rows = list(csv.DictReader(io.StringIO(FORMATS["csv"].render(a_result(), 0))))
    assert [row["class_name"] for row in rows] == ["espresso", HOSTILE, "cat"]
    assert float(rows[0]["hybrid_probability"]) == 0.123456789012345
    assert rows[2]["hybrid_probability"] == ""
    assert rows[2]["absent"] == "no image"


def test_markdown_keeps_hostile_names_text():
    text = FORMATS["markdown"].render(a_result(), 10)
    assert r"\<b\>\|mug" in text


def test_suffixes_are_distinct():
    assert len({format_.suffix for format_ in FORMATS.values()}) == len(FORMATS)


def test_facts_are_two_columns():
    text = as_terminal.facts([("head", "fc"), ("architecture", "[red]resnet18")])
    assert text == "head          fc\narchitecture  [red]resnet18\n"
