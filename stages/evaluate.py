"""Score both models on the validation images: `python -m stages.evaluate`.

The network is scored with its own semantic map and with the true one, which isolates the quality of centers and
offsets. The baseline for each takes the connected components of that map as instances. Metrics that need ground truth
are left out if the data set has none.
"""

import sys
from collections import Counter
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from bestie.artifacts.image_index import ImageIndex, read_images
from bestie.artifacts.maps import MapReader
from bestie.artifacts.metrics_json import write_csv, write_json
from bestie.artifacts.schemas import INSTANCES
from bestie.artifacts.tables import TableWriter, iter_rows, read_categories
from bestie.artifacts.weights import read_attributes
from bestie.evaluation.agreement import agreement_rows, mean_agreement
from bestie.evaluation.compared import compared
from bestie.evaluation.scores import (
    curve_rows,
    per_class_rows,
    read_mask_table,
    score_instances,
    score_label_tables,
    score_snapshots,
    size_rows,
)
from bestie.evaluation.sheet import pick_images, write_sheet
from bestie.evaluation.true_maps import fill_void
from bestie.method.inference import Instances, components_as_instances
from bestie.method.network import Outputs
from bestie.metrics.class_scores import SemanticScore
from bestie.metrics.masks import measure_overlaps
from bestie.metrics.voc_scores import VocAp
from bestie.params.dataset import Dataset
from bestie.params.evaluate import Evaluate
from bestie.prediction.detector_predictor import DetectorPredictor, load_detector_predictor
from bestie.prediction.network_predictor import NetworkPredictor, table_rows
from bestie.records import Category, ImageRecord, images_by_label
from bestie.runtime.device import pick_device, prepare_process
from bestie.runtime.distributed import spread
from bestie.runtime.fingerprint import fingerprint
from bestie.runtime.health import HealthWarning, unfound_classes, write_warnings
from bestie.runtime.parts import Share, own_rows, written_together
from bestie.runtime.processes import in_processes
from bestie.runtime.progress import Progress
from bestie.runtime.settings import Settings
from bestie.runtime.stage import folder, run_stage
from bestie.training.network_model import load_network

MODELS = ("bestie", "bestie_true_semantic", "components", "components_true_semantic", "mrcnn")
CURVE_THRESHOLD = 0.5
NETWORK, DETECTOR = folder("train_bestie") / "network.zarr", folder("train_mrcnn") / "detector.zarr"
#: The models whose instances are compared without a truth, and their names.
AGREEING = {"bestie": "the network", "mrcnn": "Mask R-CNN"}
PAIR = ("row", "category_id")
#: The outputs of `prepare` that the detections are made from.
READ = ("images.parquet", "categories.parquet", "ground_truth.zarr")


def main(dataset: Dataset, params: Evaluate, settings: Settings) -> None:
    """Write detections, metrics, curves and the contact sheet."""
    prepare_process(0)
    prepared, out = folder("prepare"), folder("evaluate")
    records = read_images(prepared / "images.parquet", "val")
    categories = read_categories(prepared / "categories.parquet")
    inputs = [*(prepared / name for name in READ), NETWORK, DETECTOR]
    made_from = partial(fingerprint, "evaluate", inputs, dataset=dataset, params=params)
    tables = {f"{model}.parquet": INSTANCES for model in MODELS}
    with written_together(out, settings, made_from, tables=tables) as share:
        write_network_detections(dataset, params, settings, records, categories, share)
        detector = load_detector_predictor(DETECTOR, params, device=pick_device(settings.device))
        write_detector_detections(detector, dataset, settings, records, share.place)

    semantic_score = SemanticScore(len(categories))
    semantic_score.confusion = share.sums["confusion"]
    known = [record for record in records if share.sums["has_truth"][record.row]]
    miou = semantic_score.mean_iou
    metrics: dict[str, Any] = {} if np.isnan(miou) else {"semantic_miou": miou}
    scores, curves, sizes = score_models(out, known, params, len(categories))
    metrics |= scores
    metrics |= score_training_labels(len(categories))
    write_json(out / "metrics.json", metrics)
    write_json(out / "scores.json", compared(metrics))
    write_agreement(out, records, categories)
    classes = per_class_rows(curves, categories)
    write_csv(out / "per_class.csv", classes or [{"model": "", "class": "", "true_instances": 0}])
    write_json(out / "precision_recall.json", curve_rows(curves, threshold=CURVE_THRESHOLD))
    write_json(out / "ap_by_iou.json", ap_by_iou(metrics, params))
    write_json(out / "ap_by_size.json", sizes)
    rows = evolution(len(categories))
    write_json(out / "true_positives.json", [row for row in rows if row["kind"] == "refined"])
    write_json(out / "map50_by_epoch.json", [row for row in rows if row["kind"] == "detected"])
    draw_sheet(out / "sheet.png", detector, dataset, params, categories)
    write_warnings(out, class_warnings(records, categories, out))


def score_models(
    out: Path, known: Sequence[ImageRecord], params: Evaluate, num_classes: int
) -> tuple[dict[str, dict[str, Any]], dict[str, VocAp], list[dict[str, Any]]]:
    """Score the instances of every model on the images with a truth; nothing if there is none.

    Returns:
        By model its scores and VOC's average precision, and the rows of all models by object size.
    """
    metrics: dict[str, dict[str, Any]] = {}
    curves: dict[str, VocAp] = {}
    sizes: list[dict[str, Any]] = []
    truth = read_mask_table(folder("prepare") / "ground_truth.parquet", known)
    for model in MODELS if len(truth) else ():
        found = read_mask_table(out / f"{model}.parquet", known)
        overlaps = measure_overlaps(truth, found)
        metrics[model], curves[model] = score_instances(
            truth,
            found,
            records=known,
            num_classes=num_classes,
            iou_thresholds=params.iou_thresholds,
            overlaps=overlaps,
        )
        sizes += size_rows(model, truth, found, overlaps, num_classes=num_classes, threshold=CURVE_THRESHOLD)
    return metrics, curves, sizes


def draw_sheet(
    path: Path, detector: DetectorPredictor, dataset: Dataset, params: Evaluate, categories: list[Category]
) -> None:
    """Draw the contact sheet, for which Mask R-CNN predicts some training images."""
    images = pick_images(params.sheet_images)
    write_sheet(
        path,
        dataset,
        categories,
        images=images,
        detections={record.row: rows for record, rows in detector.find(images[0], dataset.image_root)},
        shown_score=detector.shown_score,
        sigma_px=read_attributes(NETWORK)["params"]["sigma_px"],
    )


def write_agreement(out: Path, records: Sequence[ImageRecord], categories: list[Category]) -> None:
    """Write how far both models agree with each other and with the image-level labels, which needs no truth."""
    own, detected = (read_mask_table(out / f"{model}.parquet", records) for model in AGREEING)
    agreement = agreement_rows(own, detected, records, categories)
    write_json(out / "agreement.json", {"mean": mean_agreement(agreement), "classes": agreement})


def class_warnings(records: Sequence[ImageRecord], categories: list[Category], out: Path) -> list[HealthWarning]:
    """Return the warnings about classes that a model finds in none of the images that are labeled with them."""
    names = {each.category_id: each.name for each in categories}
    labels = {record.row: record.labels for record in records}
    images = {names[label]: count for label, count in images_by_label(records).items()}
    found = {}
    for model in AGREEING:
        pairs = {(each["row"], each["category_id"]) for each in iter_rows(out / f"{model}.parquet", INSTANCES, PAIR)}
        found[AGREEING[model]] = Counter(names[category] for row, category in pairs if category in labels[row])
    return unfound_classes(found, images)


def write_network_detections(
    dataset: Dataset,
    params: Evaluate,
    settings: Settings,
    records: ImageIndex,
    categories: list[Category],
    share: Share,
) -> None:
    """Write the instance tables of the four readings of the network's maps, for the images of this share.

    Add two sums to the share: `confusion`, the confusion matrix of the semantic map, and `has_truth`, 1 at the row of
    each image that has ground truth. Only those images are scored.
    """
    device = pick_device(settings.device)
    predictor = NetworkPredictor(
        load_network(NETWORK).to(device),
        params,
        num_classes=len(categories),
        device=device,
        confidence=params.confidence,
    )
    truth = MapReader(folder("prepare") / "ground_truth.zarr")
    semantic_score = SemanticScore(len(categories))
    mine = records.within(own_rows(records.rows, settings))
    has_truth = np.zeros(1 + max(records.rows, default=0), np.int64)
    tables = {model: TableWriter(share.place / f"{model}.parquet", INSTANCES) for model in MODELS[:4]}
    progress = Progress("evaluate: network", len(mine), unit="image", as_json=settings.json_progress)

    def read(record: ImageRecord) -> tuple[dict[str, list[dict[str, Any]]], np.ndarray | None]:
        outputs = predictor.maps_of(record, dataset.image_root)
        semantic = truth.read(record.row, "semantic", record.height, record.width)
        filled = fill_void(semantic)
        found = four_readings(predictor, outputs, record, min_area_px=params.min_area_px, true_map=filled)
        score = SemanticScore(len(categories))
        if filled is not None:
            score.update(found["bestie"].semantic, semantic)
        rows_of = {model: table_rows(record, instances) for model, instances in found.items()}
        return rows_of, None if filled is None else score.confusion

    with tables["bestie"], tables["bestie_true_semantic"], tables["components"], tables["components_true_semantic"]:
        readings = in_processes(read, mine, len(mine), device=device, settings=settings)
        for record, (found, confusion) in zip(mine, readings, strict=True):
            if confusion is not None:
                has_truth[record.row] = 1
                semantic_score.confusion += confusion
            for model, rows_of_image in found.items():
                tables[model].append_rows(rows_of_image)
            progress.advance()
    progress.close()
    share.sums |= {"confusion": semantic_score.confusion, "has_truth": has_truth}


def four_readings(
    predictor: NetworkPredictor, outputs: Outputs, record: ImageRecord, *, min_area_px: int, true_map: np.ndarray | None
) -> dict[str, Instances]:
    """Return the instances on one image by model; those of the true semantic map only if there is one.

    Args:
        predictor: groups the maps into instances.
        outputs: full-size maps of the image, a batch of one.
        record: the image.
        min_area_px: area of the smallest component that the baselines keep, in px.
        true_map: the true semantic map without void.
    """
    probability = outputs.semantic[0].float().softmax(0).amax(0).cpu().numpy()
    split = partial(components_as_instances, probability=probability, min_area_px=min_area_px)
    own = predictor.instances(outputs, record)
    found = {"bestie": own, "components": split(own.semantic)}
    if true_map is not None:
        found |= {"bestie_true_semantic": predictor.instances(outputs, record, semantic=true_map)}
        found |= {"components_true_semantic": split(true_map)}
    return found


def write_detector_detections(
    detector: DetectorPredictor, dataset: Dataset, settings: Settings, records: ImageIndex, out: Path
) -> None:
    """Write the instance table of Mask R-CNN for the images of this share."""
    own = records.within(own_rows(records.rows, settings))
    progress = Progress("evaluate: mrcnn", len(own), unit="image", as_json=settings.json_progress)
    find = partial(detector.find_on, root=dataset.image_root)
    with TableWriter(out / "mrcnn.parquet", INSTANCES) as table:
        for found in in_processes(find, own, len(own), device=detector.device, settings=settings):
            table.append_rows(found)
            progress.advance()
    progress.close()


def score_training_labels(num_classes: int) -> dict[str, Any]:
    """Return the true positives of the pseudo labels and of the export, on training images that have ground truth."""
    records = read_images(folder("prepare") / "images.parquet", "train")
    tables = {
        "pseudo_labels": folder("make_pseudo_labels") / "instances.parquet",
        "export": folder("export_mrcnn") / "instances.parquet",
    }
    return score_label_tables(folder("prepare") / "ground_truth.parquet", tables, records, num_classes=num_classes)


def ap_by_iou(metrics: dict[str, Any], params: Evaluate) -> list[dict[str, Any]]:
    """Return the mAP of each model at each IoU threshold, for a plot."""
    return [
        {"model": model, "iou": threshold, "map": metrics[model][f"map{round(100 * threshold)}"]}
        for model in MODELS
        if model in metrics
        for threshold in params.iou_thresholds
    ]


def evolution(num_classes: int) -> list[dict[str, Any]]:
    """Return the data of Figures 6 and 7, computed from the snapshots of the training."""
    return score_snapshots(
        folder("train_bestie") / "network.zarr",
        folder("train_bestie") / "evolution.parquet",
        folder("prepare") / "ground_truth.parquet",
        read_images(folder("prepare") / "images.parquet"),
        num_classes=num_classes,
    )


if __name__ == "__main__":
    run_stage("evaluate", Evaluate, spread(main, images=True), sys.argv[1:], in_parts=True)
