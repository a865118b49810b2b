"""A folder of images with a label table through all stages: without ground truth, and with everything it may have."""

import csv
import json
import shutil
from pathlib import Path

import pyarrow.parquet as pq
import pytest
from typer.testing import CliRunner

from bestie.artifacts import schemas
from bestie.artifacts.coco_json import write_coco
from bestie.artifacts.image_index import read_images
from bestie.artifacts.maps import MapReader
from bestie.artifacts.tables import iter_rows, read_categories
from bestie.cli import app as cli
from bestie.records import ImageRecord
from tests import workspace as ws

OWN = Path("photos")


@pytest.fixture
def images(workspace: Path) -> list[ImageRecord]:
    """The generated images in a folder of their own, in subfolders, and the profiles."""
    shutil.copytree(ws.ROOT / "profiles", "profiles")
    records = read_images(Path("data/prepare/images.parquet"))
    for record in records:
        (OWN / record.split).mkdir(parents=True, exist_ok=True)
        shutil.copy(Path("data/raw/generated") / record.path, OWN / own_file(record))
    return records


def own_file(record: ImageRecord) -> str:
    return f"{record.split}/{record.image_id}.jpg"


def write_labels(records: list[ImageRecord], *, with_split: bool) -> None:
    names = [category.name for category in read_categories(Path("data/prepare/categories.parquet"))]
    with (OWN / "labels.csv").open("w", newline="", encoding="utf-8") as file:
        table = csv.writer(file)
        table.writerow(["file", "labels", "split"][: 3 if with_split else 2])
        for record in records:
            labels = ";".join(names[label - 1] for label in record.labels)
            table.writerow([own_file(record), labels, record.split][: 3 if with_split else 2])


def write_maps(records: list[ImageRecord]) -> None:
    for record in records:
        target = OWN / "WSSS_maps" / f"{record.split}/{record.image_id}.png"
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(Path("data/raw/generated/WSSS_maps") / f"{record.image_id}.png", target)


def init() -> None:
    found = CliRunner().invoke(cli.app, ["init", str(OWN), "--like", "smoke"], catch_exceptions=False)
    assert found.exit_code == 0


@pytest.mark.parametrize("maps", ["given", "own"])
def test_images_and_labels_alone_end_in_instances(images: list[ImageRecord], maps: str):
    train = [record for record in images if record.split == "train"]
    write_labels(train, with_split=False)
    if maps == "given":
        write_maps(train)
    init()
    Path("models").mkdir()
    for name in ("train_pam/classifier.zarr", "train_bestie/network.zarr"):
        shutil.move(f"data/{name}", "models")
    shutil.rmtree("data")
    from bestie.project.profiles import compose, write_params

    finished = (
        "train_pam.trained=models/classifier.zarr",
        "train_bestie.trained=models/network.zarr",
        "train_mrcnn.epochs=1",
        "train_wsss.rounds=0",
        "train_wsss.background=0.2",
    )
    write_params(Path("params.yaml"), "photos", compose("photos", folder=Path("profiles"), overrides=finished))
    ws.run(*ws.STAGES)

    own = MapReader(Path("data/make_wsss/maps.zarr")).attributes["own"]
    assert own == (maps == "own")
    records = read_images(Path("data/prepare/images.parquet"))
    assert [record.image_id for record in records] == [f"train/{record.image_id}" for record in train]
    for stage in ws.STAGES:
        assert [path for path in ws.declared_outputs(stage) if not path.exists()] == []
    assert pq.ParquetFile("data/export_mrcnn/instances.parquet").metadata.num_rows > 0
    coco = json.loads(Path("data/export_mrcnn/annotations.json").read_text(encoding="utf-8"))
    assert coco["images"][0]["file_name"] == own_file(train[0])
    assert json.loads(Path("data/evaluate/metrics.json").read_text(encoding="utf-8")) == {}
    assert json.loads(Path("data/train_pam/metrics.json").read_text(encoding="utf-8")) == {}
    assert Path("data/evaluate/sheet.png").is_file()
    found = CliRunner().invoke(cli.app, ["summary"], catch_exceptions=False)
    assert "No scores" in found.output


def test_masks_points_and_splits_of_own_files_are_those_of_the_generated_data(images: list[ImageRecord]):
    categories = read_categories(Path("data/prepare/categories.parquet"))
    truth, points = Path("truth.parquet"), list(iter_rows(Path("data/prepare/points.parquet"), schemas.POINTS))
    shutil.copy("data/prepare/ground_truth.parquet", truth)
    write_labels(images, with_split=True)
    write_maps([record for record in images if record.split == "train"])
    write_coco(OWN / "annotations.json", truth, images=images, categories=categories)
    content = (OWN / "annotations.json").read_text(encoding="utf-8")
    for record in images:
        content = content.replace(record.path, own_file(record))
    (OWN / "annotations.json").write_text(content, encoding="utf-8")
    with (OWN / "points.csv").open("w", newline="", encoding="utf-8") as file:
        table = csv.writer(file)
        table.writerow(["file", "x", "y", "label"])
        for row in points:
            name = categories[row["category_id"] - 1].name
            table.writerow([own_file(images[row["row"]]), row["x"], row["y"], name])
    init()
    from bestie.project.profiles import compose, write_params

    values = compose("photos", folder=Path("profiles"), overrides=["dataset.supervision=point"])
    write_params(Path("params.yaml"), "photos", values)
    ws.run("prepare")

    own = read_images(Path("data/prepare/images.parquet"))
    assert [(r.split, r.labels) for r in own] == [(r.split, r.labels) for r in images]
    kept = ["row", "category_id", "rle"]
    instances = [tuple(row[k] for k in kept) for row in iter_rows(truth, schemas.INSTANCES)]
    found = iter_rows(Path("data/prepare/ground_truth.parquet"), schemas.INSTANCES)
    assert [tuple(row[k] for k in kept) for row in found] == instances
    place = ["row", "category_id", "y", "x"]
    own_points = iter_rows(Path("data/prepare/points.parquet"), schemas.POINTS)
    assert [[row[k] for k in place] for row in own_points] == [[row[k] for k in place] for row in points]
