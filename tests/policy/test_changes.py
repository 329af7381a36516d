"""What a rule makes of a change since the previous release."""

from __future__ import annotations

import pytest

from gated import FLIPS, TODAY, a_check, a_policy, flips, number, only
from tlaudit.errors import UsageError
from tlaudit.policy import gate


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
        f"{FLIPS} stayed at 50.0 % (n 900); a fall of 0.0 points is allowed"
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
    assert alone.message == f"{FLIPS}: max_increase not judged: this is the first release (--first-release)"
    for limit, outcome in ((0.6, "passed"), (0.4, "violated")):
        ruling = only(ruled(flips(0.5), {"max": limit, "max_increase": 0.1}, first_release=True))
        assert ruling.outcome == outcome
        assert ruling.message.endswith("max_increase not judged: this is the first release (--first-release)")
    assert only(ruled(flips(None), {"max": 1, "max_increase": 0.1}, first_release=True)).outcome == "no answer"
    with pytest.raises(UsageError, match="--first-release says that there is no previous release"):
        ruled(flips(0.5), {"max": 1}, first_release=True, against=flips(0.4))


def test_what_is_gone_since_the_previous_report_is_missed(ruled):
    stage = "erosion.cka.layer{}"
    now = a_check("erosion", number(stage.format(1), 0.5))
    before = a_check("erosion", number(stage.format(1), 0.5), number(stage.format(2), 0.5), sha256="d" * 64)
    verdict = ruled(now, {"metric": "erosion.cka.l*", "max_decrease": 0.1}, against=before)
    assert [(one.metric, one.outcome) for one in verdict.rulings] == [
        (stage.format(1), "passed"),
        (stage.format(2), "no answer"),
    ]


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


def validated(accuracy, sha256="c" * 64, k=5, fingerprint="v" * 64, classes=3):
    """What `tlaudit lingering` says, with accuracy on validation images."""
    numbers = number("target.accuracy", accuracy, better="higher"), number("lingering.fraction", 0.5)
    result = a_check("lingering", *numbers, sha256=sha256, options={"k": k})
    source = next(iter(result.provenance.data.values()))
    models = dict(result.provenance.models)
    models["finetuned"] = models["finetuned"].model_copy(update={"num_classes": classes})
    data = {**result.provenance.data, "val": source.model_copy(update={"fingerprint": fingerprint})}
    told = result.provenance.model_copy(update={"data": data, "models": models})
    return result.model_copy(update={"provenance": told})


@pytest.mark.parametrize(
    ("before", "accuracy", "lingering"),
    [
        ({}, "passed", "passed"),
        # How lingering classes are found says nothing about accuracy, nor validation images about lingering classes.
        ({"k": 9}, "passed", "no answer"),
        ({"fingerprint": "w" * 64}, "no answer", "passed"),
        ({"classes": 9}, "no answer", "passed"),
        ({"k": 9, "fingerprint": "w" * 64}, "no answer", "no answer"),
    ],
)
def test_a_number_is_compared_if_what_it_depends_on_is_the_same(tmp_path, before, accuracy, lingering):
    rules = [{"metric": "target.accuracy", "max_decrease": 0.01}, {"metric": "lingering.fraction", "max_increase": 0}]
    against = validated(0.9, sha256="d" * 64, **before)
    verdict = gate(validated(0.9), policy=a_policy(tmp_path, *rules), against=against, today=TODAY)
    assert [ruling.outcome for ruling in verdict.rulings] == [accuracy, lingering]
    told = [one.message for one in verdict.findings if one.code == "gate.incomparable"]
    assert bool(told) is bool(before)
    partly = "passed" in (accuracy, lingering)
    assert all(("all of this one" in message) is partly for message in told)


@pytest.mark.parametrize(
    ("kind", "before", "now", "limit", "size"),
    [
        ("max_decrease", 0.97, 0.96, 0.01, "fell by 1.0 points"),
        ("max_increase", 0.3, 0.4, 0.1, "rose by 10.0 points"),
        ("max_relative_increase", 1.0, 1.1, 0.1, "rose by 10.0 %"),
        ("max_relative_decrease", 0.3, 0.27, 0.1, "fell by 10.0 %"),
        ("max_relative_increase", -0.3, -0.27, 0.1, "rose by 10.0 %"),
    ],
)
def test_a_change_at_its_limit_is_met(ruled, kind, before, now, limit, size):
    earlier = flips(before, sha256="d" * 64)
    met = only(ruled(flips(now), {kind: limit}, against=earlier))
    assert met.outcome == "passed"
    assert size in met.message
    assert "0000" not in met.message
    # A little more than rounding explains is more.
    further = now + 1e-13 if "increase" in kind else now - 1e-13
    assert only(ruled(flips(further), {kind: limit}, against=earlier)).outcome == "violated"


def test_changes_are_met_as_exact_arithmetic_has_it(ruled):
    from fractions import Fraction

    # Shares with two decimals: as they are written, not as the binary numbers nearest to them.
    for before, now, limit in [(97, 96, 1), (55, 41, 14), (7, 29, 22), (83, 80, 2), (11, 12, 1), (33, 36, 4)]:
        kind = "max_increase" if now > before else "max_decrease"
        ruling = only(ruled(flips(now / 100), {kind: limit / 100}, against=flips(before / 100, sha256="d" * 64)))
        met = abs(Fraction(now, 100) - Fraction(before, 100)) <= Fraction(limit, 100)
        assert ruling.outcome == ("passed" if met else "violated")
