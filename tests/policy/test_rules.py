"""Rules as they are written: what is refused, where it stands, what comes with the package."""

from __future__ import annotations

import re
import tomllib
from datetime import date

import pytest

from gated import a_policy
from tlaudit import metrics
from tlaudit.errors import ConfigError, UsageError
from tlaudit.options.policy import Rule
from tlaudit.policy import load
from tlaudit.policy.rules import default, fits
from tlaudit.toml_lines import lines_of


def write(folder, text, name="tlaudit.toml"):
    path = folder / name
    path.write_text(text, encoding="utf-8")
    return path


RULE = '[[policy.rules]]\nmetric = "distraction.flip_rate"\n'


@pytest.mark.parametrize(
    ("keys", "message"),
    [
        ("max = 0.05\nmetrc = 1", r"unknown key 'metrc' in \[\[policy.rules\]\] number 2; did you mean 'metric'\?"),
        (
            "max = 0.05\nwaive = {untl = 1}",
            r"unknown key 'untl' in \[\[policy.rules\]\] number 2, waive; did .* 'until'",
        ),
        ("", "number 2: the rule demands nothing; give one of min, max, max_increase"),
        ("max = true", r"number 2: max: input should be a valid number \(got True\)"),
        ("max = '0.05'", "number 2: max: input should be a valid number"),
        ("max = nan", "number 2: max: .*finite"),
        ("min = -inf", "number 2: min: .*finite"),
        ("max_increase = -0.1", "number 2: max_increase: .*greater than or equal to 0"),
        ("max_relative_decrease = inf", "number 2: max_relative_decrease: .*finite"),
        pytest.param(f"max = 1{'0' * 400}", r"max: .*valid number \(got 10+…\)", id="400 digits"),
        ("max = 0.1\nwaive = 3", r"number 2: waive: expected a table \(got 3\)"),
        ("max = 0.1\nmin = 0.10000001", "contradictory thresholds: min 0.10000001 is above max 0.1"),
        ("max = 0.1\nmin = 0.2", "contradictory thresholds: min 0.2 is above max 0.1"),
        ("max = 0.1\nmin_samples = 0", "number 2: min_samples: .*greater than or equal to 1"),
        ("max = 0.1\nmin_samples = 2.5", "number 2: min_samples: .*valid integer"),
        ("max = 0.1\nseverity = 'fatal'", "number 2: severity"),
        ("max = 0.1\non_missing = 'pass'", "number 2: on_missing"),
        ("max = 0.1\nif_any = 'lingering.*'", "number 2: if_any: expected the name of one measurement, without"),
        ("max = 0.1\nif_any = 'lingering.cuont'", "number 2: if_any: .* did you mean 'lingering.count'"),
        ("max = 0.1\nuse = 'point'", "number 2: use"),
        ("max = 0.1\nid = ' '", "number 2: id: expected a line of text"),
        ("max = 0.1\nwaive = {until = 2027-03-31}", "number 2: waive.reason: field required"),
        ("max = 0.1\nwaive = {until = 2027-03-31, reason = ''}", "number 2: waive.reason: expected a line of text"),
        ("max = 0.1\nwaive = {until = 20270331, reason = 'x'}", "number 2: waive.until: expected a date"),
        ("max = 0.1\nwaive = {until = '2027-02-30', reason = 'x'}", "waive.until: there is no such day"),
        ("max = 0.1\nwaive = {until = '2027-W05-1', reason = 'x'}", "waive.until: expected a date"),
        ("max = 0.1\nwaive = {until = 2027-03-31T10:00:00, reason = 'x'}", "waive.until: expected a date"),
        ("max = 0.1\nwaive = {until = true, reason = 'x'}", "waive.until: expected a date"),
    ],
)
def test_refuses_a_bad_rule_and_names_file_and_line(tmp_path, keys, message):
    path = write(tmp_path, f"[execution]\nseed = 3\n\n{RULE}max = 1\nid = 'other'\n{RULE}{keys}\n")
    with pytest.raises(ConfigError, match=message) as caught:
        load(path)
    assert str(caught.value).startswith(f"{path}:8: ")


def test_refuses_a_day_that_toml_has_not(tmp_path):
    with pytest.raises(ConfigError, match=r"tlaudit.toml: cannot be read as TOML: .*line 3"):
        load(write(tmp_path, f"{RULE}waive = {{until = 2027-02-30, reason = 'x'}}\nmax = 1\n"))


@pytest.mark.parametrize(
    ("metric", "message"),
    [
        (
            "distraction.flip_rat",
            "no measurement is called 'distraction.flip_rat'; did you mean 'distraction.flip_rate'",
        ),
        ("distractoin.*", "no measurement is called"),
        ("erosion.cka.layer[12]", "in which \\* is the only wildcard"),
        ("distraction.flip_rat?", "in which \\* is the only wildcard"),
        ("", "no measurement is called ''; there are"),
        ("erosion.cka.\u0007", "expected the name of a measurement"),
    ],
)
def test_refuses_unknown_metrics_and_names_the_nearest(tmp_path, metric, message):
    with pytest.raises(ConfigError, match=f"number 1: metric: .*{message}"):
        load(a_policy(tmp_path, {"metric": metric, "max": 1}))


@pytest.mark.parametrize(
    ("first", "second", "message"),
    [
        (
            {"max": 0.1},
            {"max": 0.2},
            "rules 2 and 3: both have the id 'distraction.flip_rate'; give one of them another",
        ),
        ({"max": 0.1, "id": "a"}, {"max_increase": 0, "id": "a"}, "rules 2 and 3: both have the id 'a'"),
        (
            {"max": 0.1},
            {"min": 0.2, "id": "b"},
            "rules 2 and 3: contradictory thresholds of distraction.flip_rate: min 0.2",
        ),
        (
            {"min": 0.5, "use": "lower"},
            {"max": 0.1, "use": "upper"},
            "min 0.5 of the lower bound is above max 0.1 of the upper bound",
        ),
        (
            {"metric": "erosion.cka.*", "min": 0.5},
            {"metric": "erosion.cka.layer4", "max": 0.3},
            "contradictory thresholds of erosion.cka.layer4: min 0.5 is above max 0.3",
        ),
        (
            {"metric": "erosion.cka.layer*", "max": 0.3},
            {"metric": "erosion.*", "min": 0.5},
            r"contradictory thresholds of erosion.cka.layer\*: min 0.5",
        ),
        ({"min": 0.2}, {"max": 0.1, "severity": "warn"}, "contradictory thresholds .* min 0.2 is above max 0.1"),
    ],
)
def test_refuses_rules_that_cannot_stand_side_by_side(tmp_path, first, second, message):
    path = a_policy(tmp_path, {"metric": "lingering.fraction", "max": 1}, first, second)
    with pytest.raises(ConfigError, match=message) as caught:
        load(path)
    assert str(caught.value).startswith(f"{path}:{_begin(path, 3)}: ")


@pytest.mark.parametrize(
    ("first", "second"),
    [
        # An upper bound may lie above a limit and the lower one below it; the value may lie outside its interval.
        ({"min": 0.5, "use": "upper"}, {"max": 0.1, "use": "lower"}),
        ({"min": 0.5, "use": "lower"}, {"max": 0.1}),
        ({"min": 0.5}, {"max": 0.1, "use": "upper"}),
        ({"min": 0.5, "use": "lower"}, {"max": 0.5, "use": "upper"}),
        ({"metric": "erosion.cka.*", "min": 0.5}, {"metric": "erosion.rank_ratio.*", "max": 0.1}),
        ({"metric": "erosion.cka.l*", "min": 0.5}, {"metric": "erosion.cka.*4", "max": 0.1}),
    ],
)
def test_lets_stand_what_may_both_be_met(tmp_path, first, second):
    assert len(load(a_policy(tmp_path, first, {**second, "id": "other"})).rules) == 2


def _begin(path, number):
    return [i for i, line in enumerate(path.read_text().splitlines(), 1) if line.startswith("[[")][number - 1]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("[policy]\nrules = []", r"policy: rules is empty; leave \[policy\] out"),
        ("[policy]\n", "policy.rules: field required"),
        ("policy = 3", "policy: expected a table .got 3."),
        ("[policy]\nrules = 3", "policy.rules: expected a list .got 3."),
        ("[policy]\nrules = [3]", r"\[\[policy.rules\]\] number 1"),
        ("[policy]\nruls = []", "unknown key 'ruls' in .policy.; did you mean 'rules'"),
        ("[lingering]\nk = 3", "expected rules"),
        ("", "expected rules"),
        (f"[lingring]\nk = 3\n{RULE}max = 1", "unknown key 'lingring'; did you mean 'lingering'"),
        (f"[lingering]\nv_low = 3\n{RULE}max = 1", "unknown key 'v_low' in .lingering.; did you mean 'v_lo'"),
    ],
)
def test_refuses_a_file_that_is_no_policy(tmp_path, text, message):
    with pytest.raises(ConfigError, match=message):
        load(write(tmp_path, text))


def test_ids_do_not_depend_on_the_order(tmp_path):
    rules = [
        {"max": 0.1},
        {"max": 0.05, "severity": "warn"},
        {"max": 0.2, "use": "upper"},
        {"max": 0.01, "severity": "warn", "use": "lower"},
        {"max": 0.5, "id": "mine"},
        {"metric": "erosion.cka.*", "min": 0.2},
    ]
    names = ["", ":warn", ":upper", ":warn:lower"]
    expected = [*(f"distraction.flip_rate{name}" for name in names), "mine", "erosion.cka.*"]
    assert [rule.name for rule in load(a_policy(tmp_path, *rules)).rules] == expected
    assert [rule.name for rule in load(a_policy(tmp_path, *reversed(rules))).rules] == expected[::-1]


def test_a_date_may_be_of_toml_or_in_words():
    for until in (date(2027, 3, 31), "2027-03-31"):
        rule = Rule(metric="target.accuracy", min=0.9, waive={"until": until, "reason": "x"})
        assert rule.waive.until == date(2027, 3, 31)


def test_lines_of_rules_survive_comments_strings_and_other_tables(tmp_path):
    text = '''
# [[policy.rules]]
[models]
source = """
[[policy.rules]]
metric = "no.rule"
"""
  [[ policy . "rules" ]]  # [[policy.rules]]
metric = "distraction.flip_rate"
max = 1
waive = { until = 2027-01-01, reason = "[[policy.rules]]" }

[[policy.rules]]
metric = "lingering.fraction"
max = 1
[policy.rules.waive]
until = 2027-01-01
reason = "rules = 3"
[data]
strict = true
[[policy.rules]]
metric = "target.accuracy"
min = 0
'''
    policy = load(write(tmp_path, text))
    lines = text.splitlines()
    assert [rule.metric for rule in policy.rules] == ["distraction.flip_rate", "lingering.fraction", "target.accuracy"]
    assert policy.lines == (8, 13, 21)
    assert all("rules" in lines[line - 1] for line in policy.lines)


@pytest.mark.parametrize(
    "text",
    [
        '[policy]\n# rules = []\n\nrules = [\n  { metric = "lingering.fraction", max = 1 },\n'
        '  { metric = "target.accuracy", min = 0 },\n]\n',
        '[execution]\nseed = 1\n[policy]\nrules = [{ metric = "lingering.fraction", max = 1 }, '
        '{ metric = "target.accuracy", min = 0 }]',
        '# rules\n\n\npolicy.rules = [{ metric = "lingering.fraction", max = 1 }, '
        '{ metric = "target.accuracy", min = 0 }]',
        '#\n#\n#\npolicy = { rules = [{ metric = "lingering.fraction", max = 1 }, '
        '{ metric = "target.accuracy", min = 0 }] }',
    ],
)
def test_rules_written_inline_stand_at_their_key(tmp_path, text):
    assert load(write(tmp_path, text)).lines == (4, 4)


def test_lines_are_found_where_what_lies_between_cannot_stand_alone():
    text = '[[x]]\n[[rules]]\n[x.y]\n[[x]]\n[[rules]]\na = """\n[[rules]]\n"""\n[[rules.deep]]\n[[rules]]\n'
    assert lines_of(text, ["rules"]) == [2, 5, 10]
    assert lines_of(text, ["rules", "deep"]) == lines_of(text, ["none"]) == []


def test_lines_are_found_with_line_ends_of_other_systems(tmp_path):
    path = tmp_path / "tlaudit.toml"
    path.write_bytes(f"# \u2028 one line\n\n{RULE}max = 1\n".replace("\n", "\r\n").encode())
    assert load(path).lines == (3,)


def test_a_file_may_begin_with_a_mark_of_its_encoding(tmp_path):
    path = tmp_path / "tlaudit.toml"
    path.write_bytes(b"\xef\xbb\xbf" + f"{RULE}max = 1\n".encode())
    assert load(path).lines == (1,)


def test_policy_of_a_pyproject(tmp_path):
    text = f'[project]\nname = "x"\n{RULE.replace("[[", "[[tool.tlaudit.")}max = 1\n'
    policy = load(write(tmp_path, text, "pyproject.toml"))
    assert (policy.lines, policy.rules[0].max) == ((3,), 1)


def test_where_the_rules_come_from(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert load() == default()
    mine = a_policy(tmp_path, {"max": 0.5})
    assert load().source.path == "tlaudit.toml"
    assert load(found=False) == default()
    other = a_policy(tmp_path, {"max": 0.6}, name="other.toml")
    assert load(other).rules[0].max == 0.6
    assert load(config=other).rules[0].max == 0.6
    assert load(mine, mine).rules[0].max == 0.5
    plain = write(tmp_path, "[lingering]\nk = 3\n", "plain.toml")
    assert load(config=plain) == default()
    with pytest.raises(
        UsageError, match="--policy .*other.toml and --config .*plain.toml: the rules come from one file"
    ):
        load(other, plain)


def test_the_policy_that_comes_with_the_package():
    policy = default()
    assert policy.source.path is None
    assert len(policy.rules) == len(policy.lines) == policy.source.rules >= 5
    assert all(metrics.known(rule.metric) for rule in policy.rules)
    # An error must not be passed over in silence: what is skipped needs what not everybody has.
    assert {rule.metric for rule in policy.rules if rule.on_missing == "skip"} == {"control.lingering_fraction"}
    assert all(rule.waive is None for rule in policy.rules)


def test_the_policy_of_the_package_can_be_copied(tmp_path):
    from importlib import resources

    text = resources.files("tlaudit.policy").joinpath("default.toml").read_text(encoding="utf-8")
    assert load(write(tmp_path, text)).rules == default().rules
    for block in re.split(r"(?=\[\[)", text)[1:]:
        assert {"severity", "on_missing"} <= set(tomllib.loads(block)["policy"]["rules"][0])


@pytest.mark.parametrize(
    ("pattern", "name", "meant"),
    [
        ("erosion.cka.*", "erosion.cka.features.0", True),
        ("erosion.cka.*", "erosion.ckaXmin", False),
        ("*.flip_rate", "distraction.flip_rate", True),
        ("a.b", "axb", False),
        ("a", "ab", False),
        ("a*b*c", "abxc", True),
        ("a[b]", "ab", False),
    ],
)
def test_only_the_star_is_a_wildcard(pattern, name, meant):
    assert fits(pattern, name) is meant
