"""The report in a real browser: nothing fails, nothing is fetched, nothing sticks out, all of it can be seen."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Browser, Page, sync_playwright

from pipelines.report.page import render
from tests.pipelines.test_report_page import _failed_in_training, _inputs

pytestmark = pytest.mark.browser
NAMES = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    """Headless Chromium: the system's, or else the one that Playwright keeps (`tests/install-browser` sees to one)."""
    found = next((path for name in NAMES if (path := shutil.which(name))), None)
    with sync_playwright() as playwright:
        started = playwright.chromium.launch(executable_path=found, args=["--no-sandbox"])
        yield started
        started.close()


@pytest.fixture(params=[(1280, 900), (375, 800)], ids=["desktop", "phone"])
def page(request: pytest.FixtureRequest, browser: Browser) -> Iterator[Page]:
    width, height = request.param
    opened = browser.new_page(viewport={"width": width, "height": height})
    yield opened
    opened.close()


def _open(page: Page, folder: Path, html: str) -> tuple[list[str], list[str]]:
    """Open the page from its file; gives what the console said and what was asked for besides the file."""
    file = folder / "report.html"
    file.write_text(html, encoding="utf-8")
    said: list[str] = []
    asked: list[str] = []
    page.on("console", lambda message: said.append(message.text))
    page.on("pageerror", lambda error: said.append(str(error)))
    page.on("request", lambda request: asked.append(request.url))
    page.goto(file.as_uri())
    return said, [url for url in asked if url != file.as_uri()]


def _sticking_out(page: Page) -> list[str]:
    """Elements that reach beyond the window, but for what a scrolling region of its own holds."""
    found: list[str] = page.evaluate(
        """() => [...document.querySelectorAll('body *')]
            .filter(e => !e.closest('.scroll') && !e.closest('svg') && e.getBoundingClientRect().width > 0)
            .filter(e => e.getBoundingClientRect().right > document.documentElement.clientWidth + 1)
            .map(e => e.tagName + '.' + e.className)"""
    )
    return found


def test_the_whole_report(page: Page, tmp_path: Path) -> None:
    said, asked = _open(page, tmp_path, render(_inputs()))
    assert (said, asked) == ([], [])
    assert page.evaluate("document.documentElement.scrollWidth <= document.documentElement.clientWidth")
    assert _sticking_out(page) == []
    for section in ("pipeline", "gate", "metrics", "horizons", "calibration", "clusters", "data", "lineage"):
        assert page.locator(f"#{section}").is_visible()
        assert page.locator(f"#{section} h2").is_visible()
    # One graph of the two is shown, the one that fits the width, and its text can be read.
    shown = [drawn for drawn in page.locator("svg.flow").all() if drawn.is_visible()]
    assert len(shown) == 1
    height = shown[0].locator("text.name").first.evaluate("e => e.getBoundingClientRect().height")
    assert height >= 9


def test_links_lead_to_their_sections(page: Page, tmp_path: Path) -> None:
    _open(page, tmp_path, render(_inputs()))
    page.click("nav a[href='#clusters']")
    page.wait_for_function("document.querySelector('#clusters').getBoundingClientRect().top < 60")


def test_a_failed_execution(page: Page, tmp_path: Path) -> None:
    said, asked = _open(page, tmp_path, render(_failed_in_training()))
    assert (said, asked) == ([], [])
    assert _sticking_out(page) == []
    assert page.locator("#failure pre").inner_text() == "first line\nlast <line>"


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_text_stands_out_from_its_background(browser: Browser, tmp_path: Path, scheme: str) -> None:
    """WCAG's contrast for text, 4.5 to 1, for every style that carries words, in both colour schemes."""
    page = browser.new_page(color_scheme="dark" if scheme == "dark" else "light")
    _open(page, tmp_path, render(_failed_in_training()))
    ratios: dict[str, float] = page.evaluate(
        """() => {
            const level = c => { c = c / 255; return c <= 0.03928 ? c / 12.92 : ((c + 0.055) / 1.055) ** 2.4 };
            const light = text => { const [r, g, b] = text.match(/[\\d.]+/g).map(Number);
                return 0.2126 * level(r) + 0.7152 * level(g) + 0.0722 * level(b) };
            const behind = e => { for (; e; e = e.parentElement) {
                const c = getComputedStyle(e).backgroundColor;
                if (!/rgba\\(.*, 0\\)/.test(c)) return c } return 'rgb(255,255,255)' };
            const found = {};
            for (const css of ['h1', '.under', '.eyebrow', '.pill', 'dt', 'dd', '.lead', 'th', '.soft', '.tone', 'pre',
                               '.reason', 'nav a', 'footer'])
                for (const e of document.querySelectorAll(css)) {
                    const a = light(getComputedStyle(e).color), b = light(behind(e));
                    const ratio = (Math.max(a, b) + 0.05) / (Math.min(a, b) + 0.05);
                    found[css] = Math.min(found[css] ?? 99, ratio);
                }
            return found;
        }"""
    )
    page.close()
    assert {css: ratio for css, ratio in ratios.items() if ratio < 4.5} == {}


def test_it_prints_without_what_only_a_screen_needs(page: Page, tmp_path: Path) -> None:
    _open(page, tmp_path, render(_inputs()))
    page.emulate_media(media="print")
    assert not page.locator("nav").is_visible()
    assert page.locator("#metrics table").is_visible()
