"""Real photographs through the whole pipeline, in a minute: does it run on the data that it is made for?"""

import contextlib
import io
import json
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest
from jaxtyping import Float64
from PIL import Image
from pycocotools import coco, cocoeval

from bestie.artifacts.image_index import read_images
from bestie.artifacts.maps import MapReader
from bestie.artifacts.schemas import INSTANCES
from bestie.artifacts.tables import iter_rows, read_categories
from bestie.artifacts.weights import load_weights
from bestie.records import Category, ImageRecord
from tests import workspace as ws

N_TRAIN, N_VAL = 32, 12


#: At half the size, with few steps of the refinement by color.
PREDICTION = ("semantic_scales=[0.5]", "instance_scales=[0.5]", "color_steps=2")


def voc_overrides(shared: Path) -> list[str]:
    weights = shared / "weights" / "tf_efficientnet_lite2_imagenet.safetensors"
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
        "train_bestie.class_balance=0",
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
        "evaluate.mrcnn_color_steps=2",
        *(f"{stage}.{key}" for stage in ("export_mrcnn", "evaluate") for key in PREDICTION),
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
    assert attributes["origin"]["weights"] == "tf_efficientnet_lite2_imagenet.safetensors"
    assert len(attributes["origin"]["sha256"]) == 64
    metrics = json.loads(Path("data/evaluate/metrics.json").read_text(encoding="utf-8"))
    assert {"bestie", "mrcnn", "components", "semantic_miou", "pseudo_labels", "export"} <= set(metrics)
    assert metrics["semantic_miou"] > 0
    assert metrics["components_true_semantic"]["map50"] > 10  # the truth and its scoring fit together
    assert pq.ParquetFile("data/make_pseudo_labels/components.parquet").metadata.num_rows > N_TRAIN


COCO_TRAIN, COCO_VAL = 8, 8
COCO = (
    "dataset.name=coco",
    "dataset.format=coco",
    f"prepare.limit_train={COCO_TRAIN}",
    f"prepare.limit_val={COCO_VAL}",
    "import_wsss.source=wsss",
    "train_pam.epochs=2",
    "train_pam.plain_epochs=1",
    "train_pam.batch_size=4",
    "extract_cues.flip=false",
    "make_pseudo_labels.min_area_px=50",
    "train_bestie.epochs=20",
    "train_bestie.batch_size=4",
    "train_bestie.background_weight=0.1",  # a few steps end with background everywhere otherwise
    "train_bestie.augmentation.scale=[0.4, 0.6]",
    "train_bestie.evolution_every=20",
    "train_bestie.evolution_images=2",
    "export_mrcnn.flip=false",
    "train_mrcnn.epochs=1",
    "train_mrcnn.batch_size=4",
    "evaluate.flip=false",
    "evaluate.sheet_images=4",
)


@pytest.fixture
def coco_run(shared_dir: Path, empty: Path) -> Path:
    """A run on a few images of COCO; the true maps serve as WSSS maps, saved as 8-bit grey PNG."""
    root = shared_dir / "data" / "coco"
    ws.set_params(f"dataset.root={root}", *COCO)
    ws.run("prepare")
    truth = MapReader(Path("data/prepare/ground_truth.zarr"))
    Path("wsss").mkdir()
    for record in read_images(Path("data/prepare/images.parquet"), "train"):
        semantic = truth.read(record.row, "semantic", record.height, record.width)
        Image.fromarray(semantic).save(f"wsss/{record.image_id}.png")
    ws.run(*ws.STAGES[1:])
    return root


def test_coco_images_run_through_all_stages_and_score_as_pycocotools_scores_them(coco_run: Path):
    records = read_images(Path("data/prepare/images.parquet"))
    assert [sum(r.split == split for r in records) for split in ("train", "val")] == [COCO_TRAIN, COCO_VAL]
    categories = read_categories(Path("data/prepare/categories.parquet"))
    assert [c.category_id for c in categories] == list(range(1, 81))
    assert categories[-1].source_id == 90
    for stage in ws.STAGES:
        assert [path for path in ws.declared_outputs(stage) if not path.exists()] == []

    metrics = json.loads(Path("data/evaluate/metrics.json").read_text(encoding="utf-8"))
    for model in ("components_true_semantic", "bestie_true_semantic", "bestie", "mrcnn"):
        expected = 100 * pycocotools_ap(coco_run, model, records, categories)
        found = [metrics[model][name] for name in ("coco_ap", "coco_ap50", "coco_ap75")]
        assert found == pytest.approx(expected.tolist(), rel=1e-5), model
    assert metrics["components_true_semantic"]["coco_ap50"] > 10


def pycocotools_ap(
    root: Path, model: str, records: list[ImageRecord], categories: list[Category]
) -> Float64[np.ndarray, " 3"]:
    """AP, AP50, AP75 of a model's detections against COCO's own file of true masks."""
    source_id = {category.category_id: category.source_id for category in categories}
    detections = [
        {
            "image_id": int(row["image_id"]),
            "category_id": source_id[row["category_id"]],
            "score": row["score"],
            "segmentation": {
                "size": [records[row["row"]].height, records[row["row"]].width],
                "counts": row["rle"].encode("ascii"),
            },
        }
        for row in iter_rows(Path(f"data/evaluate/{model}.parquet"), INSTANCES)
    ]
    if not detections:
        return np.zeros(3)
    with contextlib.redirect_stdout(io.StringIO()):
        truth = coco.COCO(root / "annotations" / "instances_val2017.json")
        evaluation = cocoeval.COCOeval(truth, truth.loadRes(detections), "segm")
        evaluation.params.imgIds = [int(record.image_id) for record in records if record.split == "val"]
        evaluation.evaluate()
        evaluation.accumulate()
        evaluation.summarize()
    return np.asarray(evaluation.stats[:3])
