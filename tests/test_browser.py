"""HTML handouts in a real browser: nothing is asked of the network, steps fold, LaTeX is copied, pages print.

Needs Playwright for Python (extra `dev`) and a Chromium on the machine; skipped where one of them is missing.
"""

from __future__ import annotations

import re
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from symgrad.rendering.document import Document
from symgrad.rendering.handout import Choice, document, load_recipe, made
from symgrad.rendering.html import write_html
from symgrad.rendering.workbook import Workbook

playwright = pytest.importorskip(
    "playwright.sync_api", reason='Playwright is missing: pip install -e ".[dev]"'
)
CHROMIUM = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)

pytestmark = pytest.mark.skipif(CHROMIUM is None, reason="no Chromium on this machine")

PAGES = ("softmax.instructor.en", "softmax.instructor.zh", "softmax.instructor.en+zh", "rendered")
NARROW, WIDE = 360, 1100


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    with playwright.sync_playwright() as p:
        found = p.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        yield found
        found.close()


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The handout on softmax in all languages; and once with its formulas set by the browser."""
    path = tmp_path_factory.mktemp("html")
    recipe = load_recipe("softmax")
    choice = Choice(["en", "zh", "en+zh"], ["html"], ["instructor"])
    for name, content in made(recipe, choice):
        if name.endswith(".html"):
            (path / name).write_text(str(content), encoding="utf-8")
    whole = document(Workbook(recipe), "en")
    short = Document(whole.title, whole.blocks[:12], "en", words=whole.words)
    (path / "rendered.html").write_text(write_html(short, static=False), encoding="utf-8")
    return path


@pytest.fixture
def page(browser: Any, folder: Path) -> Iterator[Any]:
    """A function that opens a page in a window of its own; no error and no request may come of it."""
    complaints: list[str] = []
    opened: list[Any] = []

    def go(name: str, width: int = WIDE, **options: Any) -> Any:
        context = browser.new_context(viewport={"width": width, "height": 900}, **options)
        opened.append(context)
        tab = context.new_page()
        tab.on("console", lambda m: complaints.append(m.text))
        tab.on("pageerror", lambda e: complaints.append(str(e)))
        tab.on(
            "request", lambda r: None if r.url.startswith(("file:", "data:")) else complaints.append(r.url)
        )
        tab.goto((folder / f"{name}.html").as_uri())
        return tab

    yield go
    for context in opened:
        context.close()
    assert complaints == []


@pytest.mark.parametrize("name", PAGES)
@pytest.mark.parametrize("width", [NARROW, WIDE])
def test_every_formula_is_set_and_nothing_stands_out_of_the_page(page: Any, name: str, width: int) -> None:
    tab = page(name, width)
    assert tab.locator(".katex").count() > 10
    assert tab.locator(".katex-error, span.math:not(:has(.katex))").count() == 0
    assert tab.evaluate("document.documentElement.scrollWidth <= window.innerWidth")


def test_steps_fold_and_the_keyboard_reaches_them(page: Any) -> None:
    tab = page("softmax.instructor.en")
    steps = tab.locator("details.steps").first
    inside = steps.locator(".formula").first
    assert inside.is_visible()
    steps.locator("summary").focus()
    tab.keyboard.press("Enter")
    assert not inside.is_visible()
    tab.keyboard.press("Enter")
    assert inside.is_visible()


@pytest.mark.parametrize("name", ["softmax.instructor.en", "softmax.instructor.zh"])
def test_the_button_copies_the_latex_and_says_so(page: Any, name: str) -> None:
    tab = page(name)
    button = tab.locator("button.copy").first
    # A page that was opened as a file has no clipboard of its own: what is copied is what was selected.
    tab.evaluate(
        "document.execCommand = () => { window.copied = document.activeElement.value; return true; }"
    )
    tab.evaluate("Object.defineProperty(navigator, 'clipboard', {value: undefined})")
    button.focus()
    tab.keyboard.press("Enter")
    assert tab.evaluate("window.copied") == button.get_attribute("data-tex")
    assert tab.locator("[role=status]").inner_text() in ("The LaTeX was copied", "已复制公式源码")
    assert tab.locator("textarea").count() == 0


def test_on_paper_all_is_open_and_no_button_is_left(page: Any, tmp_path: Path) -> None:
    tab = page("softmax.instructor.en")
    hint = tab.locator("details.part:not([open])").first
    assert hint.count() == 1
    tab.emulate_media(media="print")
    assert tab.locator("button.copy:visible, nav:visible").count() == 0
    assert tab.locator("details.steps > summary:visible").count() == 0
    tab.pdf(path=tmp_path / "a.pdf", prefer_css_page_size=True)
    pages = len(re.findall(rb"/Type\s*/Page\b", (tmp_path / "a.pdf").read_bytes()))
    # Nothing holds a page together that may be parted.
    assert pages <= tab.locator(".equation").count() / 5
    assert tab.evaluate("getComputedStyle(document.body).backgroundColor") == "rgb(255, 255, 255)"


CONTRAST = """() => {
  const luminance = c => { const [r, g, b] = c.match(/[\\d.]+/g).slice(0, 3).map(v => {
    v /= 255; return v <= 0.03928 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4; });
    return 0.2126 * r + 0.7152 * g + 0.0722 * b; };
  const ground = e => { for (; e; e = e.parentElement) {
    const c = getComputedStyle(e).backgroundColor; if (!/, 0\\)$/.test(c)) return c; } return "rgb(255, 255, 255)"; };
  let worst = 21;
  for (const e of document.querySelectorAll(
    "p, h1, h2, h3, a, summary, button, td, th, li, .number, .sign, figcaption, .katex")) {
    const style = getComputedStyle(e);
    if (style.opacity !== "1") return 0;
    const [a, b] = [luminance(style.color), luminance(ground(e))].sort((x, y) => y - x);
    worst = Math.min(worst, (a + 0.05) / (b + 0.05));
  }
  return worst;
}"""


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_everything_can_be_read_on_light_and_dark_ground(page: Any, scheme: str) -> None:
    tab = page("softmax.instructor.en", color_scheme=scheme)
    ground = tab.evaluate("getComputedStyle(document.body).backgroundColor")
    assert (ground == "rgb(255, 255, 255)") == (scheme == "light")
    assert tab.evaluate(CONTRAST) >= 4.5  # WCAG 2.1, level AA


def test_it_can_be_read_without_javascript(page: Any) -> None:
    tab = page("softmax.instructor.en", java_script_enabled=False)
    assert tab.locator(".katex:visible").count() > 10
    assert tab.locator("math").count() > 10


def test_two_languages_stand_below_one_another_where_there_is_no_room(page: Any) -> None:
    def columns(width: int) -> int:
        left, right = page("softmax.instructor.en+zh", width).locator(".both").first.locator("> div").all()
        return 1 if left.bounding_box()["x"] >= right.bounding_box()["x"] - 20 else 2

    assert (columns(NARROW), columns(WIDE)) == (1, 2)
    tab = page("softmax.instructor.en+zh")
    assert {e.get_attribute("lang") for e in tab.locator(".both > div").all()} == {"en", "zh-CN"}


def test_only_what_scrolls_is_a_stop_of_the_keyboard(page: Any) -> None:
    stops = """document.fonts.ready.then(() => [...document.querySelectorAll('.formula')].filter(e => e.tabIndex === 0)
        .every(e => e.scrollWidth > e.clientWidth))"""
    for width in (NARROW, WIDE):
        assert page("softmax.instructor.en", width).evaluate(stops)
