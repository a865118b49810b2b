"""The pictures of the report in the README: drawn from the run in this clone if BESTIE_SCREENSHOTS is set.

`BESTIE_SCREENSHOTS=docs/pictures python -m pytest tests/browser/test_report_pictures.py`, after `make demo`. The labels
of the run are compared with others: from the points of the generated data set, and with every third WSSS map grown.
"""

import io
import os
import shutil
from pathlib import Path

import cv2
import numpy as np
import pytest
from PIL import Image
from playwright.sync_api import Browser, Page, expect

from bestie.report.content import collect
from bestie.report.page import render
from tests import workspace as ws
from tests.audit_project import LABELS, Project

PICTURES = os.environ.get("BESTIE_SCREENSHOTS")
RUN = ws.ROOT / "data"
MAPS = Path("data/raw/generated/WSSS_maps")

pytestmark = [
    pytest.mark.skipif(PICTURES is None, reason="BESTIE_SCREENSHOTS names no folder for pictures"),
    pytest.mark.skipif(not (RUN / "evaluate/metrics.json").is_file(), reason="no run in this clone: make demo"),
]


@pytest.fixture
def report_of_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The report of this clone's run, whose labels are compared with those of other cues and maps."""
    monkeypatch.chdir(tmp_path)
    shutil.copytree(RUN, tmp_path / "data")
    ws.set_params("dataset.supervision=point", profile="shapes")
    for path in sorted(MAPS.glob("*.png"))[::3]:
        image = Image.open(path)
        grown = Image.fromarray(cv2.dilate(np.array(image), np.ones((5, 5), np.uint8)))
        grown.putpalette(image.getpalette())  # type: ignore[arg-type]
        grown.save(path)
    labels = ("extract_cues", "import_wsss", "make_pseudo_labels")
    kept = {stage: shutil.copytree(tmp_path / "data" / stage, tmp_path / "kept" / stage) for stage in labels}
    ws.run(*labels)
    project = Project(tmp_path)
    project.commit("points, and larger maps", *LABELS)
    for stage, folder in kept.items():
        shutil.rmtree(tmp_path / "data" / stage)
        shutil.move(folder, tmp_path / "data" / stage)
    shutil.copytree(RUN / "raw", tmp_path / "data/raw", dirs_exist_ok=True)
    ws.set_params(profile="shapes")
    project.record(*LABELS)
    path = tmp_path / "report.html"
    path.write_text(render(collect(tmp_path, state=ws.ROOT / ".bestie", max_images=120)), encoding="utf-8")
    return path


def keep(page: Page, name: str) -> None:
    """Save what the page shows as WebP, small enough for a repository."""
    page.wait_for_timeout(500)
    path = ws.ROOT / str(PICTURES) / f"{name}.webp"
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.open(io.BytesIO(page.screenshot())).save(path, quality=80, method=6)
    assert path.stat().st_size < 150_000


def test_the_pictures_of_the_readme(browser: Browser, report_of_run: Path):
    page = browser.new_page(viewport={"width": 1120, "height": 700})
    page.goto(report_of_run.as_uri())
    expect(page.locator(".card").first).to_be_visible()
    keep(page, "report_summary")
    page.locator("#labels").evaluate("(section) => section.scrollIntoView({ behavior: 'instant' })")
    keep(page, "report_labels")
    page.locator("#filters select[name=table]").select_option("Pseudo labels (training)")
    page.locator("#coloring select").select_option("changes")
    page.locator("#filters").evaluate("(form) => form.scrollIntoView({ behavior: 'instant' })")
    keep(page, "report_gallery")
