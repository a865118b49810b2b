"""Prefect's UI in headless Chromium: what a user sees of a run. BESTIE_SCREENSHOTS names a folder for pictures."""

import io
import os
import shutil
from collections.abc import Iterator

import pytest
from PIL import Image
from playwright.sync_api import Page, expect, sync_playwright
from prefect.client.schemas.objects import State

from flows.pipeline import pipeline
from tests import workspace as ws
from tests.flows.prefect_server import Server

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser")
PICTURES = os.environ.get("BESTIE_SCREENSHOTS")
PATIENCE_MS = 120_000


@pytest.fixture
def page() -> Iterator[Page]:
    """A page of the Chromium that is installed; nothing is downloaded."""
    if CHROMIUM is None:
        pytest.skip("no Chromium on this machine (Debian: apt-get install chromium)")
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        page = browser.new_page(viewport={"width": 1120, "height": 700})
        page.set_default_timeout(PATIENCE_MS)
        expect.set_options(timeout=PATIENCE_MS)
        yield page
        browser.close()


@pytest.fixture
def shown_run(request: pytest.FixtureRequest, cached_run: tuple[str, State]) -> str:
    """The run whose pages are opened: one that did work where pictures are taken, else the one that is there."""
    if PICTURES is None:
        return cached_run[0]
    request.getfixturevalue("clone")
    state = pipeline(set_params=["train_bestie.optimizer.learning_rate=0.02"], return_state=True)
    assert state.is_completed()
    return str(state.state_details.flow_run_id)


def picture(page: Page, name: str) -> None:
    """Keep what the page shows as WebP, small enough for a repository."""
    if PICTURES is None:
        return
    page.wait_for_timeout(5000)  # the graph moves into its place
    path = ws.ROOT / PICTURES / f"{name}.webp"
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.open(io.BytesIO(page.screenshot())).save(path, quality=80, method=6)
    assert path.stat().st_size < 150_000


def test_the_pages_of_a_run_show_its_stages_the_table_of_metrics_and_the_sheet(
    server: Server, shown_run: str, page: Page
):
    artifacts = server.artifacts(shown_run)

    page.goto(f"{server.ui}/runs/flow-run/{shown_run}")
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
    page.get_by_placeholder("Search").fill("map50")
    expect(page.get_by_text("bestie.coco_ap", exact=True)).to_be_hidden()
    picture(page, "prefect_metrics")

    page.goto(f"{server.ui}/artifacts/artifact/{artifacts['contact-sheet-smoke']['id']}")
    sheet = page.get_by_role("img", name="contact sheet")
    expect(sheet).to_be_visible()
    assert sheet.evaluate("image => image.complete && image.naturalWidth") > 500
    picture(page, "prefect_sheet")
