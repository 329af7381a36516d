"""Pages whose texts all try to be something else, in a real browser; and that the browser would tell if one could."""

from __future__ import annotations

import re
from html import unescape

import pytest

from reports.browsing import CHROMIUM, WATCH, opened
from reports.drawn import an_erosion
from reports.poisoned import KINDS, NAMES, poison
from reports.walked import flat
from samples_verdict import VERDICTS
from tlaudit.reports import FORMATS, VERDICT_FORMATS, drawing

pytest.importorskip("playwright.sync_api", reason="Playwright is not installed")

pytestmark = [
    pytest.mark.browser,
    pytest.mark.skipif(CHROMIUM is None, reason="there is no chromium on the path"),
]

ODD = """
() => {
  const found = [];
  const local = (url) => url.startsWith("#") || url.startsWith("data:image/jpeg;base64,")
    || url.startsWith("data:image/png;base64,");
  for (const element of document.querySelectorAll("*")) {
    if (/^(base|embed|form|frame|iframe|link|object|portal)$/.test(element.localName)) found.push(element.localName);
    for (const { name, value } of element.attributes) {
      const loads = ["action", "data", "formaction", "href", "poster", "src", "srcdoc", "srcset", "xlink:href"];
      if (name.startsWith("on")) found.push(name);
      if (loads.includes(name) && !local(value)) found.push(value);
      if (name === "style" && value && !element.closest(".plot, #js-plotly-tester")) found.push(value);
    }
  }
  return found;
}
"""
"""Elements and attributes that no page has, also after its scripts have run."""


def written(folder, text: str) -> str:
    path = folder / "page.html"
    path.write_text(text, encoding="utf-8")
    return path.as_uri()


@pytest.mark.parametrize("name", KINDS)
def test_nothing_runs_and_every_text_is_text(browser, tmp_path, name):
    kind, poisoned = KINDS[name], poison(KINDS[name].sample)
    text = kind.formats["html"].render(poisoned.document, 15)
    with opened(browser, written(tmp_path, text), 1280) as page:
        assert flat(page.title()) == flat(title(text))
        assert page.evaluate(ODD) == []
        assert [flat(head) for head in sorted(page.locator("tbody th").all_text_contents())] == heads(text)
        for plot in page.locator(".plot").all():
            plot.scroll_into_view_if_needed()
            dot = plot.locator(".points path").first
            if dot.count():
                dot.hover(force=True)
                plot.locator(".hoverlayer .hovertext").first.wait_for()
        assert page.locator(".plot a, .plot b, .plot i, .hoverlayer image").count() == 0
        assert page.evaluate("document.documentElement.scrollWidth") <= 1280
        assert page.evaluate("typeof window.pwned") == "undefined"


def title(text: str) -> str:
    return unescape(re.findall("<title>(.*?)</title>", text, re.DOTALL)[0])


def heads(text: str) -> list[str]:
    """What heads the rows of all tables, as it was written into the file."""
    found = re.findall('<th scope="row"[^>]*>(.*?)</th>', text, re.DOTALL)
    return [flat(head) for head in sorted(unescape(re.sub("<[^>]*>", "", head)) for head in found)]


def test_names_that_mean_something_to_a_language_are_drawn(browser, tmp_path):
    with opened(browser, written(tmp_path, FORMATS["html"].render(an_erosion(NAMES), 15)), 1280) as page:
        known = page.evaluate("Object.getOwnPropertyNames(Object.prototype)")
        # 12 stages of two networks, of which one stage has no number.
        assert page.locator("#r0-c0 .points path").count() == 2 * len(set(map(str.strip, NAMES))) + 1
        for chart, axis in (("#r0-c0", "x"), ("#r0-c1", "x"), ("#r0-c1", "y")):
            ticks = page.locator(f"{chart} .{axis}tick text").all_text_contents()
            assert set(ticks) >= {name for name in NAMES if name.strip()}
    assert set(known) == drawing.KNOWN_TO_EVERY_OBJECT


INJECTED = """
<script>window.pwned = "script"</script>
<img alt="" src="data:image/png;base64,x" onerror="window.pwned = 'handler'">
<img alt="" src="https://example.org/picture.png">
<a id="led" href="javascript:void(window.pwned='link')">link</a>
<iframe srcdoc="<p>frame</p>" src="https://example.org/"></iframe>
<iframe src="data:text/html,frame"></iframe>
<object data="data:text/html,object"></object>
<link rel="stylesheet" href="data:text/css,body{}">
<style>body { visibility: hidden }</style>
<p style="position: fixed">style</p>
<form id="sent" action="https://example.org/"><button>send</button></form>
<base href="https://example.org/">
<svg><script>window.pwned = "svg"</script></svg>
<video src="data:video/mp4;base64,x"></video>
"""
"""What somebody would put into a page who found a hole in it."""


def seen_with(browser, tmp_path, text: str) -> tuple[str, list[str], dict[str, str]]:
    """What ran in a page, which rules of its policy were broken, and why what it asked for did not come."""
    context = browser.new_context()
    context.add_init_script(WATCH)
    page = context.new_page()
    kept_back: dict[str, str] = {}
    page.on("requestfailed", lambda sent: kept_back.setdefault(sent.url, sent.failure))
    page.goto(written(tmp_path, text))
    page.evaluate("document.getElementById('led').click()")
    page.wait_for_timeout(300)
    ran = page.evaluate("String(window.pwned)")
    broken = page.evaluate("window.violations")
    context.close()
    return ran, broken, kept_back


def test_what_is_injected_is_refused_and_the_refusal_is_seen(browser, tmp_path):
    text = VERDICT_FORMATS["html"].render(VERDICTS["passing"], 15).replace("</main>", f"{INJECTED}</main>", 1)
    ran, broken, kept_back = seen_with(browser, tmp_path, text)
    assert ran == "undefined"
    assert kept_back["https://example.org/picture.png"] == "csp"
    assert {"script-src-elem", "script-src-attr", "img-src", "frame-src", "object-src", "base-uri", "media-src"} <= set(
        broken
    )
    assert {"style-src-elem", "style-src-attr"} <= set(broken)


def test_without_the_policy_it_would_run(browser, tmp_path):
    text = VERDICT_FORMATS["html"].render(VERDICTS["passing"], 15).replace("</main>", f"{INJECTED}</main>", 1)
    bare = re.sub('<meta http-equiv="Content-Security-Policy"[^>]*>', "", text)
    assert bare != text
    ran, broken, kept_back = seen_with(browser, tmp_path, bare)
    assert ran in {"script", "handler", "link", "svg"}
    assert broken == []
    assert "csp" not in kept_back.values()


@pytest.mark.parametrize("name", ["verdict", "erosion"])
def test_scripts_of_a_page_cannot_make_elements_or_code_of_text(browser, tmp_path, name):
    text = KINDS[name].formats["html"].render(KINDS[name].sample, 15)
    context = browser.new_context()
    page = context.new_page()
    page.goto(written(tmp_path, text))
    for made in (
        "document.body.innerHTML = '<p>'",
        "document.write('<p>')",
        "document.createElement('script').text = '1'",
        "trustedTypes.createPolicy('default', { createHTML: (text) => text })",
    ):
        refused = page.evaluate(f"() => {{ try {{ {made}; return 'made'; }} catch (error) {{ return error.name; }} }}")
        assert refused == "TypeError", made
    context.close()


def test_odd_elements_would_be_seen(browser, tmp_path):
    text = VERDICT_FORMATS["html"].render(VERDICTS["passing"], 15).replace("</main>", f"{INJECTED}</main>", 1)
    context = browser.new_context()
    page = context.new_page()
    page.goto(written(tmp_path, text))
    found = page.evaluate(ODD)
    assert {
        "onerror",
        "https://example.org/picture.png",
        "javascript:void(window.pwned='link')",
        "iframe",
        "form",
    } <= set(found)
    context.close()


LONG = ("x" * 255, "\u202e" + "right to left", "e" + "\u0301" * 50, "\u05d0\u05d1\u05d2 12", "a b " * 60)
"""Names that break a layout: none to break at, turned around, as high as three lines, written from the right."""


@pytest.mark.parametrize("width", [1280, 400])
def test_layout_holds_with_long_high_and_turned_names(browser, tmp_path, width):
    with opened(browser, written(tmp_path, FORMATS["html"].render(an_erosion(LONG * 2), 15)), width) as page:
        assert page.evaluate("document.documentElement.scrollWidth") <= width
        assert page.evaluate(SPILLED) == []


SPILLED = """
() => Array.from(document.querySelectorAll("main .wrap > *, .card, .panel, .chart, .grid"))
  .filter((part) => part.getBoundingClientRect().right > document.documentElement.clientWidth + 1)
  .map((part) => part.className)
"""
