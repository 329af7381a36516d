"""What a rule makes of a number, and of none."""

from __future__ import annotations

from datetime import date

import pytest

from gated import a_check, a_policy, a_repair, an_audit, flips, number, of_source_alone
from tlaudit.errors import ReportError, UsageError
from tlaudit.policy import gate
from tlaudit.results import Column, Provenance, Table

TODAY = date(2026, 6, 1)
NAME = "distraction.flip_rate"


@pytest.fixture
def ruled(tmp_path):
    """The verdict of one rule about one report."""

    def judge(report, rule, **more):
        return gate(report, policy=a_policy(tmp_path, rule), today=TODAY, **more)

    return judge


def only(verdict):
    (ruling,) = verdict.rulings
    return ruling


@pytest.mark.parametrize(
    ("rule", "outcome", "message"),
    [
        ({"max": 0.05}, "violated", f"{NAME} is 13.4 % (n 900), above the 5.0 % allowed"),
        ({"max": 0.134}, "passed", f"{NAME} is 13.4 % (n 900), not above the 13.4 % allowed"),
        ({"max": 0.1339999}, "violated", f"{NAME} is 13.40000 % (n 900), above the 13.39999 % allowed"),
        ({"min": 0.134}, "passed", f"{NAME} is 13.4 % (n 900), not below the 13.4 % demanded"),
        ({"min": 0.2}, "violated", f"{NAME} is 13.4 % (n 900), below the 20.0 % demanded"),
        (
            {"max": 0.15, "use": "upper"},
            "violated",
            f"the upper bound of {NAME} is 16.0 % (value 13.4 %, n 900), above the 15.0 % allowed",
        ),
        ({"max": 0.16, "use": "upper"}, "passed", "the upper bound of"),
        ({"max": 0.11, "use": "lower"}, "violated", "the lower bound of distraction.flip_rate is 12.0 % (value 13.4 %"),
        ({"max": 0.13, "use": "lower"}, "passed", "the lower bound of"),
        ({"max": 0.05, "min_samples": 900}, "violated", f"{NAME} is 13.4 %"),
        (
            {"max": 0.5, "min_samples": 901},
            "no answer",
            f"{NAME} cannot be judged: it rests on 900, and the rule asks for 901 (min_samples)",
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
    assert ruling.metric == NAME
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
    # Of different architectures there are stages, and no number of any of them.
    assert only(ruled(a_check("erosion", numbers[4], tables=stages), rule)).outcome == "passed"


def test_a_pattern_that_means_nothing_there_is_no_answer(ruled):
    verdict = ruled(a_check("lingering"), {"metric": "erosion.cka.*", "min": 0.5})
    assert (only(verdict).metric, verdict.exit_code) == ("erosion.cka.*", 3)


def test_a_stage_that_is_not_there_names_the_nearest(ruled):
    report = a_check("erosion", number("erosion.cka.layer4", 0.9))
    assert only(ruled(report, {"metric": "erosion.cka.layr4", "min": 0.5})).message.endswith(
        "did you mean erosion.cka.layer4?"
    )


@pytest.mark.parametrize(
    ("rule", "now", "before", "outcome", "change"),
    [
        ({"max_increase": 0.25}, 0.75, 0.5, "passed", 0.25),
        ({"max_increase": 0.125}, 0.75, 0.5, "violated", 0.25),
        ({"max_increase": 0}, 0.25, 0.5, "passed", -0.25),
        ({"max_decrease": 0.25}, 0.25, 0.5, "passed", -0.25),
        ({"max_decrease": 0.125}, 0.25, 0.5, "violated", -0.25),
        ({"max_decrease": 0}, 0.75, 0.5, "passed", 0.25),
        ({"max_relative_increase": 0.5}, 0.75, 0.5, "passed", 0.5),
        ({"max_relative_increase": 0.25}, 0.75, 0.5, "violated", 0.5),
        ({"max_relative_decrease": 0.5}, 0.25, 0.5, "passed", -0.5),
        ({"max_relative_decrease": 0.25}, 0.25, 0.5, "violated", -0.5),
        # Of a negative number as well: from -0.5 to -0.25 it rises, by half of its size.
        ({"max_relative_increase": 0.25}, -0.25, -0.5, "violated", 0.5),
        ({"max_relative_decrease": 0}, -0.25, -0.5, "passed", 0.5),
        ({"max_relative_increase": 0.25}, 0.25, 0.0, "no answer", None),
        ({"max_relative_increase": 0}, 0.0, 0.0, "passed", 0.0),
        ({"max_increase": 0}, 0.0, 0.0, "passed", 0.0),
        ({"max_increase": 1}, 1.5e308, -1.5e308, "no answer", None),
    ],
)
def test_changes_since_the_previous_report(ruled, rule, now, before, outcome, change):
    ruling = only(ruled(flips(now), rule, against=flips(before, sha256="d" * 64)))
    assert (ruling.outcome, ruling.previous) == (outcome, before)
    assert [condition.value for condition in ruling.conditions] == [change]


def test_changes_are_told_in_words(ruled):
    def message(rule):
        return only(ruled(flips(0.75), rule, against=flips(0.5, sha256="d" * 64))).message

    rose = "distraction.flip_rate rose by 25.0 points, from 50.0 % to 75.0 % (n 900); a rise of 1.0 points is allowed"
    assert message({"max_increase": 0.01}) == f"{rose} at most"
    assert only(ruled(flips(0.5), {"max_decrease": 0}, against=flips(0.5, sha256="d" * 64))).message == (
        f"{NAME} stayed at 50.0 % (n 900); a fall of 0.0 points is allowed"
    )
    assert "rose by 50.0 %, from 50.0 % to 75.0 % (n 900); a rise of 60.0 % is allowed" in message(
        {"max_relative_increase": 0.6}
    )


def test_changes_are_of_the_bound_that_is_used(ruled):
    now, before = flips(0.5, low=0.25, high=1.0), flips(0.5, low=0.25, high=0.5, sha256="d" * 64)
    changes = {
        use: only(ruled(now, {"max_increase": 0.1, "use": use}, against=before)).outcome
        for use in ("value", "lower", "upper")
    }
    assert changes == {"value": "passed", "lower": "passed", "upper": "violated"}
    plain = flips(0.5, sha256="d" * 64)
    ruling = only(ruled(now, {"max_increase": 0.1, "use": "upper"}, against=plain))
    assert (ruling.outcome, ruling.blocks) == ("no answer", True)


@pytest.mark.parametrize(
    ("before", "reason"),
    [
        (None, "no previous report; give one with --against, or say --first-release"),
        (
            a_check("erosion", sha256="d" * 64),
            "the previous report cannot say: no report of tlaudit distraction was given",
        ),
        (flips(None, sha256="d" * 64), "the previous report has no number: there was nothing to measure"),
        (flips(0.5, n=10, sha256="d" * 64), "judged: in the previous report it rests on 10, and the rule asks for 100"),
        (
            flips(0.5, sha256="d" * 64, options={"k": 5, "percentile": 80}),
            "the previous report cannot be compared with: another percentile",
        ),
    ],
)
def test_a_change_from_nothing_is_no_answer(ruled, before, reason):
    verdict = ruled(flips(0.5), {"max": 0.6, "max_increase": 0.1, "min_samples": 100}, against=before)
    ruling = only(verdict)
    assert (ruling.outcome, verdict.exit_code) == ("no answer", 3)
    assert [condition.outcome for condition in ruling.conditions] == ["met", "no answer"]
    assert reason in ruling.message
    skipped = only(ruled(flips(0.5), {"max_increase": 0.1, "min_samples": 100, "on_missing": "skip"}, against=before))
    assert skipped.outcome == "skipped"


def test_a_first_release_owes_no_changes(ruled):
    alone = only(ruled(flips(0.5), {"max_increase": 0.1}, first_release=True))
    assert (alone.outcome, alone.blocks) == ("skipped", False)
    assert alone.message == f"{NAME}: max_increase not judged: this is the first release (--first-release)"
    for limit, outcome in ((0.6, "passed"), (0.4, "violated")):
        ruling = only(ruled(flips(0.5), {"max": limit, "max_increase": 0.1}, first_release=True))
        assert ruling.outcome == outcome
        assert ruling.message.endswith("max_increase not judged: this is the first release (--first-release)")
    assert only(ruled(flips(None), {"max": 1, "max_increase": 0.1}, first_release=True)).outcome == "no answer"
    with pytest.raises(UsageError, match="--first-release says that there is no previous release"):
        ruled(flips(0.5), {"max": 1}, first_release=True, against=flips(0.4))


def test_a_waiver_does_not_cover_what_is_not_known(ruled):
    rule = {"max": 0.05, "max_increase": 0.1, "waive": "2030-01-01"}
    verdict = ruled(flips(0.5), rule)
    assert (only(verdict).outcome, verdict.exit_code) == ("no answer", 3)
    assert only(ruled(flips(0.5), {**rule, "on_missing": "skip"})).outcome == "waived"
    warned = ruled(flips(0.5), {"max": 0.05, "max_increase": 0.1, "severity": "warn"})
    assert (only(warned).outcome, warned.exit_code) == ("no answer", 3)
    assert only(warned).message.startswith(f"{NAME} is 50.0 % (n 900), above the 5.0 % allowed; max_increase of")


def test_what_is_gone_since_the_previous_report_is_missed(ruled):
    stage = "erosion.cka.layer{}"
    now = a_check("erosion", number(stage.format(1), 0.5))
    before = a_check("erosion", number(stage.format(1), 0.5), number(stage.format(2), 0.5), sha256="d" * 64)
    verdict = ruled(now, {"metric": "erosion.cka.l*", "max_decrease": 0.1}, against=before)
    assert [(one.metric, one.outcome) for one in verdict.rulings] == [
        (stage.format(1), "passed"),
        (stage.format(2), "no answer"),
    ]


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


def test_what_the_reader_should_know_of_the_previous_report(ruled):
    rule = {"max_increase": 0}
    same = ruled(flips(), rule, against=flips())
    assert [finding.code for finding in same.findings] == ["gate.same_report"]
    other = ruled(flips(), rule, against=flips(options={"k": 5, "percentile": 80}), first_release=False)
    assert [finding.code for finding in other.findings] == ["gate.nothing_judged", "gate.incomparable"]
    version = ruled(flips(), rule, against=flips(version="0.0.9", sha256="d" * 64))
    (remark,) = version.findings
    assert (remark.code, remark.severity) == ("gate.previous", "info")
    assert version.previous.checkpoint == "d" * 64


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


def test_a_number_too_large_is_no_answer(ruled):
    assert only(ruled(flips(10**400), {"max": 1})).outcome == "no answer"
    assert only(ruled(flips(10**400, low=0, high=1), {"max": 1, "use": "upper"})).outcome == "no answer"
    assert only(ruled(flips(1e300), {"max": 1})).outcome == "violated"


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
        assert ruling.message == f"{NAME}: max not judged: lingering.count is 0"
    assert only(ruled(reports, {"max": 0.05})).outcome == ("no answer" if outcome == "skipped" else outcome)


@pytest.mark.parametrize("first_release", [True, False])
def test_the_policy_of_the_package_passes_only_what_was_measured(first_release):
    def outcome(*reports):
        return gate(reports, today=TODAY, first_release=first_release).outcome

    excess = "distraction.excess_over_baseline"
    distraction = a_check("distraction", number(NAME, 0.01), number(excess, 0.01, unit="overlap"))
    kept = number("lingering.fraction", 0.05), number("target.accuracy", 0.9)
    lingering = a_check("lingering", number("lingering.count", 3, unit="classes"), *kept)
    erosion = a_check("erosion", number("erosion.rank_ratio.min", 0.8))
    assert outcome(distraction, lingering, erosion) == "pass"
    assert outcome(lingering, erosion) == "no answer"
    assert outcome(distraction, erosion) == "no answer"
    assert outcome(distraction, lingering) == "no answer"
    # Without a from-scratch network, or validation images, what can be measured decides.
    assert outcome(a_check("distraction", number(NAME, 0.01), number(excess)), lingering, erosion) == "pass"
    assert outcome(a_check("distraction", number(NAME, 0.051), number(excess)), lingering, erosion) == "fail"
    assert outcome(a_check("distraction", number(NAME, 0.01, n=49), number(excess)), lingering, erosion) == "no answer"
    # Where nothing lingers there is nothing to distract, and that is the best there can be.
    nothing = a_check("distraction", number(NAME), number(excess))
    none = a_check("lingering", number("lingering.count", 0, unit="classes"), number("lingering.fraction", 0.0))
    assert outcome(nothing, none, erosion) == "pass"
    # If no class could be tested it is not known whether any lingers.
    untested = a_check("lingering", number("lingering.count"), number("lingering.fraction"))
    assert outcome(nothing, untested, erosion) == "no answer"
