"""Stages that compute images in several processes write the bytes of one process."""

import sys
from pathlib import Path

import pytest

from bestie.runtime import processes
from tests import workspace as ws

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="several processes predict on Linux alone")


@pytest.fixture
def used(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Numbers of processes that were started; a few images are enough to start some."""
    found: list[int] = []
    computed = processes._computed

    def watched(function, items, number):
        found.append(number)
        return computed(function, items, number)

    monkeypatch.setattr(processes, "LEAST_ITEMS", 2)
    monkeypatch.setattr(processes, "_computed", watched)
    return found


@pytest.mark.parametrize(
    ("stage", "times", "overrides"),
    [
        ("extract_cues", 1, ()),
        ("extract_cues", 1, ("dataset.supervision=point",)),
        ("export_mrcnn", 1, ("export_mrcnn.pseudo_labels=true", "export_mrcnn.color_steps=2")),
        ("export_mrcnn", 1, ("export_mrcnn.semantic_map=wsss",)),
        ("evaluate", 2, ("evaluate.mrcnn_color_steps=2",)),
    ],
)
def test_images_in_two_processes_have_the_bytes_of_one(
    workspace: Path, used: list[int], stage: str, times: int, overrides: tuple[str, ...]
):
    ws.set_params(*overrides)
    ws.run(stage, workers=0)
    alone = ws.stage_digests(stage)
    assert used == []
    ws.run(stage, workers=2)
    assert ws.stage_digests(stage) == alone
    assert used == [2] * times


def test_own_maps_from_two_processes_have_the_bytes_of_one(workspace: Path, used: list[int]):
    ws.set_params("import_wsss.source=data/make_wsss/maps.zarr")
    stages = ("train_wsss", "make_wsss")
    ws.run(*stages, workers=0)
    alone = [ws.stage_digests(stage) for stage in stages]
    ws.run("make_wsss", workers=2)
    assert ws.stage_digests("make_wsss") == alone[1]
    assert used == [2]
