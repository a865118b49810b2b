"""What each stage writes: complete, with the schema that others rely on, and with the same bytes every time."""

import json
import shutil
from contextlib import chdir
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from PIL import Image

from bestie.artifacts import schemas
from bestie.artifacts.image_index import read_images
from bestie.artifacts.instances import decode_mask
from bestie.artifacts.maps import MapReader
from bestie.artifacts.tables import iter_rows, read_categories
from bestie.artifacts.weights import load_weights
from tests import workspace as ws

TABLES = {
    "prepare/images": schemas.IMAGES,
    "prepare/categories": schemas.CATEGORIES,
    "prepare/points": schemas.POINTS,
    "prepare/ground_truth": schemas.INSTANCES,
    "extract_cues/cues": schemas.CUES,
    "import_wsss/summary": schemas.WSSS_SUMMARY,
    "make_pseudo_labels/instances": schemas.INSTANCES,
    "make_pseudo_labels/components": schemas.COMPONENTS,
    "train_bestie/evolution": schemas.EVOLUTION,
    "export_mrcnn/instances": schemas.INSTANCES,
    "export_mrcnn/origins": schemas.ORIGINS,
    "evaluate/bestie": schemas.INSTANCES,
    "evaluate/bestie_true_semantic": schemas.INSTANCES,
    "evaluate/components": schemas.INSTANCES,
    "evaluate/components_true_semantic": schemas.INSTANCES,
    "evaluate/mrcnn": schemas.INSTANCES,
}
WEIGHTS = ("train_pam/classifier", "train_bestie/network", "train_mrcnn/detector")
MAPS = {
    "prepare/ground_truth": {"semantic": np.uint8},
    "extract_cues/activations": {"activation": np.uint8},
    "import_wsss/maps": {"semantic": np.uint8},
    "make_pseudo_labels/maps": {"instance": np.uint16},
}
HISTORIES = ("train_pam/history", "train_bestie/history", "train_mrcnn/history")
N_TRAIN, N_VAL = 24, 8


@pytest.fixture(scope="module")
def without_truth(finished: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The stages before `evaluate` once more, in a folder from which the truth was removed after `prepare`."""
    folder = tmp_path_factory.mktemp("without_truth")
    with chdir(folder), pytest.MonkeyPatch.context() as patch:
        patch.setenv("BESTIE_DEVICE", "cpu")
        ws.set_params()
        ws.run("prepare")
        Path("data/prepare/ground_truth.parquet").rename("ground_truth.parquet")
        Path("data/prepare/ground_truth.zarr").rename("ground_truth.zarr")
        shutil.rmtree("data/raw/generated/SegmentationClass")
        shutil.rmtree("data/raw/generated/SegmentationObject")
        ws.run(*ws.STAGES[1:-1])
    return folder


@pytest.mark.parametrize("stage", ws.STAGES)
def test_a_stage_writes_what_dvc_yaml_declares_and_nothing_else(finished_run: Path, stage: str):
    declared = ws.declared_outputs(stage)
    folder = Path("data") / stage
    assert [path for path in declared if not path.exists()] == []
    assert set(folder.iterdir()) == {path for path in declared if path.parent == folder}


@pytest.mark.parametrize(("name", "schema"), TABLES.items())
def test_a_table_has_its_schema_and_rows(finished_run: Path, name: str, schema: pa.Schema):
    file = pq.ParquetFile(f"data/{name}.parquet")
    assert file.schema_arrow.remove_metadata().equals(schema)
    if not name.startswith("evaluate"):  # the little that this profile learns may find nothing
        assert file.metadata.num_rows > 0


@pytest.mark.parametrize("name", TABLES)
def test_rows_of_a_table_point_into_the_index_in_its_order(finished_run: Path, name: str):
    records = read_images(Path("data/prepare/images.parquet"))
    if "row" not in TABLES[name].names or name.endswith("evolution"):
        return
    rows = list(iter_rows(Path(f"data/{name}.parquet"), TABLES[name], ["row", "image_id"]))
    assert [row["row"] for row in rows] == sorted(row["row"] for row in rows)
    assert all(records[row["row"]].image_id == row["image_id"] for row in rows)


def test_the_index_lists_training_images_first(finished_run: Path):
    records = read_images(Path("data/prepare/images.parquet"))
    assert [record.split for record in records] == ["train"] * N_TRAIN + ["val"] * N_VAL
    assert [record.row for record in records] == list(range(N_TRAIN + N_VAL))


@pytest.mark.parametrize(("name", "arrays"), MAPS.items())
def test_maps_have_a_row_for_each_image(finished_run: Path, name: str, arrays: dict[str, type]):
    maps = MapReader(Path(f"data/{name}.zarr"))
    assert maps.names == tuple(sorted(arrays))
    assert maps.n_rows == N_TRAIN + N_VAL
    for array, dtype in arrays.items():
        assert maps.read(0, array, 1, 1).dtype == dtype


@pytest.mark.parametrize(
    ("name", "array", "fill"),
    [
        ("extract_cues/activations", "activation", 0),
        ("import_wsss/maps", "semantic", 255),
        ("make_pseudo_labels/maps", "instance", 0),
    ],
)
def test_only_training_rows_of_weak_maps_are_written(finished_run: Path, name: str, array: str, fill: int):
    maps = MapReader(Path(f"data/{name}.zarr"))
    written = [bool((maps.read(row, array, *maps.canvas_hw) != fill).any()) for row in range(maps.n_rows)]
    assert any(written[:N_TRAIN])
    assert not any(written[N_TRAIN:])


def test_pseudo_instances_are_the_regions_of_the_stored_instance_map(finished_run: Path):
    maps = MapReader(Path("data/make_pseudo_labels/maps.zarr"))
    records = read_images(Path("data/prepare/images.parquet"))
    rows = list(iter_rows(Path("data/make_pseudo_labels/instances.parquet"), schemas.INSTANCES))
    for row in rows:
        size = (records[row["row"]].height, records[row["row"]].width)
        region = maps.read(row["row"], "instance", *size) == row["instance_id"]
        np.testing.assert_array_equal(region, decode_mask(row["rle"], *size))
        assert row["category_id"] in records[row["row"]].labels
    accepted = [
        (row["row"], row["instance_id"])
        for row in iter_rows(Path("data/make_pseudo_labels/components.parquet"), schemas.COMPONENTS)
        if row["status"] == "accepted"
    ]
    assert sorted(accepted) == sorted((row["row"], row["instance_id"]) for row in rows)


def test_cues_lie_in_their_image_and_have_a_class_of_it(finished_run: Path):
    records = read_images(Path("data/prepare/images.parquet"))
    for row in iter_rows(Path("data/extract_cues/cues.parquet"), schemas.CUES):
        record = records[row["row"]]
        assert row["category_id"] in record.labels
        assert 0 <= row["y"] < record.height
        assert 0 <= row["x"] < record.width


@pytest.mark.parametrize("name", WEIGHTS)
def test_weights_carry_the_parameters_that_they_were_trained_with(finished_run: Path, name: str):
    stage = name.split("/")[0]
    tensors, attributes = load_weights(Path(f"data/{name}.zarr"))
    model, _ = ws.stage_main(stage)
    assert tensors
    params, written = ws.load_section(stage, model)[1], model.model_validate(attributes["params"])
    assert (written.backbone.mean, written.backbone.std) == ((0.5, 0.5, 0.5), (0.5, 0.5, 0.5))  # of timm's test_resnet
    known = written.backbone.model_copy(update={"mean": None, "std": None})
    assert written.model_copy(update={"backbone": known}) == params
    assert attributes["num_classes"] == 6
    assert attributes["origin"] == {"weights": "random" if stage == "train_pam" else "previous"}


@pytest.mark.parametrize("name", HISTORIES)
def test_a_history_has_a_finite_loss_for_each_epoch(finished_run: Path, name: str):
    table = pq.read_table(f"data/{name}.parquet")
    stage = name.split("/")[0]
    model, _ = ws.stage_main(stage)
    epochs = ws.load_section(stage, model)[1].epochs
    assert table["epoch"].to_pylist() == list(range(1, epochs + 1))
    assert np.isfinite(table["total"].to_numpy()).all()
    rows = json.loads(Path(f"data/{name}.json").read_text(encoding="utf-8"))
    assert [row["epoch"] for row in rows] == table["epoch"].to_pylist()


def test_losses_fall(finished_run: Path):
    for name in HISTORIES:
        loss = pq.read_table(f"data/{name}.parquet")["total"].to_pylist()
        assert loss[-1] < loss[0], name


def test_the_export_in_coco_format_has_the_instances_of_the_table(finished_run: Path):
    coco = json.loads(Path("data/export_mrcnn/annotations.json").read_text(encoding="utf-8"))
    rows = list(iter_rows(Path("data/export_mrcnn/instances.parquet"), schemas.INSTANCES))
    assert len(coco["images"]) == N_TRAIN
    assert [a["area"] for a in coco["annotations"]] == [row["area_px"] for row in rows]


def test_snapshots_are_taken_every_so_often_and_at_the_end(finished_run: Path):
    table = pq.read_table("data/train_bestie/evolution.parquet")
    assert set(table["epoch"].to_pylist()) == {14, 28}
    assert set(table["kind"].to_pylist()) <= {"refined", "detected"}
    _, attributes = load_weights(Path("data/train_bestie/network.zarr"))
    rows = attributes["snapshot_rows"]
    assert set(rows) == {"refined", "detected"}
    assert max(rows["refined"]) < N_TRAIN <= min(rows["detected"])


def test_metrics_hold_every_model_by_every_measure(finished_run: Path):
    metrics = json.loads(Path("data/evaluate/metrics.json").read_text(encoding="utf-8"))
    models = {"bestie", "bestie_true_semantic", "components", "components_true_semantic", "mrcnn"}
    assert set(metrics) == models | {"semantic_miou", "pseudo_labels", "export"}
    measures = {"map25", "map50", "map70", "map75", "coco_ap", "coco_ap50", "coco_ap75", "instances"}
    assert all(set(metrics[model]) == measures for model in models)
    assert 0 < metrics["semantic_miou"] <= 1
    assert metrics["components_true_semantic"]["map50"] > 0
    assert set(metrics["export"]) == {"true_positives", "labels", "true_instances", "precision", "recall"}
    pam = json.loads(Path("data/train_pam/metrics.json").read_text(encoding="utf-8"))
    assert 0 < pam["val_map"] <= 1


def test_the_contact_sheet_is_a_picture(finished_run: Path):
    with Image.open("data/evaluate/sheet.png") as sheet:
        pixels = np.asarray(sheet.convert("RGB"))
    assert min(pixels.shape[:2]) > 400
    assert len(np.unique(pixels.reshape(-1, 3), axis=0)) > 100


@pytest.mark.parametrize("stage", ws.STAGES[:-1])
def test_a_stage_run_twice_writes_the_same_bytes_and_reads_no_truth(finished: Path, without_truth: Path, stage: str):
    with chdir(finished):
        first = ws.stage_digests(stage)
    with chdir(without_truth):
        again = ws.stage_digests(stage)
    gone = ("data/prepare/ground_truth", "data/raw/generated/Segmentation")
    assert again == {name: digest for name, digest in first.items() if not name.startswith(gone)}


def test_evaluate_run_twice_writes_the_same_bytes(workspace: Path):
    before = ws.stage_digests("evaluate")
    ws.run("evaluate")
    assert ws.stage_digests("evaluate") == before


def test_evaluate_without_truth_has_no_score_that_needs_it(workspace: Path):
    for kind in ("Class", "Object"):
        shutil.rmtree(f"data/raw/generated/Segmentation{kind}")
    categories = [category.name for category in read_categories(Path("data/prepare/categories.parquet"))]
    ws.set_params("dataset.format=voc", "dataset.root=data/raw/generated", f"prepare.categories={categories}")
    ws.run("prepare", "evaluate")

    assert pq.ParquetFile("data/prepare/ground_truth.parquet").metadata.num_rows == 0
    assert json.loads(Path("data/evaluate/metrics.json").read_text(encoding="utf-8")) == {}
    for name in ("precision_recall", "ap_by_iou", "ap_by_size", "true_positives", "map50_by_epoch"):
        assert json.loads(Path(f"data/evaluate/{name}.json").read_text(encoding="utf-8")) == []
    assert Path("data/evaluate/sheet.png").is_file()
    assert pq.ParquetFile("data/evaluate/bestie_true_semantic.parquet").metadata.num_rows == 0
