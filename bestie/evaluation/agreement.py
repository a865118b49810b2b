"""What two models and the image-level labels say about each other: scores that need no true masks."""

from collections.abc import Sequence
from typing import Any

import numpy as np
from jaxtyping import Float64

from bestie.metrics.class_scores import classification_map
from bestie.metrics.masks import MaskTable
from bestie.metrics.voc_scores import voc_ap
from bestie.records import Category, ImageRecord

IOU = 0.5
#: The columns of agreement, each in per cent.
MEASURES = ("models", "labels_bestie", "labels_mrcnn")


def agreement_rows(
    bestie: MaskTable, mrcnn: MaskTable, records: Sequence[ImageRecord], categories: Sequence[Category]
) -> list[dict[str, Any]]:
    """Return how far two models agree with each other, and with the labels of the images, class by class.

    Args:
        bestie: the network's instances on `records`.
        mrcnn: the detections of Mask R-CNN.
        records: the images. Those without labels may not be labeled at all, so no measure of labels counts them.
        categories: all categories.

    Returns:
        For each class its name as `class`, and in per cent: `models`, the average precision at IoU 0.5 of Mask R-CNN if
        the network's instances were the truth; `labels_bestie` and `labels_mrcnn`, the average precision with which the
        best score of the class in an image tells the images that are labeled with it. NaN where nothing can be
        compared.
    """
    num_classes = len(categories)
    columns = {
        "models": voc_ap(bestie, mrcnn, num_classes=num_classes, iou_thresholds=(IOU,)).ap[0],
        "labels_bestie": label_precision(bestie, records, num_classes),
        "labels_mrcnn": label_precision(mrcnn, records, num_classes),
    }
    return [
        {"class": category.name, **{name: 100 * values[number] for name, values in columns.items()}}
        for number, category in enumerate(categories)
    ]


def mean_agreement(rows: Sequence[dict[str, Any]]) -> dict[str, float]:
    """Return the mean of each measure over the classes that have it; a measure that none has is left out."""
    means = {}
    for name in MEASURES:
        values = np.array([row[name] for row in rows], np.float64)
        if np.isfinite(values).any():
            means[name] = float(np.nanmean(values))
    return means


def label_precision(found: MaskTable, records: Sequence[ImageRecord], num_classes: int) -> Float64[np.ndarray, " c"]:
    """Return the average precision, 0 to 1, of the best score in an image as a sign that it is labeled with the class.

    NaN for a class that no image is labeled with. Images without labels are left out.
    """
    labeled = [record for record in records if record.labels]
    best = {record.row: np.zeros(num_classes) for record in labeled}
    for row, category_id, score in zip(found.row.tolist(), found.category_id.tolist(), found.score, strict=True):
        if row in best:
            best[row][category_id - 1] = max(best[row][category_id - 1], score)
    shape = (len(labeled), num_classes)
    labels = np.array([record.label_vector(num_classes) for record in labeled]).reshape(shape) > 0
    return classification_map(np.array(list(best.values())).reshape(shape), labels).ap
