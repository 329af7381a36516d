from __future__ import annotations

import json
import math

import pytest

from reports.drawn import (
    CKA,
    LABELLED,
    MATRIX,
    PARETO,
    SPECTRA,
    STAGES,
    a_repair,
    a_table,
    an_erosion,
    crowd_table,
    matrix_table,
    networks_table,
    spectra_table,
    stages_table,
)
from samples import HOSTILE_NAMES, a_distraction
from tlaudit.documents import read_result
from tlaudit.exhibits import Level
from tlaudit.reports import FORMATS, as_html, drawing, figures, figures_labels
from tlaudit.reports.figures_heatmap import MOST_PLACES
from tlaudit.reports.figures_lines import MOST_LINES
from tlaudit.results import CheckResult

ROOM = 10_000_000
NO_BOUND = "none"


def drawn(chart, table, room=ROOM):
    """The drawing and its figure."""
    result = figures.draw(chart, table, room)
    return result, json.loads(result.figure)


def changed(chart, **update):
    return type(chart).model_validate(chart.model_dump() | update)


def test_lines_join_points_and_break_where_there_is_none():
    result, figure = drawn(CKA, stages_table())
    assert (result.shown, result.total, result.notes) == (25, 25, ())
    finetuned, scratch = figure["data"]
    assert (finetuned["name"], scratch["name"]) == ("finetuned", "from scratch")
    assert {trace["mode"] for trace in figure["data"]} == {"lines+markers"}
    assert finetuned["y"][5:8] == [0.833333, None, 0.766667]
    assert finetuned["x"] == [*STAGES[:6], None, *STAGES[7:]]
    assert not finetuned["connectgaps"]
    assert result.across == (("unchanged", False),)
    assert figure["layout"]["shapes"][0]["y0"] == 1


def test_a_line_without_points_keeps_its_colour():
    units = {"rank": "dimensions"}
    rows = [{"network": network, "x": n, "rank": n} for network in ("source", "finetuned") for n in (1, 2)]
    chart = changed(SPECTRA, x="x", y="rank", group="network", log_x=False, log_y=False)
    _, both = drawn(chart, a_table(rows, **units))
    _, one = drawn(chart, a_table([row | {"rank": None if row["network"] == "source" else 1} for row in rows], **units))
    assert [trace["name"] for trace in one["data"]] == ["finetuned"]
    assert one["data"][0]["line"]["color"] == both["data"][1]["line"]["color"] != both["data"][0]["line"]["color"]


def test_error_bars_reach_from_bound_to_bound_and_are_left_out_where_there_is_none():
    _, figure = drawn(CKA, stages_table())
    bars = figure["data"][0]["error_y"]
    assert (bars["arrayminus"][0], bars["array"][0]) == (0.03, 0.01)
    assert bars["array"][1] == bars["arrayminus"][1] == bars["array"][6] == NO_BOUND
    assert not bars["symmetric"]
    low, high = figure["layout"]["yaxis"]["range"]
    assert low < 0.17
    assert high > 1.01
    assert "error_y" not in drawn(changed(CKA, low=None, high=None), stages_table())[1]["data"][0]


def test_places_keep_the_order_of_the_table():
    stages = ("zebra", "10", "2", "ape")
    _, figure = drawn(CKA, stages_table(stages))
    axis = figure["layout"]["xaxis"]
    assert (axis["type"], axis["categoryarray"], axis["range"]) == ("category", list(stages), [-0.5, 3.5])
    _, heat = drawn(MATRIX, matrix_table(stages))
    assert heat["data"][0]["x"] == heat["data"][0]["y"] == list(stages)
    assert heat["layout"]["yaxis"]["range"] == [3.5, -0.5]


def test_long_names_are_cut_in_the_middle_and_stay_apart():
    long = "encoder.layers." + "x" * 40
    names = drawing.places([f"{long}a", f"{long}b", f"{long}a", "x" + f"{long}b"[1:], "é" * 50, "é" * 60])
    texts = [place.name for place in names.values()]
    assert len(set(texts)) == len(texts) == 5
    assert texts[0].startswith("encoder.layer…")
    assert texts[0].endswith("xa")
    assert texts[4] == f"{texts[3]} (2)"
    assert {len(text) for text in texts[:4]} == {drawing.LONGEST_PLACE}
    assert {len(place.short) for place in names.values()} == {drawing.SHORTEST_PLACE}
    assert drawing.shortened(list(names.values()), list(names.values()))[texts[0]].startswith("…xxx")
    assert drawing.shortened(list(drawing.places(["a"]).values())) == {}


def test_logarithmic_axes_leave_out_what_has_no_logarithm_and_say_so():
    chart = changed(SPECTRA, levels=[*SPECTRA.levels, Level(axis="x", value=0, label="zero")])
    result, figure = drawn(chart, spectra_table())
    assert (result.shown, result.total) == (252, 256)
    assert result.notes == (
        "4 points at or below 0 cannot stand on a logarithmic axis.",
        "“zero” has no place on these axes.",
    )
    layout = figure["layout"]
    assert layout["xaxis"]["type"] == layout["yaxis"]["type"] == "log"
    assert layout["xaxis"]["range"][1] == pytest.approx(math.log10(63) * 1.05)
    # Plotly wants a shape's value and a note's power of ten.
    assert (layout["shapes"][0]["y0"], layout["annotations"][0]["y"]) == (0.01, -2)
    assert len(layout["shapes"]) == 1
    assert all(value is None or value > 0 for trace in figure["data"] for value in trace["y"])
    assert "%{y:.4~g}" in figure["data"][0]["hovertemplate"]
    assert layout["yaxis"]["tickformat"] == ""
    straight, figure = drawn(changed(chart, log_x=False, log_y=False), spectra_table())
    assert (straight.shown, straight.notes) == (256, ())
    assert "%{y:.1%}" in figure["data"][0]["hovertemplate"]


def test_thinned_lines_keep_their_ends_their_breaks_and_their_room():
    table = spectra_table(3, 3000)
    rows = [row for row in table.rows if not (row["line"] == "line 2" and row["number"] > 10)]
    rows[1500] = rows[1500] | {"singular_value": None}
    table = table.model_copy(update={"rows": tuple(rows)})
    result, figure = drawn(SPECTRA, table)
    assert drawing.MOST_DOTS - 3 < result.shown <= drawing.MOST_DOTS
    assert result.notes[0].startswith(f"{result.shown} of 6007 points are drawn")
    first, _, short = figure["data"]
    assert (first["x"][0], first["x"][-1], short["x"]) == (1, 2999, list(range(1, 11)))
    assert first["y"].count(None) == 1
    steps = [b - a for a, b in zip(first["x"], first["x"][1:], strict=False) if None not in (a, b)]
    assert {1, 2} <= set(steps) <= {1, 2, 3}
    small, _ = drawn(SPECTRA, table, 20_000)
    assert 500 < small.shown < 800
    assert len(small.figure) < 24_000
    assert drawn(SPECTRA, table, 0)[1]["data"] == []


def test_more_lines_than_can_be_told_apart_are_counted():
    result, figure = drawn(SPECTRA, spectra_table(MOST_LINES + 2, 3))
    assert len(figure["data"]) == MOST_LINES
    assert f"The first {MOST_LINES} of {MOST_LINES + 2} lines are drawn" in result.notes[0]
    styles = {(trace["line"]["color"], trace["line"]["dash"]) for trace in figure["data"]}
    assert len(styles) == MOST_LINES


def test_lines_over_numbers_may_stand_alone_and_be_named():
    chart = changed(SPECTRA, group=None, name="line", log_x=False, log_y=False)
    result, figure = drawn(chart, spectra_table(1, 3))
    (trace,) = figure["data"]
    assert not trace["showlegend"]
    assert trace["text"] == ["line 0"] * 3
    assert trace["hovertemplate"].startswith("%{text}<br>singular value (share): ")
    assert "From 100.0 % at 1 to 0.0 % at 3." in result.words


def test_a_level_of_numbers_has_no_place_among_names():
    result, figure = drawn(changed(CKA, levels=[Level(axis="x", value=1, label="here")]), stages_table())
    assert result.notes == ("“here” has no place on these axes.",)
    assert figure["layout"]["shapes"] == []
    assert result.across == ()


def test_lines_are_told_in_words():
    result, _ = drawn(CKA, stages_table())
    assert result.words.startswith("Line chart of 25 points on 2 lines: cka over stage.")
    assert "finetuned: 1.000 at features.0 to 0.600 at features.12." in result.words


def test_heat_map_has_a_cell_for_each_pair_and_a_mark_where_there_is_no_number():
    result, figure = drawn(MATRIX, matrix_table())
    cells, blanks = figure["data"]
    assert (result.shown, result.total, result.notes) == (155, 155, ())
    assert (cells["zmin"], cells["zmax"]) == (0, 1)
    assert cells["z"][0][:3] == [1.0, 0.923077, None]
    assert cells["z"][1][0] is None
    assert blanks["z"][0][:3] == [None, None, 0]
    assert [line.count("×") for line in blanks["text"]] == [1, 2, *[1] * 11]
    assert not cells["hoverongaps"]
    assert cells["colorbar"]["title"]["text"] == "cka"
    assert result.words == (
        "Heat map of 13 rows and 13 columns: cka by source stage and finetuned stage, from 0.077 to 1.000. "
        "14 of 169 cells are blank."
    )


def test_a_full_heat_map_has_no_marks():
    rows = [{"source_stage": "a", "finetuned_stage": x, "cka": n} for n, x in enumerate("bc")]
    result, figure = drawn(MATRIX, a_table(rows, cka="share"))
    assert len(figure["data"]) == 1
    assert "blank" not in result.words
    assert figure["data"][0]["colorbar"]["tickformat"] == ".1~%"


@pytest.mark.parametrize(
    ("low", "high", "values", "ends"),
    [
        (None, None, [2, 5], [2, 5]),
        (0, None, [2, 5], [0, 5]),
        (None, None, [3, 3], [3, 4]),
        (None, 3, [3, 4], [2, 3]),
        (7, None, [3, 4], [7, 8]),
        (None, None, [None, None], [0, 1]),
    ],
)
def test_colours_have_two_ends(low, high, values, ends):
    rows = [{"source_stage": "a", "finetuned_stage": x, "cka": v} for v, x in zip(values, "bc", strict=True)]
    _, figure = drawn(changed(MATRIX, low=low, high=high), a_table(rows, cka="cka"))
    assert [figure["data"][0][end] for end in ("zmin", "zmax")] == ends


def test_a_large_heat_map_keeps_its_corners_and_says_what_is_left_out():
    stages = tuple(f"stage {n}" for n in range(150))
    result, figure = drawn(MATRIX, matrix_table(stages))
    cells = figure["data"][0]
    assert len(cells["x"]) == len(cells["y"]) == len(cells["z"]) == len(cells["z"][0]) == MOST_PLACES
    assert (cells["x"][0], cells["x"][-1], cells["z"][-1][-1]) == ("stage 0", "stage 149", 1)
    assert result.notes[0].startswith("100 of 150 rows and 100 of 150 columns are drawn")
    small, figure = drawn(MATRIX, matrix_table(stages), 30_000)
    assert len(small.figure) < 33_000
    assert 20 < len(figure["data"][0]["x"]) < 50
    assert drawn(MATRIX, matrix_table(stages), 0)[0].shown == 0


def test_tables_without_rows_draw_nothing():
    for chart, table in ((CKA, stages_table()), (MATRIX, matrix_table()), (SPECTRA, spectra_table())):
        result, figure = drawn(chart, table.model_copy(update={"rows": ()}))
        assert (result.shown, result.total) == (0, 0)
        assert not [trace for trace in figure["data"] if trace["type"] == "scatter"]


def test_dots_take_the_colour_of_a_number_and_kinds_their_mark():
    result, figure = drawn(PARETO, networks_table())
    assert (result.shown, result.total) == (4, 4)
    dots = [trace for trace in figure["data"] if trace["x"] != [None]]
    legend = [trace for trace in figure["data"] if trace["x"] == [None]]
    assert [trace["marker"]["color"] for trace in dots] == [[0.9], [0.91], [0.92], "#7F7F7F"]
    assert [trace["marker"]["symbol"] for trace in dots] == ["circle", "diamond", "square", "square-open"]
    assert [trace["text"] for trace in dots] == [["net 0"], ["net 1"], ["net 2"], ["net 3"]]
    assert {trace["marker"].get("coloraxis") for trace in dots[:3]} == {"coloraxis"}
    assert "accuracy (share): %{marker.color:.1%}" in dots[0]["hovertemplate"]
    assert "accuracy" not in dots[3]["hovertemplate"]
    # The legend tells marks apart and has no colour, as there is none that stands for a kind.
    assert [(trace["name"], trace["marker"]["symbol"]) for trace in legend] == [
        ("before", "circle"), ("plain", "diamond"), ("sweep", "square"),
    ]  # fmt: skip
    assert not any(trace["showlegend"] for trace in dots)
    assert [trace["legendgroup"] for trace in dots] == ["before", "plain", "sweep", "sweep"]
    axis = figure["layout"]["coloraxis"]
    assert (axis["cmin"], axis["cmax"], axis["showscale"]) == (0.9, 0.92, True)
    assert axis["colorbar"]["title"]["text"] == "accuracy (share)"
    assert axis["colorbar"]["tickformat"] == ".1~%"
    assert figure["layout"]["legend"]["y"] < 0 < axis["colorbar"]["y"]
    assert result.words == "Scatter chart of 4 dots: distraction against kept, coloured by accuracy."
    assert result.notes == ("1 of 4 dots are grey and open: their accuracy is not known.",)


def test_without_a_shade_dots_are_as_they_were():
    result, figure = drawn(changed(PARETO, shade=None), networks_table())
    assert "coloraxis" not in figure["layout"]
    assert [trace["marker"]["color"] for trace in figure["data"]] == [colour for colour, _ in drawing.KINDS[:3]]
    assert all(trace["showlegend"] for trace in figure["data"])
    assert (result.notes, result.words) == ((), "Scatter chart of 4 dots: distraction against kept.")


def test_a_shade_that_nobody_has_leaves_no_colour_bar():
    rows = tuple(row | {"accuracy": None} for row in networks_table().rows)
    result, figure = drawn(PARETO, networks_table().model_copy(update={"rows": rows}))
    assert not figure["layout"]["coloraxis"]["showscale"]
    assert "4 of 4 dots are grey and open" in result.notes[0]


def test_shaded_dots_keep_to_their_room():
    rows = tuple(networks_table().rows[0] | {"kept": n / 9999, "accuracy": n / 7777} for n in range(3000))
    result, figure = drawn(PARETO, networks_table().model_copy(update={"rows": rows}), 40_000)
    assert 400 < result.shown < 800
    assert len(result.figure) < 43_000
    assert "dots are drawn" in result.notes[0]
    assert len(figure["data"][0]["marker"]["color"]) == result.shown


def test_dots_bear_their_names_where_they_are_to():
    result, figure = drawn(LABELLED, crowd_table())
    (trace,) = figure["data"]
    assert trace["mode"] == "markers+text"
    assert trace["text"] == trace["hovertext"] == [row["name"] for row in crowd_table().rows]
    assert trace["hovertemplate"].startswith("%{hovertext}<br>distraction")
    assert len(trace["textposition"]) == 12
    assert not trace["cliponaxis"]
    assert result.hint.startswith("Hover a dot for its numbers;")
    _, figure = drawn(PARETO, crowd_table())
    assert not [trace for trace in figure["data"] if "textposition" in trace or trace["mode"] != "markers"]


def test_names_in_one_place_stand_on_different_sides():
    _, figure = drawn(LABELLED, crowd_table())
    (trace,) = figure["data"]
    sides = dict(zip(trace["text"], trace["textposition"], strict=True))
    assert len({sides[name] for name in ("lp-ft", "l2sp", "l1")}) == 3
    assert (sides["plain"], sides["unlearn"]) == ("middle right", "middle right")
    # At the right edge there is no room for a long name.
    assert "left" in sides["linear-probe"]
    assert drawn(LABELLED, crowd_table())[0].figure == drawn(LABELLED, crowd_table())[0].figure


def test_names_keep_their_side_where_marks_are_of_two_kinds():
    _, figure = drawn(changed(LABELLED, group="method"), networks_table())
    dots = [trace for trace in figure["data"] if trace["x"] != [None]]
    assert [trace["mode"] for trace in dots] == ["markers+text"] * 4
    assert [len(trace["textposition"]) for trace in dots] == [1] * 4
    assert [trace["text"] for trace in dots] == [["net 0"], ["net 1"], ["net 2"], ["net 3"]]


def test_a_long_name_loses_its_end_beside_the_dot_only():
    rows = tuple(row | {"name": f"<b>{'n' * 60}" if n == 1 else "%{x}"} for n, row in enumerate(crowd_table().rows))
    _, figure = drawn(LABELLED, crowd_table().model_copy(update={"rows": rows}))
    (trace,) = figure["data"]
    assert trace["text"][:2] == ["%&#123;x}", f"&lt;b&gt;{'n' * (figures_labels.LONGEST - 4)}…"]
    assert trace["hovertext"][1] == f"&lt;b&gt;{'n' * 60}"


def test_a_crowd_bears_no_names_and_the_page_says_so():
    row = crowd_table().rows[0]
    rows = tuple(row | {"kept": n / 50} for n in range(figures_labels.MOST + 1))
    result, figure = drawn(LABELLED, crowd_table().model_copy(update={"rows": rows}))
    assert {trace["mode"] for trace in figure["data"]} == {"markers"}
    assert result.notes == (f"More than {figures_labels.MOST} dots have no room for their names; hover one to see it.",)
    assert result.hint.startswith("Hover a dot for its name;")
    result, figure = drawn(LABELLED, crowd_table().model_copy(update={"rows": rows[1:]}))
    assert {trace["mode"] for trace in figure["data"]} == {"markers+text"}
    assert result.notes == ()


def test_an_axis_shows_no_less_than_it_is_to():
    rows = tuple(row | {"kept": 0.8 + n / 3000, "distraction": 0.5} for n, row in enumerate(crowd_table().rows))
    table = crowd_table().model_copy(update={"rows": rows})
    _, figure = drawn(LABELLED, table)
    low, high = figure["layout"]["xaxis"]["range"]
    assert (high - low, (high + low) / 2) == (pytest.approx(0.12), pytest.approx(0.8 + 11 / 6000))
    assert figure["layout"]["yaxis"]["range"] == pytest.approx([0.44, 0.56])
    _, figure = drawn(changed(LABELLED, least_span=None, labelled=False), table)
    assert figure["layout"]["xaxis"]["range"] == pytest.approx([0.8 - 11 / 60000, 0.8 + 11 / 3000 + 11 / 60000])
    _, wide = drawn(LABELLED, crowd_table())
    assert wide["layout"]["xaxis"]["range"] == pytest.approx([0.524 - 0.0476, 1.0 + 0.0476])
    with pytest.raises(ValueError, match="greater than 0"):
        changed(LABELLED, least_span=0)


def test_a_shade_holds_numbers_and_nothing_else():
    document = a_repair().model_dump()
    for shade, message in (("name", "'name' holds more than numbers"), ("hue", r"lacks \['hue'\]")):
        with pytest.raises(ValueError, match=message):
            CheckResult.model_validate(document | {"charts": [changed(PARETO, shade=shade).model_dump()]})


@pytest.mark.parametrize("version", ["1.1", "1.2"])
def test_charts_of_earlier_schemas_are_read(tmp_path, version):
    document = json.loads(a_distraction().to_json()) | {"schema_version": version}
    for chart in document["charts"]:
        for name in ("shade", "labelled", "least_span"):
            del chart[name]
    (tmp_path / "old.json").write_text(json.dumps(document))
    assert read_result(tmp_path / "old.json").charts == a_distraction().charts


def test_hostile_names_are_text_to_plotly():
    result = an_erosion(HOSTILE_NAMES)
    for chart in result.charts:
        _, figure = drawn(chart, result.tables[chart.table])
        names = figure["layout"]["xaxis"].get("categoryarray", [])
        if chart is not SPECTRA and names:
            assert len(set(names)) == len(HOSTILE_NAMES)
            assert "&lt;b&gt;x&lt;/b&gt;" in names
            assert figure["data"][0]["x"][1] == "&lt;b&gt;x&lt;/b&gt;"
        shown = [*names, *figure["layout"].get("meta", {}).values()]
        assert not [text for text in shown if "<" in text or "%{" in text]
    grouped = changed(CKA, group="stage", x="network")
    _, figure = drawn(grouped, result.tables["stages"])
    assert "%&#123;x} &amp;amp; {{ 7*7 }} &lt;br&gt;" in [trace["name"] for trace in figure["data"]]
    assert not [t for t in figure["data"] if set(t["hovertemplate"].replace("<br>", "").split("<extra>")[0]) & {"<"}]


def test_page_shows_charts_in_their_order_with_words_and_notes():
    result = an_erosion()
    text = as_html.render(result, 5)
    places = [text.index(f">{chart.title}</h4>") for chart in result.charts]
    assert places == sorted(places)
    for word in ("Line chart of 25 points", "Heat map of 13 rows", "4 points at or below 0 cannot stand"):
        assert word in text
    assert text.count('data-kind="lines"') >= 2
    assert [scatter.kind for scatter in a_distraction().charts] == ["scatter"]


@pytest.mark.slow
def test_page_with_many_large_charts_stays_below_its_cap():
    stages = tuple(f"<&é> {'é' * 60} {n}" for n in range(150))
    result = an_erosion(stages)
    tables = result.tables | {"spectra": spectra_table(60, 500)}
    many = result.model_copy(update={"tables": tables, "charts": result.charts * 4})
    assert len(as_html.page((many, many), 15).encode()) < as_html.MOST_BYTES


@pytest.mark.parametrize("name", sorted(FORMATS))
def test_every_format_takes_every_kind_of_chart(name):
    text = FORMATS[name].render(an_erosion(), 3)
    assert text.endswith("\n")
    assert "features.12" in text or name in {"table", "markdown"}
