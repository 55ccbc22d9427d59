"""The page of the API in a real browser: it shows the document, and asks the API from there."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from playwright.sync_api import Browser, Page, expect

from pipelines.api import page
from pipelines.api.deployment import read_document
from pipelines.api.document import public
from pipelines.names import LocalPaths
from tests.pipelines.api.served import Served
from tests.pipelines.browsers import chromium

pytestmark = pytest.mark.browser


@dataclass
class Opened:
    """The page, and what was said on its console and fetched by it."""

    page: Page
    said: list[str] = field(default_factory=list)
    asked: list[str] = field(default_factory=list)


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with chromium() as started:
        yield started


def _open(browser: Browser, api: Served, folder: Path, token: str | None) -> Opened:
    file = folder / "api.html"
    document = public(read_document(LocalPaths(api.project.root)), api.access.url)
    file.write_text(page.render(document, token), encoding="utf-8")
    opened = Opened(browser.new_page(viewport={"width": 1280, "height": 900}))
    opened.page.on("console", lambda message: opened.said.append(message.text))
    opened.page.on("pageerror", lambda error: opened.said.append(str(error)))
    opened.page.on("request", lambda request: opened.asked.append(request.url))
    opened.page.goto(file.as_uri())
    expect(opened.page.get_by_role("heading", name="Predictions and forecasts")).to_be_visible()
    return opened


def test_it_shows_every_operation_and_fetches_nothing(api: Served, browser: Browser, tmp_path: Path) -> None:
    opened = _open(browser, api, tmp_path, None)
    shown = opened.page.locator(".opblock-summary-path").all_inner_texts()
    assert [text.replace("\u200b", "") for text in shown] == [
        "/predictions", "/predictions:batch", "/feedback", "/forecasts", "/health",
    ]  # fmt: skip
    assert opened.said == []
    assert [url for url in opened.asked if not url.startswith(("file:", "data:"))] == []


def test_a_prediction_is_asked_for_from_the_page(api: Served, browser: Browser, tmp_path: Path) -> None:
    opened = _open(browser, api, tmp_path, api.token)
    operation = opened.page.locator("#operations-Cardholders-createPrediction")
    operation.locator(".opblock-summary-control").click()
    operation.get_by_role("button", name="Execute").click()
    answer = operation.locator(".live-responses-table .response .highlight-code").first
    expect(answer).to_contain_text('"stored_features": "used"')
    assert {url for url in opened.asked if url.startswith("http")} == {f"{api.access.url}/predictions"}
    assert opened.said == []


def test_without_a_token_the_page_shows_the_refusal(api: Served, browser: Browser, tmp_path: Path) -> None:
    opened = _open(browser, api, tmp_path, None)
    operation = opened.page.locator("#operations-Cardholders-createFeedback")
    operation.locator(".opblock-summary-control").click()
    operation.get_by_role("button", name="Execute").click()
    expect(operation.locator(".live-responses-table .response-col_status").nth(1)).to_contain_text("401")
