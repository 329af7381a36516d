from __future__ import annotations

import re

import pytest

from reports.walked import Page, flat
from samples import a_distraction, a_measurement, a_result, an_exhibit, distraction_table
from samples_pages import SHARED, WHY, a_lingering, an_audit
from samples_verdict import a_failed_check
from samples_verdict import an_audit as audited
from tlaudit.metrics import meaning
from tlaudit.options.audit import CheckName
from tlaudit.reports import as_html, audit_as_html, pages, plain_words
from tlaudit.results import AuditReport, CheckResult, Finding


def page_of(*checks: CheckResult, **changes) -> Page:
    return Page(audit_as_html.render(audited(*checks, **changes), 5))


def front(source: str) -> str:
    """The words before the sections of the checks."""
    return Page(source[: source.index('<div class="evidence">')] + "</div></main></body></html>").text


@pytest.fixture(scope="module")
def source() -> str:
    return audit_as_html.render(an_audit(), 15)


@pytest.fixture(scope="module")
def page(source) -> Page:
    return Page(source)


def test_front_page_says_what_was_audited(source):
    text = front(source)
    assert "Audit of <img src=x onerror=alert(1)>.pth sha256 000000000000 · squeezenet1_1, 3 classes" in text
    assert "finetuned from a.pth · 2026-01-01 00:00 UTC" in text
    assert f'<code title="{"0" * 64}">' in source


def test_banner_says_the_verdict_and_what_it_comes_to(source):
    text = front(source)
    assert "Concern There is something to act on" in text
    for check in ("lingering", "distraction"):
        assert plain_words.CHECKS[check].finding in text
    assert plain_words.CHECKS["erosion"].finding not in text
    assert flat(an_audit().summary) in text


@pytest.mark.parametrize(
    ("verdict", "failed", "state"),
    [
        ("concern", True, "concern"),
        ("open", True, "failed"),
        ("open", False, "open"),
        ("clear", False, "clear"),
    ],
)
def test_banner_of_each_verdict(verdict, failed, state):
    checks = (a_result().model_copy(update={"verdict": verdict}), *((a_failed_check(),) if failed else ()))
    page = page_of(*checks, verdict=verdict)
    assert " ".join(plain_words.BANNERS[state]) in page.text
    banner = next(named for tag, named in page.elements if tag == "section" and "banner" in named["class"])
    assert banner["class"] == f"verdict banner {state}"


def test_accuracy_stands_beside_the_verdict(source):
    text = front(source)
    assert "What validation says 98.3 % of 40 validation images are right (94.1 % to 99.5 %, 95 % interval)" in text
    assert "A network that learnt from your data alone gets 95.0 %." in text


def test_accuracy_that_is_absent_says_why():
    text = page_of(a_result()).text
    assert "What validation says not measured no validation images" in text
    assert "What validation says not measured No check that was made asks for it." in page_of(a_distraction()).text


def test_each_check_asks_its_question(source):
    text = front(source)
    for check, word in (("lingering", "Concern"), ("distraction", "Concern"), ("erosion", "Failed")):
        assert f"{plain_words.question(check)} {word} {plain_words.CHECKS[check].why}" in text
    assert "Odd check" in page_of(a_result().model_copy(update={"check": "odd_check"})).text


def test_numbers_of_a_check_are_told_with_intervals(source):
    text = front(source)
    phrases = plain_words.CHECKS["lingering"].numbers
    assert (
        f"94.4 % {phrases['lingering.fraction'].text} 74.2 % to 99.0 % 95 % interval · n = 40 · lingering.fraction"
        in text
    )
    # A ratio is told in percent, and so is its interval.
    assert f"89.4 % {phrases['lingering.pooled_retention'].text} 84.0 % to 94.5 % 95 % interval" in text


def test_at_most_three_numbers_and_none_that_is_absent(source):
    cards = re.findall(r'<ul class="numbers">.*?</ul>', source, re.DOTALL)
    assert [card.count('class="value"') for card in cards] == [3, 3]
    assert not [card for card in cards if "occlusion_recovery" in card]


def test_points_are_a_hundredth_of_a_difference():
    drop = a_measurement("erosion.source_accuracy_drop", "Drop.", "difference", "lower", 0.173, 0.127, 0.223)
    update = {"check": "erosion", "measurements": (drop,), "headline": (drop.name,)}
    text = page_of(a_result().model_copy(update=update)).text
    assert "17.3 points of the original task's accuracy are lost 12.7 to 22.3 95 % interval" in text


def test_what_could_not_be_measured_is_said_with_the_reason(source):
    text = front(source)
    assert f"erosion: The check failed: {WHY}" in text
    assert "stress: The check was left out: there is no section [stress] in tlaudit.toml" in text
    assert "distraction.occlusion_recovery: no composite was wrong" in text
    everything = page_of(a_lingering(), left_out={})
    assert "All checks were made, and all numbers of this page were measured." in everything.text


def test_next_steps_are_commands_for_what_was_found(source):
    text = front(source)
    assert "Lingering, Distraction" in text
    assert "tlaudit repair --method unlearn,composites --train-data FOLDER -o repaired.safetensors" in text
    assert "--method ldifs" not in text
    assert "tlaudit gate repaired.json --against audit.json" in text
    eroded = page_of(a_result().model_copy(update={"check": "erosion"})).text
    assert "tlaudit repair --method ldifs" in eroded
    assert "--method unlearn" not in eroded
    assert "tlaudit repair" not in page_of(a_result().model_copy(update={"verdict": "clear"}), verdict="clear").text
    opened = page_of(a_result().model_copy(update={"verdict": "open"}), verdict="open").text
    assert plain_words.CHECKS["lingering"].undecided in opened


def test_the_folder_in_a_command_is_quoted():
    result = a_result()
    folder = result.provenance.data["source"].model_copy(update={"path": "my images; rm -rf ~"})
    provenance = result.provenance.model_copy(update={"data": {"target": folder}})
    text = page_of(result.model_copy(update={"provenance": provenance})).text
    assert "--train-data 'my images; rm -rf ~' -o" in text


def test_findings_of_several_checks_are_told_once(source, page):
    assert page.text.count(SHARED.message) == 1
    assert SHARED.message in front(source)
    assert "Not a child of this source." not in front(source)
    assert "Not a child of this source." in page.text
    own = Finding(code="own", severity="info", message="Seen by one check.")
    alone = page_of(a_lingering().model_copy(update={"findings": (own,)}))
    assert "What to know about all of it" not in alone.text
    assert "What other checks found as well" not in alone.text


def test_a_failed_check_says_why_and_shows_no_empty_tables(source):
    section = source[source.index('<section class="check" id="r2"') :]
    text = Page(section[: section.index("</section>") + len("</section>")]).text
    assert f"Failed. The check could not be made. {WHY}" in text
    assert f"not measured: erosion.rank_ratio.min: {WHY}" in text
    for what in ("Tables", "All measurements", "In numbers", "Charts"):
        assert what not in text


def test_a_failed_check_alone_is_a_page_too():
    text = Page(as_html.render(a_failed_check("no memory was left"), 5)).text
    assert "Failed. The check could not be made. no memory was left" in text
    assert "All measurements" not in text


def test_sections_are_those_of_the_checks_alone(source):
    alone = as_html.render(a_distraction(), 15)
    grid = alone[alone.index("<tbody>") : alone.index("</tbody>")]
    assert grid in source
    assert source.count("data:image/jpeg") == alone.count("data:image/jpeg")


def test_stays_below_its_cap_whatever_comes():
    result = a_distraction()
    tables = {"classes": distraction_table(tuple(f"<&> {n}" * 20 for n in range(5000)))}
    exhibits = tuple(an_exhibit(n, f"class {n}", "worst") for n in range(60)) * 3
    large = result.model_copy(update={"tables": tables, "exhibits": exhibits})
    twin = large.model_copy(update={"check": "erosion"})
    text = audit_as_html.render(audited(large, twin, a_failed_check().model_copy(update={"check": "stress"})), 15)
    assert 0.8 * pages.MOST_BYTES < len(text.encode()) < pages.MOST_BYTES
    assert "are on this page; all are in the JSON" in text


def test_what_is_not_in_a_record_is_left_out():
    failed = a_failed_check()
    bare = failed.model_copy(update={"provenance": failed.provenance.model_copy(update={"models": {}})})
    text = Page(audit_as_html.render(audited(bare, verdict="open"), 5)).text
    assert "Audit of cats-vs-dogs.pth 2026-01-01" in text


def test_plain_words_know_every_check_and_name_measurements_that_there_are():
    assert set(plain_words.CHECKS) == set(CheckName.__args__)
    for check, plain in plain_words.CHECKS.items():
        assert plain.question.endswith("?")
        for name, phrase in plain.numbers.items():
            quantity = meaning(name)
            assert quantity is not None, f"{check}: {name}"
            # Only what is a part of something, or a difference of such parts, can be told times 100.
            if phrase.scale != "plain":
                assert quantity.unit == {"percent": "ratio", "points": "difference"}[phrase.scale]


def test_the_record_makes_the_page_not_the_way_to_it():
    report = an_audit()
    assert audit_as_html.render(AuditReport.model_validate_json(report.to_json()), 15) == audit_as_html.render(
        report, 15
    )


def test_rows_are_those_that_are_visible_at_first():
    assert 'data-visible="3"' in audit_as_html.render(an_audit(), 3)
