"""Scores of instance tables against the truth, as plain numbers and curves for DVC."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import chain, islice
from pathlib import Path
from typing import Any

import numpy as np

from bestie.artifacts.image_index import ImageIndex, columns_of
from bestie.artifacts.schemas import EVOLUTION, INSTANCES
from bestie.artifacts.tables import as_rows, iter_rows
from bestie.errors import InputError
from bestie.metrics.coco_scores import coco_ap
from bestie.metrics.masks import Codes, MaskTable, Overlaps
from bestie.metrics.voc_scores import (
    SIZE_EDGES_PX,
    TruePositives,
    VocAp,
    count_true_positives,
    sum_counts,
    voc_ap,
    voc_ap_by_size,
)
from bestie.records import Category, ImageRecord

CURVE_POINTS = 101
#: The columns of an instance table that a table of masks is made of.
MASK_COLUMNS = ("row", "category_id", "score", "rle", "is_crowd")
#: Labels of so many images are held in memory at a time.
IMAGES_AT_ONCE = 1024
SIZES = ("small", "medium", "large")
#: COCO's sizes are used if each of them has at least this share of the true objects.
MIN_SIZE_SHARE = 0.05


def mask_table(rows: Iterable[dict[str, Any]], records: dict[int, ImageRecord]) -> MaskTable:
    """Return the instance rows of the images in `records` (row -> image) in the form that `bestie.metrics` takes.

    Raises:
        InputError: a row belongs to another image, whose masks could have another size.
    """
    kept: dict[str, list[Any]] = {name: [] for name in MASK_COLUMNS if name != "rle"}
    codes, images = [], []
    for each in rows:
        if (record := records.get(each["row"])) is None:
            continue
        if each["image_id"] != record.image_id:
            raise InputError(
                f"instances of image {str(each['image_id'])!r} stand in row {each['row']}, which is that of "
                f"{record.image_id!r}: they belong to another images.parquet. Run the stage again that writes them "
                "(dvc repro)."
            )
        for name, values in kept.items():
            values.append(each[name])
        codes.append(each["rle"].encode("ascii"))
        images.append(record)
    return MaskTable(
        row=np.array(kept["row"], np.int64),
        category_id=np.array(kept["category_id"], np.int64),
        score=np.array(kept["score"], np.float64),
        rle=Codes(codes, images),
        is_crowd=np.array(kept["is_crowd"], bool),
    )


def read_mask_table(path: Path, records: Sequence[ImageRecord]) -> MaskTable:
    """Return the instances of some images from an instance table. Raises InputError like `iter_rows`."""
    rows = iter_rows(path, INSTANCES, [*MASK_COLUMNS, "image_id"])
    return mask_table(rows, {record.row: record for record in records})


def iter_mask_tables(path: Path, records: Sequence[ImageRecord]) -> Iterator[MaskTable]:
    """Yield the instances of `IMAGES_AT_ONCE` images at a time. Raises InputError like `read_mask_table`."""
    found = columns_of(records, path, INSTANCES, [*MASK_COLUMNS, "image_id"])
    for first in range(0, len(records), IMAGES_AT_ONCE):
        some = records[first : first + IMAGES_AT_ONCE]
        rows = chain.from_iterable(as_rows(columns) for columns in islice(found, len(some)) if columns)
        yield mask_table(rows, {record.row: record for record in some})


def score_instances(
    truth: MaskTable,
    found: MaskTable,
    *,
    records: Sequence[ImageRecord],
    num_classes: int,
    iou_thresholds: Sequence[float],
    overlaps: Overlaps | None = None,
) -> tuple[dict[str, Any], VocAp]:
    """Compute VOC mAP at each threshold (Table 1) and COCO's AP, AP50 and AP75 (Table 2), in per cent.

    Args:
        truth: the true instances.
        found: the detections.
        records: the images.
        num_classes: C, without background.
        iou_thresholds: the thresholds of VOC mAP.
        overlaps: `measure_overlaps` of the same tables, if it is known already.

    Returns:
        The scores by name, with the number of detections as `instances`; and VOC's AP by threshold and class, 0 to 1.
    """
    voc = voc_ap(truth, found, num_classes=num_classes, iou_thresholds=iou_thresholds, overlaps=overlaps)
    coco = coco_ap(truth, found, rows=[record.row for record in records], num_classes=num_classes)
    scores = {
        f"map{round(100 * threshold)}": 100 * value for threshold, value in zip(iou_thresholds, voc.mean, strict=True)
    }
    scores |= {f"coco_{name.lower()}": 100 * coco.summary[name] for name in ("AP", "AP50", "AP75")}
    return {**scores, "instances": len(found)}, voc


def size_edges_px(truth: MaskTable) -> tuple[int, int]:
    """Return the areas in px from which on an object is medium and large.

    They are COCO's, 32^2 and 96^2, if each size has at least `MIN_SIZE_SHARE` of the true objects. Otherwise they split
    the true objects into thirds, because the score of a size that hardly occurs says nothing.
    """
    areas_px = truth.area_px[~truth.is_crowd]
    if not len(areas_px):
        return SIZE_EDGES_PX
    counts = np.bincount(np.digitize(areas_px, SIZE_EDGES_PX), minlength=len(SIZES))
    if counts.min() >= MIN_SIZE_SHARE * len(areas_px):
        return SIZE_EDGES_PX
    first, second = np.quantile(areas_px, (1 / 3, 2 / 3), method="nearest")
    return int(first), int(second)


def size_rows(
    model: str, truth: MaskTable, found: MaskTable, overlaps: Overlaps, *, num_classes: int, threshold: float
) -> list[dict[str, Any]]:
    """Return one row per object size: mAP in per cent, the limits of the area in px, and the number of true objects."""
    edges_px = size_edges_px(truth)
    by_size = voc_ap_by_size(
        truth, found, num_classes=num_classes, iou_thresholds=(threshold,), edges_px=edges_px, overlaps=overlaps
    )
    limits: list[int | None] = [0, *edges_px, None]
    return [
        {
            "model": model,
            "size": size,
            "from_px": limits[index],
            "below_px": limits[index + 1],
            "true_instances": int(voc.num_truth.sum()),
            "map": 100 * float(voc.mean[0]),
        }
        for index, (size, voc) in enumerate(zip(SIZES, by_size, strict=True))
    ]


def score_labels(truth: MaskTable, labels: MaskTable, *, num_classes: int) -> dict[str, Any]:
    """Count the labels that are right at IoU 0.5 (Figure 6); precision and recall are 0 to 1."""
    return _label_scores(count_true_positives(truth, labels, num_classes=num_classes))


def _label_scores(counts: TruePositives) -> dict[str, Any]:
    total = counts.total
    return {
        "true_positives": int(total.true_positives[0]),
        "labels": int(total.num_labels[0]),
        "true_instances": int(total.num_truth[0]),
        "precision": float(total.precision[0]),
        "recall": float(total.recall[0]),
    }


def rows_with_truth(truth: Path) -> set[int]:
    """Return the rows of the images that have instances in the table of true instances."""
    return {row["row"] for row in iter_rows(truth, INSTANCES, ["row"])}


def score_label_tables(
    truth: Path, tables: Mapping[str, Path], records: ImageIndex, *, num_classes: int
) -> dict[str, dict[str, Any]]:
    """Return `score_labels` of each table by its name, on those of `records` that have a truth; empty if none has."""
    known = records.among(rows_with_truth(truth))
    if not known:
        return {}
    counts: dict[str, list[TruePositives]] = {name: [] for name in tables}
    readers = [iter_mask_tables(path, known) for path in (truth, *tables.values())]
    for true_masks, *labels in zip(*readers, strict=True):
        for name, table in zip(tables, labels, strict=True):
            counts[name].append(count_true_positives(true_masks, table, num_classes=num_classes))
    return {name: _label_scores(sum_counts(parts)) for name, parts in counts.items()}


def per_class_rows(scores: dict[str, VocAp], categories: Sequence[Category]) -> list[dict[str, Any]]:
    """Return one row per model and class: AP in per cent at each threshold, and the number of true instances."""
    return [
        {
            "model": model,
            "class": category.name,
            "true_instances": int(voc.num_truth[index]),
            **{
                f"ap{round(100 * threshold)}": 100 * float(voc.ap[level, index])
                for level, threshold in enumerate(voc.iou_thresholds)
            },
        }
        for model, voc in scores.items()
        for index, category in enumerate(categories)
    ]


def curve_rows(scores: dict[str, VocAp], *, threshold: float) -> list[dict[str, Any]]:
    """Return each model's precision at evenly spaced recalls, as the mean over the classes that have true instances."""
    recalls = np.linspace(0, 1, CURVE_POINTS)
    rows = []
    for model, voc in scores.items():
        curves = [
            _precision_at(curve.recall, curve.precision, recalls)
            for curve, count in zip(voc.curves[voc.iou_thresholds.index(threshold)], voc.num_truth, strict=True)
            if count
        ]
        if not curves:
            continue
        mean = np.mean(curves, axis=0)
        rows += [
            {"model": model, "recall": float(r), "precision": float(p)} for r, p in zip(recalls, mean, strict=True)
        ]
    return rows


def _precision_at(recall: np.ndarray, precision: np.ndarray, at: np.ndarray) -> np.ndarray:
    """Return the largest precision at each recall or above it; 0 above the last recall."""
    best = np.maximum.accumulate(precision[::-1])[::-1]
    place = np.searchsorted(recall, at, side="left")
    return np.append(best, 0.0)[np.minimum(place, len(best))]


def evolution_rows(
    rows: Iterable[dict[str, Any]], truth: MaskTable, records: Sequence[ImageRecord], *, num_classes: int
) -> list[dict[str, Any]]:
    """Return true positives of the refined labels (Figure 6) and mAP50 of the detections (Figure 7), by epoch.

    Args:
        rows: rows of the snapshots.
        truth: the true instances of `records`; `recall` is relative to them.
        records: the images with a truth that the snapshots cover.
        num_classes: C, without background.
    """
    by_kind: dict[tuple[str, int], list[dict[str, Any]]] = {}
    for row in rows:
        by_kind.setdefault((row["kind"], row["epoch"]), []).append(row)
    index = {record.row: record for record in records}
    result = []
    for (kind, epoch), found in sorted(by_kind.items(), key=lambda item: (item[0][1], item[0][0])):
        table = mask_table(found, index)
        entry: dict[str, Any] = {"epoch": epoch, "kind": kind, "instances": len(found)}
        if kind == "refined":
            entry |= score_labels(truth, table, num_classes=num_classes)
        else:
            entry["map50"] = 100 * float(voc_ap(truth, table, num_classes=num_classes, iou_thresholds=(0.5,)).mean[0])
        result.append(entry)
    return result


def score_snapshots(
    network: Path, evolution: Path, truth: Path, every: Sequence[ImageRecord], *, num_classes: int
) -> list[dict[str, Any]]:
    """Return `evolution_rows` of a training (Figures 6 and 7).

    Args:
        network: the weights from the training; their attributes name the images of the snapshots.
        evolution: the table of the snapshots.
        truth: the table of true instances.
        every: all images, in order of row.
        num_classes: C, without background.
    """
    from bestie.artifacts.weights import read_attributes  # loads torch, which the scores do not need

    attributes = read_attributes(network)
    with_truth = rows_with_truth(truth)
    result: list[dict[str, Any]] = []
    for kind, rows in attributes["snapshot_rows"].items():
        known = [every[row] for row in rows if row in with_truth]
        snapshots = (row for row in iter_rows(evolution, EVOLUTION) if row["kind"] == kind)
        if known:
            result += evolution_rows(snapshots, read_mask_table(truth, known), known, num_classes=num_classes)
    return result
