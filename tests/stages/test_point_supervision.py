"""Points in place of image-level labels (Section 4.3): given cues, and centre maps of all points."""

from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest

from bestie.artifacts import schemas
from bestie.artifacts.tables import iter_rows, read_images
from bestie.errors import InputError
from tests import workspace as ws


@pytest.fixture
def with_points(workspace: Path) -> Path:
    """The stages up to the network with point supervision."""
    ws.set_params("dataset.supervision=point", "train_bestie.epochs=2", "train_bestie.evolution_every=2")
    ws.run("prepare", "extract_cues", "make_pseudo_labels", "train_bestie")
    return workspace


def test_points_become_cues_pseudo_labels_and_a_network(with_points: Path):
    cues = pq.read_table("data/extract_cues/cues.parquet")
    assert cues.equals(pq.read_table("data/prepare/points.parquet"))
    accepted = pq.ParquetFile("data/make_pseudo_labels/instances.parquet").metadata.num_rows
    assert accepted > 10
    history = pq.read_table("data/train_bestie/history.parquet")
    assert np.isfinite(history["total"].to_numpy()).all()
    ws.run("export_mrcnn")


def test_points_lie_on_their_objects(finished_run: Path):
    from bestie.artifacts.maps import MapReader

    truth = MapReader(Path("data/prepare/ground_truth.zarr"))
    records = read_images(Path("data/prepare/images.parquet"))
    for row in iter_rows(Path("data/prepare/points.parquet"), schemas.POINTS):
        record = records[row["row"]]
        semantic = truth.read(record.row, "semantic", record.height, record.width)
        assert semantic[round(row["y"]), round(row["x"])] == row["category_id"]


def test_missing_points_stop_point_supervision_alone(workspace: Path):
    categories = [row["name"] for row in iter_rows(Path("data/prepare/categories.parquet"), schemas.CATEGORIES)]
    real = ("dataset.format=voc", "dataset.root=data/raw/generated", f"prepare.categories={categories}")
    next(Path("data/raw/generated/Center_points").iterdir()).unlink()
    ws.set_params(*real)
    ws.run("prepare")
    ws.set_params(*real, "dataset.supervision=point")
    with pytest.raises(InputError, match=r"Center_points.*does not exist"):
        ws.run("prepare")
