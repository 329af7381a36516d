"""The result of a repair: names, tables, who is on the front, verdict and summary, from judgements made by hand."""

from __future__ import annotations

import dataclasses
import io
import re

import pytest
import torch
from rich.console import Console

import planted
from tlaudit import CheckResult, load_pair
from tlaudit.checks.assembly import assemble
from tlaudit.checks.base import Stopwatch
from tlaudit.metrics.repair import AXES
from tlaudit.options import DataOptions, ExecutionOptions, PreprocessTable
from tlaudit.options.repair import JudgeOptions, RepairOptions
from tlaudit.repair.judgement import Facts, Glance, Judgement, Sample
from tlaudit.repair.told import Outcome, told
from tlaudit.reports import as_html, as_markdown, as_terminal
from tlaudit.results import Finding
from tlaudit.training.loop import Epoch

N = 200
CLASSES = torch.arange(10).repeat_interleave(5)
COMPOSITES = ("flip_rate", "composite_accuracy", "grey_accuracy")


@pytest.fixture(scope="module")
def subject(tmp_path_factory):
    paths = planted.build(tmp_path_factory.mktemp("planted"))
    pair = load_pair(paths["source"], paths["finetuned"], arch=planted.ARCH)
    data = DataOptions(source=paths["source_data"], target=paths["target_data"], val=paths["val_data"])
    preprocess = PreprocessTable(**planted.PREPROCESS)
    return assemble(pair, data, preprocess=preprocess, execution=ExecutionOptions(device="cpu", workers=0))


def hits(share, count=N):
    """The first so many are right, so that two networks differ in as few items as they can."""
    return Sample((torch.arange(count) < round(share * count)).double())


def judgement(target=0.9, source=0.5, distraction=0.4, lingering=8, reasons=None):
    samples = {
        "target_accuracy": hits(target),
        "source_top1": hits(source),
        "source_probability": hits(source),
        "delta_lp": Sample(torch.zeros(40).double()),
        "lingering": hits(lingering / 10, 10),
        "distraction": Sample(torch.full((50,), distraction).double(), CLASSES),
        **{axis: Sample(hits(0.6, 50).values, CLASSES) for axis in COMPOSITES},
    }
    return Judgement(samples | (reasons or {}), tuple(range(lingering)))


def facts(source=0.8):
    return Facts(hits(source) if isinstance(source, float) else source, {}, {"lingering.k": 5})


def tell(subject, *outcomes, before=None, source=0.8, **options):
    before = before or judgement()
    given = RepairOptions(**{"judge": JudgeOptions(bootstrap=400)} | options)
    return told(subject, given, facts(source), ("finetuned", before), outcomes, Stopwatch())


def history(*losses, accuracy=0.9):
    return tuple(
        Epoch(number, {"cross_entropy": loss, **({"ldifs": loss / 10} if number else {})}, 1e-3, accuracy)
        for number, loss in enumerate(losses)
    )


def test_every_axis_of_every_method_has_a_name_a_value_and_a_change(subject):
    better = judgement(target=0.95, source=0.75, distraction=0.3, lingering=9)
    result = tell(subject, Outcome("ldifs", better), Outcome("wise-ft", judgement()))
    names = {f"repair.{who}.{axis}" for who in ("before", "ldifs", "wise-ft") for axis in (*AXES, "source_kept")}
    names |= {f"repair.{who}.{axis}_change" for who in ("ldifs", "wise-ft") for axis in AXES}
    assert {m.name for m in result.measurements} == names | {"repair.source.source_top1"}
    assert result["repair.source.source_top1"].value == 0.8
    assert result["repair.ldifs.target_accuracy_change"].value == pytest.approx(0.05)
    assert result["repair.ldifs.source_kept"].value == pytest.approx(0.75 / 0.8)
    assert result["repair.before.source_kept"].value == pytest.approx(0.5 / 0.8)
    assert result["repair.ldifs.distraction_change"].value == pytest.approx(-0.1)
    assert (result["repair.ldifs.lingering_count"].value, result["repair.ldifs.lingering_count_change"].value) == (9, 1)
    assert {m.value for m in result.measurements if m.name.startswith("repair.wise-ft") and "change" in m.name} == {0}
    assert CheckResult.model_validate_json(result.to_json()) == result
    assert result.check == "repair"


def test_before_and_after_stand_method_by_method(subject):
    result = tell(subject, Outcome("plain", judgement(source=0.1)), Outcome("ldifs", judgement(source=0.7)))
    assert list(result.tables) == ["pareto", "before_after", "versus_plain"]
    rows = result.tables["before_after"].rows
    assert [row["method"] for row in rows] == ["plain"] * len(AXES) + ["ldifs"] * len(AXES)
    assert [row["axis"] for row in rows] == 2 * [
        "target accuracy", "source top-1", "ΔLP", "lingering count", "lingering fraction", "distraction", "flip rate",
        "composite accuracy", "grey accuracy",
    ]  # fmt: skip
    assert (rows[1]["before"], rows[1]["after"], rows[1]["change"]) == (0.5, 0.1, pytest.approx(-0.4))
    assert rows[1]["low"] < -0.4 < rows[1]["high"] < 0
    assert [row["n"] for row in rows[:9]] == [N, N, 40, 10, 10, 10, 50, 50, 50]
    assert all(isinstance(row["low"], int) for row in rows if row["axis"] == "lingering count")
    assert list(tell(subject, Outcome("ldifs", judgement())).tables) == ["before_after", "pareto"]


def test_methods_are_set_against_plain_where_it_ran(subject):
    plain = judgement(target=0.8, source=0.1, distraction=0.5, lingering=3)
    ldifs = judgement(target=0.85, source=0.7, distraction=0.2, lingering=9)
    nothing = Outcome("l1", None, diverged="the training diverged: the loss is no finite number")
    result = tell(subject, Outcome("plain", plain), Outcome("ldifs", ldifs), nothing)
    names = {m.name for m in result.measurements if m.name.endswith("_versus_plain")}
    assert names == {f"repair.{method}.{axis}_versus_plain" for method in ("ldifs", "l1") for axis in AXES}
    found = result["repair.ldifs.source_top1_versus_plain"]
    assert (found.value, found.n, found.unit, found.better) == (pytest.approx(0.6), N, "difference", "higher")
    assert 0.5 < found.interval.low < 0.6 < found.interval.high < 0.7
    assert result["repair.ldifs.distraction_versus_plain"].value == pytest.approx(-0.3)
    lingering = result["repair.ldifs.lingering_count_versus_plain"]
    assert (lingering.value, lingering.unit) == (6, "classes")
    # The same numbers as of the change, where plain is the network before.
    change = tell(subject, Outcome("ldifs", ldifs), before=plain)["repair.ldifs.target_accuracy_change"]
    other = result["repair.ldifs.target_accuracy_versus_plain"]
    assert (other.value, other.interval, other.n) == (change.value, change.interval, change.n)
    assert result["repair.l1.source_top1_versus_plain"].absent.startswith("the training diverged")
    table = result.tables["versus_plain"]
    columns = [column.name for column in table.columns]
    assert columns == [
        {"before": "plain"}.get(column.name, column.name) for column in result.tables["before_after"].columns
    ]
    assert {row["method"] for row in table.rows} == {"ldifs"}
    row = table.rows[1]
    assert (row["plain"], row["after"], row["change"], row["n"]) == (0.1, 0.7, pytest.approx(0.6), N)


@pytest.mark.parametrize("plain", [None, Outcome("plain", None, diverged="the training diverged")])
def test_nothing_is_set_against_a_plain_that_did_not_run(subject, plain):
    outcomes = [Outcome("ldifs", judgement()), Outcome("lwf", judgement()), *([plain] if plain else [])]
    result = tell(subject, *outcomes)
    assert "versus_plain" not in result.tables
    assert not [m.name for m in result.measurements if m.name.endswith("_versus_plain")]


def test_what_has_no_number_against_plain_says_why(subject):
    reason = "no class lingers before the repair"
    blind = judgement(reasons={"distraction": reason})
    result = tell(subject, Outcome("plain", blind), Outcome("ldifs", judgement()))
    assert result["repair.ldifs.distraction_versus_plain"].absent == reason
    row = next(row for row in result.tables["versus_plain"].rows if row["axis"] == "distraction")
    assert (row["plain"], row["after"], row["change"], row["absent"]) == (None, pytest.approx(0.4), None, reason)


def test_what_is_absent_says_why(subject):
    reason = "no source images were given (--source-data)"
    gone = dict.fromkeys(("source_top1", "source_probability", "delta_lp", "lingering", "distraction"), reason)
    gone |= dict.fromkeys(COMPOSITES, reason)
    before = judgement(reasons=gone)
    result = tell(subject, Outcome("plain", judgement(target=0.5, reasons=gone)), before=before, source=reason)
    assert result["repair.plain.source_kept"].absent == result["repair.source.source_top1"].absent == reason
    row = next(row for row in result.tables["before_after"].rows if row["axis"] == "distraction")
    assert (row["before"], row["change"], row["n"], row["absent"]) == (None, None, None, reason)
    assert result.charts == ()
    assert result.summary == (
        "Before is the finetuned network. plain: target accuracy 90.0 → 50.0 %. "
        "Target accuracy surely fell by more than a point after plain."
    )
    assert result.headline == ("repair.plain.target_accuracy", "repair.plain.target_accuracy_change")


def test_the_front_holds_whom_nobody_beats(subject):
    outcomes = [
        Outcome("plain", judgement(source=0.1, distraction=0.5)),
        Outcome("ldifs", judgement(source=0.7, distraction=0.6)),
        Outcome("unlearn", judgement(source=0.3, distraction=0.1)),
        Outcome(
            "wise-ft",
            judgement(source=0.6, distraction=0.7),
            variants=(
                ("wise-ft 0", Glance({"target_accuracy": hits(0.2), "source_top1": hits(0.8)})),
                ("wise-ft 1", Glance({"target_accuracy": hits(0.9), "source_top1": hits(0.4)})),
            ),
        ),
    ]
    result = tell(subject, *outcomes)
    rows = {row["name"]: row for row in result.tables["pareto"].rows}
    assert list(rows) == ["before", "plain", "ldifs", "unlearn", "wise-ft", "wise-ft 0", "wise-ft 1"]
    # Nobody knows how distracted a sweep's networks are: no verdict on them, and none by them.
    assert [row["on_front"] for row in rows.values()] == ["yes", "no", "yes", "yes", "no", None, None]
    assert rows["wise-ft 0"]["method"] == "wise-ft"
    assert rows["wise-ft 0"]["source_kept"] == 1
    assert rows["wise-ft 0"]["distraction"] is None
    assert "accuracies only" in rows["wise-ft 0"]["absent"]
    (chart,) = result.charts
    assert (chart.x, chart.y, chart.shade) == ("source_kept", "distraction", "target_accuracy")
    assert (chart.labelled, chart.least_span, chart.group) == (True, 0.1, None)
    assert "The colour is the accuracy" in chart.reading
    assert "a sweep tried" in chart.reading


def test_an_axis_that_before_lacks_is_left_out_of_the_front(subject):
    blind = judgement(reasons={"distraction": "no class lingers before the repair"})
    sweep = (
        ("wise-ft 0", Glance({"target_accuracy": hits(0.2), "source_top1": hits(0.8)})),
        ("wise-ft 1", Glance({"target_accuracy": hits(0.9), "source_top1": hits(0.4)})),
    )
    # After it a class lingers, and its distraction is known; that decides nothing.
    ldifs = judgement(target=0.9, source=0.4, distraction=0.1)
    result = tell(subject, Outcome("ldifs", ldifs), Outcome("wise-ft", blind, variants=sweep), before=blind)
    rows = {row["name"]: row["on_front"] for row in result.tables["pareto"].rows}
    assert rows == {"before": "yes", "ldifs": "no", "wise-ft": "yes", "wise-ft 0": "yes", "wise-ft 1": "no"}
    nothing = judgement(reasons=dict.fromkeys(("target_accuracy", "source_top1", "distraction"), "no such images"))
    result = tell(subject, *(Outcome(name, judgement()) for name in ("l1", "l2sp", "lwf")), before=nothing)
    assert {row["on_front"] for row in result.tables["pareto"].rows} == {None}
    assert "Nothing is known to compare them by." in result.summary


def test_rows_name_the_file_that_holds_their_network(subject):
    sweep = (("wise-ft 0", Glance({"target_accuracy": hits(0.2), "source_top1": hits(0.8)})),)
    outcomes = [
        Outcome("wise-ft", judgement(), variants=sweep, file="net.wise-ft.pth", sha256="ab" * 32),
        Outcome("ldifs", judgement(), sha256="cd" * 32),
    ]
    table = tell(subject, *outcomes).tables["pareto"]
    assert [(row["file"], row["sha256"]) for row in table.rows] == [
        (None, None), ("net.wise-ft.pth", "ab" * 32), (None, None), (None, "cd" * 32),
    ]  # fmt: skip
    assert not {"file", "sha256"} & set(table.brief)
    reasons = [row["absent"] for row in table.rows]
    assert reasons[1] is None
    assert [reason.split("file: ")[1] for reason in (reasons[0], *reasons[2:])] == [
        "no method made it; see the networks", "a sweep's networks are not written", "none was written",
    ]  # fmt: skip


def test_without_distraction_the_chart_is_one_of_accuracies(subject):
    nothing = {"distraction": "no class lingers before the repair"}
    before = judgement(reasons=nothing)
    result = tell(subject, Outcome("plain", before), before=before)
    assert [(chart.x, chart.y, chart.shade) for chart in result.charts] == [("target_accuracy", "source_top1", None)]
    unknown = {"target_accuracy": "no validation images were given (--val-data)"}
    before = judgement(reasons=unknown)
    result = tell(subject, Outcome("plain", before), before=before)
    assert [(chart.x, chart.y, chart.shade) for chart in result.charts] == [("source_kept", "distraction", None)]
    assert "colour" not in result.charts[0].reading
    assert "sweep" not in result.charts[0].reading
    assert result.verdict == "open"


def test_epochs_are_told_term_by_term(subject):
    outcomes = [
        Outcome("plain", judgement(), history(0.7, accuracy=None), 0),
        Outcome("ldifs", judgement(), history(0.5, 0.3), 1),
    ]
    result = tell(subject, *outcomes)
    rows = result.tables["training"].rows
    assert [(row["method"], row["epoch"], row["kept"]) for row in rows] == [
        ("plain", 1, "yes"), ("ldifs", 1, "no"), ("ldifs", 2, "yes"),
    ]  # fmt: skip
    assert rows[2]["loss"] == pytest.approx(0.33)
    assert (rows[2]["cross_entropy"], rows[2]["ldifs"], rows[2]["accuracy"]) == (0.3, pytest.approx(0.03), 0.9)
    assert rows[0]["absent"] == "ldifs: no term of this loss; no validation images"
    assert (result.charts[-1].table, result.charts[-1].y) == ("training", "cross_entropy")
    odd = Outcome("ldifs", judgement(), (Epoch(0, {"own": 1.0}, 1e-3, None),), 0)
    assert "training" not in {chart.table for chart in tell(subject, odd).charts}
    assert "training" not in tell(subject, Outcome("wise-ft", judgement())).tables


@pytest.mark.parametrize(
    ("before", "after", "verdict"),
    [
        (0.9, 0.9, "clear"),
        (0.9, 0.95, "clear"),
        (0.9, 0.89, "clear"),
        (0.9, 0.88, "clear"),
        (0.9, 0.8, "concern"),
    ],
)
def test_verdict_is_about_the_target_task(subject, before, after, verdict):
    result = tell(subject, Outcome("plain", judgement(target=after)), before=judgement(target=before))
    assert result.verdict == verdict


def test_a_fall_that_may_be_large_is_open(subject):
    after = judgement(reasons={"target_accuracy": Sample(hits(0.9).values.roll(20))})
    result = tell(subject, Outcome("plain", after))
    assert result["repair.plain.target_accuracy_change"].value == 0
    assert result["repair.plain.target_accuracy_change"].interval.low < -0.05
    assert result.verdict == "open"


def test_divergence_is_a_concern_and_is_told(subject):
    outcomes = [
        Outcome("plain", None, diverged="the training diverged: the loss is no finite number"),
        Outcome("l2sp", judgement(), history(0.7), 0, diverged="the training diverged later"),
    ]
    result = tell(subject, *outcomes)
    assert result.verdict == "concern"
    messages = [finding.message for finding in result.findings if finding.code == "repair.diverged"]
    assert messages == [
        "plain: the training diverged: the loss is no finite number; nothing was judged.",
        "l2sp: the training diverged later; the last good network was judged.",
    ]
    assert result["repair.plain.source_kept"].absent.startswith("the training diverged")
    assert [row["name"] for row in result.tables["pareto"].rows] == ["before", "l2sp"]
    assert "plain: nothing came of it." in result.summary
    assert "The training diverged with l2sp." in result.summary


def test_the_verdict_is_about_the_others_where_plain_is_what_they_are_set_against(subject):
    fallen = Outcome("plain", judgement(target=0.5))
    result = tell(subject, fallen, Outcome("ldifs", judgement()))
    assert result.verdict == "clear"
    assert result.summary.endswith(
        "Target accuracy surely fell by more than a point after plain. The verdict is about the methods other than "
        "plain."
    )
    assert tell(subject, fallen).verdict == "concern"
    assert tell(subject, Outcome("plain", None, diverged="it diverged"), Outcome("lwf", judgement())).verdict == "clear"
    result = tell(subject, Outcome("plain", judgement()), Outcome("ldifs", judgement(target=0.5)))
    assert result.verdict == "concern"
    assert "other than plain" not in result.summary


def test_two_methods_are_told_in_full_and_more_by_the_front(subject):
    better = judgement(target=0.91, source=0.6, distraction=0.3)
    two = [Outcome("ldifs", better), Outcome("l1", judgement(target=0.9, source=0.4, distraction=0.45))]
    assert tell(subject, *two).summary == (
        "Before is the finetuned network. "
        "ldifs: target accuracy 90.0 → 91.0 %, source top-1 50.0 → 60.0 % (75 % kept), distraction 0.400 → 0.300. "
        "l1: target accuracy 90.0 → 90.0 %, source top-1 50.0 → 40.0 % (50 % kept), distraction 0.400 → 0.450."
    )
    lost = [Outcome("lwf", judgement(target=0.5, distraction=0.1)), Outcome("l2sp", None, diverged="it diverged")]
    assert tell(subject, *two, *lost).summary == (
        "Before is the finetuned network. "
        "On the front of target accuracy and source top-1 and distraction: ldifs, lwf. "
        "Nothing came of l2sp. Target accuracy surely fell by more than a point after lwf."
    )


def test_a_name_of_several_words_needs_no_network_after_it(subject):
    before = ("source with a linear probe", judgement())
    result = told(subject, RepairOptions(), facts(), before, [Outcome("l1", judgement())], Stopwatch())
    assert result.summary.startswith("Before is the source with a linear probe. l1: ")


def test_findings_say_what_the_numbers_do_not(subject):
    own = Finding(code="ldifs.own", severity="info", message="Passed on.")
    trained = Outcome("ldifs", judgement(), history(0.7), 0, findings=(own,))
    codes = {finding.code for finding in tell(subject, trained).findings}
    assert {"repair.one_seed", "repair.validation_chose", "ldifs.own"} <= codes
    assert "repair.dead_maps" not in codes
    assert "repair.validation_chose" not in {f.code for f in tell(subject, trained, keep="last").findings}
    unseen = dataclasses.replace(subject, val=None)
    assert "repair.validation_chose" not in {f.code for f in tell(unseen, trained).findings}
    assert not {f.code for f in tell(subject, Outcome("wise-ft", judgement())).findings} & codes - {"ldifs.own"} - {
        finding.code for finding in subject.findings
    }
    dead = judgement().samples["distraction"].values.clone()
    dead[:20] = torch.nan
    half = judgement().samples | {"distraction": Sample(dead, CLASSES)}
    result = tell(subject, Outcome("unlearn", Judgement(half, ())))
    (finding,) = (one for one in result.findings if one.code == "repair.dead_maps")
    assert "in 20 of 50 composites" in finding.message


def test_options_are_those_of_the_methods_that_ran(subject):
    result = tell(subject, Outcome("wise-ft", judgement()), Outcome("ldifs", judgement()), keep="last")
    options = result.provenance.options
    assert options["methods"] == "wise-ft, ldifs"
    assert (options["keep"], options["ldifs.weight"], options["wise_ft.alpha"], options["lingering.k"]) == (
        "last", 10.0, 0.5, 5,
    )  # fmt: skip
    assert "judge.per_class" in options
    assert "training.epochs" in options
    assert not [name for name in options if name.startswith(("l2sp", "prune"))]


def test_intervals_follow_their_options(subject):
    def interval(**judge):
        after = judgement(reasons={"target_accuracy": Sample(hits(0.9).values.roll(20))})
        result = tell(subject, Outcome("plain", after), judge=JudgeOptions(**judge))
        return result["repair.plain.source_kept"].interval, result.provenance.options

    wide, options = interval(bootstrap=400)
    narrow, _ = interval(bootstrap=400, confidence=0.5)
    assert narrow.high - narrow.low < 0.6 * (wide.high - wide.low)
    assert (wide.confidence, narrow.confidence) == (0.95, 0.5)
    assert interval(bootstrap=1000)[0].low != wide.low
    assert (options["judge.bootstrap"], options["judge.confidence"]) == (400, 0.95)


def test_views_fit_a_hundred_columns_and_show_the_tables(subject):
    methods = ("plain", "linear-probe", "composites", "unlearn")
    outcomes = [Outcome(method, judgement(source=0.1 * n), history(0.5), 0) for n, method in enumerate(methods)]
    result = tell(subject, *outcomes)
    text = as_terminal.render(result, 12)
    tables = [part.splitlines() for part in text.split("\n\n") if part.startswith(("Before and after", "What each"))]
    assert [lines[0] for lines in tables] == [
        "What each network keeps, and what it still does (5 of 5)", "Before and after (12 of 36)",
    ]  # fmt: skip
    assert max(len(line) for lines in tables for line in lines) <= 100
    assert "more measurements are in the JSON" in text
    assert "repair.plain.grey_accuracy_change" not in text
    assert "repair.plain.grey\\_accuracy\\_change" in as_markdown.render(result, 12)
    page = as_html.render(result, 12)
    assert "36 rows." in page
    assert "27 rows." in page
    assert "worst first" not in page


def test_headers_are_whole_in_eighty_columns(subject):
    outcomes = [Outcome(method, judgement()) for method in ("plain", "linear-probe", "composites")]
    console = Console(file=io.StringIO(), width=80, color_system=None)
    console.print(as_terminal.view(tell(subject, *outcomes), 40, 80))
    lines = console.file.getvalue().splitlines()
    (head,) = (line for line in lines if line.startswith("name "))
    assert head.split() == ["name", "target", "accuracy", "source", "kept", "lingering", "distraction", "on", "front"]
    head, *rows = lines[lines.index("Before and after (27 of 27)") + 1 :][: 1 + len(AXES)]
    assert head.split() == ["method", "axis", "before", "after", "change", "low", "high", "n"]
    # All numbers are written alike, whatever their unit, but for those that are counts.
    for row in rows:
        numbers = row.split()[-6:-1]
        form = r"-?\d+" if "lingering count" in row else r"–|-?\d\.\d{3}"
        assert [number for number in numbers if not re.fullmatch(form, number)] == []
