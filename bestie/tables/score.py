"""Scores of the network in a workspace, without Mask R-CNN: `python -m bestie.tables.score OUT`.

The scores are the same as those of the stage `evaluate`, which also needs a detector.
"""

import sys
from pathlib import Path
from typing import Any

from bestie.artifacts.image_index import read_images
from bestie.artifacts.maps import MapReader
from bestie.artifacts.metrics_json import read_json, write_json
from bestie.artifacts.paths import folder
from bestie.artifacts.tables import read_categories
from bestie.errors import InputError
from bestie.evaluation.scores import (
    mask_table,
    read_mask_table,
    rows_with_truth,
    score_instances,
    score_label_tables,
    score_snapshots,
)
from bestie.evaluation.true_maps import fill_void
from bestie.metrics.class_scores import SemanticScore
from bestie.params.params_yaml import Params, load_params
from bestie.prediction.network_predictor import NetworkPredictor, table_rows
from bestie.runtime.device import pick_device, prepare_process
from bestie.runtime.progress import track
from bestie.runtime.settings import Settings, load_settings
from bestie.training.network_model import load_network

TRUTH = folder("prepare") / "ground_truth.parquet"


def score_run(params: Params, settings: Settings) -> dict[str, Any]:
    """Compute all scores of one run that a table or a figure shows.

    Raises:
        InputError: no validation image has a truth.
    """
    every = read_images(folder("prepare") / "images.parquet")
    num_classes = len(read_categories(folder("prepare") / "categories.parquet"))
    training = every.of_split("train")
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
    """Compute mAP (in per cent) of the network's instances on the validation images, and mIoU (0 to 1) of its maps.

    The same centers and offsets are also scored with the true semantic map instead of the network's own, which leaves
    out the influence of the semantic head.

    Raises:
        InputError: no validation image has a truth.
    """
    prepare_process(0)
    device, evaluate = pick_device(settings.device), params.evaluate
    with_truth = rows_with_truth(TRUTH)
    records = read_images(folder("prepare") / "images.parquet", "val").among(with_truth)
    if not records:
        raise InputError(f"{TRUTH} has no true masks of validation images, so there is nothing to compare")
    network = load_network(folder("train_bestie") / "network.zarr").to(device)
    maps, semantic_score = MapReader(folder("prepare") / "ground_truth.zarr"), SemanticScore(num_classes)
    predictor = NetworkPredictor(
        network, evaluate, num_classes=num_classes, device=device, confidence=evaluate.confidence
    )
    predicted = predictor.maps(records, params.dataset.image_root)
    rows: dict[str, list[dict[str, Any]]] = {"bestie": [], "bestie_true_semantic": []}
    images = zip(track(records, "score", as_json=settings.json_progress), predicted, strict=True)
    for record, (_, outputs) in images:
        truth = maps.read(record.row, "semantic", record.height, record.width)
        found = predictor.instances(outputs, record)
        divided = predictor.instances(outputs, record, semantic=fill_void(truth))
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
    """Compute mIoU (0 to 1) of the WSSS maps on the training images that have a truth; nan if none has."""
    maps, truth = MapReader(folder("import_wsss") / "maps.zarr"), MapReader(folder("prepare") / "ground_truth.zarr")
    measured = SemanticScore(num_classes)
    for record in read_images(folder("prepare") / "images.parquet", "train"):
        size = (record.height, record.width)
        measured.update(maps.read(record.row, "semantic", *size), truth.read(record.row, "semantic", *size))
    return measured.mean_iou


def evaluated() -> dict[str, Any]:
    """Return the scores that the stage `evaluate` wrote, in the form of `score_run`."""
    out = folder("evaluate")
    num_classes = len(read_categories(folder("prepare") / "categories.parquet"))
    return {
        **read_json(out / "metrics.json"),
        "wsss_miou": wsss_miou(num_classes),
        "refined": read_json(out / "true_positives.json"),
        "detected": read_json(out / "map50_by_epoch.json"),
    }


def main() -> None:
    """Score the workspace and write the scores; `--evaluated` takes those of the stage `evaluate`."""
    target, *options = sys.argv[1:]
    try:
        found = evaluated() if options == ["--evaluated"] else score_run(load_params(), load_settings())
        write_json(Path(target), found)
    except InputError as error:
        print(f"score: {error}", file=sys.stderr)
        raise SystemExit(1) from None


if __name__ == "__main__":
    main()
