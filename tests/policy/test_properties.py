"""What holds of all policies and reports: tighter is never milder, order changes nothing, waivers only excuse."""

from __future__ import annotations

from datetime import date

from hypothesis import given, settings
from hypothesis import strategies as st

from compared import lingering
from gated import TODAY, a_check, number
from tlaudit.comparison.change import change
from tlaudit.documents import report_of
from tlaudit.options.policy import PolicyOptions, Rule, Waiver
from tlaudit.policy import Policy, gather, judge
from tlaudit.policy.judging import Case
from tlaudit.policy.rules import fits
from tlaudit.verdicts import PolicySource

METRICS = ("distraction.flip_rate", "lingering.fraction", "target.accuracy")
CHECK_OF = dict(zip(METRICS, ("distraction", "lingering", "lingering"), strict=True))
NUMBERS = st.floats(-1e308, 1e308) | st.integers(-3, 3).map(float)
WORSE = {"pass": 0, "fail": 1, "no answer": 1}


@st.composite
def rules(draw, metric=None):
    """Any rule with one or two limits."""
    low, high = sorted(draw(st.tuples(NUMBERS, NUMBERS)))
    thresholds = draw(
        st.sampled_from([{"min": low}, {"max": high}, {"min": low, "max": high}, {"max_increase": abs(low)}])
    )
    return Rule(
        metric=metric or draw(st.sampled_from(METRICS)),
        severity=draw(st.sampled_from(["error", "warn"])),
        on_missing=draw(st.sampled_from(["fail", "warn", "skip"])),
        use=draw(st.sampled_from(["value", "lower", "upper"])),
        min_samples=draw(st.sampled_from([None, 1, 10**6])),
        **thresholds,
    )


@st.composite
def reports(draw):
    """Results of two checks; numbers may be absent, or not there at all."""
    found = {"distraction": [], "lingering": []}
    for metric in draw(st.lists(st.sampled_from(METRICS), unique=True)):
        value = draw(st.none() | NUMBERS)
        bounds = {} if value is None or draw(st.booleans()) else {"low": min(value, 0.0), "high": max(value, 0.0)}
        found[CHECK_OF[metric]].append(number(metric, value, **bounds))
    return [report_of(a_check(check, *numbers)) for check, numbers in found.items()]


def verdict(these, *given_rules, before=None, today=TODAY, first_release=False):
    policy = Policy(
        PolicySource(path=None, sha256="", rules=len(given_rules)),
        tuple(given_rules),
        tuple(range(1, len(given_rules) + 1)),
    )
    return judge(policy, Case(gather(these), None if before is None else gather(before), today, first_release))


@given(reports(), rules(), NUMBERS, reports())
@settings(max_examples=20)
def test_a_tighter_bound_never_turns_a_violation_into_a_pass(these, rule, other, before):
    for kind, limit in rule.thresholds.items():
        tighter = max(limit, other) if kind == "min" else min(limit, other)
        if kind == "max_increase":
            tighter = min(limit, abs(other))
        tightened = rule.model_copy(update={kind: tighter})
        then = verdict(these, rule, before=before)
        now = verdict(these, tightened, before=before)
        if then.rulings[0].outcome == "violated":
            assert now.rulings[0].outcome == "violated"
        if now.outcome == "pass":
            assert then.outcome == "pass"


@given(reports(), st.lists(rules(), min_size=1, max_size=4), st.data())
@settings(max_examples=20)
def test_the_order_of_rules_and_reports_changes_no_ruling(these, some, data):
    shuffled = data.draw(st.permutations(some))
    one, other = verdict(these, *some), verdict(these[::-1], *shuffled)

    def plain(found):
        return sorted(ruling.model_copy(update={"line": None}).model_dump_json() for ruling in found.rulings)

    assert plain(one) == plain(other)
    assert one.outcome == other.outcome


@given(reports(), rules(), st.dates())
@settings(max_examples=20)
def test_a_waiver_only_excuses_a_violation_and_only_until_its_day(these, rule, until):
    plain = verdict(these, rule).rulings[0]
    waived = verdict(these, rule.model_copy(update={"waive": Waiver(until=until, reason="known")})).rulings[0]
    if plain.outcome == "violated" and until >= TODAY:
        assert waived.outcome == "waived" or (waived.outcome == "no answer" and rule.on_missing == "fail")
    else:
        assert waived.outcome == plain.outcome
    assert plain.conditions == waived.conditions


@given(reports(), rules(), st.dates())
@settings(max_examples=20)
def test_a_waiver_is_good_to_the_end_of_its_last_day(these, rule, today):
    waived = rule.model_copy(
        update={"waive": Waiver(until=date.fromordinal(min(today.toordinal(), 3652058)), reason="x")}
    )
    later = date.fromordinal(waived.waive.until.toordinal() + 1)
    assert verdict(these, waived, today=waived.waive.until).rulings[0].outcome != "violated"
    assert verdict(these, waived, today=later).rulings[0].outcome == verdict(these, rule).rulings[0].outcome


@given(reports(), st.lists(rules(), min_size=1, max_size=5))
@settings(max_examples=20)
def test_the_exit_code_is_that_of_the_worst_ruling(these, some):
    found = verdict(these, *some)
    alone = [verdict(these, rule) for rule in some]
    codes = {one.exit_code for one in alone}
    assert found.exit_code == (1 if 1 in codes else 3 if 3 in codes else 0)
    assert found.rulings == tuple(
        ruling.model_copy(update={"line": line}) for line, one in enumerate(alone, start=1) for ruling in one.rulings
    )


@given(st.text("ab*", max_size=8), st.text("ab", max_size=10))
def test_patterns_mean_what_fnmatch_would_make_of_them(pattern, name):
    from fnmatch import fnmatchcase

    assert fits(pattern, name) == fnmatchcase(name, pattern)


def test_a_pattern_of_a_thousand_stars_takes_no_time():
    assert not fits("erosion.cka." + "*a" * 1000 + "b", "erosion.cka." + "a" * 20_000)
    assert fits("erosion.cka." + "*a" * 1000, "erosion.cka." + "a" * 20_000)


@given(
    st.lists(
        st.tuples(st.sampled_from([*METRICS, "*", "*.fraction", "t*", "erosion.cka.*"]), NUMBERS, NUMBERS), max_size=6
    )
)
def test_rules_clash_where_any_two_of_them_do(limits):
    """The quick way over the strictest of each metric finds what looking at every pair finds."""
    from fnmatch import fnmatchcase

    from pydantic import ValidationError

    made = [
        Rule(metric=metric, id=f"r{number}", min=min(low, high), max=max(low, high))
        for number, (metric, low, high) in enumerate(limits)
    ]
    expected = any(
        (fnmatchcase(one.metric, other.metric) or fnmatchcase(other.metric, one.metric)) and one.min > other.max
        for one in made
        for other in made
    )
    try:
        PolicyOptions(rules=tuple(made))
        clashes = False
    except ValidationError as error:
        clashes = "contradictory" in str(error)
    assert clashes == (expected and bool(made))


@given(NUMBERS, NUMBERS, st.floats(0, 1e300), st.floats(0, 1e300))
def test_a_change_is_that_of_the_other_way_round_with_its_sign_turned(one, other, width, wide):
    def made(value, around):
        plain = lingering("x", 0.5).measurements[0]
        interval = plain.interval.model_copy(update={"low": value - around, "high": value + around})
        return plain.model_copy(update={"value": value, "interval": interval})

    there, back = change(made(one, width), made(other, wide)), change(made(other, wide), made(one, width))
    assert (there.value is None) == (back.value is None)
    if there.value is not None:
        assert there.value == -back.value
    if there.interval is not None and back.interval is not None:
        assert (there.interval.low, there.interval.high) == (-back.interval.high, -back.interval.low)
        assert there.interval.low <= there.value <= there.interval.high
