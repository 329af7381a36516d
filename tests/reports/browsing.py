"""A browser for pages: what they do in it, and how legible they are."""

from __future__ import annotations

import contextlib
import shutil

CHROMIUM = shutil.which("chromium")

WATCH = """
window.violations = [];
document.addEventListener("securitypolicyviolation", (event) => {
  window.violations.push(event.effectiveDirective);
});
"""
"""Keeps what the policy of a page refuses."""


@contextlib.contextmanager
def opened(browser, address, width):
    """An opened page; afterwards it must have been silent."""
    context = browser.new_context(viewport={"width": width, "height": 900}, reduced_motion="reduce")
    context.add_init_script(WATCH)
    page = context.new_page()
    noise = []
    page.on("console", lambda message: noise.append(message.text))
    page.on("pageerror", lambda error: noise.append(str(error)))
    page.on("dialog", lambda dialog: (noise.append(dialog.message), dialog.dismiss()))
    page.on("request", lambda sent: sent.url.startswith((address, "data:")) or noise.append(sent.url))
    page.goto(address)
    if page.locator(".plot").count():
        page.wait_for_selector(".plot .points path")
    yield page
    violations = page.evaluate("window.violations")
    context.close()
    assert noise == []
    assert violations == []


CHART_CONTRASTS = """
() => {
  const light = (text) => text.match(/[\\d.]+/g).map(Number).slice(0, 3)
    .map((part) => part / 255)
    .map((part) => (part <= 0.03928 ? part / 12.92 : ((part + 0.055) / 1.055) ** 2.4))
    .reduce((sum, part, index) => sum + part * [0.2126, 0.7152, 0.0722][index], 0);
  const texts = Array.from(document.querySelectorAll(".plot .main-svg text"));
  return texts.filter((text) => text.textContent).map((text) => {
    const ground = light(getComputedStyle(text.closest(".chart")).backgroundColor);
    const [high, low] = [light(getComputedStyle(text).fill), ground].sort((a, b) => b - a);
    return [(high + 0.05) / (low + 0.05), text.textContent];
  });
}
"""
CONTRASTS = """
() => {
  const numbers = (text) => text.match(/[\\d.]+/g).map(Number);
  const light = (text) => numbers(text).slice(0, 3)
    .map((part) => part / 255)
    .map((part) => (part <= 0.03928 ? part / 12.92 : ((part + 0.055) / 1.055) ** 2.4))
    .reduce((sum, part, index) => sum + part * [0.2126, 0.7152, 0.0722][index], 0);
  const ground = (element) => {
    for (let at = element; at; at = at.parentElement) {
      const colour = getComputedStyle(at).backgroundColor;
      if (numbers(colour).length === 3 || numbers(colour)[3] === 1) return colour;
    }
    return "rgb(255, 255, 255)";
  };
  const found = [];
  for (const element of document.querySelectorAll("main *, header *, footer *")) {
    const own = Array.from(element.childNodes).some((node) => node.nodeType === 3 && node.data.trim());
    if (!own || element.closest("svg, script, .plot") || !element.checkVisibility()) continue;
    const [high, low] = [light(getComputedStyle(element).color), light(ground(element))].sort((a, b) => b - a);
    found.push([(high + 0.05) / (low + 0.05), element.tagName + "." + element.className]);
  }
  return found;
}
"""
