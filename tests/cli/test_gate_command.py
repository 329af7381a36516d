"""`tlaudit gate` as a user meets it: exit codes, formats, what is refused, the step summary."""

from __future__ import annotations

import hashlib
import json
import subprocess
import sys
import time

import pytest
from typer.testing import CliRunner

from gated import a_check, a_policy, an_audit, flips, number
from tlaudit.cli import app as application
from tlaudit.cli import step_summary
from tlaudit.policy import gate
from tlaudit.records import READABLE_VERSIONS, SCHEMA_VERSION
from tlaudit.reports import VERDICT_FORMATS
from tlaudit.verdicts import Verdict

runner = CliRunner()


@pytest.fixture(autouse=True)
def nowhere(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv(step_summary.VARIABLE, raising=False)


@pytest.fixture
def report(tmp_path):
    """An audit in which a seventh of the answers flip."""
    path = tmp_path / "audit.json"
    lingering = a_check("lingering", number("lingering.fraction", 0.5, low=0.4, high=0.6))
    path.write_text(an_audit(flips(0.134), lingering).to_json(), encoding="utf-8")
    return path


def run(*args):
    return runner.invoke(application.app, ["gate", *(str(arg) for arg in args)])


def ended(code, ran, *words):
    """Whether it ended with that code and said these words on stderr."""
    assert ran.exit_code == code, ran.output
    for word in words:
        assert word in ran.stderr
    return True


OUTCOMES = [
    ({"max": 0.2}, 0),
    ({"max": 0.05}, 1),
    ({"max": 0.05, "severity": "warn"}, 0),
    ({"max": 0.05, "waive": "2999-12-31"}, 0),
    ({"max": 0.05, "waive": "2026-01-01"}, 1),
    ({"max": 0.2, "min_samples": 5000}, 3),
    ({"max": 0.2, "min_samples": 5000, "on_missing": "warn"}, 0),
    ({"metric": "erosion.cka.*", "min": 0.2}, 3),
    ({"metric": "erosion.cka.*", "min": 0.2, "on_missing": "skip"}, 0),
    ({"max_increase": 0.1}, 3),
]


@pytest.mark.parametrize(("rule", "code"), OUTCOMES)
def test_the_exit_code_is_that_of_the_verdict(report, tmp_path, rule, code):
    a_policy(tmp_path, rule)
    ran = run(report, "-f", "json")
    ended(code, ran)
    assert Verdict.model_validate_json(ran.stdout).exit_code == code


@pytest.mark.parametrize("name", VERDICT_FORMATS)
def test_the_exit_code_is_the_same_in_every_format(report, tmp_path, name):
    for rule, code in [OUTCOMES[0], OUTCOMES[1], OUTCOMES[2], OUTCOMES[5]]:
        policy = a_policy(tmp_path, rule)
        ended(code, run(report, "-f", name))
        out = tmp_path / f"verdict{VERDICT_FORMATS[name].suffix}"
        ended(code, run(report, "-f", name, "-o", out, "-q"))
        assert out.read_text(encoding="utf-8") == VERDICT_FORMATS[name].render(gate(report, policy=policy.name), 15)


def test_bad_usage_is_2_whatever_the_format(report, tmp_path):
    a_policy(tmp_path, {"metric": "distraction.flip_rat", "max": 1})
    for name in VERDICT_FORMATS:
        ended(2, run(report, "-f", name), "tlaudit.toml:1: ", "did you mean 'distraction.flip_rate'?")


def test_writes_several_formats_and_the_report(report, tmp_path):
    a_policy(tmp_path, {"max": 0.05})
    ran = run(report, "-f", "json", "-f", "junit", "-f", "sarif", "-o", "out.json", "--report", "out.html")
    ended(1, ran, "Refused")
    verdict = Verdict.model_validate_json((tmp_path / "out.json").read_text())
    assert (verdict.outcome, verdict.policy.path, verdict.rulings[0].line) == ("fail", "tlaudit.toml", 1)
    assert len(list(tmp_path.glob("out.*"))) == 4
    assert "<html" in (tmp_path / "out.html").read_text()


def test_quiet_says_nothing_and_the_table_is_there_otherwise(report, tmp_path):
    a_policy(tmp_path, {"max": 0.05})
    assert run(report, "-f", "json", "-o", "out.json", "-q").output == ""
    assert "distraction.flip_rate" in run(report, "-f", "json", "-o", "out.json").stderr
    assert "distraction.flip_rate" in run(report).stdout


def test_top_limits_what_is_passed(report, tmp_path):
    a_policy(tmp_path, *({"max": 0.5, "id": f"rule-{number}"} for number in range(9)))
    assert "rule-8" in run(report).stdout
    assert "rule-8" not in run(report, "--top", "3").stdout


def test_verbose_says_more(report, monkeypatch):
    import logging

    levels = []
    monkeypatch.setattr(step_summary, "append", lambda _: levels.append(logging.getLogger("tlaudit").level))
    run(report)
    run(report, "-v")
    assert levels == [logging.WARNING, logging.INFO]


def test_policy_config_and_what_is_found(report, tmp_path):
    loose, tight = (a_policy(tmp_path, {"max": limit}, name=f"{limit}.toml") for limit in (0.2, 0.1))
    ended(0, run(report, "--policy", loose))
    ended(1, run(report, "--policy", tight))
    ended(1, run(report, "--config", tight))
    ended(2, run(report, "--config", tight, "--policy", loose), "the rules come from one file")
    assert "the policy that comes with tlaudit" in run(report).stdout
    a_policy(tmp_path, {"max": 0.1})
    ended(1, run(report))
    ended(0, run(report, "--policy", loose))
    ended(2, run(report, "--policy", "none.toml"), "none.toml: does not exist")


def test_against_and_first_release(report, tmp_path):
    a_policy(tmp_path, {"max_increase": 0.1})
    previous = tmp_path / "previous.json"
    for before, code in ((0.1, 0), (0.01, 1)):
        previous.write_text(flips(before, sha256="d" * 64).to_json())
        ended(code, run(report, "--against", previous))
    ended(3, run(report))
    ended(0, run(report, "--first-release"))
    ended(2, run(report, "--first-release", "--against", previous), "--first-release says")
    ended(2, run(report, "--against", report), "both judged and named by --against")


def test_checkpoint(report, tmp_path):
    a_policy(tmp_path, {"max": 0.2})
    net = tmp_path / "net.pth"
    net.write_bytes(b"weights")
    sha256 = hashlib.sha256(b"weights").hexdigest()
    ended(3, run(report, "--checkpoint", net), sha256, "c" * 64)
    report.write_text(flips(sha256=sha256).to_json())
    ended(0, run(report, "--checkpoint", net))
    ended(2, run(report, "--checkpoint", "none.pth"), "none.pth: cannot be read: No such file")


def changed(report, **values):
    document = json.loads(report.read_text())
    return json.dumps({**document, **values})


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "expected a result that tlaudit wrote as JSON"),
        (b"\x80\x02\x00PK", "it is no UTF-8 text"),
        (b"null", "it has no schema_version"),
        (b"[" * 100_000, "expected a result that tlaudit wrote as JSON"),
        ({"schema_version": "1.0"}, "expected a result of schema version 1.1 or"),
        ({"schema_version": 1.4}, "got 1.4, which is no text"),
        ({"schema_version": "2.0"}, "expected a result of schema version 1.1 or"),
        ({"document": "verdict"}, "expected the report of an audit or a check, got a verdict"),
        ({"document": "comparison"}, "got a comparison"),
        ({"extra": 1}, "extra: Extra inputs are not permitted"),
    ],
)
def test_refuses_what_is_no_report(report, content, message):
    if isinstance(content, bytes):
        report.write_bytes(content)
    else:
        report.write_text(changed(report, **content))
    ended(3, run(report), "audit.json", message)
    good = report.with_name("good.json")
    good.write_text(a_check("erosion").to_json())
    ended(3, run(good, "--against", report), "audit.json", message)


@pytest.mark.parametrize("value", ["NaN", "Infinity", "-Infinity"])
def test_refuses_a_report_with_what_is_no_number(report, value):
    report.write_text(report.read_text().replace("0.134", value))
    ended(3, run(report), f"it holds {value}, which is no number")


@pytest.mark.parametrize(
    ("text", "other", "message"),
    [
        ('"value": 0.134', '"value": "0.134"', "checks.0.measurements.0.value"),
        ('"value": 0.134', '"value": true', "checks.0.measurements.0.value"),
        ('"n": 900', '"n": "900"', "checks.0.measurements.0.n: Input should be a valid integer"),
        ('"n": 900', '"n": 900.0', "checks.0.measurements.0.n: Input should be a valid integer"),
        ('"value": 0.134', '"value": 0.01, "value": 0.134', "it holds value twice in one place"),
        ('"value": 0.134', f'"value": 1{"0" * 400}', "it holds a number of 401 digits, which is too large"),
        ('"value": 0.134', f'"value": 1{"0" * 5000}', "it holds a number of 5001 digits, which is too large"),
        ('"value": 0.134', '"value": -1e999', "it holds -1e999, which is no finite number"),
        ('"check": "distraction"', '"check": "distractoin"', "got one of distractoin"),
        ('"check": "distraction"', '"check": "\\u001b[31m"', "got one of \\x1b[31m"),
    ],
)
def test_reads_strictly(report, text, other, message):
    assert text in report.read_text()
    report.write_text(report.read_text().replace(text, other, 1))
    ended(3, run(report), "audit.json: expected ", message)


def test_a_check_of_another_schema_is_refused_inside_an_audit_too(report):
    document = json.loads(report.read_text())
    document["checks"][1]["schema_version"] = "0.9"
    report.write_text(json.dumps(document))
    ended(3, run(report), "expected a result of schema version 1.1 or", "got 0.9")


@pytest.mark.parametrize("version", READABLE_VERSIONS)
def test_reads_every_version_that_it_says_it_reads(report, tmp_path, version):
    a_policy(tmp_path, {"max": 0.2})
    report.write_text(report.read_text().replace(f'"{SCHEMA_VERSION}"', f'"{version}"'))
    ended(0, run(report))


def test_refuses_a_number_beyond_all_numbers(report):
    report.write_text(report.read_text().replace("0.134", "1e999"))
    ended(3, run(report), "finite number")


@pytest.mark.parametrize("share", [0.1, 0.5, 0.999])
def test_refuses_a_truncated_report(report, share):
    text = report.read_text()
    report.write_text(text[: int(share * len(text))])
    ended(3, run(report), "audit.json: expected a result that tlaudit wrote as JSON")


def test_refuses_a_folder_a_missing_file_and_none(tmp_path):
    ended(3, run(tmp_path), "cannot be read: Is a directory")
    ended(3, run("none.json"), "none.json: cannot be read: No such file")
    ended(2, run(), "missing: a report to judge")


def test_a_verdict_is_no_report(report, tmp_path):
    a_policy(tmp_path, {"max": 0.2})
    run(report, "-o", "verdict.json", "-q")
    ended(3, run("verdict.json"), "expected the report of an audit or a check, got a verdict")


def test_refuses_reports_of_two_checkpoints(report, tmp_path):
    (tmp_path / "other.json").write_text(a_check("erosion", sha256="d" * 64).to_json())
    ended(2, run(report, "other.json"), "different networks", "other.json")
    ended(2, run(report, report), "give each check once")


@pytest.mark.parametrize("option", ["-o", "--report"])
def test_overwrites_nothing_that_it_reads(report, tmp_path, option):
    mine = a_policy(tmp_path, {"max": 0.2}, name="mine.html")
    form = ["-f", "json"] if option == "-o" else []
    before = mine.read_text()
    ended(2, run(report, "--policy", mine, *form, option, mine), "both --policy and ")
    assert mine.read_text() == before


@pytest.mark.parametrize("option", ["-o", "--report"])
def test_does_not_write_over_the_rules_that_it_found(report, tmp_path, option):
    mine = a_policy(tmp_path, {"max": 0.2})
    before = mine.read_text()
    if option == "-o":
        ended(2, run(report, "-f", "json", "-o", "tlaudit.toml"), "both the configuration and --output name it")
        several = run(report, "-f", "json", "-f", "junit", "-o", mine.with_suffix(".x"), "-q")
        assert several.exit_code == 0
    else:
        (tmp_path / "page.html").symlink_to(mine)
        ended(2, run(report, "--report", "page.html"), "both the configuration and --report name it")
    assert mine.read_text() == before
    mine.rename("pyproject.toml")
    ended(2, run(report, "-f", "json", "-o", "./pyproject.toml"), "both the configuration and --output")


def test_a_measurement_removed_by_hand_is_no_answer(report, tmp_path):
    a_policy(tmp_path, {"max": 0.2})
    ended(0, run(report))
    document = json.loads(report.read_text())
    document["checks"][0]["measurements"] = []
    report.write_text(json.dumps(document))
    ended(3, run(report), "")


def test_explains_a_rule_without_reports(tmp_path):
    a_policy(
        tmp_path,
        {
            "max": 0.05,
            "max_increase": 0.01,
            "max_relative_increase": 0.5,
            "use": "upper",
            "min_samples": 100,
            "if_any": "lingering.count",
        },
        {"metric": "erosion.cka.*", "min": 0.5, "severity": "warn", "on_missing": "skip", "waive": "2027-03-31"},
    )
    ran = run("--explain", "distraction.flip_rate")
    assert ran.exit_code == 0
    for words in (
        "distraction.flip_rate:upper (tlaudit.toml:1)",
        "Right on grey and wrong on the composite, finetuned network. Unit: share; lower is better.",
        "at most 5.0 % (max = 0.05)",
        "a rise of at most 1.0 points since the previous report (max_increase = 0.01)",
        "a rise of at most 50.0 % of the previous number",
        "the upper bound of the number's interval",
        "only if the number rests on 100 or more",
        "where lingering.count is 0 there is nothing to measure, and no number is missed",
        "error: a violation refuses the release (exit code 1)",
        "fail: without a number there is no answer (exit code 3)",
    ):
        assert words in ran.stdout
    assert run("--explain", "distraction.flip_rate:upper").stdout == ran.stdout
    other = run("--explain", "erosion.cka.layer4").stdout
    assert other == run("--explain", "erosion.cka.*").stdout == run("--explain", "erosion.cka.*:warn").stdout
    for words in ("(tlaudit.toml:9)", "erosion.cka.min: ", "warn: a viol", "skip: ", "until 2027-03-31: a known weakn"):
        assert words in other


def test_explains_a_waiver_that_has_ended_and_limits_with_all_digits(tmp_path):
    a_policy(tmp_path, {"max": 0.01234567, "max_increase": 0.0125, "waive": "2020-03-31"})
    shown = run("--explain", "distraction.flip_rate").stdout
    for words in (
        "waived       not any more, the waiver ended on 2020-03-31: a known weakness",
        "at most 1.234567 % (max = 0.01234567)",
        "a rise of at most 1.25 points since the previous report (max_increase = 0.0125)",
    ):
        assert words in shown


def test_explains_how_a_rule_was_judged(report, tmp_path):
    a_policy(tmp_path, {"max": 0.05})
    ran = run("--explain", "distraction.flip_rate", report)
    assert ran.exit_code == 0
    assert "violated: distraction.flip_rate is 13.4 % (n 900), above the 5.0 % allowed" in ran.stdout
    ended(2, run("--explain", "distraction.flp_rate"), "did you mean 'distraction.flip_rate'?")
    ended(2, run("--explain", "x"), "there are distraction.flip_rate")
    ended(2, run("--explain", "distraction.flip_rate", "-f", "json"), "plain text to stdout")
    ended(2, run("--explain", "distraction.flip_rate", "--report", "x.html"), "plain text to stdout")


def test_explains_names_that_a_terminal_would_obey(tmp_path):
    report = tmp_path / "r.json"
    report.write_text(a_check("erosion", number("erosion.cka.\x1b[31m", 0.2, unit="cka")).to_json())
    a_policy(tmp_path, {"metric": "erosion.cka.*", "min": 0.5})
    shown = run("--explain", "erosion.cka.*", report).stdout
    assert "erosion.cka.\ufffd[31m is 0.200" in shown
    assert "\x1b" not in shown


def test_adds_to_the_step_summary(report, tmp_path, monkeypatch):
    a_policy(tmp_path, {"max": 0.05})
    summary = tmp_path / "summary.md"
    summary.write_text("# Earlier\n")
    monkeypatch.setenv(step_summary.VARIABLE, str(summary))
    ended(1, run(report, "-q", "-f", "json", "-o", "v.json"))
    verdict = Verdict.model_validate_json((tmp_path / "v.json").read_text())
    assert summary.read_text() == "# Earlier\n\n" + VERDICT_FORMATS["markdown"].render(verdict, 15)


@pytest.mark.parametrize("there", [0, 1000, step_summary.LIMIT - 2000])
def test_the_step_summary_stays_within_its_limit(tmp_path, monkeypatch, there):
    summary = tmp_path / "summary.md"
    summary.write_bytes(b"x" * there)
    monkeypatch.setenv(step_summary.VARIABLE, str(summary))
    line = "ä line of the verdict\n"
    step_summary.append(line * 80_000)
    content = summary.read_bytes()
    assert step_summary.LIMIT - 100 < len(content) <= step_summary.LIMIT
    added = content[there:].decode().removeprefix("\n")
    assert added.endswith("\n*Cut here: the summary of a step holds 1 MiB.*\n")
    assert set(added.splitlines()[:-2]) == {line.strip()}
    step_summary.append("more\n" * 100)
    assert len(summary.read_bytes()) <= step_summary.LIMIT


def test_a_summary_that_fits_to_the_byte_is_not_cut(tmp_path, monkeypatch):
    summary = tmp_path / "summary.md"
    monkeypatch.setenv(step_summary.VARIABLE, str(summary))
    step_summary.append("y" * step_summary.LIMIT)
    assert summary.read_text() == "y" * step_summary.LIMIT


@pytest.mark.parametrize("name", ["missing/summary.md", ".", "nul\0"])
@pytest.mark.parametrize(("limit", "code"), [(0.2, 0), (0.05, 1)])
def test_a_summary_that_cannot_be_written_changes_no_exit_code(report, tmp_path, monkeypatch, name, limit, code):
    a_policy(tmp_path, {"max": limit})
    monkeypatch.setattr(step_summary.os, "environ", {step_summary.VARIABLE: name})
    ended(code, run(report), "the step summary cannot be written")


def test_starts_without_torch_and_quickly(report, tmp_path):
    a_policy(tmp_path, {"max": 0.2})
    code = (
        "import sys, tlaudit; from tlaudit.cli import app\n"
        f"assert tlaudit.gate({str(report)!r}, policy='tlaudit.toml').exit_code == 0\n"
        f"sys.argv = ['tlaudit', 'gate', {str(report)!r}]\n"
        "try:\n    app.main()\nexcept SystemExit as stop:\n    assert not stop.code, stop.code\n"
        "sys.exit(bool({'torch', 'pandas', 'scipy', 'plotly'} & set(sys.modules)))"
    )
    begin = time.monotonic()
    ran = subprocess.run([sys.executable, "-c", code], check=False, capture_output=True, text=True)
    assert ran.returncode == 0, ran.stderr
    assert time.monotonic() - begin < 20
