from __future__ import annotations

import re

import pytest

from reports.walked import Page, flat
from samples import a_distraction, a_measurement, a_model, a_result, an_exhibit, distraction_table
from samples_pages import SHARED, WHY, a_lingering, an_audit
from samples_verdict import a_failed_check
from samples_verdict import an_audit as audited
from tlaudit.auditing.wording import NOTHING
from tlaudit.checks import erosion, stress_judged
from tlaudit.metrics import meaning
from tlaudit.options.audit import CheckName
from tlaudit.reports import as_html, audit_as_html, next_steps, pages, plain_words
from tlaudit.results import AuditReport, CheckResult, Finding, Measurement


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


def ran(command: str, *checks: CheckResult, **changes) -> Page:
    """The page of an audit that was made by a command."""
    run = a_result().run.model_copy(update={"command": command})
    return page_of(*checks, run=run, **changes)


def test_next_steps_are_commands_for_what_was_found(source):
    text = front(source)
    assert "Lingering, Distraction" in text
    assert "tlaudit repair --method unlearn,composites --train-data TRAIN_FOLDER -o forgotten.safetensors" in text
    assert "tlaudit audit --finetuned forgotten.unlearn.safetensors -o forgotten.json" in text
    assert "TRAIN_FOLDER stands for the folder of your training images" in text
    assert "--method ldifs" not in text
    eroded = page_of(a_result().model_copy(update={"check": "erosion"})).text
    assert "tlaudit repair --method ldifs" in eroded
    assert "tlaudit audit --finetuned kept-features.safetensors -o kept-features.json" in eroded
    assert "forgotten" not in eroded
    assert "tlaudit repair" not in page_of(a_result().model_copy(update={"verdict": "clear"}), verdict="clear").text


@pytest.mark.parametrize(
    ("command", "gate", "config"),
    [
        ("tlaudit audit", "--against REPORT.json", ""),
        ("tlaudit audit -o out/audit.html", "--against REPORT.json", ""),
        ("tlaudit audit -o 'my audit.json'", "--against 'my audit.json'", ""),
        ("tlaudit audit --config 'a b.toml' --output=x.json", "--against x.json", "--config 'a b.toml' "),
        ("tlaudit audit --config=c.toml -ox.json", "--against x.json", "--config c.toml "),
        ("tlaudit audit 'unclosed", "--against REPORT.json", ""),
    ],
)
def test_commands_go_on_from_the_one_that_was_given(command, gate, config):
    text = ran(command, a_result()).text
    assert f"tlaudit gate {config}forgotten.json {gate}" in text
    assert f"tlaudit repair {config}--method" in text
    assert f"tlaudit audit {config}--finetuned" in text
    assert ("REPORT.json stands for the JSON document of this audit" in text) == ("REPORT.json" in gate)


def test_what_cannot_be_run_as_it_stands_is_not_offered_for_copying():
    def copied(command: str) -> int:
        run = a_result().run.model_copy(update={"command": command})
        source = audit_as_html.render(audited(a_result(), run=run), 5)
        return source[: source.index('<div class="evidence">')].count('class="copy"')

    # Of repair, audit and gate, and the command itself: two have stand-ins.
    assert copied("tlaudit audit") == 2
    assert copied("tlaudit audit -o a.json") == 3
    assert copied("my_script.py --fast") == 1
    run = a_result().run.model_copy(update={"command": "my_script.py --fast"})
    made = page_of(a_result().model_copy(update={"run": run}), run=run).text
    assert "to run it again" not in made
    assert "The audit was made from Python, by my_script.py --fast" in made
    assert "Made from Python, by my_script.py --fast" in made


def test_a_failed_check_points_at_a_command_only_where_there_is_one():
    failed = a_failed_check()
    assert "run the audit again; the command is below" in ran("tlaudit audit", failed, verdict="open").text
    assert "the command is below" not in ran("script.py", failed, verdict="open").text


def an_open(check: str, *measurements, codes=(), baseline=False) -> CheckResult:
    """A check that could not tell."""
    result = a_result()
    models = {"source": a_model()} | ({"baseline": a_model()} if baseline else {})
    return result.model_copy(
        update={
            "check": check,
            "verdict": "open",
            "headline": (),
            "measurements": measurements,
            "findings": tuple(Finding(code=code, severity="warning", message="m") for code in codes),
            "provenance": result.provenance.model_copy(update={"models": models}),
        }
    )


@pytest.mark.parametrize("check", list(CheckName.__args__))
@pytest.mark.parametrize("baseline", [True, False])
def test_advice_names_what_an_audit_has(check, baseline):
    result = an_open(check, baseline=baseline)
    found = next_steps.advice(result, None, next_steps.Recorded(again=True, config=None, report=None))
    assert not re.search("--per-class|--epochs|--learning-rate|--baseline", found.text)
    assert "tlaudit.toml" in found.text
    if baseline:
        assert "[models]" not in found.text
    elif check in {"lingering", "distraction"}:
        assert "baseline of [models]" in found.text


@pytest.mark.parametrize(
    ("result", "why", "advised"),
    [
        (an_open("distraction", codes=["distraction.dead_finetuned"], baseline=True), "maps are dead", "layer and"),
        (an_open("distraction", codes=["distraction.few_overlays"], baseline=True), "could be pasted", "target of"),
        (
            an_open(
                "distraction",
                a_measurement("distraction.excess_over_null", "m", "overlap", "lower", 0.01, -0.02, 0.04),
                baseline=True,
            ),
            "no more attention than by chance",
            "per_class of [distraction]",
        ),
        (
            an_open(
                "distraction",
                a_measurement("distraction.excess_over_null", "m", "overlap", "lower", 0.011, 0.003, 0.02),
                a_measurement("distraction.null_wilcoxon_p", "m", "p-value", "neither", 0.01, 0.0, 1.0),
                a_measurement("distraction.excess_over_baseline", "m", "overlap", "lower", 0.05, 0.002, 0.099),
                a_measurement("distraction.baseline_wilcoxon_p", "m", "p-value", "neither", 0.115, 0.0, 1.0),
                baseline=True,
            ),
            "Why it is open: the interval says that it pays such things more attention than a network that never saw "
            "such things pays, and the signed-rank test over classes is not sure of it (p = 0.12).",
            "per_class of [distraction]",
        ),
        (
            an_open(
                "distraction",
                Measurement(
                    name="distraction.excess_over_null",
                    meaning="m",
                    unit="overlap",
                    better="lower",
                    absent="each class has one composite only",
                    n=0,
                ),
                baseline=True,
            ),
            "Why it is open: each class has one composite only",
            "2 at the least",
        ),
        (an_open("distraction"), "no from-scratch network", "baseline of [models]"),
        (an_open("erosion", codes=["erosion.few_images"]), "too few images to count", "twice as many"),
        (
            an_open(
                "erosion",
                a_measurement("erosion.source_accuracy_drop", "m", "difference", "lower", 0.04, 0.01, 0.09),
            ),
            "40 images are too few to tell",
            "source of [data]",
        ),
        (
            an_open("lingering", a_measurement("control.lingering_fraction", "m", "share", "lower", 0.5, 0.3, 0.7)),
            "so that it may be chance",
            "Source images of more classes",
        ),
        (an_open("stress", codes=["stress.squares_not_learnt"]), "hardly learnt the mark", "[stress.training]"),
    ],
)
def test_an_open_verdict_says_why_as_far_as_the_record_tells(result, why, advised):
    text = page_of(result, verdict="open").text
    assert "Why it is open: " in text
    assert why in text
    assert advised in text
    assert "Why it is open" not in page_of(result.model_copy(update={"verdict": "clear"}), verdict="clear").text


def told(name: str, unit: str, value: float, low: float, high: float) -> tuple[str, str, str]:
    phrase = plain_words.CHECKS[name.split(".", maxsplit=1)[0]].numbers[name]
    return phrase.told(a_measurement(name, "m", unit, "lower", value, low, high))


def test_numbers_outside_the_usual_are_told_as_what_they_are():
    drop, rank, cka = "erosion.source_accuracy_drop", "erosion.rank_ratio.min", "erosion.cka.min"
    assert told(drop, "difference", -0.02, -0.05, -0.01) == (
        "2.0",
        "1.0 to 5.0",
        "points of the original task's accuracy are gained",
    )
    number, interval, text = told(drop, "difference", 0.01, -0.01, 0.03)
    assert (number, interval) == ("1.0", "-1.0 to 3.0")
    assert text.endswith("are lost; it may be none, or the other way round")
    assert told(rank, "ratio", 1.25, 1.1, 1.5)[::2] == (
        "125.0 %",
        "of the variety of its features at the worst stage: none of it was lost",
    )
    assert told(cka, "cka", -0.125, -0.2, 0.1)[::2] == (
        "-0.125",
        "no likeness to the original features at the worst stage: 0 or less is none",
    )
    excess = told("distraction.excess_over_null", "overlap", -0.125, -0.25, -0.11)
    assert excess == ("0.125", "0.110 to 0.250", "less attention to such things than by chance")
    for check in plain_words.CHECKS.values():
        for phrase in check.numbers.values():
            assert phrase.text not in {phrase.negative, phrase.none, phrase.more}


@pytest.mark.parametrize(
    ("rank", "drop", "codes", "first"),
    [
        (0.4, 0.2, [], "erosion.rank_ratio.min"),
        (0.4, 0.2, ["erosion.few_images"], "erosion.source_accuracy_drop"),
        (0.9, 0.2, [], "erosion.source_accuracy_drop"),
        (0.9, 0.0, [], "erosion.cka.min"),
    ],
)
def test_the_number_on_which_the_verdict_rests_comes_first(rank, drop, codes, first):
    result = an_open(
        "erosion",
        a_measurement("erosion.cka.min", "m", "cka", "higher", 0.3, 0.2, 0.4),
        a_measurement("erosion.rank_ratio.min", "m", "ratio", "higher", rank, rank, rank),
        a_measurement("erosion.source_accuracy_drop", "m", "difference", "lower", drop, drop - 0.01, drop + 0.01),
        codes=codes,
    ).model_copy(update={"verdict": "concern"})
    assert plain_words.leading(result)[0] == first
    text = audit_as_html.render(audited(result), 5)
    assert first in re.findall(r'<ul class="numbers">.*?</li>', text.replace("<wbr>", ""), re.DOTALL)[0]


def test_thresholds_are_those_of_the_check():
    assert (plain_words.LOST_RANK, plain_words.LOST_ACCURACY) == (erosion.LOST_RANK, erosion.LOST_ACCURACY)
    assert next_steps.ENOUGH == erosion.ENOUGH_TO_CLEAR == stress_judged.ENOUGH_TO_CLEAR
    assert next_steps.SPREAD == erosion.LOST_ACCURACY


def test_where_no_check_could_be_made_the_banner_says_so_once():
    failed = a_failed_check()
    sentence = plain_words.BANNERS["nothing"][1]
    report = audited(failed, verdict="open").model_copy(update={"summary": sentence})
    text = Page(audit_as_html.render(report, 5)).text
    assert f"No answer {sentence}" in text
    assert text.count(sentence) == 1
    assert sentence == NOTHING


def test_no_number_is_broken_before_its_unit(source):
    style = source[source.index("/* Front pages") :].split("</style>")[0]
    held = {one.strip() for rule in re.findall(r"([^{}]*)\{ white-space: nowrap; \}", style) for one in rule.split(",")}
    assert {".first .big", ".first .nums", ".numbers .value", ".numbers .nums"} <= held


def test_the_folder_in_a_command_is_quoted():
    result = a_result()
    folder = result.provenance.data["source"].model_copy(update={"path": "my images; rm -rf ~"})
    provenance = result.provenance.model_copy(update={"data": {"target": folder}})
    text = page_of(result.model_copy(update={"provenance": provenance})).text
    assert "--train-data 'my images; rm -rf ~' -o" in text
    assert "TRAIN_FOLDER" not in text


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
