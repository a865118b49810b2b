"""Real photographs through the whole pipeline, in two minutes: does it run on what it is made for?"""

import json
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest

from bestie.artifacts.tables import read_categories, read_images
from bestie.artifacts.weights import load_weights
from tests import workspace as ws

N_TRAIN, N_VAL = 32, 12


def voc_overrides(shared: Path) -> list[str]:
    weights = shared / "weights" / "mobilenetv1_100_imagenet.safetensors"
    return [
        f"dataset.root={shared / 'data' / 'VOC2012'}",
        f"import_wsss.source={shared / 'data' / 'VOC2012' / 'WSSS_maps'}",
        f"prepare.limit_train={N_TRAIN}",
        f"prepare.limit_val={N_VAL}",
        f"train_pam.backbone.weights={weights}",
        "train_pam.epochs=2",
        "train_pam.plain_epochs=1",
        "train_pam.width=64",
        "extract_cues.flip=false",
        # A few steps end with background everywhere unless hard pixels count alone.
        "train_bestie.epochs=4",
        "train_bestie.hard_pixel_fraction=0.1",
        "train_bestie.hard_pixel_start=0",
        "train_bestie.lambda_center=5",
        "train_bestie.optimizer.learning_rate=0.005",
        "train_bestie.width=32",
        "train_bestie.evolution_every=4",
        "train_bestie.evolution_images=8",
        "train_bestie.refinement.start_fraction=0",
        "export_mrcnn.use_image_labels=true",
        "export_mrcnn.min_score=0",
        "train_mrcnn.epochs=1",
        "train_mrcnn.width=32",
        "train_mrcnn.min_side_px=128",
        "train_mrcnn.max_side_px=160",
        "evaluate.flip=false",
        "evaluate.sheet_images=4",
        *(f"{stage}.augmentation.crop_px=128" for stage in ("train_pam", "train_bestie")),
        *(f"{stage}.batch_size=8" for stage in ws.TRAININGS),
    ]


@pytest.fixture
def empty(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_voc_images_run_through_all_stages(shared_dir: Path, empty: Path):
    ws.set_params(*voc_overrides(shared_dir), profile="voc_subset")
    ws.run(*ws.STAGES)

    records = read_images(Path("data/prepare/images.parquet"))
    assert [sum(r.split == split for r in records) for split in ("train", "val")] == [N_TRAIN, N_VAL]
    for stage in ws.STAGES:
        assert [path for path in ws.declared_outputs(stage) if not path.exists()] == []
    for stage in ws.TRAININGS:
        losses = pq.read_table(f"data/{stage}/history.parquet")["total"].to_numpy()
        assert np.isfinite(losses).all(), stage
    _, attributes = load_weights(Path("data/train_pam/classifier.zarr"))
    assert attributes["origin"]["weights"] == "mobilenetv1_100_imagenet.safetensors"
    assert len(attributes["origin"]["sha256"]) == 64
    metrics = json.loads(Path("data/evaluate/metrics.json").read_text(encoding="utf-8"))
    assert {"bestie", "mrcnn", "components", "semantic_miou", "pseudo_labels", "export"} <= set(metrics)
    assert metrics["semantic_miou"] > 0
    assert metrics["components_true_semantic"]["map50"] > 10  # the truth and its scoring fit together
    assert pq.ParquetFile("data/make_pseudo_labels/components.parquet").metadata.num_rows > N_TRAIN


def test_coco_images_become_an_index_and_a_classifier(shared_dir: Path, empty: Path):
    ws.set_params(
        f"dataset.root={shared_dir / 'data' / 'coco'}",
        "dataset.name=coco",
        "dataset.format=coco",
        "prepare.train_list=train2017",
        "prepare.val_list=val2017",
        "train_pam.epochs=1",
        "train_pam.augmentation.crop_px=128",
    )
    ws.run("prepare", "train_pam")

    records = read_images(Path("data/prepare/images.parquet"))
    assert [sum(r.split == split for r in records) for split in ("train", "val")] == [48, 32]
    categories = read_categories(Path("data/prepare/categories.parquet"))
    assert [c.category_id for c in categories] == list(range(1, 81))
    assert categories[-1].source_id == 90
    truth = pq.read_table("data/prepare/ground_truth.parquet")
    assert set(truth["row"].to_pylist()) <= set(range(80))
    assert any(truth["is_crowd"].to_pylist())
    metrics = json.loads(Path("data/train_pam/metrics.json").read_text(encoding="utf-8"))
    assert 0 < metrics["val_map"] <= 1
