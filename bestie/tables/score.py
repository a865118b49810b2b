"""Scores of the network in a workspace, without Mask R-CNN: `python -m bestie.tables.score OUT`.

The numbers are those of the stage `evaluate`, which also needs a detector.
"""

import sys
from pathlib import Path
from typing import Any

from bestie.artifacts.maps import MapReader
from bestie.artifacts.metrics_json import read_json, write_json
from bestie.artifacts.tables import read_categories, read_images
from bestie.detections import fill_void, predict_as, read_instances, table_rows
from bestie.errors import InputError
from bestie.evaluation import (
    mask_table,
    read_mask_table,
    rows_with_truth,
    score_instances,
    score_label_tables,
    score_snapshots,
)
from bestie.folders import folder
from bestie.metrics import SemanticScore
from bestie.params import Params
from bestie.params_file import load_params
from bestie.progress import track
from bestie.settings import Settings, load_settings
from bestie.training.device import pick_device, prepare_process
from bestie.training.models import load_network

TRUTH = folder("prepare") / "ground_truth.parquet"


def score(params: Params, settings: Settings) -> dict[str, Any]:
    """Everything that a table or a figure shows of one run.

    Raises:
        InputError: the validation images have no truth.
    """
    every = read_images(folder("prepare") / "images.parquet")
    num_classes = len(read_categories(folder("prepare") / "categories.parquet"))
    training = [record for record in every if record.split == "train"]
    curves = score_snapshots(
        folder("train_bestie") / "network.zarr",
        folder("train_bestie") / "evolution.parquet",
        TRUTH,
        every,
        num_classes=num_classes,
    )
    labels = {"pseudo_labels": folder("make_pseudo_labels") / "instances.parquet"}
    return {
        **score_network(params, settings, num_classes),
        **score_label_tables(TRUTH, labels, training, num_classes=num_classes),
        "wsss_miou": wsss_miou(num_classes),
        "refined": [row for row in curves if row["kind"] == "refined"],
        "detected": [row for row in curves if row["kind"] == "detected"],
    }


def score_network(params: Params, settings: Settings, num_classes: int) -> dict[str, Any]:
    """mAP of the network's instances on the validation images, and the mIoU of its semantic map.

    With the true semantic map in place of its own the same centres and offsets are scored again, without what the
    semantic head gains or loses.
    """
    prepare_process(0)
    device, evaluate = pick_device(settings.device), params.evaluate
    with_truth = rows_with_truth(TRUTH)
    records = [r for r in read_images(folder("prepare") / "images.parquet", "val") if r.row in with_truth]
    if not records:
        raise InputError(f"{TRUTH} has no true masks of validation images, so there is nothing to compare")
    network = load_network(folder("train_bestie") / "network.zarr").to(device)
    maps, semantic_score = MapReader(folder("prepare") / "ground_truth.zarr"), SemanticScore(num_classes)
    predicted = predict_as(evaluate, network, records, params.dataset.image_root, device=device)
    rows: dict[str, list[dict[str, Any]]] = {"bestie": [], "bestie_true_semantic": []}
    images = zip(track(records, "score", as_json=settings.json_progress), predicted, strict=True)
    for record, (_, outputs) in images:
        truth = maps.read(record.row, "semantic", record.height, record.width)
        found = read_instances(outputs, record, evaluate, num_classes=num_classes)
        divided = read_instances(outputs, record, evaluate, num_classes=num_classes, semantic=fill_void(truth))
        semantic_score.update(found.semantic, truth)
        rows["bestie"] += table_rows(record, found)
        rows["bestie_true_semantic"] += table_rows(record, divided)
    true_masks, by_row = read_mask_table(TRUTH, records), {record.row: record for record in records}
    scores = {
        model: score_instances(
            true_masks,
            mask_table(masks, by_row),
            records=records,
            num_classes=num_classes,
            iou_thresholds=evaluate.iou_thresholds,
        )[0]
        for model, masks in rows.items()
    }
    return {**scores, "semantic_miou": semantic_score.mean_iou}


def wsss_miou(num_classes: int) -> float:
    """mIoU of the maps that the network learned from, on the training images that have a truth; nan without any."""
    maps, truth = MapReader(folder("import_wsss") / "maps.zarr"), MapReader(folder("prepare") / "ground_truth.zarr")
    measured = SemanticScore(num_classes)
    for record in read_images(folder("prepare") / "images.parquet", "train"):
        size = (record.height, record.width)
        measured.update(maps.read(record.row, "semantic", *size), truth.read(record.row, "semantic", *size))
    return measured.mean_iou


def evaluated() -> dict[str, Any]:
    """What the stage `evaluate` wrote, in the form of `score`."""
    out = folder("evaluate")
    num_classes = len(read_categories(folder("prepare") / "categories.parquet"))
    return {
        **read_json(out / "metrics.json"),
        "wsss_miou": wsss_miou(num_classes),
        "refined": read_json(out / "true_positives.json"),
        "detected": read_json(out / "map50_by_epoch.json"),
    }


def main() -> None:
    """Score the workspace and write the numbers; `--evaluated` takes those of the stage `evaluate`."""
    target, *options = sys.argv[1:]
    try:
        found = evaluated() if options == ["--evaluated"] else score(load_params(), load_settings())
        write_json(Path(target), found)
    except InputError as error:
        print(f"score: {error}", file=sys.stderr)
        raise SystemExit(1) from None


if __name__ == "__main__":
    main()
