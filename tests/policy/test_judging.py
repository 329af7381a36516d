"""What a rule makes of a number, and of none."""

from __future__ import annotations

import pytest

from gated import FLIPS, TODAY, a_check, a_policy, a_repair, an_audit, flips, number, of_source_alone, only
from tlaudit.errors import ReportError, UsageError
from tlaudit.policy import gate
from tlaudit.results import Column, Provenance, Table


@pytest.mark.parametrize(
    ("rule", "outcome", "message"),
    [
        ({"max": 0.05}, "violated", f"{FLIPS} is 13.4 % (n 900), above the 5.0 % allowed"),
        ({"max": 0.134}, "passed", f"{FLIPS} is 13.4 % (n 900), not above the 13.4 % allowed"),
        ({"max": 0.1339999}, "violated", f"{FLIPS} is 13.40000 % (n 900), above the 13.39999 % allowed"),
        ({"min": 0.134}, "passed", f"{FLIPS} is 13.4 % (n 900), not below the 13.4 % demanded"),
        ({"min": 0.2}, "violated", f"{FLIPS} is 13.4 % (n 900), below the 20.0 % demanded"),
        (
            {"max": 0.15, "use": "upper"},
            "violated",
            f"the upper bound of {FLIPS} is 16.0 % (value 13.4 %, n 900), above the 15.0 % allowed",
        ),
        ({"max": 0.16, "use": "upper"}, "passed", "the upper bound of"),
        ({"max": 0.11, "use": "lower"}, "violated", "the lower bound of distraction.flip_rate is 12.0 % (value 13.4 %"),
        ({"max": 0.13, "use": "lower"}, "passed", "the lower bound of"),
        ({"max": 0.05, "min_samples": 900}, "violated", f"{FLIPS} is 13.4 %"),
        (
            {"max": 0.5, "min_samples": 901},
            "no answer",
            f"{FLIPS} cannot be judged: it rests on 900, and the rule asks for 901 (min_samples)",
        ),
    ],
)
def test_a_number_and_its_limits(ruled, rule, outcome, message):
    ruling = only(ruled(flips(0.134, low=0.12, high=0.16), rule))
    assert ruling.outcome == outcome
    assert ruling.message.startswith(message)
    assert (ruling.value, ruling.low, ruling.high, ruling.n) == (0.134, 0.12, 0.16, 900)


@pytest.mark.parametrize("use", ["upper", "lower"])
def test_without_an_interval_its_bound_is_no_answer(ruled, use):
    ruling = only(ruled(flips(0.01), {"max": 0.05, "use": use}))
    assert (ruling.outcome, ruling.blocks) == ("no answer", True)
    assert f"has no interval, and the rule judges its {use} bound: counted in full" in ruling.message


@pytest.mark.parametrize(
    ("rule", "expected"),
    [
        ({"max": 0.05}, ("fail", 1, "violated", True)),
        ({"max": 0.05, "severity": "warn"}, ("pass", 0, "violated", False)),
        ({"max": 0.5}, ("pass", 0, "passed", False)),
        ({"max": 0.05, "waive": "2026-06-01"}, ("pass", 0, "waived", False)),
        ({"max": 0.05, "waive": "2026-05-31"}, ("fail", 1, "violated", True)),
        ({"max": 0.5, "waive": "2027-06-01"}, ("pass", 0, "passed", False)),
    ],
)
def test_what_a_violation_comes_to(ruled, rule, expected):
    verdict = ruled(flips(0.134), rule)
    ruling = only(verdict)
    assert (verdict.outcome, verdict.exit_code, ruling.outcome, ruling.blocks) == expected


def test_a_waiver_is_told_and_an_expired_one_is_none(ruled):
    good = only(ruled(flips(), {"max": 0.05, "waive": "2026-06-01"}))
    assert good.waiver == "until 2026-06-01: a known weakness"
    assert good.message.endswith("; waived until 2026-06-01: a known weakness")
    verdict = ruled(flips(), {"max": 0.05, "waive": "2026-05-31"})
    assert only(verdict).message.endswith("; the waiver ended on 2026-05-31 and is none")
    assert [finding.code for finding in verdict.findings] == ["gate.waiver_ended"]


@pytest.mark.parametrize(
    ("on_missing", "expected"),
    [
        ("fail", ("no answer", 3, "no answer", True, [])),
        ("warn", ("pass", 0, "no answer", False, ["gate.nothing_judged", "gate.no_answer"])),
        ("skip", ("pass", 0, "skipped", False, ["gate.nothing_judged"])),
    ],
)
@pytest.mark.parametrize("waive", [None, "2030-01-01"])
@pytest.mark.parametrize(
    ("report", "reason"),
    [
        (flips(None, absent="no class lingers"), "no class lingers"),
        (a_check("distraction"), "the report of tlaudit distraction does not hold it"),
        (a_check("erosion"), "no report of tlaudit distraction was given"),
        (
            an_audit(a_check("erosion"), left_out={"distraction": "not asked for"}),
            "left out distraction: not asked for",
        ),
        (a_check("distraction", failure="no space left"), "tlaudit distraction could not be made: no space left"),
    ],
)
def test_no_number_is_never_a_pass(ruled, report, reason, waive, on_missing, expected):
    verdict = ruled(report, {"max": 1, "on_missing": on_missing, "waive": waive})
    ruling = only(verdict)
    codes = [finding.code for finding in verdict.findings if finding.code != "gate.check_failed"]
    nothing = expected[4] if expected[0] == "pass" else ["gate.nothing_judged"]
    assert (verdict.outcome, verdict.exit_code, ruling.outcome, ruling.blocks) == expected[:4]
    assert codes == nothing
    assert reason in ruling.message
    assert ruling.metric == FLIPS
    assert ruling.unit == "share"


def a_stage_table(*stages):
    columns = tuple(Column(name=name, unit="text", meaning="M.") for name in ("stage", "network"))
    rows = [{"stage": stage, "network": "finetuned"} for stage in stages] + [{"stage": "stem", "network": "baseline"}]
    return {"stages": Table(title="Stages", columns=columns, rows=tuple(rows), brief=("stage",))}


def test_a_removed_measurement_is_missed_under_a_pattern_too(ruled):
    rule, stages = {"metric": "erosion.cka.*", "min": 0.5}, a_stage_table("layer1", "layer2")
    names = [f"erosion.{kind}.{stage}" for kind in ("cka", "rank_ratio") for stage in ("layer1", "layer2")]
    numbers = [number(name, 0.9, unit="ratio") for name in [*names, "erosion.cka.min"]]
    whole = ruled(a_check("erosion", *numbers, tables=stages), rule)
    assert [(one.metric, one.outcome) for one in whole.rulings] == [
        ("erosion.cka.layer1", "passed"),
        ("erosion.cka.layer2", "passed"),
        ("erosion.cka.min", "passed"),
    ]
    for removed in (1, 4):
        left = [one for index, one in enumerate(numbers) if index != removed]
        verdict = ruled(a_check("erosion", *left, tables=stages), rule)
        assert verdict.exit_code == 3
        assert [one.metric for one in verdict.rulings if one.outcome == "no answer"] == [numbers[removed].name]
    # Whether or not a single one of them is left, and though the table was taken out as well.
    names = [("erosion.cka.layer1", "no answer"), ("erosion.cka.layer2", "no answer"), ("erosion.cka.min", "passed")]
    options = {"stages": "layer1, layer2"}
    for bare in (
        a_check("erosion", numbers[4], tables=stages),
        a_check("erosion", numbers[4], options=options),
    ):
        verdict = ruled(bare, rule)
        assert sorted((one.metric, one.outcome) for one in verdict.rulings) == names
    # Of different architectures there are stages, and no number of any of them.
    assert only(ruled(unlike(a_check("erosion", numbers[4], tables=stages)), rule)).outcome == "passed"


def unlike(result):
    """The same of networks of different backbones."""
    backbone = result.provenance.backbone.model_copy(update={"matched": 0})
    return result.model_copy(update={"provenance": result.provenance.model_copy(update={"backbone": backbone})})


@pytest.mark.parametrize(
    ("check", "options", "pattern", "names"),
    [
        (
            "stress",
            {"ratios": "0, 0.1, 0.5"},
            "stress.accuracy_drop.*",
            ["stress.accuracy_drop.0.1", "stress.accuracy_drop.0.5"],
        ),
        ("stress", {"ratios": "0, 0.1"}, "stress.cka.min.*", ["stress.cka.min.0", "stress.cka.min.0.1"]),
        (
            "repair",
            {"methods": "ldifs, wise-ft"},
            "repair.*.flip_rate",
            ["repair.before.flip_rate", "repair.ldifs.flip_rate", "repair.wise-ft.flip_rate"],
        ),
        (
            "continual",
            {"tasks": "cats, cars", "methods": "plain"},
            "continual.*.accuracy.*",
            ["continual.plain.accuracy.cars", "continual.plain.accuracy.cats"],
        ),
    ],
)
def test_what_the_options_promise_is_missed(ruled, check, options, pattern, names):
    rule = {"metric": pattern, "max": 1}
    verdict = ruled(a_check(check, options=options), rule)
    assert sorted((one.metric, one.outcome) for one in verdict.rulings) == [(name, "no answer") for name in names]
    whole = ruled(a_check(check, *(number(name, 0.5) for name in names), options=options), rule)
    assert (whole.outcome, len(whole.rulings)) == ("pass", len(names))


def test_a_repair_beside_plain_finetuning_owes_the_difference(ruled):
    report = a_repair(plain="e" * 64, ldifs="f" * 64)
    options = {"methods": "plain, ldifs"}
    report = report.model_copy(update={"provenance": report.provenance.model_copy(update={"options": options})})
    ruling = only(ruled(report, {"metric": "repair.*.flip_rate_versus_plain", "max": 0}))
    assert (ruling.metric, ruling.outcome) == ("repair.ldifs.flip_rate_versus_plain", "no answer")


def test_a_pattern_that_means_nothing_there_is_no_answer(ruled):
    verdict = ruled(a_check("lingering"), {"metric": "erosion.cka.*", "min": 0.5})
    assert (only(verdict).metric, verdict.exit_code) == ("erosion.cka.*", 3)


def test_a_stage_that_is_not_there_names_the_nearest(ruled):
    report = a_check("erosion", number("erosion.cka.layer4", 0.9))
    assert only(ruled(report, {"metric": "erosion.cka.layr4", "min": 0.5})).message.endswith(
        "did you mean erosion.cka.layer4?"
    )


def test_a_waiver_does_not_cover_what_is_not_known(ruled):
    rule = {"max": 0.05, "max_increase": 0.1, "waive": "2030-01-01"}
    verdict = ruled(flips(0.5), rule)
    assert (only(verdict).outcome, verdict.exit_code) == ("no answer", 3)
    assert only(ruled(flips(0.5), {**rule, "on_missing": "skip"})).outcome == "waived"
    warned = ruled(flips(0.5), {"max": 0.05, "max_increase": 0.1, "severity": "warn"})
    assert (only(warned).outcome, warned.exit_code) == ("no answer", 3)
    assert only(warned).message.startswith(f"{FLIPS} is 50.0 % (n 900), above the 5.0 % allowed; max_increase of")


def test_a_violation_beats_what_is_missing(tmp_path):
    rules = [{"max": 0.05}, {"metric": "lingering.fraction", "max": 1}, {"max": 0.9, "id": "loose"}]
    verdict = gate(flips(), policy=a_policy(tmp_path, *rules), today=TODAY)
    assert (verdict.outcome, verdict.exit_code) == ("fail", 1)
    assert verdict.summary == "1 violated (distraction.flip_rate), 1 without an answer (lingering.fraction), 1 passed."
    assert [ruling.line for ruling in verdict.rulings] == [1, 4, 7]
    assert verdict.judged_on == "2026-06-01"
    assert verdict.policy.rules == 3


def test_the_order_of_reports_changes_no_ruling(tmp_path):
    rules = [{"max": 0.05}, {"metric": "lingering.*", "max": 0.9, "on_missing": "warn"}]
    path, reports = a_policy(tmp_path, *rules), [flips(), a_check("lingering", number("lingering.fraction", 0.5))]
    one, other = (gate(given, policy=path, today=TODAY) for given in (reports, reports[::-1]))
    assert one.rulings == other.rulings


def test_one_report_or_an_audit_is_the_same(tmp_path):
    path = a_policy(tmp_path, {"max": 0.05}, {"metric": "lingering.fraction", "max": 0.9})
    results = flips(), a_check("lingering", number("lingering.fraction", 0.5))
    assert gate(results, policy=path, today=TODAY).rulings == gate(an_audit(*results), policy=path, today=TODAY).rulings


def test_reports_of_one_checkpoint_and_each_check_once(ruled):
    other = a_check("lingering", sha256="d" * 64)
    with pytest.raises(
        UsageError, match=r"different networks: .*c.pth, sha256 cccc.*d.pth, sha256 dddd.*give those of"
    ):
        ruled([flips(), other], {"max": 1})
    with pytest.raises(UsageError, match="tlaudit distraction is twice in .in memory.; give each check once"):
        ruled([flips(), flips()], {"max": 1})
    with pytest.raises(UsageError, match="missing: a report"):
        ruled([], {"max": 1})


def test_what_the_reader_should_know_of_the_reports(ruled):
    beside = a_check("lingering", source="6" * 64, version="0.2.0")
    codes = [finding.code for finding in ruled([flips(), beside], {"max": 1}).findings]
    assert codes == ["gate.sources", "gate.versions"]
    assert [finding.code for finding in ruled(flips(sha256=None), {"max": 1}).findings] == ["gate.no_hash"]
    failed = ruled([flips(), a_check("erosion", failure="out of memory")], {"max": 1})
    assert [finding.message for finding in failed.findings] == ["tlaudit erosion could not be made: out of memory"]


def test_two_checks_cannot_hold_one_measurement(ruled):
    erosion = a_check("erosion", number(FLIPS, 0.0))
    with pytest.raises(
        ReportError, match=r"\(tlaudit distraction\) and .*\(tlaudit erosion\) both hold distraction.fl"
    ):
        ruled([flips(), erosion], {"max": 0.05})
    with pytest.raises(ReportError, match="both hold"):
        ruled(an_audit(flips(), erosion), {"max": 0.05})


def test_reports_of_two_checkpoints_are_told_apart_before_anything_else(ruled):
    with pytest.raises(UsageError, match="different networks"):
        ruled([flips(), flips(sha256="d" * 64)], {"max": 1})


def test_a_check_that_nobody_makes_is_refused(ruled):
    with pytest.raises(ReportError, match="expected the result of a check, lingering, .*, got one of distractoin"):
        ruled(a_check("distractoin", number(FLIPS, 0.0)), {"max": 1})


def checkpoint(folder, content=b"weights"):
    import hashlib

    path = folder / "net.pth"
    path.write_bytes(content)
    return path, hashlib.sha256(content).hexdigest()


def test_the_checkpoint_is_the_one_that_was_audited(ruled, tmp_path):
    path, sha256 = checkpoint(tmp_path)
    verdict = ruled(flips(0.1, sha256=sha256), {"max": 0.2}, checkpoint=path)
    assert (verdict.outcome, verdict.reports[0].checkpoint) == ("pass", sha256)
    with pytest.raises(ReportError, match=rf"another checkpoint than .*net.pth \(sha256 {sha256}\): of .*{'c' * 64}"):
        ruled(flips(0.1), {"max": 0.2}, checkpoint=path)
    with pytest.raises(ReportError, match="another checkpoint .*no hash"):
        ruled(flips(0.1, sha256=None), {"max": 0.2}, checkpoint=path)
    for missing in (tmp_path / "none.pth", tmp_path):
        with pytest.raises(UsageError, match="--checkpoint .*cannot be read"):
            ruled(flips(0.1), {"max": 0.2}, checkpoint=missing)


def test_a_repair_is_about_the_networks_it_made(ruled, tmp_path):
    path, sha256 = checkpoint(tmp_path)
    report = a_repair(ldifs="e" * 64, unlearn=sha256)
    rule = {"metric": "repair.*.flip_rate", "max": 0.1}
    every = ruled(report, rule)
    assert [one.metric.split(".")[1] for one in every.rulings] == ["ldifs", "unlearn", "before"]
    assert [finding.code for finding in every.findings] == ["gate.several_networks"]
    assert every.reports[0].checkpoint is None
    one = ruled(report, rule, checkpoint=path)
    assert [ruling.metric for ruling in one.rulings] == ["repair.unlearn.flip_rate"]
    assert (one.reports[0].checkpoint, one.reports[0].network) == (sha256, "unlearn.pth")
    other = only(ruled(report, {"metric": "repair.ldifs.flip_rate", "max": 1}, checkpoint=path))
    assert (other.outcome, other.blocks) == ("no answer", True)
    assert "of another network of the repair" in other.message


def test_a_repair_beside_an_audit_counts_for_the_audited_network(ruled):
    report, rule = a_repair(ldifs="e" * 64, unlearn="f" * 64), {"metric": "repair.*.flip_rate", "max": 1}
    for sha256, role in (("e" * 64, "ldifs"), ("b" * 64, "before")):
        verdict = ruled([flips(sha256=sha256), report], rule)
        assert [one.metric for one in verdict.rulings] == [f"repair.{role}.flip_rate"]
        assert {source.checkpoint for source in verdict.reports} == {sha256}
    with pytest.raises(UsageError, match="different networks"):
        ruled([flips(sha256="9" * 64), report], rule)


def test_a_stress_test_is_about_the_network_or_its_source(ruled):
    rule = {"metric": "stress.max_drop", "max": 1}
    stress = of_source_alone(a_check("stress", number("stress.max_drop", 0.2)))
    assert only(ruled([flips(), stress], rule)).outcome == "passed"
    of_finetuned = of_source_alone(a_check("stress", number("stress.max_drop", 0.2), source="c" * 64))
    assert only(ruled([flips(), of_finetuned], rule)).outcome == "passed"
    assert ruled([flips(), of_finetuned], rule).findings == ()
    unknown = of_source_alone(a_check("stress", number("stress.max_drop", 0.2), source=None))
    assert only(ruled([flips(source=None), unknown], rule)).outcome == "passed"
    stranger = of_source_alone(a_check("stress", number("stress.max_drop", 0.2), source="8" * 64))
    with pytest.raises(UsageError, match="different networks"):
        ruled([flips(), stranger], rule)
    assert ruled(stress, rule).reports[0].checkpoint == "5" * 64


def test_numbers_of_any_size_are_judged(ruled):
    assert only(ruled(flips(1e300), {"max": 1})).outcome == "violated"
    assert only(ruled(flips(10**300), {"max": 1})).outcome == "violated"
    with pytest.raises(ValueError, match="a number of 1329 bits is too large"):
        flips(10**400)


def test_values_are_compared_exactly(ruled):
    value = 0.97 - 0.96
    assert value > 0.01
    assert only(ruled(flips(value), {"max": 0.01})).outcome == "violated"


def test_a_limit_is_told_with_all_its_digits(ruled):
    message = only(ruled(flips(0.5), {"max": 0.01234})).message
    assert message == f"{FLIPS} is 50.000 % (n 900), above the 1.234 % allowed"


def test_provenance_without_networks_is_no_crash(ruled):
    plain = flips(0.1)
    bare = Provenance.model_validate(plain.provenance.model_dump() | {"models": {}})
    with pytest.raises(ReportError, match="names no network that it is about"):
        ruled(plain.model_copy(update={"provenance": bare}), {"max": 1})


@pytest.mark.parametrize(
    ("count", "value", "outcome"),
    [
        (0, None, "skipped"),
        (3, None, "no answer"),
        (None, None, "no answer"),
        ("removed", None, "no answer"),
        # What was measured all the same is judged.
        (0, 0.5, "violated"),
        (0, 0.01, "passed"),
    ],
)
def test_where_there_is_nothing_to_measure_no_number_is_missed(ruled, count, value, outcome):
    counted = [] if count == "removed" else [number("lingering.count", count, unit="classes")]
    reports = [flips(value), a_check("lingering", *counted)]
    ruling = only(ruled(reports, {"max": 0.05, "if_any": "lingering.count"}))
    assert (ruling.outcome, ruling.blocks) == (outcome, outcome in {"violated", "no answer"})
    if outcome == "skipped":
        assert ruling.message == f"{FLIPS}: max not judged: lingering.count is 0"
    assert only(ruled(reports, {"max": 0.05})).outcome == ("no answer" if outcome == "skipped" else outcome)


@pytest.mark.parametrize("first_release", [True, False])
def test_the_policy_of_the_package_passes_only_what_was_measured(first_release):
    def outcome(*reports):
        return gate(reports, today=TODAY, first_release=first_release).outcome

    excess = "distraction.excess_over_baseline"
    distraction = a_check("distraction", number(FLIPS, 0.01), number(excess, 0.01, unit="overlap"))
    kept = number("lingering.fraction", 0.05), number("target.accuracy", 0.9)
    lingering = a_check("lingering", number("lingering.count", 3, unit="classes"), *kept)
    erosion = a_check("erosion", number("erosion.rank_ratio.min", 0.8))
    assert outcome(distraction, lingering, erosion) == "pass"
    assert outcome(lingering, erosion) == "no answer"
    assert outcome(distraction, erosion) == "no answer"
    assert outcome(distraction, lingering) == "no answer"
    # Without a from-scratch network, or validation images, what can be measured decides.
    assert outcome(a_check("distraction", number(FLIPS, 0.01), number(excess)), lingering, erosion) == "pass"
    assert outcome(a_check("distraction", number(FLIPS, 0.051), number(excess)), lingering, erosion) == "fail"
    assert outcome(a_check("distraction", number(FLIPS, 0.01, n=49), number(excess)), lingering, erosion) == "no answer"
    # What could not be compared with the release before is never passed over in silence.
    verdict = gate((distraction, lingering, erosion), today=TODAY, first_release=first_release)
    (accuracy,) = (ruling for ruling in verdict.rulings if ruling.metric == "target.accuracy")
    assert accuracy.outcome == ("skipped" if first_release else "no answer")
    assert ("gate.no_answer" in [finding.code for finding in verdict.findings]) is not first_release
    # Where nothing lingers there is nothing to distract, and that is the best there can be.
    nothing = a_check("distraction", number(FLIPS), number(excess))
    none = a_check("lingering", number("lingering.count", 0, unit="classes"), number("lingering.fraction", 0.0))
    assert outcome(nothing, none, erosion) == "pass"
    # If no class could be tested it is not known whether any lingers.
    untested = a_check("lingering", number("lingering.count"), number("lingering.fraction"))
    assert outcome(nothing, untested, erosion) == "no answer"
