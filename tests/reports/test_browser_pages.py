"""The pages of audits, verdicts and comparisons in a real browser: silent, legible, and every link leads somewhere."""

from __future__ import annotations

import pytest

from reports.browsing import CHROMIUM, CONTRASTS, opened
from samples import HOSTILE_NAMES
from samples_pages import a_side_by_side, an_audit
from samples_verdict import HOSTILE_TEXTS, VERDICTS, of_pattern
from samples_verdict import a_verdict as judged
from tlaudit.reports import AUDIT_FORMATS, COMPARISON_FORMATS, VERDICT_FORMATS

pytest.importorskip("playwright.sync_api", reason="Playwright is not installed")

pytestmark = [
    pytest.mark.browser,
    pytest.mark.skipif(CHROMIUM is None, reason="there is no chromium on the path"),
]
DOCUMENTS = {
    "audit": (AUDIT_FORMATS, an_audit()),
    "verdict": (VERDICT_FORMATS, VERDICTS["failing"]),
    "passing": (VERDICT_FORMATS, VERDICTS["passing"]),
    "no answer": (VERDICT_FORMATS, VERDICTS["no answer"]),
    "hostile": (VERDICT_FORMATS, VERDICTS["hostile"]),
    "folded": (VERDICT_FORMATS, judged(*of_pattern(*map(str, range(30))))),
    "comparison": (COMPARISON_FORMATS, a_side_by_side()),
}
PAGES = ["audit", "verdict", "comparison"]


@pytest.fixture(scope="module")
def addresses(tmp_path_factory) -> dict[str, str]:
    folder = tmp_path_factory.mktemp("pages")
    for name, (formats, document) in DOCUMENTS.items():
        (folder / f"{name}.html").write_text(formats["html"].render(document, 15), encoding="utf-8")
    return {name: (folder / f"{name}.html").as_uri() for name in DOCUMENTS}


@pytest.mark.parametrize("width", [1280, 400])
@pytest.mark.parametrize("name", [*PAGES, "hostile"])
def test_opens_in_silence_and_fits_the_window(browser, addresses, name, width):
    with opened(browser, addresses[name], width) as page:
        assert page.evaluate("document.documentElement.scrollWidth") <= width
        assert page.locator("h1").count() == 1


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("name", [*PAGES, "passing", "no answer"])
def test_text_stands_out_from_its_ground(browser, addresses, name, scheme):
    with opened(browser, addresses[name], 1280) as page:
        page.emulate_media(color_scheme=scheme)
        ratios = page.evaluate(CONTRASTS)
        assert len(ratios) > 40
        assert [entry for entry in ratios if entry[0] < 4.5] == []


@pytest.mark.parametrize("name", PAGES)
def test_follows_the_system_and_the_button(browser, addresses, name):
    ground = "getComputedStyle(document.body).backgroundColor"
    with opened(browser, addresses[name], 1280) as page:
        light = page.evaluate(ground)
        page.emulate_media(color_scheme="dark")
        dark = page.evaluate(ground)
        assert (light, dark) == ("rgb(245, 246, 248)", "rgb(16, 19, 23)")
        page.locator("#theme").click()
        assert page.evaluate(ground) == light


@pytest.mark.parametrize("name", PAGES)
def test_every_link_leads_to_a_place_in_sight(browser, addresses, name):
    with opened(browser, addresses[name], 1280) as page:
        links = page.locator("main a:visible").evaluate_all("(links) => links.map((a) => a.getAttribute('href'))")
        assert len(links) >= 5
        for href in dict.fromkeys(links):
            page.locator(f'main a[href="{href}"]:visible').first.click()
            top = page.evaluate("(id) => document.getElementById(id).getBoundingClientRect().top", href[1:])
            assert -1 <= top < 900, href


@pytest.mark.parametrize("name", PAGES)
def test_keyboard_reaches_the_verdict_first(browser, addresses, name):
    with opened(browser, addresses[name], 1280) as page:
        page.keyboard.press("Tab")
        assert page.evaluate("document.activeElement.className") == "skip"
        page.keyboard.press("Enter")
        assert page.evaluate("document.activeElement.id") == "main"


def test_the_first_screen_has_the_verdict_accuracy_and_every_question(browser, addresses):
    with opened(browser, addresses["audit"], 1280) as page:
        seen = page.locator("#front-verdict, #front-accuracy, .asked h3, .asked .badge")
        assert seen.count() == 8
        bottoms = seen.evaluate_all("(parts) => parts.map((part) => part.getBoundingClientRect().bottom)")
        assert max(bottoms) < 900


def test_hostile_names_are_text(browser, addresses):
    with opened(browser, addresses["audit"], 1280) as page:
        assert HOSTILE_NAMES[0] in page.locator("h1").inner_text()
        assert page.locator("img").count() == 30
    with opened(browser, addresses["hostile"], 1280) as page:
        assert page.locator("main img, main a[href^=http], main a[href^=javascript], main script").count() == 0
        assert page.locator(".says", has_text="<img src=x onerror=alert(1)>").count() == 3
        assert page.locator(".rulings tbody tr").count() == 3 * len(HOSTILE_TEXTS)
    with opened(browser, addresses["comparison"], 1280) as page:
        assert page.locator(".view tbody th", has_text=HOSTILE_NAMES[0]).count() == 1
        assert page.locator("main img").count() == 0


def test_rulings_are_a_table_in_a_wide_window_and_blocks_in_a_narrow_one(browser, addresses):
    for width, columns in ((1280, 4), (400, 1)):
        with opened(browser, addresses["verdict"], width) as page:
            row = page.locator(".rulings tbody tr").first
            lefts = row.locator("> *").evaluate_all("(cells) => cells.map((cell) => cell.getBoundingClientRect().left)")
            assert len(set(lefts)) == columns
            assert page.get_by_role("table").count() == 6
            assert page.get_by_role("rowheader").count() == 7


def test_drawings_have_a_size_and_a_name(browser, addresses):
    with opened(browser, addresses["verdict"], 400) as page:
        drawing = page.get_by_role("img", name="13.4 %; interval 11.2 % to 15.8 %; at most 5.0 %").first
        box = drawing.bounding_box()
        assert box["width"] > 200
        assert box["height"] >= 16
        limit, dot = (drawing.locator(part).first.bounding_box() for part in (".limit", ".dot"))
        assert limit["x"] < dot["x"]


def test_commands_are_copied_or_selected(browser, addresses):
    with opened(browser, addresses["audit"], 1280) as page:
        run = page.locator(".steps .run").filter(has=page.locator("button.copy")).first
        command = run.locator("code").inner_text()
        assert command.startswith("tlaudit ")
        run.locator("button.copy").click()
        said = run.locator("output")
        said.filter(has_text=".").wait_for()
        if said.inner_text() != "Copied.":
            assert page.evaluate("getSelection().toString()") == command


def test_prints_unfolded_and_light(browser, addresses):
    with opened(browser, addresses["folded"], 1280) as page:
        assert not page.locator(".rulings").is_visible()
        page.emulate_media(media="print", color_scheme="dark")
        page.evaluate(
            """() => window.addEventListener("beforeprint", () => {
              window.seen = document.querySelectorAll("details:not([open])").length;
            })"""
        )
        assert page.pdf(format="A4").startswith(b"%PDF")
        assert page.evaluate("window.seen") == 0
        assert page.evaluate("getComputedStyle(document.body).backgroundColor") == "rgb(255, 255, 255)"
