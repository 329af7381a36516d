from __future__ import annotations

import json

import pytest

import tlaudit
from compared import a_study, audit, changed, data, distraction, erosion, lingering, measured
from samples import HOSTILE_NAMES
from tlaudit.comparison import compare, gather
from tlaudit.comparisons import Comparison
from tlaudit.errors import ReportError, UsageError

EXCESS = "distraction.excess_over_baseline"


def codes(found):
    return [finding.code for finding in found.findings]


def message(found, code):
    return "\n".join(finding.message for finding in found.findings if finding.code == code)


def rows(found, table):
    return {row["candidate"]: row for row in found.tables[table].rows}


def failed(result, reason="no source images"):
    return result.model_copy(update={"failure": reason, "measurements": (), "headline": (), "tables": {}})


def test_a_study_of_training_set_sizes():
    found = tlaudit.compare(a_study())
    assert (found.ranked_by, found.axes, found.reference) == (EXCESS, ("target.accuracy", EXCESS), "small")
    ranking = rows(found, "ranking")
    assert list(ranking) == ["large", "medium", "small"]
    assert [row["rank"] for row in ranking.values()] == [1, 2, 3]
    assert [row["ranks"] for row in ranking.values()] == ["1\u20132", "1\u20132", "3"]
    assert ranking["large"]["not_told_apart_from"] == "medium"
    assert [row["on_front"] for row in ranking.values()] == ["yes", "yes", "no"]
    assert [row["target_images"] for row in ranking.values()] == [10000, 1000, 100]
    assert ranking["small"]["lingering.fraction.high"] == pytest.approx(0.7)
    assert found.summary == (
        f"large is best by {EXCESS} (0.09, lower is better), but not told apart from medium. On the Pareto front of "
        f"target.accuracy and {EXCESS}: medium and large."
    )


def test_the_record_survives_json_and_is_the_same_again():
    found = compare(a_study())
    assert Comparison.model_validate_json(found.to_json()) == found
    assert compare(a_study()).to_json() == found.to_json()


def test_changes_are_against_the_reference():
    found = compare(a_study(), reference="medium")
    changes = {(row["measurement"], row["candidate"]): row for row in found.tables["changes"].rows}
    assert {candidate for _, candidate in changes} == {"small", "large"}
    row = changes["target.accuracy", "small"]
    assert (row["value"], row["reference"], row["change"]) == (0.9, 0.95, pytest.approx(-0.05))
    # Arms of 0.01 on both sides.
    assert (row["low"], row["high"]) == (pytest.approx(-0.05 - 0.01 * 2**0.5), pytest.approx(-0.05 + 0.01 * 2**0.5))
    assert row["outcome"] == "worse"
    assert changes[EXCESS, "large"]["outcome"] == "not told apart"
    others = {row["measurement"] for row in found.tables["other_changes"].rows}
    assert {"hybrid.source_top1", "distraction.classes"} <= others
    assert not others & {name for name, _ in changes}


def test_the_ranking_may_go_by_another_measurement():
    found = compare(a_study(), by="target.accuracy")
    assert list(rows(found, "ranking")) == ["medium", "large", "small"]
    # The ranking is an axis of the front; a second one is found.
    assert found.axes == ("lingering.fraction", "target.accuracy")
    assert compare(a_study(), axes=("lingering.fraction", EXCESS)).axes == ("lingering.fraction", EXCESS)


@pytest.mark.parametrize(
    ("reports", "by", "axes"),
    [
        ([distraction("a"), distraction("b")], EXCESS, None),
        ([lingering("a"), lingering("b")], "lingering.fraction", ("target.accuracy", "lingering.fraction")),
        (
            [lingering("a", accuracy=None), lingering("b", accuracy=None)],
            "lingering.fraction",
            ("hybrid.mean_probability", "lingering.fraction"),
        ),
        ([erosion("a"), erosion("b")], "erosion.cka.min", None),
    ],
)
def test_defaults_are_what_all_have(reports, by, axes):
    if axes is None:
        with pytest.raises(ReportError, match=f"no measurement beside {by}"):
            compare(reports)
        return
    found = compare(reports)
    assert (found.ranked_by, found.axes) == (by, axes)


def test_a_number_whose_report_says_no_direction_is_not_ranked_by():
    """As of a report that was changed by hand."""

    def undirected(report):
        plain = json.loads(report.to_json())
        for check in plain["checks"]:
            for number in check["measurements"]:
                if number["name"] == EXCESS:
                    number["better"] = "neither"
        return type(report).model_validate(plain)

    found = compare({name: undirected(report) for name, report in a_study().items()})
    assert found.ranked_by == "lingering.fraction"


def test_the_excess_over_the_null_stands_in_where_a_baseline_is_missing():
    def of(name, excess):
        null = measured("distraction.excess_over_null", 0.1, 0.02, unit="overlap")
        result = distraction(name, excess)
        return audit(lingering(name), result.model_copy(update={"measurements": (*result.measurements, null)}))

    assert compare({"a": of("a", 0.2), "b": of("b", 0.1)}).ranked_by == EXCESS
    assert compare({"a": of("a", 0.2), "b": of("b", None)}).ranked_by == "distraction.excess_over_null"


def test_lines_follow_the_size_of_the_training_set():
    found = compare(a_study())
    lines = [chart for chart in found.charts if chart.kind == "lines"]
    assert [chart.y for chart in lines] == [EXCESS, "target.accuracy"]
    assert {(chart.x, chart.group, chart.low, chart.log_x) for chart in lines[:1]} == {
        ("target_images", "architecture", f"{EXCESS}.low", True)
    }
    assert [row["target_images"] for row in found.tables["sizes"].rows] == [100, 1000, 10000]


def test_lines_need_two_sizes_of_one_architecture_each_once():
    def kinds(*candidates):
        reports = {
            str(number): lingering(str(number), architecture=architecture, images=images)
            for number, (architecture, images) in enumerate(candidates)
        }
        return [chart.kind for chart in compare(reports).charts]

    assert "lines" in kinds(("a", 100), ("a", 200), ("b", 100))
    assert "lines" not in kinds(("a", 100), ("b", 200))
    assert "lines" not in kinds(("a", 100), ("a", 100), ("a", 200))


def test_a_limit_hides_no_training_images():
    seen = changed(lingering("a"), data={"target": data("t", 50, available=5000)})
    assert gather({"a": seen, "b": lingering("b")})[0].target_images == 5000
    assert gather({"a": erosion("a"), "b": lingering("b")})[0].target_images is None


def test_charts_show_architectures_and_classes():
    found = compare(
        {
            "flat": lingering("flat", probabilities=(0.9, 0.1, 0.5, 0.3, None)),
            "deep": lingering("deep", architecture="resnet18", probabilities=(0.8, 0.6, 0.5, 0.1, None)),
        }
    )
    scatter = next(chart for chart in found.charts if chart.kind == "scatter")
    assert (scatter.table, scatter.x, scatter.group, scatter.labelled) == (
        "front",
        "target.accuracy",
        "architecture",
        True,
    )
    heatmap = next(chart for chart in found.charts if chart.kind == "heatmap")
    assert (heatmap.x, heatmap.y) == ("candidate", "class")
    # Differing classes first, widest first; then those that linger everywhere; of two cranes each has its index.
    names = list(dict.fromkeys(row["class"] for row in found.tables["classes"].rows))
    assert names == ["espresso", "crane (3)", "cup", "tusker"]
    told = {(row["class"], row["candidate"]): row["status"] for row in found.tables["classes"].rows}
    assert (told["espresso", "flat"], told["espresso", "deep"]) == ("forgotten", "lingering")
    assert [row["lingers_in"] for row in found.tables["classes"].rows] == [1, 1, 1, 1, 2, 2, 2, 2]
    assert "4 source classes linger in at least one of 2 candidates, 2 of them in all" in message(
        found, "comparison.classes"
    )


def test_no_class_table_where_nothing_lingers():
    nothing = (0.1, 0.1, 0.1, 0.1, None)
    found = compare([lingering("a", probabilities=nothing), lingering("b", probabilities=nothing)])
    assert "classes" not in found.tables
    assert "0 source classes" in message(found, "comparison.classes")


def test_at_most_forty_classes_are_shown():
    names = tuple(f"class {number}" for number in range(60))

    def of(name):
        result = lingering(name, probabilities=(0.5,) * 60, names=names)
        models = result.provenance.models
        return changed(result, models={"source": models["source"].model_copy(update={"num_classes": 60})})

    table = compare([of("a"), of("b")]).tables["classes"]
    assert len({row["class"] for row in table.rows}) == 40


def test_checks_that_some_lack_are_left_out_with_a_finding():
    study = a_study()
    study["large"] = lingering("large", 0.3, 0.94, images=10000)
    found = compare(study)
    assert found.ranked_by == "lingering.fraction"
    assert EXCESS not in {column.name for column in found.tables["ranking"].columns}
    assert message(found, "comparison.left_out") == (
        "tlaudit distraction is not compared, for not all candidates have it (large: no result of it)."
    )
    with pytest.raises(ReportError, match=f"{EXCESS}: not all candidates have the check that measures it"):
        compare(study, by=EXCESS)


def test_a_check_that_could_not_be_made_is_lacking():
    study = a_study()
    study["large"] = audit(study["large"]["lingering"], failed(study["large"]["distraction"]))
    found = compare(study)
    assert "large: it could not be made: no source images" in message(found, "comparison.left_out")
    assert found.ranked_by == "lingering.fraction"


def test_no_check_in_common_is_no_answer():
    with pytest.raises(ReportError, match="no check was made of all.* a has tlaudit lingering; b has tlaudit erosion"):
        compare({"a": lingering("a"), "b": erosion("b")})


def test_what_cannot_be_compared_is_refused_with_all_reasons():
    study = a_study()
    others = changed(
        study["large"]["lingering"], options={"k": 1}, data={"source": data("source", 9, "9" * 64), "val": data("v", 3)}
    )
    study["large"] = audit(others, changed(study["large"]["distraction"], options={"percentile": 90.0}))
    with pytest.raises(UsageError) as raised:
        compare(study)
    text = str(raised.value)
    assert "(small) and (in memory) (large): lingering: another k: 5 and 1; other source images" in text
    assert "other validation images" in text
    assert "distraction: another percentile: 80 and 90" in text
    assert "medium" not in text


def test_pairs_beside_the_first_are_looked_at_too():
    def of(name, count, images):
        return changed(lingering(name, images=images), options={"v_lo_count": count})

    # 0 of 100 may be the same share as either other count; those two are not.
    reports = {"a": of("a", 0, 100), "b": of("b", 1, 1000), "c": of("c", 9, 1200)}
    with pytest.raises(UsageError, match=r"\(b\) and .* \(c\): lingering: another v_lo_count: 1 and 9"):
        compare(reports)


def test_remarks_stand_in_the_findings():
    study = a_study()
    study["large"] = audit(*(changed(one, seed=3, device="cuda") for one in study["large"].checks))
    told = message(compare(study), "comparison.remark")
    assert "Another seed, of small and of large (0 and 3) in lingering and distraction." in told
    assert "Another device, of small and of large (cpu and cuda)" in told
    assert "Other target images, of small and of medium" in told
    assert "comparison.same_checkpoint" not in codes(compare(study))


def test_two_audits_of_one_checkpoint_are_told():
    found = compare({"a": lingering("same"), "b": changed(lingering("same"), seed=1)})
    assert "a and b are audits of the same checkpoint" in message(found, "comparison.same_checkpoint")


def test_absent_numbers_keep_their_reasons():
    study = {"a": lingering("a", 0.3, None), "b": lingering("b", 0.5, 0.9), "c": lingering("c", None, 0.8)}
    found = compare(study, by="lingering.fraction")
    ranking = rows(found, "ranking")
    assert list(ranking) == ["a", "b", "c"]
    assert ranking["c"]["rank"] is None
    assert ranking["c"]["absent"] == "lingering.fraction: no validation images"
    assert [row["on_front"] for row in rows(found, "front").values()] == [None, "yes", None]
    assert rows(found, "front")["a"]["absent"] == "target.accuracy: no validation images"
    everywhere = compare([lingering("a", accuracy=None), lingering("b", accuracy=None)])
    assert message(everywhere, "comparison.absent") == "No candidate has target.accuracy: no validation images."


@pytest.mark.parametrize(
    ("options", "error", "text"),
    [
        ({"by": "distraction.exces_over_baseline"}, UsageError, f"--by: there is no .*did you mean '{EXCESS}'"),
        ({"by": "erosion.cka.min"}, ReportError, "no check that measures it was made of all"),
        ({"by": "erosion.cka.*"}, UsageError, "fits no measurement of these reports: erosion.cka"),
        ({"by": "hybrid.source_top1"}, UsageError, "neither high nor low is better"),
        ({"axes": ("target.accuracy",)}, UsageError, "expected two measurements"),
        ({"axes": ("target.accuracy", "target.accuracy")}, UsageError, "expected two measurements"),
        ({"axes": ("target.accuracy", "lingering.fractoin")}, UsageError, "did you mean 'lingering.fraction'"),
        ({"reference": "tiny"}, UsageError, "no candidate 'tiny'; there are small, medium, large"),
    ],
)
def test_refuses_what_is_not_there(options, error, text):
    with pytest.raises(error, match=text):
        compare(a_study(), **options)


def test_what_nobody_has_is_no_answer_with_the_reasons():
    study = {name: lingering(name, accuracy=None) for name in ("a", "b")}
    with pytest.raises(ReportError, match=r"no candidate has it \(a: no validation images; b: no validation images\)"):
        compare(study, by="target.accuracy")
    with pytest.raises(ReportError, match="expected one of them to rank by"):
        compare({name: lingering(name, None) for name in ("a", "b")})


def test_names_are_those_of_files_as_far_as_they_differ(tmp_path):
    paths = []
    for folder, file, network in (("x", "audit", "a"), ("y", "audit", "b"), ("y", "other", "c")):
        (tmp_path / folder).mkdir(exist_ok=True)
        paths.append(tmp_path / folder / f"{file}.json")
        paths[-1].write_text(lingering(network).to_json())
    assert [one.name for one in gather(paths)] == ["x/audit", "y/audit", "other"]
    assert [one.name for one in gather([lingering("a"), lingering("b"), lingering("a", 0.1)])] == ["a", "b", "a (2)"]


def test_refuses_one_report_and_the_same_twice(tmp_path):
    path, again = tmp_path / "a.json", tmp_path / "b.json"
    for place in (path, again):
        place.write_text(lingering().to_json())
    with pytest.raises(UsageError, match="at least two reports, got 1"):
        compare([path])
    with pytest.raises(UsageError, match="are the same report"):
        compare({"a": path, "b": path})
    with pytest.raises(UsageError, match="are the same report"):
        compare([path, again])
    with pytest.raises(UsageError, match="a name that is not empty"):
        compare({"": path, "b": lingering("other")})


def test_a_damaged_table_of_classes_is_no_answer():
    broken = lingering("b")
    table = broken.tables["classes"].model_copy(update={"rows": broken.tables["classes"].rows[:2]})
    with pytest.raises(ReportError, match=r"\(in memory\) \(b\): .*does not hold together"):
        compare({"a": lingering("a"), "b": broken.model_copy(update={"tables": {"classes": table}})})


def test_hostile_names_are_only_names():
    reports = {name: lingering(f"n{number}") for number, name in enumerate(HOSTILE_NAMES)}
    found = compare(reports)
    assert {row["candidate"] for row in found.tables["ranking"].rows} == set(HOSTILE_NAMES)
    assert json.loads(found.to_json())["reference"] == HOSTILE_NAMES[0]


def test_all_of_the_best_are_asked_whether_they_are_told_apart():
    def summary(*widths, fractions=(0.1, 0.1, 0.2)):
        reports = {
            name: lingering(name, fraction, width=width)
            for name, fraction, width in zip("abc", fractions, widths, strict=True)
        }
        return compare(reports, by="lingering.fraction").summary

    # The first is sharp enough to be told apart from the third, and the second, as good, is not.
    found = summary(0.01, 0.3, 0.01)
    assert found.startswith("a and b are best by lingering.fraction (10.0 %, lower is better), but b is not told apart")
    assert "told apart from c." in found
    assert "but not told apart from c." in summary(0.3, 0.3, 0.01)
    assert "better), told apart from all others." in summary(0.01, 0.01, 0.01)
    assert "; all are equal." in summary(0.01, 0.3, 0.01, fractions=(0.1, 0.1, 0.1))


def test_short_views_of_tables_name_no_bounds():
    for table in compare(a_study()).tables.values():
        assert not [name for name in table.brief if name.rpartition(".")[2] in {"low", "high"}]
        assert {"low", "high"} & {column.name.rpartition(".")[2] for column in table.columns} or "class" in table.brief
