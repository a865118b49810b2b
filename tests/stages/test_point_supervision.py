"""Points in place of image-level labels (Section 4.3): given cues, and center maps of all points."""

import json
import math
import re
import shutil
from contextlib import chdir
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest
from PIL import Image

from bestie.artifacts import schemas
from bestie.artifacts.image_index import read_images
from bestie.artifacts.maps import MapReader
from bestie.artifacts.tables import iter_rows, read_categories
from bestie.errors import InputError
from tests import workspace as ws


@pytest.fixture(scope="module")
def point_run(finished: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run with point supervision, on the classifier of `finished`, whose training knows no points."""
    folder = tmp_path_factory.mktemp("points") / "workspace"
    shutil.copytree(finished, folder)
    with chdir(folder), pytest.MonkeyPatch.context() as patch:
        patch.setenv("BESTIE_DEVICE", "cpu")
        ws.set_params("dataset.supervision=point")
        ws.run("prepare", "extract_cues", *ws.STAGES[ws.STAGES.index("import_wsss") + 1 :])
    return folder


@pytest.fixture
def with_points(point_run: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """`point_run` as the working directory, to read from."""
    monkeypatch.chdir(point_run)
    return point_run


@pytest.fixture
def voc(workspace: Path) -> tuple[str, ...]:
    """Parameters that read the generated images as a data set of somebody else, in VOC's layout."""
    names = [category.name for category in read_categories(Path("data/prepare/categories.parquet"))]
    return "dataset.format=voc", "dataset.root=data/raw/generated", f"prepare.categories={names}"


def test_points_are_the_cues_and_most_pseudo_labels_from_them_are_right(with_points: Path):
    cues = pq.read_table("data/extract_cues/cues.parquet")
    assert cues.equals(pq.read_table("data/prepare/points.parquet"))
    metrics = json.loads(Path("data/evaluate/metrics.json").read_text(encoding="utf-8"))
    assert metrics["pseudo_labels"]["labels"] > 10
    assert metrics["pseudo_labels"]["precision"] > 0.8


def test_the_network_is_trained_on_refined_labels_from_the_first_epoch_with_refinement(with_points: Path):
    history = pq.read_table("data/train_bestie/history.parquet").to_pydict()
    assert np.isfinite(history["total"]).all()
    start = math.floor(0.3 * len(history["epoch"]))  # within this epoch
    assert max(history["refined_per_image"][:start]) == 0 < history["refined_per_image"][start]
    assert min(history["refined_per_image"][start + 1 :]) > 1
    assert min(history["offset_refined"][start:]) > 0


def test_centers_of_refined_labels_are_labeled_points(with_points: Path):
    points: dict[int, set] = {}
    for row in iter_rows(Path("data/prepare/points.parquet"), schemas.POINTS):
        points.setdefault(row["row"], set()).add((row["category_id"], round(row["y"]), round(row["x"])))
    refined = [
        row
        for row in iter_rows(Path("data/train_bestie/evolution.parquet"), schemas.EVOLUTION)
        if row["kind"] == "refined"
    ]
    assert refined
    assert all((r["category_id"], r["center_y"], r["center_x"]) in points[r["row"]] for r in refined)


def test_the_chain_ends_with_scores_of_both_models(with_points: Path):
    metrics = json.loads(Path("data/evaluate/metrics.json").read_text(encoding="utf-8"))
    assert {"bestie", "mrcnn", "export"} <= set(metrics)
    evolution = json.loads(Path("data/evaluate/true_positives.json").read_text(encoding="utf-8"))
    assert [row["epoch"] for row in evolution] == [14, 28]


def test_points_lie_on_their_objects(finished_run: Path):
    truth = MapReader(Path("data/prepare/ground_truth.zarr"))
    records = read_images(Path("data/prepare/images.parquet"))
    for row in iter_rows(Path("data/prepare/points.parquet"), schemas.POINTS):
        record = records[row["row"]]
        semantic = truth.read(record.row, "semantic", record.height, record.width)
        assert semantic[round(row["y"]), round(row["x"])] == row["category_id"]


def test_a_point_on_the_last_fraction_of_a_pixel_belongs_to_that_pixel(voc: tuple[str, ...]):
    record = read_images(Path("data/prepare/images.parquet"), "train")[0]
    path = Path(f"data/raw/generated/Center_points/{record.image_id}.txt")
    path.write_text(f"{record.width - 0.4} {record.height - 0.4} {record.labels[0] - 1} 1\n", encoding="utf-8")
    semantic = np.zeros((record.height, record.width), np.uint8)
    semantic[-9:, -9:] = record.labels[0]
    Image.fromarray(semantic).save(f"data/raw/generated/WSSS_maps/{record.image_id}.png")
    ws.set_params(*voc, "dataset.supervision=point")
    ws.run("prepare", "import_wsss", "extract_cues", "make_pseudo_labels")
    table = iter_rows(Path("data/make_pseudo_labels/components.parquet"), schemas.COMPONENTS)
    assert [row["n_cues"] for row in table if row["row"] == record.row] == [1]


def test_missing_points_stop_point_supervision_alone(voc: tuple[str, ...], capsys: pytest.CaptureFixture[str]):
    next(Path("data/raw/generated/Center_points").iterdir()).unlink()
    ws.set_params(*voc)
    ws.run("prepare")
    assert re.search(
        r"prepare: 1 of 24 training images are left without points.*Center_points", capsys.readouterr().err
    )
    ws.set_params(*voc, "dataset.supervision=point")
    with pytest.raises(InputError, match=r"Center_points.*does not exist"):
        ws.run("prepare")


def test_of_images_without_any_points_nothing_is_said(voc: tuple[str, ...], capsys: pytest.CaptureFixture[str]):
    shutil.rmtree("data/raw/generated/Center_points")
    ws.set_params(*voc)
    ws.run("prepare")
    assert "points" not in capsys.readouterr().err
    assert list(iter_rows(Path("data/prepare/points.parquet"), schemas.POINTS)) == []
