"""A headless Chromium, if one is installed."""

import os
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Browser, sync_playwright

from tests.report_run import write_run, write_versions

NAMES = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    """Chromium: BESTIE_BROWSER, or the one on the path; tests that need it are skipped if there is none.

    It ends with its module: while Playwright runs, its event loop keeps other tests from starting one.
    """
    path = os.environ.get("BESTIE_BROWSER") or next(filter(None, map(shutil.which, NAMES)), None)
    if path is None:
        pytest.skip(f"no browser: none of {', '.join(NAMES)} is on the path (or set BESTIE_BROWSER)")
    with sync_playwright() as driver:
        # As root, in a container, Chromium's own sandbox cannot start; the page opened is the project's own.
        started = driver.chromium.launch(executable_path=path, args=["--no-sandbox"])
        yield started
        started.close()


@pytest.fixture(scope="session")
def report_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The report of a small run: 30 validation images with each kind of fault in turn, and 5 training images.

    It is compared with a commit in which the first 4 training images had other labels.
    """
    from contextlib import chdir

    from bestie.report.content import collect
    from bestie.report.page import render

    folder = tmp_path_factory.mktemp("report")
    with chdir(folder):
        write_run(folder, names=("cat", "<script>alert(1)</script>"), train=5, validation=30)
        write_versions(folder)
    path = folder / "report.html"
    path.write_text(render(collect(folder, state=folder, max_images=100)), encoding="utf-8")
    return path
