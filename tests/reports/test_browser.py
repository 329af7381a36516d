"""A report in a real browser: nothing in the console, nothing on the network, and every control does what it says."""

from __future__ import annotations

import re

import pytest

from reports.browsing import CHART_CONTRASTS, CHROMIUM, CONTRASTS, opened
from reports.drawn import STAGES, a_comparison, a_repair, an_erosion
from samples import HOSTILE_NAMES, a_distraction
from tlaudit.reports import as_html
from tlaudit.reports.wording import harmless

playwright_api = pytest.importorskip("playwright.sync_api", reason="Playwright is not installed")

CLASSES = "#r0-t0"
CKA, MATRIX, SPECTRA = "#r0-c0", "#r0-c1", "#r0-c2"

pytestmark = [
    pytest.mark.browser,
    pytest.mark.skipif(CHROMIUM is None, reason="there is no chromium on the path"),
]


def written(folder, result) -> str:
    path = folder / "report.html"
    path.write_text(as_html.render(result, 15), encoding="utf-8")
    return path.as_uri()


def shown(name: str) -> str:
    """A name as the page tells it: what would act on the text around it is spelt out."""
    return flat(harmless(name))


@pytest.fixture(scope="module")
def address(tmp_path_factory):
    return written(tmp_path_factory.mktemp("report"), a_distraction())


@pytest.fixture(scope="module")
def charts_address(tmp_path_factory):
    return written(tmp_path_factory.mktemp("charts"), an_erosion((*STAGES[:6], *HOSTILE_NAMES)))


@pytest.fixture(scope="module")
def shaded_address(tmp_path_factory):
    return written(tmp_path_factory.mktemp("shaded"), a_repair())


@pytest.fixture(scope="module")
def labelled_address(tmp_path_factory):
    return written(tmp_path_factory.mktemp("labelled"), a_comparison())


@pytest.fixture
def page(request, browser, address):
    with opened(browser, address, getattr(request, "param", 1280)) as page:
        yield page


@pytest.fixture
def charts(request, browser, charts_address):
    """A report with two line charts, the heat map between them, and hostile names among the stages."""
    with opened(browser, charts_address, getattr(request, "param", 1280)) as page:
        page.wait_for_selector(f"{SPECTRA} .points path")
        yield page


def flat(text: str) -> str:
    return " ".join(text.split())


def names(page) -> list[str]:
    return list(map(flat, page.locator(f"{CLASSES} tbody tr:not([hidden]) th").all_inner_texts()))


BOTH = pytest.mark.parametrize("page", [1280, 400], indirect=True)


@BOTH
def test_fits_the_window(page):
    assert page.evaluate("document.documentElement.scrollWidth") <= page.viewport_size["width"]


@BOTH
def test_draws_every_dot_the_diagonal_and_the_null(page):
    assert page.locator(".plot .points path").count() == 59
    assert page.locator(".plot .shapelayer path").count() == 2
    assert "null 0.307" in page.locator(".plot .annotation").all_text_contents()


@BOTH
def test_hover_names_a_dot_and_a_hostile_name_stays_text(page):
    known = [shown(row["class_name"]) for row in a_distraction().tables["classes"].rows if row["role"] == "lingering"]
    right = 0
    page.locator(".plot").scroll_into_view_if_needed()
    page.locator(".plot .points path").first.scroll_into_view_if_needed()
    for number in range(5):
        box = page.locator(".plot .points path").nth(number).bounding_box()
        page.mouse.move(box["x"] + box["width"] / 2, box["y"] + box["height"] / 2)
        page.locator(".hoverlayer .hovertext").first.wait_for()
        page.wait_for_timeout(150)
        lines = page.locator(".hoverlayer .hovertext").first.locator("tspan.line").all_text_contents()
        # Where dots overlap, in a small window, a neighbour may be named.
        assert lines[0] in known
        assert lines[1] == "lingering"
        assert re.fullmatch(r"finetuned distraction \(overlap\): 0\.\d+", lines[2])
        assert re.fullmatch(r"baseline distraction \(overlap\): 0\.\d+", lines[3])
        right += lines[0] == known[number]
    assert right >= 3
    assert page.locator(".hoverlayer a, .hoverlayer img").count() == 0


def test_hostile_names_are_text_everywhere(page):
    page.locator(f"{CLASSES} button.all").click()
    assert set(map(shown, HOSTILE_NAMES)) <= set(names(page))
    assert page.locator("h5", has_text="<img src=x onerror=alert(1)>").count() == 1
    assert page.locator(".findings", has_text="<img src=x onerror=alert(1)>").count() == 1
    assert "<img src=x onerror=alert(1)>" in page.locator("#r0-command").text_content()
    assert page.locator("img").count() == 30
    assert page.evaluate("Array.from(document.images).every((image) => image.naturalWidth > 0)")
    assert page.title() == "tlaudit distraction: models/<b>x</b>.pth"


def test_sorting_by_keyboard(page):
    head = page.locator(f"{CLASSES} thead th", has_text="finetuned distraction")
    page.locator(f"{CLASSES} button.all").click()
    for direction, sign in (("ascending", 1), ("descending", -1)):
        head.locator("button").focus()
        page.keyboard.press("Enter")
        assert head.get_attribute("aria-sort") == direction
        values = page.locator(f"{CLASSES} tbody td:nth-child(5)").all_inner_texts()
        assert len(values) == 60
        assert values[-1] == ""
        found = [float(text) for text in values[:-1]]
        assert found == sorted(found, key=lambda value: sign * value)


def test_first_rows_are_the_worst_and_the_rest_can_be_shown(page):
    table = a_distraction().tables["classes"]
    worst = [table.rows[index]["class_name"] for index in table.worst[:15]]
    assert names(page) == list(map(flat, worst))
    button = page.locator(f"{CLASSES} button.all")
    assert button.inner_text() == "Show all 60 rows"
    button.click()
    assert len(names(page)) == 60
    button.click()
    assert len(names(page)) == 15


def test_filter_searches_all_rows_and_says_how_many(page):
    page.locator(f"{CLASSES} input").fill("CLASS 5")
    assert names(page)
    assert all(name.startswith("class 5") for name in names(page))
    count = page.locator(f"{CLASSES} output")
    assert count.inner_text() == "10 of 10 matching of 60 rows shown"
    assert count.get_attribute("aria-live") == "polite"
    page.locator(f"{CLASSES} input").fill("no such class")
    assert count.inner_text() == "0 of 0 matching of 60 rows shown"


def test_columns_unfold(page):
    head = page.locator(f"{CLASSES} thead th", has_text="null")
    assert not head.is_visible()
    button = page.locator(f"{CLASSES} button.columns")
    button.click()
    assert head.is_visible()
    assert button.get_attribute("aria-pressed") == "true"


def test_light_and_dark(page):
    ground = "getComputedStyle(document.body).backgroundColor"
    light = page.evaluate(ground)
    page.locator("#theme").click()
    dark = page.evaluate(ground)
    assert light != dark
    assert page.locator("#theme").inner_text() == "Light"
    page.emulate_media(media="print")
    assert page.evaluate(ground) == "rgb(255, 255, 255)"


def test_follows_the_system(page):
    page.emulate_media(color_scheme="dark")
    assert page.evaluate("getComputedStyle(document.body).backgroundColor") == "rgb(16, 19, 23)"
    playwright_api.expect(page.locator("#theme")).to_have_text("Light")


def test_command_is_copied_or_selected(page):
    page.locator("button.copy").click()
    said = page.locator(".command output")
    said.filter(has_text=".").wait_for()
    if said.inner_text() != "Copied.":
        assert page.evaluate("getSelection().toString()") == a_distraction().run.command


def test_keyboard_reaches_the_verdict_first(page):
    page.keyboard.press("Tab")
    assert page.evaluate("document.activeElement.className") == "skip"
    page.keyboard.press("Enter")
    assert page.evaluate("document.activeElement.id") == "main"


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_text_stands_out_from_its_ground(page, scheme):
    page.emulate_media(color_scheme=scheme)
    ratios = page.evaluate(CONTRASTS)
    assert len(ratios) > 50
    assert [entry for entry in ratios if entry[0] < 4.5] == []


def test_prints_unfolded_without_controls_and_as_wide_as_paper(page):
    page.emulate_media(media="print")
    page.evaluate(
        """() => window.addEventListener("beforeprint", () => {
          window.seen = {
            open: document.querySelectorAll("details:not([open])").length,
            width: document.querySelector(".main-svg").getAttribute("width"),
            button: document.querySelector("button.all").checkVisibility(),
          };
        })"""
    )
    assert page.pdf(format="A4").startswith(b"%PDF")
    assert page.evaluate("window.seen") == {"open": 0, "width": "560", "button": False}
    assert page.locator("details[open]").count() == 0


def hover(page, chart: str, x: float, y: float) -> list[str]:
    """The lines of the hover text at a point of the plot area, given by shares of its width and height."""
    box = page.locator(f"{chart} .nsewdrag").first.bounding_box()
    page.mouse.move(box["x"] + box["width"] * x, box["y"] + box["height"] * y)
    page.locator(f"{chart} .hoverlayer .hovertext").first.wait_for()
    page.wait_for_timeout(150)
    return page.locator(f"{chart} .hoverlayer .hovertext").first.locator("tspan.line").all_text_contents()


BOTH_CHARTS = pytest.mark.parametrize("charts", [1280, 400], indirect=True)


@BOTH_CHARTS
def test_charts_fit_the_window_and_their_cards(charts):
    assert charts.evaluate("document.documentElement.scrollWidth") <= charts.viewport_size["width"]
    spilled = charts.evaluate(
        """() => Array.from(document.querySelectorAll(".chart > .plot")).filter((plot) => {
          const [inner, outer] = [plot.querySelector(".main-svg"), plot].map((part) => part.getBoundingClientRect());
          return inner.right > outer.right + 1 || inner.bottom > outer.bottom + 1;
        }).length"""
    )
    assert spilled == 0


@BOTH_CHARTS
def test_lines_and_cells_are_drawn(charts):
    assert charts.locator(f"{CKA} .points path").count() == 25
    # The finetuned network's line breaks at the missing stage.
    assert charts.locator(f"{CKA} .scatterlayer path.js-line").count() == 3
    assert charts.locator(f"{CKA} .errorbar path.yerror").count() == 23
    assert charts.locator(f"{CKA} .legendtext").all_text_contents() == ["finetuned", "from scratch"]
    assert charts.locator(f"{SPECTRA} .scatterlayer path.js-line").count() == 4
    assert charts.locator(f"{SPECTRA} .points path").count() == 252
    assert charts.locator(f"{MATRIX} .heatmaplayer image").count() == 2
    assert charts.locator(f"{MATRIX} .colorbar .cbfill").count() == 1


def test_blank_cells_are_marked(charts):
    marks = charts.locator(f"{MATRIX} .heatmap-label text").all_text_contents()
    assert [mark for mark in marks if mark] == ["×"] * 14


def test_hover_names_line_and_point(charts):
    charts.locator(CKA).scroll_into_view_if_needed()
    box = charts.locator(f"{CKA} .nsewdrag").bounding_box()
    dot = charts.locator(f"{CKA} .points path").first.bounding_box()
    x, y = ((dot[side] + dot[size] / 2 - box[side]) / box[size] for side, size in (("x", "width"), ("y", "height")))
    assert hover(charts, CKA, x, y)[:3] == ["finetuned", "cka: 1", "stage: features.0"]


def test_hover_names_both_sides_of_a_cell_and_hostile_names_stay_text(charts):
    charts.locator(MATRIX).scroll_into_view_if_needed()
    names = [*STAGES[:6], *map(shown, HOSTILE_NAMES)]
    for x, y, value in ((6, 6, "cka: 1"), (7, 6, "cka: 0.9231"), (2, 7, "no number")):
        lines = hover(charts, MATRIX, (x + 0.5) / 13, (y + 0.5) / 13)
        assert lines == [f"source stage: {names[y]}", f"finetuned stage: {names[x]}", value]
    assert charts.locator(".plot a, .plot b, .hoverlayer img").count() == 0


def test_hostile_names_are_text_on_axes(charts):
    for chart, axis in ((CKA, "x"), (MATRIX, "x"), (MATRIX, "y")):
        found = charts.locator(f"{chart} .{axis}tick text").all_text_contents()
        assert sorted(map(flat, found)) == sorted([*STAGES[:6], *map(shown, HOSTILE_NAMES)])


@pytest.mark.parametrize("charts", [400], indirect=True)
def test_names_are_short_in_a_narrow_window(charts):
    shown = charts.locator(f"{CKA} .xtick text").all_text_contents()
    assert "features.0" in shown
    assert "…c=x onerror=alert(1)>"[-15:] in {text[-15:] for text in shown}
    assert max(map(len, shown)) <= 16
    area = charts.locator(f"{MATRIX} .nsewdrag").bounding_box()
    assert area["width"] > 150


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_texts_of_charts_stand_out_from_their_ground(charts, scheme):
    charts.emulate_media(color_scheme=scheme)
    ratios = charts.evaluate(CHART_CONTRASTS)
    assert len(ratios) > 60
    assert [entry for entry in ratios if entry[0] < 4.5] == []


@pytest.mark.parametrize("width", [1280, 400])
@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_shaded_dots_have_a_colour_bar_and_an_outline(browser, shaded_address, width, scheme):
    with opened(browser, shaded_address, width) as page:
        page.emulate_media(color_scheme=scheme)
        dots = page.locator(".plot .scatterlayer .points path")
        assert dots.count() == 4
        assert page.locator(".plot .colorbar .cbfill").count() == 1
        assert page.locator(".plot .legendtext").all_text_contents() == ["before", "plain", "sweep"]
        fills = dots.evaluate_all("(dots) => dots.map((dot) => getComputedStyle(dot).fill)")
        # The ends of the colour bar are the lowest and the highest number, unlifted in the dark.
        assert (fills[0], fills[2]) == ("rgb(68, 1, 84)", "rgb(253, 231, 37)")
        assert set(dots.evaluate_all("(dots) => dots.map((dot) => getComputedStyle(dot).filter)")) == {"none"}
        ground = page.evaluate("getComputedStyle(document.querySelector('.chart')).backgroundColor")
        assert ground not in dots.evaluate_all("(dots) => dots.map((dot) => getComputedStyle(dot).stroke)")
        bar = page.locator(".plot .colorbar").bounding_box()
        area = page.locator(".plot .nsewdrag").bounding_box()
        legend = page.locator(".plot .legend").bounding_box()
        assert bar["y"] + bar["height"] <= area["y"] + 1
        assert legend["y"] >= area["y"] + area["height"]
        assert page.evaluate("document.documentElement.scrollWidth") <= width


@pytest.mark.parametrize("width", [1280, 400])
@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_names_stand_beside_their_dots_and_over_nothing(browser, labelled_address, width, scheme):
    with opened(browser, labelled_address, width) as page:
        page.emulate_media(color_scheme=scheme)
        texts = page.locator(".plot .scatterlayer .text text")
        assert texts.all_text_contents() == [row["name"] for row in a_comparison().tables["networks"].rows]
        assert page.locator(".plot .scatterlayer .points path").count() == 12
        assert page.locator(".plot .legendtext").count() == 0
        covered = page.evaluate(LABELS)
        assert covered == []
        assert [entry for entry in page.evaluate(CHART_CONTRASTS) if entry[0] < 4.5] == []
        assert page.evaluate("document.documentElement.scrollWidth") <= width


LABELS = """
() => {
  const named = (one) => [one.textContent, one.getBoundingClientRect()];
  const names = Array.from(document.querySelectorAll(".plot .scatterlayer .text text"), named);
  const over = (a, b, slack) => Math.min(a.right, b.right) - Math.max(a.left, b.left) > slack
    && Math.min(a.bottom, b.bottom) - Math.max(a.top, b.top) > slack;
  const frame = document.querySelector(".plot").getBoundingClientRect();
  const found = [];
  names.forEach(([name, box], at) => {
    names.slice(at + 1).forEach(([other, its]) => { if (over(box, its, 3)) found.push([name, other]); });
    if (box.left < frame.left || box.right > frame.right || box.top < frame.top) found.push([name, "edge"]);
  });
  return found;
}
"""
