from __future__ import annotations

import json
import math

import pytest
from pydantic import ValidationError

from samples import a_result
from tlaudit.exhibits import Heatmap, Lines, Scatter
from tlaudit.records import SCHEMA_VERSION
from tlaudit.results import CheckResult, Interval, Measurement, Table


def measurement(**changes):
    given = {
        "name": "a.b",
        "meaning": "Something.",
        "unit": "share",
        "better": "lower",
        "value": 0.5,
        "n": 4,
        "interval_absent": "too few",
    }
    return Measurement(**(given | changes))


def test_value_and_absence_exclude_each_other():
    assert measurement().value == 0.5
    with pytest.raises(ValidationError, match="exactly one of value and absent"):
        measurement(absent="no data")
    with pytest.raises(ValidationError, match="exactly one of value and absent"):
        measurement(value=None)
    with pytest.raises(ValidationError, match="exactly one of interval and interval_absent"):
        measurement(interval_absent=None)
    with pytest.raises(ValidationError, match="at least 1 character"):
        measurement(value=None, absent="", interval_absent=None)


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
def test_never_nan_or_infinity(value):
    with pytest.raises(ValidationError, match="finite"):
        measurement(value=value)


def test_intervals_run_forward():
    with pytest.raises(ValidationError, match="runs backwards"):
        Interval(low=1, high=0, method="x")


def test_records_are_frozen_and_closed():
    with pytest.raises(ValidationError, match="frozen"):
        measurement().value = 3
    with pytest.raises(ValidationError, match="Extra inputs"):
        measurement(colour="red")


def test_tables_hold_what_their_columns_say():
    columns = ({"name": "a", "unit": "text", "meaning": "A."},)
    Table(title="T", columns=columns, rows=({"a": 1},), worst=(0,), brief=("a",))
    with pytest.raises(ValidationError, match="row 0 has the cells"):
        Table(title="T", columns=columns, rows=({"b": 1},), brief=("a",))
    with pytest.raises(ValidationError, match="columns that are not there"):
        Table(title="T", columns=columns, rows=({"a": 1},), brief=("z",))
    with pytest.raises(ValidationError, match="rows that are not there"):
        Table(title="T", columns=columns, rows=({"a": 1},), worst=(1,), brief=("a",))
    with pytest.raises(ValidationError):
        Table(title="T", columns=columns, rows=({"a": math.nan},), brief=("a",))


def test_survives_json():
    result = a_result()
    text = result.to_json()
    assert next(iter(json.loads(text))) == "schema_version"
    assert json.loads(text)["schema_version"] == SCHEMA_VERSION
    assert CheckResult.model_validate_json(text) == result


def test_looks_up_by_name_and_gives_pandas():
    result = a_result()
    assert result["lingering.fraction"].value == 0.25
    with pytest.raises(KeyError, match="there are lingering.fraction"):
        result["nothing"]
    assert list(result.table("classes")["class_name"]) == ["espresso", "<b>|mug", "cat"]
    frame = result.summary_table()
    assert frame.loc["lingering.fraction", "high"] == 0.5
    assert frame.loc["target.accuracy", "absent"] == "no validation images"


def test_refuses_two_measurements_of_one_name():
    result = a_result()
    with pytest.raises(ValidationError, match="named twice"):
        CheckResult(**{**dict(result), "measurements": (measurement(), measurement())})


TOLD = {"title": "T", "reading": "R.", "table": "classes"}
SCATTER = Scatter(**TOLD, x="n", y="hybrid_probability", name="class_name")
LINES = Lines(**TOLD, x="class_name", y="hybrid_probability", low="n", high="n", log_y=True)
HEATMAP = Heatmap(**TOLD, x="class_name", y="absent", value="n")


def charted(*charts):
    return CheckResult.model_validate({**dict(a_result()), "charts": charts})


def test_charts_of_every_kind_survive_json():
    result = charted(SCATTER, LINES, HEATMAP)
    again = CheckResult.model_validate_json(result.to_json())
    assert again == result
    assert [type(chart) for chart in again.charts] == [Scatter, Lines, Heatmap]
    with pytest.raises(ValidationError, match="'scatter', 'lines', 'heatmap'"):
        charted(SCATTER.model_dump() | {"kind": "pie"})


@pytest.mark.parametrize(
    ("chart", "column"), [(SCATTER, "name"), (LINES, "high"), (LINES, "name"), (HEATMAP, "y"), (LINES, "group")]
)
def test_charts_name_columns_of_their_table(chart, column):
    with pytest.raises(ValidationError, match=r"table 'classes' lacks \['nowhere'\]"):
        charted(chart.model_copy(update={column: "nowhere"}))
    with pytest.raises(ValidationError, match="table 'none' lacks"):
        charted(chart.model_copy(update={"table": "none"}))


@pytest.mark.parametrize(("chart", "column"), [(SCATTER, "x"), (LINES, "low"), (HEATMAP, "value")])
def test_charts_draw_numbers(chart, column):
    with pytest.raises(ValidationError, match="column 'class_name' holds more than numbers"):
        charted(chart.model_copy(update={column: "class_name"}))


def test_charts_are_whole():
    with pytest.raises(ValidationError, match="both bounds or none"):
        Lines(**TOLD, x="n", y="n", low="n")
    with pytest.raises(ValidationError, match="colours from low to high"):
        Heatmap(**TOLD, x="n", y="n", value="n", low=1, high=1)
