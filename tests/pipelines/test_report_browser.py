"""The report in a real browser: nothing fails, nothing is fetched, nothing sticks out, all of it can be seen and read.

Opening a page is what takes time here, so that each is opened once for each width and looked at from all sides.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from playwright.sync_api import Browser, Page

from pipelines.report.monitoring_page import render as render_monitoring
from pipelines.report.page import Inputs, render
from tests.pipelines.browsers import chromium
from tests.pipelines.report_pages import SECTIONS, before, failed_in_training, inputs, rolled_back, stage, stages
from tests.pipelines.watched import page_inputs

pytestmark = pytest.mark.browser
SIZES = {"desktop": (1280, 900), "phone": (375, 800)}


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with chromium() as started:
        yield started


def _open(browser: Browser, size: str, folder: Path, told: Inputs, scheme: str = "light") -> Page:
    return _opened(browser, size, folder, render(told), scheme)


def _opened(browser: Browser, size: str, folder: Path, html: str, scheme: str) -> Page:
    """The page opened from its file, once it is sure that nothing was said on the console nor fetched."""
    file = folder / "report.html"
    file.write_text(html, encoding="utf-8")
    width, height = SIZES[size]
    page = browser.new_page(
        viewport={"width": width, "height": height}, color_scheme="dark" if scheme == "dark" else "light"
    )
    said: list[str] = []
    asked: list[str] = []
    page.on("console", lambda message: said.append(message.text))
    page.on("pageerror", lambda error: said.append(str(error)))
    page.on("request", lambda request: asked.append(request.url))
    page.goto(file.as_uri())
    assert (said, asked) == ([], [file.as_uri()])
    return page


def _sticking_out(page: Page) -> list[str]:
    """Elements that reach beyond the window, but for what a scrolling region of its own holds."""
    found: list[str] = page.evaluate(
        """() => [...document.querySelectorAll('body *:not(svg *, .scroll *)')]
            .map(e => [e, e.getBoundingClientRect()])
            .filter(([e, box]) => box.width > 0 && box.right > document.documentElement.clientWidth + 1)
            .map(([e]) => e.tagName + '.' + e.className)"""
    )
    return found


def _smallest_text(page: Page) -> float:
    """The size in pixels of the smallest text in the drawings that are shown."""
    size: float = page.evaluate(
        """() => Math.min(...[...document.querySelectorAll('svg[role=img]')]
            .filter(svg => svg.getBoundingClientRect().width > 0)
            .flatMap(svg => [...svg.querySelectorAll('text')].map(text => parseFloat(getComputedStyle(text).fontSize)
                * svg.getBoundingClientRect().width / svg.viewBox.baseVal.width)))"""
    )
    return size


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("workload", SECTIONS)
def test_the_whole_report(browser: Browser, tmp_path: Path, workload: str, size: str) -> None:
    page = _open(browser, size, tmp_path, inputs(workload))
    assert page.evaluate("document.documentElement.scrollWidth <= document.documentElement.clientWidth")
    assert _sticking_out(page) == []
    for section in SECTIONS[workload]:
        assert page.locator(f"#{section} h2").is_visible()
    # Of what is drawn twice, for wide and for narrow screens, the one that fits the width is shown.
    shown = {kind: page.locator(f"svg.{kind}:visible").count() for kind in ("wide", "narrow")}
    assert shown["wide" if size == "phone" else "narrow"] == 0
    assert shown["narrow" if size == "phone" else "wide"] == {"cardholders": 2, "forecaster": 5}[workload]
    assert _smallest_text(page) >= 7.5

    last = SECTIONS[workload][-2]
    page.click(f"nav a[href='#{last}']")
    page.wait_for_function(f"document.querySelector('#{last}').getBoundingClientRect().top < 60")

    page.emulate_media(media="print")  # leaves out what only a screen needs
    assert not page.locator("nav").is_visible()
    assert page.locator("#metrics table").is_visible()
    page.close()


# WCAG's contrast of text and what is behind it, the least for every style that carries words. In a drawing that is the
# card's colour: words do not stand on bars or bands. What is nearly transparent does not count.
CONTRAST = """() => {
    const level = c => { c = c / 255; return c <= 0.03928 ? c / 12.92 : ((c + 0.055) / 1.055) ** 2.4 };
    const light = text => { const [r, g, b] = text.match(/[\\d.]+/g).map(Number);
        return 0.2126 * level(r) + 0.7152 * level(g) + 0.0722 * level(b) };
    const behind = e => { for (; e; e = e.parentElement) {
        const c = getComputedStyle(e).backgroundColor;
        if (!/rgba\\(.*, 0(\\.\\d+)?\\)|\\/ 0(\\.\\d+)?\\)/.test(c)) return c } return 'rgb(255,255,255)' };
    const found = {};
    for (const css of ['h1', '.under', '.eyebrow', '.pill', 'dt', 'dd', '.lead', 'th', '.soft', '.tone', 'pre',
                       '.reason', 'nav a', 'footer', 'figcaption', '.note', '.tick', '.label', '.limit',
                       '.said', '.remark', '.cross'])
        for (const e of document.querySelectorAll(css)) {
            const style = getComputedStyle(e);
            if (e.ownerSVGElement && e.tagName !== 'text') continue;
            const a = light(e.ownerSVGElement ? style.fill : style.color), b = light(behind(e));
            const ratio = (Math.max(a, b) + 0.05) / (Math.min(a, b) + 0.05);
            found[css] = Math.min(found[css] ?? 99, ratio);
        }
    return found;
}"""


@pytest.mark.parametrize(("scheme", "size"), [("light", "phone"), ("dark", "desktop")])
def test_a_failed_execution_and_text_that_stands_out_from_its_background(
    browser: Browser, tmp_path: Path, scheme: str, size: str
) -> None:
    page = _open(browser, size, tmp_path, failed_in_training(), scheme)
    assert _sticking_out(page) == []
    assert page.locator("#failure pre").inner_text() == "first line\nlast <line>"
    ratios: dict[str, float] = page.evaluate(CONTRAST)
    page.close()

    page = _open(browser, size, tmp_path, inputs("forecaster"), scheme)
    other: dict[str, float] = page.evaluate(CONTRAST)
    page.close()
    assert {css: ratio for css, ratio in [*ratios.items(), *other.items()] if ratio < 4.5} == {}
    assert {"pre", ".reason"} <= ratios.keys()
    assert {".tick", ".note", ".limit"} <= other.keys()


@pytest.mark.parametrize(("scheme", "size"), [("dark", "phone"), ("light", "desktop")])
def test_a_deployment_that_was_rolled_back(browser: Browser, tmp_path: Path, scheme: str, size: str) -> None:
    gone = stage("prod", 1, before(28), endpoint=None)
    told = rolled_back(stages=[stages()[0], replace(gone, deployments=stages()[1].deployments)])
    page = _open(browser, size, tmp_path, told, scheme)
    assert _sticking_out(page) == []
    assert _smallest_text(page) >= 7.5
    ratios: dict[str, float] = page.evaluate(CONTRAST)
    page.close()
    assert {css: ratio for css, ratio in ratios.items() if ratio < 4.5} == {}
    assert {".said", ".remark", ".cross"} <= ratios.keys()


# Pairs of texts of the monitoring's drawings that lie on one another.
OVERLAPS = """() => [...document.querySelectorAll('#monitoring svg[role=img]')]
    .filter(svg => svg.getBoundingClientRect().width > 0)
    .flatMap(svg => {
        const texts = [...svg.querySelectorAll('text')].map(t => [t.textContent, t.getBoundingClientRect()]);
        return texts.flatMap(([a, p], i) => texts.slice(i + 1)
            .filter(([, q]) => p.left < q.right - 1 && q.left < p.right - 1)
            .filter(([, q]) => p.top < q.bottom - 3 && q.top < p.bottom - 3)
            .map(([b]) => a + ' on ' + b));
    })"""


@pytest.mark.parametrize(
    ("workload", "size", "scheme"), [("forecaster", "phone", "light"), ("cardholders", "desktop", "dark")]
)
def test_the_page_of_the_monitoring(browser: Browser, tmp_path: Path, workload: str, size: str, scheme: str) -> None:
    page = _opened(browser, size, tmp_path, render_monitoring(page_inputs(workload)), scheme)
    assert page.evaluate("document.documentElement.scrollWidth <= document.documentElement.clientWidth")
    assert _sticking_out(page) == []
    for section in ("monitoring", "dashboard", "retrainings", "serving"):
        assert page.locator(f"#{section} h2").is_visible()
    shown = {kind: page.locator(f"#monitoring svg.{kind}:visible").count() for kind in ("wide", "narrow")}
    stages = {"forecaster": 2, "cardholders": 1}[workload]
    assert shown == ({"wide": 0, "narrow": stages} if size == "phone" else {"wide": stages, "narrow": 0})
    assert _smallest_text(page) >= 7.5
    # Nothing is written over something else: the texts of the axis stand beside each other.
    assert page.evaluate(OVERLAPS) == []
    ratios: dict[str, float] = page.evaluate(CONTRAST)
    page.close()
    assert {css: ratio for css, ratio in ratios.items() if ratio < 4.5} == {}
