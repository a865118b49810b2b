"""Prefect's UI in headless Chromium: what a person sees of a run. BESTIE_SCREENSHOTS names a folder for pictures."""

import os
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Page, expect, sync_playwright
from prefect.client.schemas.objects import State

from tests import workspace as ws
from tests.flows.prefect_server import Server

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser")
PATIENCE_MS = 120_000


@pytest.fixture
def page() -> Iterator[Page]:
    """A page of the Chromium that is installed; nothing is downloaded."""
    if CHROMIUM is None:
        pytest.skip("no Chromium on this machine (Debian: apt-get install chromium)")
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        page = browser.new_page(viewport={"width": 1440, "height": 1000})
        page.set_default_timeout(PATIENCE_MS)
        expect.set_options(timeout=PATIENCE_MS)
        yield page
        browser.close()


def picture(page: Page, name: str) -> None:
    """Keep what the page shows, for people."""
    folder = os.environ.get("BESTIE_SCREENSHOTS")
    if folder:
        page.wait_for_timeout(2000)  # the graph moves into its place
        page.screenshot(path=Path(folder) / f"{name}.png")


def test_the_pages_of_a_run_show_its_stages_the_table_of_metrics_and_the_sheet(
    server: Server, cached_run: tuple[str, State], page: Page
):
    run_id, _ = cached_run
    artifacts = server.artifacts(run_id)

    page.goto(f"{server.ui}/runs/flow-run/{run_id}")
    expect(page.get_by_text("version:").first).to_be_visible()
    expect(page.locator("canvas").first).to_be_visible()
    picture(page, "prefect_run")
    page.get_by_text("Task Runs", exact=True).click()
    for stage in ws.STAGES:
        expect(page.get_by_text(stage, exact=True).first).to_be_visible()
    expect(page.get_by_text("Cached", exact=True).first).to_be_visible()

    page.goto(f"{server.ui}/artifacts")
    for name in ("metrics-smoke", "pseudo-labels-smoke", "contact-sheet-smoke", "summary-smoke"):
        expect(page.get_by_text(name).first).to_be_visible()

    page.goto(f"{server.ui}/artifacts/artifact/{artifacts['metrics-smoke']['id']}")
    for text in ("metric", "last run", "change", "bestie.map50"):
        expect(page.get_by_text(text, exact=True).first).to_be_visible()
    picture(page, "prefect_metrics")

    page.goto(f"{server.ui}/artifacts/artifact/{artifacts['contact-sheet-smoke']['id']}")
    sheet = page.get_by_role("img", name="contact sheet")
    expect(sheet).to_be_visible()
    assert sheet.evaluate("image => image.complete && image.naturalWidth") > 500
    picture(page, "prefect_sheet")
