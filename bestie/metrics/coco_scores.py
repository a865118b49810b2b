"""Instance average precision as COCO defines it (Table 2), by faster-coco-eval, with the digits of pycocotools."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from faster_coco_eval import COCO, COCOeval_faster
from jaxtyping import Float64

from bestie.metrics.masks import MaskTable

_NAMES = ("AP", "AP50", "AP75", "AP_small", "AP_medium", "AP_large")
_RECALL_NAMES = ("AR_1", "AR_10", "AR_100", "AR_small", "AR_medium", "AR_large")


@dataclass(frozen=True)
class CocoAp:
    """COCO's twelve numbers by name, and AP (the mean over IoU 0.5 to 0.95) by class; nan if undefined.

    Element c - 1 of `per_class` is category_id c. All values are in [0, 1].
    """

    summary: dict[str, float]
    per_class: Float64[np.ndarray, " c"]


def coco_ap(truth: MaskTable, predictions: MaskTable, *, rows: Sequence[int], num_classes: int) -> CocoAp:
    """Compute average precision and recall over the images `rows`, with at most 100 predictions per image.

    Small, medium and large objects are told apart by their mask area, with edges at 32^2 and 96^2 px.

    Raises:
        ValueError: a table has a row that is not in `rows`.
    """
    rows = [int(row) for row in rows]
    for name, table in (("true", truth), ("predicted", predictions)):
        strangers = np.setdiff1d(table.row, rows)
        if len(strangers):
            raise ValueError(f"the {name} masks have the row {strangers[0]}, which is not among the images")
    true_set = _data_set(truth, rows, num_classes, is_truth=True)
    predicted_set = _data_set(predictions, rows, num_classes, is_truth=False)
    evaluation = COCOeval_faster(true_set, predicted_set, iouType="segm", print_function=_silent)
    evaluation.evaluate()
    evaluation.accumulate()
    evaluation.summarize()
    stats = [float(value) if value >= 0 else float("nan") for value in evaluation.stats[:12]]
    precision = np.asarray(evaluation.eval["precision"])[:, :, :, 0, -1]
    defined = precision >= 0
    total = np.where(defined, precision, 0.0).sum(axis=(0, 1))
    count = defined.sum(axis=(0, 1))
    per_class = np.divide(total, count, out=np.full(num_classes, np.nan), where=count > 0)
    return CocoAp(dict(zip(_NAMES + _RECALL_NAMES, stats, strict=True)), per_class)


def _data_set(table: MaskTable, rows: Sequence[int], num_classes: int, *, is_truth: bool) -> COCO:
    sizes = {int(row): rle["size"] for row, rle in zip(table.row, table.rle, strict=True)}
    # The size of an image without masks is not known here, and its evaluation does not need it.
    images = []
    for row in rows:
        height, width = sizes.get(row, (1, 1))
        images.append({"id": row, "height": height, "width": width})
    categories = [{"id": c, "name": str(c)} for c in range(1, num_classes + 1)]
    columns = (table.row, table.category_id, table.rle, table.area_px, table.is_crowd, table.score)
    entries: list[dict[str, Any]] = [
        {
            "id": number,
            "image_id": int(row),
            "category_id": int(category_id),
            "segmentation": rle,
            "area": int(area_px),
            "iscrowd": int(is_crowd and is_truth),
            "score": float(score),
        }
        for number, (row, category_id, rle, area_px, is_crowd, score) in enumerate(zip(*columns, strict=True), start=1)
    ]
    return COCO({"images": images, "categories": categories, "annotations": entries}, print_function=_silent)


def _silent(*_: object) -> None:
    """Discard what the library reports about its steps."""
