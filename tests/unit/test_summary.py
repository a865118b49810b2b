"""The summary of a run."""

import io
import time
from pathlib import Path

import pytest
from rich.console import Console

from bestie.artifacts.metrics_json import write_json
from bestie.errors import InputError
from bestie.report import REPORT
from bestie.report.summary import print_summary
from tests import workspace as ws


def printed(**options: float) -> str:
    console = Console(file=io.StringIO(), width=120)
    print_summary(console, **options)
    return console.file.getvalue()  # type: ignore[attr-defined]


def test_it_names_models_scores_artifacts_and_pictures(finished_run: Path):
    text = printed(since=time.time() - 125)
    for part in (
        "BESTIE",
        "Mask R-CNN on its export",
        "baseline",
        "IoU .50",
        "semantic mIoU 0.",
        "Run time: 2 min 5 s",
    ):
        assert part in text, part
    assert all(f"data/{stage}/" in text for stage in ws.STAGES)
    assert f"Pictures: {finished_run.resolve()}/data/evaluate/sheet.png" in text


def test_without_truth_it_still_names_the_artifacts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.chdir(tmp_path)
    write_json(Path("data/evaluate/metrics.json"), {})
    text = printed()
    assert "No scores: no validation image has true masks" in text
    assert "data/train_bestie/" in text
    assert "Run time" not in text
    assert "Report" not in text


def test_it_names_the_report_where_there_is_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.chdir(tmp_path)
    write_json(Path("data/evaluate/metrics.json"), {})
    REPORT.write_text("<!doctype html>")
    assert f"Report: {tmp_path}/report.html" in printed()


def test_scores_that_are_not_defined_are_dashes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.chdir(tmp_path)
    labels = {"true_positives": 0, "labels": 0, "true_instances": 4, "precision": float("nan"), "recall": 0.0}
    write_json(Path("data/evaluate/metrics.json"), {"bestie": {"map50": float("nan")}, "export": labels})
    text = printed()
    assert "exported labels: 0 of 4 objects" in text
    assert " - " in text or "-\n" in text


def test_before_the_first_run_it_says_what_to_do(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(InputError, match=r"metrics.json does not exist. Run the stage"):
        printed()
