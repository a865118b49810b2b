"""`bestie tables` as its users run it: interrupted, continued, and run again when everything is done."""

import json
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import yaml

from tests.clones import Clone, make_clone

ROWS = [
    {
        "cells": ["off"],
        "set": {"train_bestie.instance_aware_guidance": False, "train_bestie.refinement.enabled": False},
    },
    {"cells": ["✓"], "paper": {"map50": 41.8}},
]
DEFINITION = {
    "tables": {
        "mine": {
            "title": "Mine",
            "columns": ["guidance"],
            "scores": ["map50", "true_map50"],
            "ascending": True,
            "rows": ROWS,
        }
    },
    "figures": {"curve": {"title": "Curve", "quantity": "map50", "lines": [{"name": "method"}]}},
}
SHORT = (
    "prepare.shapes.num_train=8",
    "prepare.shapes.num_val=4",
    "train_pam.epochs=2",
    "train_pam.plain_epochs=1",
    "train_bestie.epochs=2",
    "train_bestie.evolution_every=1",
)
COMMAND = (
    sys.executable,
    "-c",
    "from bestie.cli.app import main; main()",
    "tables",
    "smoke",
    "--definition",
    "mine.yaml",
    *(part for text in SHORT for part in ("--set", text)),
)


@pytest.fixture
def clone(tmp_path: Path) -> Clone:
    clone = make_clone(tmp_path / "clone")
    (clone.folder / "mine.yaml").write_text(yaml.safe_dump(DEFINITION), encoding="utf-8")
    return clone


def tables(clone: Clone) -> subprocess.CompletedProcess:
    return subprocess.run(COMMAND, cwd=clone.folder, env=clone.environment, capture_output=True, text=True, check=False)


@pytest.mark.slow  # two trainings and a dozen calls of DVC
def test_what_was_interrupted_is_continued_and_nothing_runs_twice(clone: Clone):
    first = subprocess.Popen(
        COMMAND, cwd=clone.folder, env=clone.environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    )
    workspace = next(_wait(lambda: clone.folder.glob(".bestie/tables/smoke/**/workspace")))
    trained, cues = (workspace / "data" / name for name in ("train_pam/classifier.zarr", "extract_cues/cues.parquet"))
    next(_wait(lambda: [cues] if cues.is_file() else []))
    first.send_signal(signal.SIGTERM)  # as Ctrl-C, which a test in the background does not get
    said, _ = first.communicate(timeout=60)
    assert first.returncode == 130, said
    assert "the same command continues" in said
    kept = trained.stat().st_mtime_ns

    second = tables(clone)
    assert second.returncode == 0, second.stderr
    assert re.search(r"\[1 of 2\] mine \[off\], seed 0: mAP50", second.stderr)
    assert "done before" not in second.stderr
    assert trained.stat().st_mtime_ns == kept  # the classifier of the interrupted run, and of both rows
    values = json.loads((clone.folder / "data/tables/smoke/tables.json").read_text(encoding="utf-8"))
    assert values["runs"] == {"done": 2, "total": 2}
    assert all({"map50", "true_map50"} <= row["here"].keys() for row in values["tables"]["mine"]["rows"])
    page = (clone.folder / "data/tables/smoke/tables.html").read_text(encoding="utf-8")
    assert "41.8" in page
    assert (clone.folder / "params.yaml").read_text(encoding="utf-8").startswith("# Parameters of this run")
    assert not (clone.folder / "data" / "train_bestie").exists()

    third = tables(clone)
    assert third.stderr.count("done before") == 2

    results = (clone.folder / "data/tables/smoke/runs").glob("*.json")
    next(path for path in results if json.loads(path.read_text(encoding="utf-8"))["run"] == "mine [off]").unlink()
    fourth = tables(clone)  # what is done counts first, so that the time left is that of the others
    assert re.search(r"\[1 of 2\] mine \[✓\].*done before", fourth.stderr)
    assert re.search(r"\[2 of 2\] mine \[off\], seed 0: mAP50", fourth.stderr)


@pytest.mark.slow  # the stages before the training
def test_a_run_that_fails_is_named_and_the_others_go_on(clone: Clone):
    rows = [{"cells": ["off"], "set": {"train_pam.backbone.name": "no_such_model"}}, ROWS[1]]
    table = {**DEFINITION["tables"]["mine"], "rows": rows}
    (clone.folder / "mine.yaml").write_text(yaml.safe_dump({"tables": {"mine": table}}), encoding="utf-8")
    ended = tables(clone)
    assert ended.returncode == 1
    assert "1 of 2 runs failed" in ended.stderr
    values = json.loads((clone.folder / "data/tables/smoke/tables.json").read_text(encoding="utf-8"))
    failed, worked = values["tables"]["mine"]["rows"]
    assert "no_such_model" in failed["remark"]
    assert "map50" in worked["here"]


def _wait(find, *, seconds: float = 600.0):
    """Ask until `find` has something, and yield it."""
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        found = list(find())
        if found:
            yield found[0]
        time.sleep(0.2)
    raise AssertionError("nothing came in time")
