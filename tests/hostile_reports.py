"""A report with every field, and the rules between its fields."""

from __future__ import annotations

import json
from typing import Any

import hostile_documents
from gated import an_audit, number
from samples import a_model, a_result
from tlaudit.exhibits import Exhibit, Heatmap, Level, Lines, Picture, Scatter
from tlaudit.records import READABLE_VERSIONS
from tlaudit.results import AuditReport, Preprocessing

SCHEMA = hostile_documents.Schema(AuditReport.model_json_schema(mode="validation"))
CHECKS = {"lingering", "distraction", "erosion", "stress", "screen", "repair", "continual"}


def _complete() -> dict[str, Any]:
    told = {"title": "T", "reading": "R.", "table": "classes"}
    level = Level(axis="x", value=0.5, label="chance")
    charts = (
        Scatter(
            **told,
            x="n",
            y="hybrid_probability",
            name="class_name",
            group="class_name",
            shade="n",
            labelled=True,
            least_span=0.5,
            diagonal=True,
            levels=(level,),
        ),
        Lines(
            **told,
            x="n",
            y="n",
            group="class_name",
            name="class_name",
            low="n",
            high="n",
            log_x=True,
            log_y=True,
            levels=(level,),
        ),
        Heatmap(**told, x="class_name", y="class_name", value="n", low=0.0, high=1.0),
    )
    plain = a_result()
    picture = Picture(label="composite", caption="C.", alt="A cup.", jpeg="AA==")
    preprocessing = Preprocessing(
        resize=8, crop=8, interpolation="bilinear", mean=(0, 0, 0), std=(1, 1, 1), origin="the file"
    )
    model = a_model().model_copy(
        update={
            "preprocessing": preprocessing,
            "non_finite": ("fc.bias",),
            "blocked": ("os.system",),
            "notes": ("A note.",),
            "keys": a_model().keys.model_copy(update={"missing": ("a",), "unexpected": ("b",)}),
        }
    )
    data = {"source": plain.provenance.data["source"].model_copy(update={"labels": "l" * 64})}
    provenance = plain.provenance.model_copy(
        update={
            "models": {"source": model, "finetuned": model.model_copy(update={"sha256": "c" * 64})},
            "data": data,
            "options": {"k": 5, "ratios": [0.1, 0.2]},
        }
    )
    measurements = (number("lingering.fraction", 0.5, low=0.4, high=0.6), number("target.accuracy"))
    result = plain.model_copy(
        update={
            "charts": charts,
            "exhibits": (Exhibit(group="Cups", reading="Look.", title="cup", text="T.", pictures=(picture,)),),
            "measurements": measurements,
            "provenance": provenance,
        }
    )
    return json.loads(an_audit(result, left_out={"stress": "nobody asked"}).to_json())


COMPLETE = _complete()


def is_legal(variant: hostile_documents.Variant) -> bool:
    """Whether a changed audit keeps to its schema and to the rules between its fields."""
    return variant.legal and _rules_between(variant.document)


def _rules_between(audit: dict[str, Any]) -> bool:
    names = [check["check"] for check in audit["checks"]]
    return (
        # What kind of document it is, and of which version, has to be there, since that says how to read the rest.
        audit.get("document") == "audit"
        and audit.get("schema_version") in READABLE_VERSIONS
        and all(check.get("schema_version", "1.4") in READABLE_VERSIONS for check in audit["checks"])
        and set(names) <= CHECKS
        and len(set(names)) == len(names)
        and not set(names) & set(audit.get("left_out", {}))
        and all(map(_is_check, audit["checks"]))
    )


def _is_check(check: dict[str, Any]) -> bool:
    measurements = check["measurements"]
    names = [one["name"] for one in measurements]
    return (
        len(set(names)) == len(names)
        and set(check["headline"]) <= set(names)
        and all(map(_is_measurement, measurements))
        and (check.get("failure") is None or all(one.get("value") is None for one in measurements))
        and all(map(_is_table, check["tables"].values()))
        and all(_is_chart(chart, check["tables"]) for chart in check.get("charts", ()))
    )


def _is_measurement(one: dict[str, Any]) -> bool:
    value, interval = one.get("value"), one.get("interval")
    if interval is not None and interval["low"] > interval["high"]:
        return False
    if value is None:
        return one.get("absent") is not None and interval is None
    return one.get("absent") is None and (interval is None) != (one.get("interval_absent") is None)


def _is_table(table: dict[str, Any]) -> bool:
    names = [column["name"] for column in table["columns"]]
    return (
        all(list(row) == names for row in table["rows"])
        and set(table["brief"]) <= set(names)
        and all(0 <= number < len(table["rows"]) for number in table.get("worst", ()))
    )


def _is_chart(chart: dict[str, Any], tables: dict[str, Any]) -> bool:
    numbers = {"scatter": ("y", "x", "shade"), "lines": ("y", "low", "high"), "heatmap": ("value",)}
    texts = {"scatter": ("name", "group"), "lines": ("x", "group", "name"), "heatmap": ("x", "y")}
    if "kind" not in chart or chart["table"] not in tables:
        return False
    table = tables[chart["table"]]
    names = {column["name"] for column in table["columns"]}
    drawn, said = (
        [chart[key] for key in keys[chart["kind"]] if chart.get(key) is not None] for keys in (numbers, texts)
    )
    low, high = chart.get("low"), chart.get("high")
    if chart["kind"] == "lines" and (low is None) != (high is None):
        return False
    if chart["kind"] == "heatmap" and low is not None and high is not None and low >= high:
        return False
    return {*drawn, *said} <= names and not any(
        isinstance(row[key], str | bool) for row in table["rows"] for key in drawn
    )
