"""Stages in parts that are computed one by one and joined: they give the bytes of a stage that runs as a whole."""

import os
import runpy
import subprocess
import sys
from pathlib import Path

import pytest

from bestie.artifacts import maps
from bestie.artifacts.maps import MapReader
from tests import workspace as ws

SHARD_ROWS, ROWS_AT_ONCE = 4, 2
PARTS = Path(".bestie", "parts")


@pytest.fixture(autouse=True)
def _small_shards(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(maps, "SHARD_ROWS", SHARD_ROWS)
    monkeypatch.setattr(maps, "ROWS_AT_ONCE", ROWS_AT_ONCE)


def run(stage: str, parts: str) -> None:
    """Run a stage as a program in this process with BESTIE_PARTS."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("BESTIE_PARTS", parts)
        patch.setattr(sys, "argv", [stage])
        runpy.run_path(str(ws.ROOT / "stages" / f"{stage}.py"), run_name="__main__")


def fails(stage: str, parts: str, capsys: pytest.CaptureFixture[str]) -> tuple[int, str]:
    """The exit status of a stage that fails, and what it says."""
    capsys.readouterr()
    with pytest.raises(SystemExit) as ended:
        run(stage, parts)
    assert isinstance(ended.value.code, int)
    return ended.value.code, capsys.readouterr().err


def remove_outputs(stage: str) -> None:
    for path in Path("data", stage).iterdir():
        path.rename(path.with_name(f"removed-{path.name}"))


@pytest.mark.parametrize(
    ("stage", "count"),
    [
        ("make_pseudo_labels", 4),
        pytest.param("extract_cues", 3, marks=pytest.mark.slow),
        pytest.param("export_mrcnn", 2, marks=pytest.mark.slow),
        pytest.param("evaluate", 3, marks=pytest.mark.slow),  # more parts than shards: two hold all
    ],
)
def test_parts_joined_have_the_bytes_of_a_stage_that_runs_alone(workspace: Path, stage: str, count: int):
    ws.run(stage)
    alone = ws.stage_digests(stage)
    remove_outputs(stage)

    for number in reversed(range(1, count + 1)):
        run(stage, f"{number}/{count}")
        assert not any(path.exists() for path in ws.declared_outputs(stage))
    run(stage, str(count))

    assert ws.stage_digests(stage) == alone
    assert sorted(each.name for each in (PARTS / stage).iterdir()) == [f"{k}-of-{count}" for k in range(1, count + 1)]
    assert not list(Path("data").rglob(".*"))


def test_each_part_holds_images_of_its_own_and_both_all(workspace: Path):
    ws.run("make_pseudo_labels")
    labels = MapReader(Path("data", "make_pseudo_labels", "maps.zarr"))
    side = labels.canvas_hw
    labeled = {row for row in range(labels.n_rows) if labels.read(row, "instance", *side).any()}
    found = []
    for number in (1, 2):
        run("make_pseudo_labels", f"{number}/2")
        part = MapReader(PARTS / "make_pseudo_labels" / f"{number}-of-2" / "maps.zarr")
        found.append({row for row in range(part.n_rows) if part.read(row, "instance", *side).any()})
    assert all(found)
    assert max(found[0]) < min(found[1])
    assert found[0] | found[1] == labeled


@pytest.mark.slow  # processes that start anew
def test_a_part_that_two_processes_compute_is_that_of_one(workspace: Path):
    run("make_pseudo_labels", "1/2")
    part = PARTS / "make_pseudo_labels" / "1-of-2"
    alone = ws.digests([part])
    code = f"""
import runpy
from bestie.artifacts import maps
maps.SHARD_ROWS, maps.ROWS_AT_ONCE = {SHARD_ROWS}, {ROWS_AT_ONCE}
runpy.run_module("stages.make_pseudo_labels", run_name="__main__")
"""
    environment = {"PYTHONPATH": str(ws.ROOT), "OMP_NUM_THREADS": "1", "BESTIE_PROCESSES": "2", "BESTIE_PARTS": "1/2"}
    part.rename(part.with_name("removed"))

    ended = subprocess.run(
        [sys.executable, "-c", code], env=os.environ | environment, capture_output=True, text=True, check=False
    )

    assert ended.returncode == 0, ended.stderr
    assert ws.digests([part]) == alone
    assert not list(part.parent.glob(".*"))


def test_missing_parts_are_told_by_status_and_name_and_nothing_is_lost(
    workspace: Path, capsys: pytest.CaptureFixture[str]
):
    before = ws.stage_digests("make_pseudo_labels")
    run("make_pseudo_labels", "1/3")
    status, said = fails("make_pseudo_labels", "3", capsys)
    assert status == 75
    assert "make_pseudo_labels/2-of-3 does not exist, of 3 parts to join 2 are missing" in said
    assert "BESTIE_PARTS=<number>/3 python -m stages.make_pseudo_labels" in said
    assert ws.stage_digests("make_pseudo_labels") == before


def test_a_part_of_other_parameters_is_not_joined(workspace: Path, capsys: pytest.CaptureFixture[str]):
    before = ws.stage_digests("make_pseudo_labels")
    run("make_pseudo_labels", "1/2")
    ws.set_params("make_pseudo_labels.min_area_px=11")
    run("make_pseudo_labels", "2/2")
    status, said = fails("make_pseudo_labels", "2", capsys)
    assert status == 1
    assert "make_pseudo_labels/1-of-2 was made from other parameters, inputs or code" in said
    assert "compute this part again" in said
    assert ws.stage_digests("make_pseudo_labels") == before
    assert not list(Path("data").rglob(".*"))


def test_a_part_of_other_inputs_is_not_joined(workspace: Path, capsys: pytest.CaptureFixture[str]):
    run("make_pseudo_labels", "1/1")
    ws.set_params("extract_cues.threshold=0.5")
    ws.run("extract_cues")
    ws.set_params()
    status, said = fails("make_pseudo_labels", "1", capsys)
    assert status == 1
    assert "make_pseudo_labels/1-of-1 was made from other" in said


def test_a_part_whose_files_were_not_all_copied_is_not_joined(workspace: Path, capsys: pytest.CaptureFixture[str]):
    run("make_pseudo_labels", "1/1")
    next((PARTS / "make_pseudo_labels" / "1-of-1").rglob("c/0/*/*")).unlink()
    status, said = fails("make_pseudo_labels", "1", capsys)
    assert status == 1
    assert "make_pseudo_labels/1-of-1 does not hold the files that were written" in said


def test_a_damaged_part_is_named_and_leaves_nothing_behind(workspace: Path, capsys: pytest.CaptureFixture[str]):
    run("make_pseudo_labels", "1/1")
    table = PARTS / "make_pseudo_labels" / "1-of-1" / "components.parquet"
    table.write_bytes(bytes(table.stat().st_size))
    status, said = fails("make_pseudo_labels", "1", capsys)
    assert status == 1
    assert "1-of-1/components.parquet is no readable Parquet file" in said
    assert not list(Path("data").rglob(".*"))


def test_a_stage_without_shards_refuses_parts(workspace: Path, capsys: pytest.CaptureFixture[str]):
    status, said = fails("import_wsss", "1/2", capsys)
    assert status == 1
    assert "import_wsss: this stage cannot be computed in parts; unset the environment variable BESTIE_PARTS" in said


def test_dvc_does_not_take_a_part_for_the_stage(
    workspace: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
):
    monkeypatch.setenv("DVC_STAGE", "make_pseudo_labels")
    status, said = fails("make_pseudo_labels", "1/2", capsys)
    assert status == 1
    assert "BESTIE_PARTS=1/2 python -m stages.make_pseudo_labels" in said
    assert "BESTIE_PARTS=2 dvc repro make_pseudo_labels" in said


def test_a_part_that_fails_leaves_nothing_behind(workspace: Path, capsys: pytest.CaptureFixture[str]):
    next(Path("data", "import_wsss", "maps.zarr").rglob("c/0/*/*")).write_bytes(b"no shard")
    status, _ = fails("make_pseudo_labels", "1/2", capsys)
    assert status == 1
    assert [each for each in PARTS.rglob("*") if each.name != "make_pseudo_labels"] == []
