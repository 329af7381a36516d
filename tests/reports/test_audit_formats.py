from __future__ import annotations

import csv
import io
import re

import pytest
from markdown_it import MarkdownIt

from samples import a_result
from samples_verdict import AUDITS, HOSTILE_TEXTS, a_failed_check, an_audit
from tlaudit.reports import AUDIT_FORMATS, audit_as_terminal, audit_told, terminal, wording
from tlaudit.results import AuditReport, Finding

WORDS = {"concern": "Concern", "clear": "Clear", "open": "Open"}
READ = ["table", "markdown"]


def written(format_, sample, rows=15):
    audit = AUDITS[sample] if isinstance(sample, str) else sample
    return AUDIT_FORMATS[format_].render(audit, rows)


@pytest.mark.parametrize("sample", AUDITS)
@pytest.mark.parametrize("format_", [name for name in AUDIT_FORMATS if name != "html"])
def test_every_format_writes_every_audit_and_twice_the_same(format_, sample):
    text = written(format_, sample)
    assert text.endswith("\n")
    assert written(format_, AuditReport.model_validate_json(AUDITS[sample].to_json())) == text


@pytest.mark.parametrize("sample", ["concern", "clear", "failed check", "only failed"])
@pytest.mark.parametrize("format_", READ)
def test_front_says_verdict_subject_and_each_check(format_, sample):
    audit = AUDITS[sample]
    text = written(format_, audit).replace("\\", "")
    assert text.lstrip("# ").removeprefix("tlaudit audit: ").startswith(WORDS[audit.verdict])
    assert audit.summary in text
    assert audit.subject in text
    for result in audit.checks:
        assert result.check in text
        assert (result.failure or result.summary) in text
    for check, reason in audit.left_out.items():
        assert f"{check}: {reason}" in text or f"**{check}** {reason}" in text


@pytest.mark.parametrize("format_", READ)
def test_front_shows_the_headline_with_intervals(format_):
    text = written(format_, "concern").replace("\\", "")
    front = text.split("\n## lingering")[0]
    for measurement in audit_told.headline(AUDITS["concern"]):
        assert measurement.name in front
        if measurement.interval:
            assert wording.interval(measurement) in front
        if measurement.absent:
            assert measurement.absent in front
    assert "distraction.composites" not in front


@pytest.mark.parametrize("format_", READ)
def test_a_failed_check_says_why_and_no_more(format_):
    text = written(format_, "only failed").replace("\\", "")
    assert "Failed" in text
    assert "no GPU memory was left." in text
    if format_ == "table":
        assert "measurement " not in text


def test_a_measurement_of_several_checks_is_shown_once():
    one = a_result()
    other = one.model_copy(update={"check": "distraction"})
    names = [measurement.name for measurement in audit_told.headline(an_audit(one, other))]
    assert names == ["lingering.fraction", "target.accuracy"]


def test_a_measurement_that_one_check_lacks_is_taken_from_another():
    measured = a_result()["lingering.fraction"].model_copy(update={"name": "target.accuracy"})
    other = a_result().model_copy(
        update={"check": "distraction", "measurements": (measured,), "headline": ("target.accuracy",)}
    )
    assert audit_told.headline(an_audit(a_result(), other))[1].value == 0.25


def with_findings():
    findings = tuple(
        Finding(code=f"code.{severity}{number}", severity=severity, message=f"{severity} {number}.")
        for number in range(2)
        for severity in ("info", "error", "warning")
    )
    one = a_result().model_copy(update={"findings": findings})
    return an_audit(one, one.model_copy(update={"check": "distraction"}))


def test_gravest_findings_come_first_and_each_once():
    found = audit_told.findings(with_findings())
    assert [finding.severity for finding, _ in found] == ["error"] * 2 + ["warning"] * 2 + ["info"] * 2
    assert {checks for _, checks in found} == {"lingering, distraction"}


def test_rows_limit_the_findings_of_a_terminal():
    text = written("table", with_findings(), 2)
    assert "error: error 1. (lingering, distraction)" in text
    assert "warning 0." not in text
    assert "4 more findings" in text
    assert "more findings" not in written("table", with_findings(), 6)


def test_rows_limit_the_tables_of_markdown():
    assert "1 of 2, worst first" in written("markdown", "clear", 1)
    assert "2 of 2, worst first" in written("markdown", "clear", 2)


def test_narrow_terminal_leaves_meanings_out():
    wide, narrow = (
        terminal.plain(audit_as_terminal.view(AUDITS["concern"], 15, width)) for width in (terminal.WIDE, 80)
    )
    assert "What chance gives." in wide
    assert "What chance gives." not in narrow


def test_markdown_has_a_section_a_check_one_level_lower():
    headings = re.findall(r"^#+ .*$", written("markdown", "failed check"), re.MULTILINE)
    assert headings == [
        "# tlaudit audit: Concern",
        "## Numbers in front",
        "## Checks that failed",
        "## lingering",
        r"### Lingering classes (2 of 2, worst first)",
        "### Findings",
        "### Left out",
        "### Networks",
        "## erosion",
        "### Left out",
        "### Networks",
    ]


def test_hostile_text_is_text_in_markdown():
    tokens = MarkdownIt("commonmark").enable(["table", "strikethrough"]).parse(written("markdown", "hostile"))
    inline = {child.type for token in tokens for child in token.children or ()}
    assert inline <= {"text", "strong_open", "strong_close"}
    assert "html_block" not in {token.type for token in tokens}
    contents = " ".join(child.content for token in tokens for child in token.children or ())
    for text in HOSTILE_TEXTS:
        assert wording.visible(text) in contents


def test_hostile_text_moves_no_cursor():
    assert not re.search(r"[\x00-\x09\x0b-\x1f\x7f-\x9f\u202e\u2028]", written("table", "hostile"))


def test_csv_has_a_row_a_measurement():
    audit = AUDITS["failed check"]
    rows = list(csv.DictReader(io.StringIO(written("csv", audit))))
    assert [(row["check"], row["name"]) for row in rows] == [
        (result.check, measurement.name) for result in audit.checks for measurement in result.measurements
    ]
    assert rows[0] == {
        "check": "lingering",
        "name": "lingering.fraction",
        "value": "0.25",
        "low": "0.1",
        "high": "0.5",
        "confidence": "0.95",
        "n": "8",
        "unit": "share",
        "better": "lower",
        "absent": "",
    }
    assert rows[1]["value"] == ""
    assert rows[1]["absent"] == "no validation images"


def test_csv_keeps_full_precision_and_text():
    precise = a_result()["lingering.fraction"].model_copy(update={"value": 0.12345678901234568})
    exact = a_result().model_copy(update={"measurements": (precise,), "headline": ()})
    text = written("csv", an_audit(exact, a_failed_check('a, "b"\nc')))
    rows = list(csv.DictReader(io.StringIO(text)))
    assert float(rows[0]["value"]) == 0.12345678901234568
    assert rows[1]["absent"] == 'a, "b"\nc'


def test_csv_names_a_check_that_has_no_measurement():
    nothing = a_failed_check().model_copy(update={"measurements": (), "headline": ()})
    (row,) = csv.DictReader(io.StringIO(written("csv", an_audit(nothing))))
    assert (row["check"], row["name"], row["absent"]) == ("erosion", "", "no GPU memory was left.")
