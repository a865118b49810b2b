"""Score both models on the validation images: `python -m stages.evaluate`.

The network is scored four times: by its own semantic map, by the true one (which isolates what centres and
offsets learned), and against the baseline that takes the components of either map as the instances. What
needs a truth that the data set does not have is absent from the metrics.
"""

import sys
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from bestie.artifacts.maps import MapReader
from bestie.artifacts.metrics_json import write_csv, write_json
from bestie.artifacts.parts import Share, own_rows, written_together
from bestie.artifacts.schemas import INSTANCES
from bestie.artifacts.tables import TableWriter, read_categories, read_images
from bestie.datasets.base import Category, ImageRecord
from bestie.detections import fill_void, predict_as, read_instances, table_rows
from bestie.distributed import spread
from bestie.evaluation import (
    curve_rows,
    per_class_rows,
    read_mask_table,
    score_instances,
    score_label_tables,
    score_snapshots,
    size_rows,
)
from bestie.fingerprint import fingerprint
from bestie.inference import Instances, components_as_instances
from bestie.metrics import SemanticScore, VocAp, measure_overlaps
from bestie.network import Outputs
from bestie.params import Dataset, Evaluate
from bestie.progress import Progress
from bestie.settings import Settings
from bestie.sheet import pick_images, write_sheet
from bestie.stage import folder, run_stage
from bestie.training.detector_training import detect_images
from bestie.training.device import pick_device, prepare_process
from bestie.training.models import load_detector, load_network

MODELS = ("bestie", "bestie_true_semantic", "components", "components_true_semantic", "mrcnn")
CURVE_THRESHOLD = 0.5
NETWORK, DETECTOR = folder("train_bestie") / "network.zarr", folder("train_mrcnn") / "detector.zarr"
#: What the detections are made from, of `prepare`.
READ = ("images.parquet", "categories.parquet", "ground_truth.zarr")

#: Images -> each with the rows of its instances, in order.
Detect = Callable[[list[ImageRecord]], Iterator[tuple[ImageRecord, list[dict[str, Any]]]]]


def main(dataset: Dataset, params: Evaluate, settings: Settings) -> None:
    """Write detections, metrics, curves and the contact sheet."""
    prepare_process(0)
    prepared, out = folder("prepare"), folder("evaluate")
    records = read_images(prepared / "images.parquet", "val")
    categories = read_categories(prepared / "categories.parquet")
    inputs = [Path(__file__), *(prepared / name for name in READ), NETWORK, DETECTOR]
    made_from = partial(fingerprint, inputs, dataset=dataset, params=params)
    tables = {f"{model}.parquet": INSTANCES for model in MODELS}
    with written_together(out, settings, made_from, tables=tables) as share:
        write_network_detections(dataset, params, settings, records, categories, share)
        detect = load_detect(dataset, params, settings)
        write_detector_detections(detect, settings, records, share.place)

    semantic_score = SemanticScore(len(categories))
    semantic_score.confusion = share.sums["confusion"]
    known = [record for record in records if share.sums["has_truth"][record.row]]
    miou = semantic_score.mean_iou
    metrics: dict[str, Any] = {} if np.isnan(miou) else {"semantic_miou": miou}
    curves: dict[str, VocAp] = {}
    sizes: list[dict[str, Any]] = []
    truth = read_mask_table(prepared / "ground_truth.parquet", known)
    for model in MODELS if len(truth) else ():
        found = read_mask_table(out / f"{model}.parquet", known)
        overlaps = measure_overlaps(truth, found)
        metrics[model], curves[model] = score_instances(
            truth,
            found,
            records=known,
            num_classes=len(categories),
            iou_thresholds=params.iou_thresholds,
            overlaps=overlaps,
        )
        sizes += size_rows(model, truth, found, overlaps, num_classes=len(categories), threshold=CURVE_THRESHOLD)
    metrics |= score_training_labels(len(categories))
    write_json(out / "metrics.json", metrics)
    classes = per_class_rows(curves, categories)
    write_csv(out / "per_class.csv", classes or [{"model": "", "class": "", "true_instances": 0}])
    write_json(out / "precision_recall.json", curve_rows(curves, threshold=CURVE_THRESHOLD))
    write_json(out / "ap_by_iou.json", ap_by_iou(metrics, params))
    write_json(out / "ap_by_size.json", sizes)
    rows = evolution(len(categories))
    write_json(out / "true_positives.json", [row for row in rows if row["kind"] == "refined"])
    write_json(out / "map50_by_epoch.json", [row for row in rows if row["kind"] == "detected"])
    images = pick_images(params.sheet_images)
    detections = {record.row: rows for record, rows in detect(images[0])}
    write_sheet(out / "sheet.png", dataset, categories, images=images, detections=detections)


def write_network_detections(
    dataset: Dataset,
    params: Evaluate,
    settings: Settings,
    records: list[ImageRecord],
    categories: list[Category],
    share: Share,
) -> None:
    """Instance tables of the network's four readings, of the images of this share.

    Its sums: the `confusion` of the semantic map, and by row whether the image `has_truth`; those alone are scored.
    """
    device = pick_device(settings.device)
    network = load_network(NETWORK).to(device)
    truth = MapReader(folder("prepare") / "ground_truth.zarr")
    semantic_score = SemanticScore(len(categories))
    rows = own_rows(records, settings)
    has_truth = np.zeros(1 + max((record.row for record in records), default=0), np.int64)
    tables = {model: TableWriter(share.place / f"{model}.parquet", INSTANCES) for model in MODELS[:4]}
    progress = Progress("evaluate: network", len(rows), unit="image", as_json=settings.json_progress)
    with tables["bestie"], tables["bestie_true_semantic"], tables["components"], tables["components_true_semantic"]:
        for record, outputs in predict_as(params, network, records, dataset.image_root, device=device, rows=rows):
            semantic = truth.read(record.row, "semantic", record.height, record.width)
            filled = fill_void(semantic)
            found = read_outputs(outputs, record, params, num_classes=len(categories), true_map=filled)
            if filled is not None:
                has_truth[record.row] = 1
                semantic_score.update(found["bestie"].semantic, semantic)
            for model, instances in found.items():
                tables[model].append_rows(table_rows(record, instances))
            progress.advance()
    progress.close()
    share.sums |= {"confusion": semantic_score.confusion, "has_truth": has_truth}


def read_outputs(
    outputs: Outputs, record: ImageRecord, params: Evaluate, *, num_classes: int, true_map: np.ndarray | None
) -> dict[str, Instances]:
    """The network's instances on one image by model; those of the true semantic map only where there is one.

    Args:
        outputs: full-size maps of the image, a batch of one.
        record: the image.
        params: how they are grouped.
        num_classes: number of categories.
        true_map: the true semantic map without void.
    """
    read = partial(read_instances, outputs, record, params, num_classes=num_classes)
    probability = outputs.semantic[0].float().softmax(0).amax(0).cpu().numpy()
    split = partial(components_as_instances, probability=probability, min_area_px=params.min_area_px)
    own = read()
    found = {"bestie": own, "components": split(own.semantic)}
    if true_map is not None:
        found |= {"bestie_true_semantic": read(semantic=true_map), "components_true_semantic": split(true_map)}
    return found


def load_detect(dataset: Dataset, params: Evaluate, settings: Settings) -> Detect:
    """The trained Mask R-CNN as a function of images."""
    device = pick_device(settings.device)
    detector = load_detector(DETECTOR).to(device)
    return partial(detect_images, detector, root=dataset.image_root, device=device, precision=params.precision)


def write_detector_detections(detect: Detect, settings: Settings, records: list[ImageRecord], out: Path) -> None:
    """The instance table of Mask R-CNN, of the images of this share."""
    rows = own_rows(records, settings)
    own = [record for record in records if record.row in rows]
    progress = Progress("evaluate: mrcnn", len(own), unit="image", as_json=settings.json_progress)
    with TableWriter(out / "mrcnn.parquet", INSTANCES) as table:
        for _record, found in detect(own):
            table.append_rows(found)
            progress.advance()
    progress.close()


def score_training_labels(num_classes: int) -> dict[str, Any]:
    """True positives of the pseudo labels and of the export, on the training images that have a truth."""
    records = read_images(folder("prepare") / "images.parquet", "train")
    tables = {
        "pseudo_labels": folder("make_pseudo_labels") / "instances.parquet",
        "export": folder("export_mrcnn") / "instances.parquet",
    }
    return score_label_tables(folder("prepare") / "ground_truth.parquet", tables, records, num_classes=num_classes)


def ap_by_iou(metrics: dict[str, Any], params: Evaluate) -> list[dict[str, Any]]:
    """mAP of each model by IoU threshold, for a plot."""
    return [
        {"model": model, "iou": threshold, "map": metrics[model][f"map{round(100 * threshold)}"]}
        for model in MODELS
        if model in metrics
        for threshold in params.iou_thresholds
    ]


def evolution(num_classes: int) -> list[dict[str, Any]]:
    """Figures 6 and 7 from the snapshots of the training."""
    return score_snapshots(
        folder("train_bestie") / "network.zarr",
        folder("train_bestie") / "evolution.parquet",
        folder("prepare") / "ground_truth.parquet",
        read_images(folder("prepare") / "images.parquet"),
        num_classes=num_classes,
    )


if __name__ == "__main__":
    run_stage("evaluate", Evaluate, spread(main), sys.argv[1:], in_parts=True)
